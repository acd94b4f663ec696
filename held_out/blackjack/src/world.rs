//! What no episode changes: the keyword arguments of the environment.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// The options, checked.
#[derive(Debug, Clone)]
pub struct World {
    /// `BlackjackEnv.natural`.
    pub natural: bool,
    /// `BlackjackEnv.sab`.
    pub sab: bool,
}

impl World {
    /// Takes every option by name.
    ///
    /// The class has `sab=False`, but the adapter builds it with `gymnasium.make('Blackjack-v1', **options)`, so the
    /// registration's keyword arguments are the defaults: `sab=True, natural=False`.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        let world = World { natural: options.bool("natural", false)?, sab: options.bool("sab", true)? };
        options.finish()?;
        Ok(world)
    }

    /// The sizes of env.toml. 64 + 4 + 64 + 4 + 1 + 1 + 4 canonical bytes, 3 observed i32.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 2, extra: 0, mask: false },
            canonical_bytes: 142,
            observation_bytes: 12,
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: None,
            resets: Resets::Harness,
        }
    }
}
