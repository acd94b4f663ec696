//! What no episode changes: the options of a configuration, and what `init` makes of them.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// The options, checked. Lengths in px, speeds in px/subframe.
#[derive(Debug, Clone)]
pub struct World {
    /// `Pong.width`.
    pub width: f32,
    /// `Pong.height`.
    pub height: f32,
    /// `Pong.paddle_width`, which no rule uses.
    pub paddle_width: f32,
    /// `Pong.paddle_height`.
    pub paddle_height: f32,
    /// `Pong.ball_width`.
    pub ball_width: f32,
    /// `Pong.ball_height`.
    pub ball_height: f32,
    /// `Pong.paddle_speed`.
    pub paddle_speed: f32,
    /// `Pong.ball_initial_speed_x`.
    pub ball_initial_speed_x: f32,
    /// `Pong.ball_initial_speed_y`.
    pub ball_initial_speed_y: f32,
    /// `Pong.ball_max_speed_y`.
    pub ball_max_speed_y: f32,
    /// `Pong.ball_speed_y_increment`.
    pub ball_speed_y_increment: f32,
    /// `Pong.min_paddle_y`, from `init`.
    pub min_paddle_y: f32,
    /// `Pong.max_paddle_y`, from `init`.
    pub max_paddle_y: f32,
    /// `Pong.max_score`, points; an integer divisor, at least 1.
    pub max_score: u32,
    /// Subframes of one step, at least 1.
    pub frameskip: u32,
    /// 1 where the action is the paddle's direction as it is, else 0.
    pub continuous: u32,
    /// `paddle_height / 2`.
    pub half_paddle_height: f32,
    /// What `compute_observations` subtracts from both paddles and the ball's place: 0 for the ball.
    pub place_offsets: [f32; 4],
    /// What `compute_observations` divides by: twice the paddles' range, then the court's width and height.
    pub place_divisors: [f32; 4],
    /// What `compute_observations` adds to the ball's speeds, then 0 for the two scores.
    pub speed_offsets: [f32; 4],
    /// What `compute_observations` divides the ball's speeds by, then 1 for the two scores.
    pub speed_divisors: [f32; 4],
}

impl World {
    /// Takes every option that a configuration gives, by name and range; then `init`.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        let width = options.f32("width", 500.0, f32::MIN..=f32::MAX)?;
        let height = options.f32("height", 640.0, f32::MIN..=f32::MAX)?;
        let paddle_width = options.f32("paddle_width", 20.0, f32::MIN..=f32::MAX)?;
        let paddle_height = options.f32("paddle_height", 70.0, f32::MIN..=f32::MAX)?;
        let ball_width = options.f32("ball_width", 32.0, f32::MIN..=f32::MAX)?;
        let ball_height = options.f32("ball_height", 32.0, f32::MIN..=f32::MAX)?;
        let paddle_speed = options.f32("paddle_speed", 8.0, f32::MIN..=f32::MAX)?;
        let ball_initial_speed_x = options.f32("ball_initial_speed_x", 10.0, f32::MIN..=f32::MAX)?;
        let ball_initial_speed_y = options.f32("ball_initial_speed_y", 1.0, f32::MIN..=f32::MAX)?;
        let ball_max_speed_y = options.f32("ball_max_speed_y", 13.0, f32::MIN..=f32::MAX)?;
        let ball_speed_y_increment = options.f32("ball_speed_y_increment", 3.0, f32::MIN..=f32::MAX)?;
        let max_score = options.u32("max_score", 21, 1..=u32::MAX)?;
        let frameskip = options.u32("frameskip", 1, 1..=1_000_000)?;
        let continuous = u32::from(options.bool("continuous", false)?);
        options.finish()?;
        let min_paddle_y = -paddle_height / 2.0;
        let max_paddle_y = height - paddle_height / 2.0;
        let paddle_range = max_paddle_y - min_paddle_y;
        Ok(World {
            width,
            height,
            paddle_width,
            paddle_height,
            ball_width,
            ball_height,
            paddle_speed,
            ball_initial_speed_x,
            ball_initial_speed_y,
            ball_max_speed_y,
            ball_speed_y_increment,
            min_paddle_y,
            max_paddle_y,
            max_score,
            frameskip,
            continuous,
            half_paddle_height: paddle_height / 2.0,
            place_offsets: [min_paddle_y, min_paddle_y, 0.0, 0.0],
            place_divisors: [paddle_range, paddle_range, width, height],
            speed_offsets: [ball_initial_speed_x, ball_max_speed_y, 0.0, 0.0],
            speed_divisors: [2.0 * ball_initial_speed_x, 2.0 * ball_max_speed_y, 1.0, 1.0],
        })
    }

    /// The sizes of env.toml: 12 canonical words, 8 observed f32, rows of 6 and of 5 f32.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: if self.continuous == 1 {
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
