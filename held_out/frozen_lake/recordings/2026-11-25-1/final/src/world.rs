//! What no episode changes: the map of FrozenLake-v1, "4x4", slippery.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// `MAPS["4x4"]`: SFFF, FHFH, FFFH, HFFG.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// `nrow`.
    pub nrow: u32,
    /// `ncol`.
    pub ncol: u32,
    /// Bit s is set where tile s is H.
    pub hole: u32,
    /// Bit s is set where tile s is G.
    pub goal: u32,
    /// The tile of S.
    pub start: u32,
}

impl World {
    /// The only configuration gives no options, so all are the reference's defaults: `map_name` "4x4", `is_slippery`
    /// true, `success_rate` 1.0 / 3.0, `reward_schedule` (1, 0, 0).
    pub fn new(options: Options, _files: &Files) -> Result<Self, WorldError> {
        options.finish()?;
        Ok(World {
            nrow: 4,
            ncol: 4,
            hole: (1 << 5) | (1 << 7) | (1 << 11) | (1 << 12),
            goal: 1 << 15,
            start: 0,
        })
    }

    /// The sizes of env.toml: 4 + 4 + 1 canonical bytes, one observed i32.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 4, extra: 0, mask: false },
            canonical_bytes: 9,
            observation_bytes: 4,
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: Some(100),
            resets: Resets::Harness,
        }
    }

    /// `letter in b"GH"` of tile `s`.
    pub fn is_end(&self, s: i32) -> bool {
        (self.hole | self.goal) & (1u32 << (s & 31)) != 0
    }

    /// Whether tile `s` is G.
    pub fn is_goal(&self, s: i32) -> bool {
        self.goal & (1u32 << (s & 31)) != 0
    }
}
