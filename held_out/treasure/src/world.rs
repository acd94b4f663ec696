//! What no episode changes: the size of the board.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// The board.
#[derive(Debug, Clone)]
pub struct World {
    /// `Treasure.size`: the side of the square board in cells.
    pub size: i32,
}

impl World {
    /// No configuration gives an option: `Treasure()` with its default size.
    pub fn new(options: Options, _files: &Files) -> Result<Self, WorldError> {
        options.finish()?;
        Ok(World { size: 6 })
    }

    /// The sizes of env.toml. 4 + 4 + 4 + 1 + 8 * 2 * 4 + 4 + 4 canonical bytes, 3 observed f64.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 5, extra: 0, mask: false },
            canonical_bytes: 85,
            observation_bytes: 24,
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: None,
            resets: Resets::Harness,
        }
    }
}
