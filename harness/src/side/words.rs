//! What is asked of a side and what it answers, as values: starts, injections, tokens, digests, records.

use crate::manifest::Configuration;
use crate::record::Record;
use lockstep_core::wire::WINDOW_STEPS_MAX;
use serde_json::{Value, json};
use std::time::Duration;

/// What a side can do beside playing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// `full`, `patch` or `none`.
    pub inject: String,
    /// Functions that can be probed.
    pub probe: Vec<String>,
    /// Whether it explains a step.
    pub explain: bool,
    /// Whether its draws are named by site.
    pub draw_sites: bool,
    /// Whether it keeps the rows of grains.
    pub grains: bool,
}

/// What a run decides about both sides.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Lanes.
    pub lanes: usize,
    /// Digest algorithms, best first.
    pub digests: Vec<&'static str>,
    /// Whether draws are logged with sites.
    pub named: bool,
    /// Settings of a reference.
    pub settings: Value,
    /// How long one request may take.
    pub deadline: Duration,
}

impl Terms {
    /// The terms that a reference is asked first with.
    pub fn new(lanes: usize) -> Self {
        Terms {
            lanes,
            digests: vec!["xxh64", "blake2b"],
            named: true,
            settings: json!({}),
            deadline: Duration::from_secs(60),
        }
    }
}

/// Where a lane's draws come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The counter generator.
    Seeded,
    /// A list.
    Listed(Vec<u32>),
}

/// How one lane starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStart {
    /// The lane.
    pub lane: u32,
    /// The run's seed.
    pub seed: u64,
    /// The lane's stream.
    pub stream: u64,
    /// The episode to begin with.
    pub episode: u32,
    /// Its draws.
    pub source: Source,
}

/// A state to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// The lane, its seeds and draws.
    pub start: LaneStart,
    /// Steps already made in the episode.
    pub elapsed: u32,
    /// The next draw.
    pub draw_index: u32,
    /// The state form.
    pub state: Vec<u8>,
    /// The observations of all agents.
    pub observations: Vec<u8>,
}

/// Tokens for lanes from `lane_first` on.
#[derive(Debug, Clone, Copy)]
pub struct Play<'a> {
    /// The first lane.
    pub lane_first: usize,
    /// How many lanes.
    pub lane_count: usize,
    /// How many steps of each.
    pub step_count: usize,
    /// Lane-major.
    pub tokens: &'a [u32],
    /// Rows wanted.
    pub grain: Option<usize>,
    /// Steps of a window.
    pub window: usize,
}

impl<'a> Play<'a> {
    /// One lane's tokens in windows of full length.
    pub fn one_lane(configuration: &Configuration, lane: usize, tokens: &'a [u32]) -> Self {
        Play {
            lane_first: lane,
            lane_count: 1,
            step_count: tokens.len() / configuration.tokens_per_step(),
            tokens,
            grain: None,
            window: WINDOW_STEPS_MAX as usize,
        }
    }
}

/// The digests of one lane's windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// Episodes that ended.
    pub episodes_ended: u32,
    /// The chain after each window.
    pub chains: Vec<u64>,
}

/// One record of a step, with its place among the tokens and its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// The step that it belongs to, from 0.
    pub step: usize,
    /// The record.
    pub record: Record,
    /// The rows of the grain asked for.
    pub rows: Vec<u8>,
    /// The bytes that are digested.
    pub bytes: Vec<u8>,
}
