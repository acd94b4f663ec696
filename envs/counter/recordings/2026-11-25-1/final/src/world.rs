//! What no episode changes: the options of a configuration.

use lockstep_core::{ActionKind, Files, Options, RegionShape, Resets, Shape, WorldError};

/// Values from 0 whose progress is divided once, in `World::new`.
const PROGRESS_VALUES: usize = 128;

/// The options, checked.
#[derive(Debug, Clone)]
pub struct World {
    /// `Counter.agents`, 1 or 2.
    pub agents: u32,
    /// `Counter.limit`, the value at which somebody wins; at least 1.
    pub limit: i32,
    /// Bytes of `Counter.memory`, 0 where there is none.
    pub memory: u32,
    /// 1 if the ported generator makes the draws, else 0.
    pub exact: u32,
    /// `divide(value, limit)` by value.
    pub progress_table: [f32; PROGRESS_VALUES],
}

/// `value / limit` of `Counter.look`: a division of doubles, rounded when it is packed.
fn divide(value: i32, limit: i32) -> f32 {
    (f64::from(value) / f64::from(limit)) as f32
}

impl World {
    /// Takes every option that a configuration gives, by name and range.
    pub fn new(mut options: Options, _files: &Files) -> Result<Self, WorldError> {
        let agents = options.u32("agents", 1, 1..=2)?;
        let limit = options.u32("limit", 10, 1..=16_777_216)? as i32;
        let memory = options.u32("memory", 0, 0..=65_536)?;
        let draws = options.choice("draws", &["served", "exact", "recorded"])?;
        options.finish()?;
        if memory % 4 != 0 {
            // A region's size is a multiple of 4.
            return Err(WorldError(format!("memory is {memory}, not a multiple of 4")));
        }
        let mut progress_table = [0.0f32; PROGRESS_VALUES];
        for value in 0..PROGRESS_VALUES {
            progress_table[value] = divide(value as i32, limit);
        }
        Ok(World { agents, limit, memory, exact: if draws == 1 { 1 } else { 0 }, progress_table })
    }

    /// `Counter.everybody`.
    #[inline]
    pub fn everybody(&self) -> u32 {
        (1 << self.agents) - 1
    }

    /// `value / limit`, from the table where it has the value. A negative value is far beyond the table's end.
    #[inline]
    pub fn progress(&self, value: i32) -> f32 {
        let place = value as u32 as usize;
        if place < PROGRESS_VALUES {
            self.progress_table[place]
        } else {
            divide(value, self.limit)
        }
    }

    /// The sizes of env.toml. 4 + 4 + 2 * 4 + 4 + 4 canonical bytes, 3 observed f32, rows of a u32 and an i32.
    pub fn shape(&self) -> Shape {
        let regions = if self.memory > 0 {
            vec![RegionShape { name: "memory", bytes: self.memory as usize, canonical: true }]
        } else {
            vec![]
        };
        Shape {
            agents: self.agents as usize,
            width: 1,
            action: ActionKind::Discrete { count: 4, extra: 0, mask: true },
            canonical_bytes: 24,
            observation_bytes: 12,
            row_bytes: vec![8],
            regions,
            // Only the configuration with a memory has the longer limit.
            episode_steps_max: Some(if self.memory > 0 { 256 } else { 64 }),
            resets: Resets::Harness,
        }
    }
}
