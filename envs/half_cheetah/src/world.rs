//! What no episode changes: the constructor's options, checked once, and the model.

use crate::model::Model;
use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// The time limit with which Gymnasium registers the environment.
pub const EPISODE_STEPS_MAX: u32 = 1000;

/// The options, checked.
#[derive(Debug, Clone)]
pub struct World {
    /// The cheetah.
    pub model: Model,
    /// Substeps of one step.
    pub frame_skip: u32,
    /// What a unit of speed is worth.
    pub forward_reward_weight: f64,
    /// What a unit of squared control costs; a single, as NumPy makes it.
    pub ctrl_cost_weight: f32,
    /// How far a reset is from the model's own pose.
    pub reset_noise_scale: f64,
    /// Whether the observation leaves out `rootx`.
    pub excludes_position: bool,
}

impl World {
    /// Reads the options by name and range; unknown ones are refused.
    ///
    /// # Errors
    /// Names the option that is wrong.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        let weight = -1e6..=1e6;
        let world = World {
            model: Model::MUJOCO,
            frame_skip: options.u32("frame_skip", 5, 1..=100)?,
            forward_reward_weight: options.f64("forward_reward_weight", 1.0, weight.clone())?,
            ctrl_cost_weight: options.f64("ctrl_cost_weight", 0.1, weight)? as f32,
            reset_noise_scale: options.f64("reset_noise_scale", 0.1, 0.0..=10.0)?,
            excludes_position: options.bool("exclude_current_positions_from_observation", true)?,
        };
        options.finish()?;
        Ok(world)
    }

    /// Numbers in an observation.
    pub fn observation_values(&self) -> usize {
        18 - usize::from(self.excludes_position)
    }

    /// Seconds of one step.
    pub fn dt(&self) -> f64 {
        self.model.timestep * f64::from(self.frame_skip)
    }

    /// The sizes that follow from the options; they must be those of `env.toml`.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 6,
            action: ActionKind::Continuous,
            canonical_bytes: 224,
            observation_bytes: 8 * self.observation_values(),
            row_bytes: vec![224],
            regions: vec![],
            episode_steps_max: Some(EPISODE_STEPS_MAX),
            resets: Resets::Harness,
        }
    }
}
