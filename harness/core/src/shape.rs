//! The sizes of a configuration: what a backend tells about itself so that buffers can be laid out.

/// Who resets an environment at the end of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resets {
    /// The driver does, by calling `reset`.
    Harness,
    /// The reference's own step does, so ours does too.
    Reference,
}

/// What an action token means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActionKind {
    /// One of `count` actions, or one of `extra` odd but defined values behind them.
    Discrete {
        /// The number of ordinary actions.
        count: u32,
        /// The number of odd values, as the manifest lists them.
        extra: u32,
        /// Whether some actions are illegal in some states.
        mask: bool,
    },
    /// An f32.
    Continuous,
}

/// A memory of a lane that is too large for `State`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionShape {
    /// Its name in the manifest.
    pub name: &'static str,
    /// Its size in bytes, a multiple of 4.
    pub bytes: usize,
    /// Whether it is a canonical field: compared at each step, and part of an injected state.
    pub canonical: bool,
}

/// The sizes of one configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Agents in this configuration, at most `Rules::AGENTS`, at most 16.
    pub agents: usize,
    /// Action tokens per agent and step.
    pub width: usize,
    /// What a token means.
    pub action: ActionKind,
    /// Bytes of the canonical fields that are not regions.
    pub canonical_bytes: usize,
    /// Bytes of one agent's observation.
    pub observation_bytes: usize,
    /// Bytes of one row of each grain.
    pub row_bytes: Vec<usize>,
    /// The lane's regions.
    pub regions: Vec<RegionShape>,
    /// The time limit, after which an episode is truncated.
    pub episode_steps_max: Option<u32>,
    /// Who resets.
    pub resets: Resets,
}

impl Shape {
    /// Words of one agent's mask; 0 without a mask.
    #[inline]
    pub fn mask_words(&self) -> usize {
        match self.action {
            ActionKind::Discrete { count, mask: true, .. } => (count as usize).div_ceil(32),
            _ => 0,
        }
    }

    /// Tokens of one step of one lane.
    pub fn tokens_per_step(&self) -> usize {
        self.agents * self.width
    }

    /// Bytes of the canonical part of a record, in which a region is its digest.
    pub fn record_canonical_bytes(&self) -> usize {
        self.canonical_bytes + 8 * self.regions.iter().filter(|region| region.canonical).count()
    }

    /// Bytes of the state form, in which a region stands in full.
    pub fn state_bytes(&self) -> usize {
        self.canonical_bytes
            + self.regions.iter().filter(|region| region.canonical).map(|region| region.bytes).sum::<usize>()
    }
}
