//! The two messages of `hello` as types: where the published schema comes from, and what tests hold real messages to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What the judge sends.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HelloRequest {
    protocol: String,
    environment: String,
    configuration: HelloConfiguration,
    settings: Map<String, Value>,
    files: BTreeMap<String, String>,
    lanes: u32,
    agents: u32,
    width: u32,
    action: HelloAction,
    draws: HelloDraws,
    grains: Vec<HelloGrain>,
    canonical: Vec<HelloField>,
    observation: Vec<HelloField>,
    reward: String,
    resets: String,
    episode_steps_max: Option<u32>,
    digests: Vec<String>,
}

/// The configuration, with the hash that is repeated in the reply.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HelloConfiguration {
    name: String,
    hash: String,
    options: Map<String, Value>,
}

/// What an action is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum HelloAction {
    Discrete { count: u32, extra: u32, mask: bool },
    Continuous { low: f64, high: f64 },
}

/// How randomness is compared.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HelloDraws {
    level: String,
    sites: Vec<String>,
    named: bool,
}

/// One grain.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HelloGrain {
    name: String,
    row: Vec<HelloField>,
}

/// One field.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HelloField {
    name: String,
    dtype: String,
    shape: Vec<u32>,
}

/// What a side answers. Keys that the judge does not know are allowed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HelloReply {
    protocol: String,
    environment: String,
    name: String,
    version: String,
    configuration_hash: String,
    digest: String,
    canonical_bytes: u64,
    state_bytes: u64,
    observation_bytes: u64,
    mask_bytes: u64,
    reward_bytes: u64,
    row_bytes: Vec<u64>,
    capabilities: HelloCapabilities,
}

/// What a side can do.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct HelloCapabilities {
    snapshot: bool,
    inject: String,
    probe: Vec<String>,
    explain: bool,
    draw_sites: bool,
    #[serde(default = "yes")]
    grains: bool,
}

fn yes() -> bool {
    true
}

/// Both messages, for the published schema.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hello {
    /// What the judge sends.
    Request(Box<HelloRequest>),
    /// What a side answers.
    Reply(Box<HelloReply>),
}
