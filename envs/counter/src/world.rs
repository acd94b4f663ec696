//! What no episode changes: the options of a configuration, checked once.

use lockstep_core::{ActionKind, Files, Options, RegionShape, Resets, Shape, WorldError};

/// Bytes of the memory where there is one.
pub const MEMORY_BYTES: u32 = 65_536;

/// Where the random numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawsFrom {
    /// The harness: served, or replayed from what the reference drew.
    Harness,
    /// The reference's generator, ported; its state is `State::generator`.
    Generator,
}

/// The options, checked.
#[derive(Debug, Clone)]
pub struct World {
    /// 1 or 2.
    pub agents: usize,
    /// The value that ends the episode.
    pub limit: i32,
    /// Bytes of the memory, 0 for none.
    pub memory: u32,
    /// Where the random numbers come from.
    pub draws: DrawsFrom,
}

impl World {
    /// Reads the options by name and range; unknown ones are refused.
    ///
    /// # Errors
    /// Names the option that is wrong.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        let agents = options.u32("agents", 1, 1..=2)? as usize;
        let limit = options.u32("limit", 10, 1..=1000)? as i32;
        let memory = options.u32("memory", 0, 0..=MEMORY_BYTES)?;
        if memory != 0 && memory != MEMORY_BYTES {
            return Err(WorldError(format!("option memory is {memory}, not 0 or {MEMORY_BYTES}")));
        }
        let draws = match options.choice("draws", &["served", "exact", "recorded"])? {
            1 => DrawsFrom::Generator,
            _ => DrawsFrom::Harness,
        };
        options.finish()?;
        Ok(World { agents, limit, memory, draws })
    }

    /// The sizes that follow from the options; they must be those of `env.toml`.
    pub fn shape(&self) -> Shape {
        let memory = RegionShape { name: "memory", bytes: MEMORY_BYTES as usize, canonical: true };
        Shape {
            agents: self.agents,
            width: 1,
            action: ActionKind::Discrete { count: 4, extra: 0, mask: true },
            canonical_bytes: 24,
            observation_bytes: 12,
            row_bytes: vec![8],
            regions: if self.memory > 0 { vec![memory] } else { vec![] },
            episode_steps_max: Some(if self.memory > 0 { 256 } else { 64 }),
            resets: Resets::Harness,
        }
    }
}
