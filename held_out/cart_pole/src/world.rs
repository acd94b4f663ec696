//! What no episode changes: the options of a configuration, and the constants of `CartPoleEnv.__init__`.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// `self.gravity`, in m/s^2.
pub const GRAVITY: f64 = 9.8;
/// `self.masscart`.
pub const MASSCART: f64 = 1.0;
/// `self.masspole`.
pub const MASSPOLE: f64 = 0.1;
/// `self.total_mass`.
pub const TOTAL_MASS: f64 = MASSPOLE + MASSCART;
/// `self.length`: half of the pole's length.
pub const LENGTH: f64 = 0.5;
/// `self.polemass_length`.
pub const POLEMASS_LENGTH: f64 = MASSPOLE * LENGTH;
/// `self.force_mag`.
pub const FORCE_MAG: f64 = 10.0;
/// `self.tau`: seconds between state updates.
pub const TAU: f64 = 0.02;
/// `self.theta_threshold_radians`: `12 * 2 * math.pi / 360`, the whole numbers multiplied first.
pub const THETA_THRESHOLD: f64 = 24.0 * std::f64::consts::PI / 360.0;
/// `self.x_threshold`.
pub const X_THRESHOLD: f64 = 2.4;
/// The lower bound of a fresh state's numbers.
pub const RESET_LOW: f64 = -0.05;
/// The upper bound of a fresh state's numbers.
pub const RESET_HIGH: f64 = 0.05;

/// The options, checked.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// `self._sutton_barto_reward`, 0 or 1.
    pub sutton_barto_reward: u32,
}

impl World {
    /// Takes the reference's only option of the rules; no configuration gives it so far.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        let world = World { sutton_barto_reward: u32::from(options.bool("sutton_barto_reward", false)?) };
        options.finish()?;
        Ok(world)
    }

    /// The sizes of env.toml. 4 * 8 + 4 + 1 canonical bytes, 4 observed f32.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 2, extra: 0, mask: false },
            canonical_bytes: 37,
            observation_bytes: 16,
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: Some(500),
            resets: Resets::Harness,
        }
    }
}
