//! What no episode changes: the constants of ferry.ts and the limit of the constructor.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// `WIDTH`.
pub const WIDTH: i32 = 15;
/// `HEIGHT`.
pub const HEIGHT: i32 = 9;
/// `CAPACITY`, passengers aboard.
pub const CAPACITY: usize = 4;
/// `QUEUE`, passengers waiting.
pub const QUEUE: usize = 8;
/// `DRIFT`, pieces of debris.
pub const DRIFT: usize = 10;
/// `TANK`.
pub const TANK: i32 = 60;
/// `PIERS`.
pub const PIERS: [(i32, i32); 3] = [(0, 1), (0, 7), (14, 4)];

/// The manifest's bound of `aboard`.
pub const ABOARD_MAX: usize = 8;
/// The manifest's bound of `waiting`.
pub const WAITING_MAX: usize = 16;
/// The manifest's bound of `debris`.
pub const DEBRIS_MAX: usize = 16;

/// What the constructor keeps.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// `Ferry.ticksMax`, in ticks.
    pub ticks_max: i32,
}

impl World {
    /// No configuration gives an option, so the limit is the reference's default.
    pub fn new(options: Options, _files: &Files) -> Result<Self, WorldError> {
        options.finish()?;
        Ok(World { ticks_max: 300 })
    }

    /// The sizes of env.toml.
    ///
    /// Canonical: 8 i32 = 32, wind 1, aboard 3 * 8 * 4 + 4 = 100, waiting 3 * 16 * 4 + 4 = 196, debris 196,
    /// refuelled 1, capacity 4: 530 bytes. Observed: 14 f64 = 112 bytes.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 8, extra: 0, mask: true },
            canonical_bytes: 530,
            observation_bytes: 112,
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: None,
            resets: Resets::Harness,
        }
    }
}
