//! The policies of rollouts: pure functions from (seed, lane, step) to tokens, so that any lane can be played again.

use crate::manifest::{Action, Configuration};

/// The policies, by lane modulo their number.
pub const POLICIES: [&str; 6] = ["uniform", "sticky", "swarm", "constant", "extremes", "odd"];

/// Makes tokens.
#[derive(Debug, Clone, Copy)]
pub struct Tokens {
    seed: u64,
}

impl Tokens {
    /// Tokens of one run.
    pub fn new(seed: u64) -> Self {
        Tokens { seed }
    }

    /// The tokens of one lane for steps `from..to`, appended.
    pub fn fill(&self, configuration: &Configuration, stream: u64, from: u64, to: u64, out: &mut Vec<u32>) {
        let policy = (stream % POLICIES.len() as u64) as usize;
        let lane = mix(self.seed ^ mix(stream));
        for step in from..to {
            for place in 0..configuration.tokens_per_step() as u64 {
                out.push(token(&configuration.action, policy, lane, step, place));
            }
        }
    }
}

fn token(action: &Action, policy: usize, lane: u64, step: u64, place: u64) -> u32 {
    let fresh = mix(lane ^ mix(step << 6 | place));
    // Holds a choice for 1 to 32 steps, as a human or a trained policy would.
    let held = mix(lane ^ mix((step / (1 + lane % 32)) << 6 | place) ^ 0x5EED);
    match action {
        Action::Discrete { names, extra, .. } => {
            let ordinary = |bits: u64| bits as u32 & 0x7FFF_FFFF;
            match policy {
                0 => ordinary(fresh),
                1 => ordinary(held),
                // Only some of the choices, differently weighted in each lane.
                2 => {
                    let kinds = 1 + (lane >> 8) % names.len().max(1) as u64;
                    ordinary(mix(lane ^ (fresh % kinds)))
                }
                3 => ordinary(mix(lane ^ place)),
                4 => {
                    if held >> 32 & 1 == 0 {
                        0
                    } else {
                        names.len() as u32 - 1
                    }
                }
                _ if extra.is_empty() => ordinary(if fresh >> 40 & 3 == 0 { held } else { fresh }),
                _ if fresh >> 40 & 7 == 0 => fresh as u32 | 0x8000_0000,
                _ => ordinary(fresh),
            }
        }
        Action::Continuous { low, high } => {
            let unit = |bits: u64| (bits >> 40) as f32 / (1u32 << 24) as f32;
            let between = |bits: u64| low + (high - low) * unit(bits);
            let value = match policy {
                0 => between(fresh),
                1 => between(held),
                2 => {
                    if fresh & 3 == 0 {
                        between(fresh)
                    } else {
                        0.0
                    }
                }
                3 => between(mix(lane ^ place)),
                4 => {
                    if held & 1 == 0 {
                        *low
                    } else {
                        *high
                    }
                }
                _ => 4.0 * between(fresh),
            };
            value.to_bits().rotate_left(1)
        }
    }
}

/// SplitMix64's finalizer: cheap, and good enough to choose actions.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// Numbers for the judge's own choices: the same in every run with the same seed.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// A stream of numbers.
    pub fn new(seed: u64) -> Self {
        Noise(mix(seed))
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        ((u128::from(mix(self.0)) * u128::from(bound)) >> 64) as u64
    }
}
