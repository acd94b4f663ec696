//! The parameters of `struct Pong`, with the defaults of `pong.py`.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// The parameters and what `init` computes from them.
#[derive(Debug, Clone)]
pub struct World {
    /// px.
    pub width: f32,
    /// px.
    pub height: f32,
    /// px.
    pub paddle_height: f32,
    /// px.
    pub ball_width: f32,
    /// px.
    pub ball_height: f32,
    /// px per subframe.
    pub paddle_speed: f32,
    /// px per subframe.
    pub ball_initial_speed_x: f32,
    /// px per subframe.
    pub ball_initial_speed_y: f32,
    /// px per subframe.
    pub ball_max_speed_y: f32,
    /// px per subframe.
    pub ball_speed_y_increment: f32,
    /// Points that end an episode.
    pub max_score: u32,
    /// Subframes of a step.
    pub frameskip: u32,
    /// Whether the action is the paddle's direction itself.
    pub continuous: bool,
    /// `-paddle_height / 2`.
    pub min_paddle_y: f32,
    /// `height - paddle_height / 2`.
    pub max_paddle_y: f32,
}

impl World {
    /// Reads the parameters by name and range; unknown ones are refused.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        // Observations divide by width, height and two of the speeds, so those are positive.
        let (length, speed, positive) = (1.0..=65_536.0, 0.0..=4_096.0, 0.001..=4_096.0);
        let _unused_by_the_dynamics = options.f32("paddle_width", 20.0, length.clone())?;
        let height = options.f32("height", 640.0, length.clone())?;
        let paddle_height = options.f32("paddle_height", 70.0, length.clone())?;
        let world = World {
            width: options.f32("width", 500.0, length.clone())?,
            height,
            paddle_height,
            ball_width: options.f32("ball_width", 32.0, length.clone())?,
            ball_height: options.f32("ball_height", 32.0, length)?,
            paddle_speed: options.f32("paddle_speed", 8.0, speed.clone())?,
            ball_initial_speed_x: options.f32("ball_initial_speed_x", 10.0, positive.clone())?,
            ball_initial_speed_y: options.f32("ball_initial_speed_y", 1.0, speed.clone())?,
            ball_max_speed_y: options.f32("ball_max_speed_y", 13.0, positive)?,
            ball_speed_y_increment: options.f32("ball_speed_y_increment", 3.0, speed)?,
            max_score: options.u32("max_score", 21, 1..=1_000_000)?,
            frameskip: options.u32("frameskip", 1, 1..=1024)?,
            continuous: options.bool("continuous", false)?,
            min_paddle_y: -paddle_height / 2.0,
            max_paddle_y: height - paddle_height / 2.0,
        };
        options.finish()?;
        Ok(world)
    }

    /// The sizes that follow from the parameters; they must be those of `env.toml`.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: if self.continuous {
                ActionKind::Continuous
            } else {
                ActionKind::Discrete { count: 3, extra: 4, mask: false }
            },
            canonical_bytes: 48,
            observation_bytes: 32,
            row_bytes: vec![24, 20],
            regions: vec![],
            episode_steps_max: None,
            resets: Resets::Reference,
        }
    }
}
