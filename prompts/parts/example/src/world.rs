//! What no episode changes: the options of a configuration.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// The options, checked.
#[derive(Debug, Clone)]
pub struct World {
    /// `Lantern.oil_max`.
    pub oil_max: f32,
    /// Half ticks of one step.
    pub gusts: u32,
    /// Whether `rng` makes the draws.
    pub ported: bool,
}

impl World {
    /// Takes every option that a configuration gives, by name and range.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        let world = World {
            oil_max: options.f32("oil_max", 4.0, 0.001..=1e6)?,
            gusts: options.u32("gusts", 2, 0..=1000)?,
            ported: options.choice("draws", &["served", "exact"])? == 1,
        };
        options.finish()?;
        Ok(world)
    }

    /// The sizes of env.toml. 4 + 4 + 8 + 4 + 4 + 4 canonical bytes, 3 observed f32, rows of two f32.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 3, extra: 0, mask: true },
            canonical_bytes: 28,
            observation_bytes: 12,
            row_bytes: vec![8],
            regions: vec![],
            episode_steps_max: Some(100),
            resets: Resets::Harness,
        }
    }
}
