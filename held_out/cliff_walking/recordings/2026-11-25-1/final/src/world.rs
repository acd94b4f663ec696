//! What no episode changes: the grid of CliffWalkingEnv.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// `self.shape[0]`.
pub const ROWS: i32 = 4;
/// `self.shape[1]`.
pub const COLS: i32 = 12;
/// `self.nS`.
pub const CELLS: i32 = 48;
/// `self.start_state_index`: row 3, column 0.
pub const START: i32 = 36;
/// The terminal state: row 3, column 11.
pub const GOAL: i32 = 47;

/// The world; the one word keeps it from being empty on a device.
#[derive(Debug, Clone)]
pub struct World {
    /// The cell in which an episode begins, always `START`.
    pub start: i32,
}

impl World {
    /// The only configuration gives no options, so none is taken.
    pub fn new(options: Options, _files: &Files) -> Result<Self, WorldError> {
        options.finish()?;
        Ok(World { start: START })
    }

    /// The sizes of env.toml. 4 + 4 + 1 canonical bytes, one observed i32.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 4, extra: 0, mask: false },
            canonical_bytes: 9,
            observation_bytes: 4,
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: None,
            resets: Resets::Harness,
        }
    }
}
