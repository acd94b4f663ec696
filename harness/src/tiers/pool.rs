//! States to begin from: what the reference reaches, and what can be put together from it.
//!
//! A generated state takes most fields from one visited state and some from others, or from the edges of what was seen.
//! The reference decides whether it is one: what it refuses is counted and left out.

use super::policy::{Noise, Tokens};
use crate::manifest::{Configuration, Dtype};
use crate::side::{LaneStart, Play, Side, SideError, Source};
use crate::trace::{StartState, Trace};
use lockstep_core::HEAD_STEP;
use lockstep_core::wire::Mode;

/// A state that the reference reached.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its episode.
    pub episode: u32,
    /// The state form with what belongs to it.
    pub start: StartState,
}

/// Visited states of one configuration.
pub struct Pool {
    /// Them.
    pub states: Vec<Seen>,
    seed: u64,
}

impl Pool {
    /// Plays `traces` traces of `steps` steps on the reference and keeps every state.
    ///
    /// # Errors
    /// If the reference fails.
    pub fn gather(
        reference: &mut Side,
        configuration: &Configuration,
        seed: u64,
        traces: u64,
        steps: u64,
    ) -> Result<Self, SideError> {
        let mut states = Vec::new();
        for index in 0..traces {
            let stream = (1 << 42) + index;
            let mut tokens = Vec::new();
            Tokens::new(seed).fill(configuration, stream, 0, steps, &mut tokens);
            let start = LaneStart { lane: 0, seed, stream, episode: 0, source: Source::Seeded };
            let first = reference.reset_in_full(&start, Mode::State)?;
            let (mut episode, mut elapsed, mut draw_index) = (0, 0, first.record.draws.len() as u32);
            let mut push = |episode, elapsed, draw_index, record: &crate::record::Record| {
                states.push(Seen {
                    episode,
                    start: StartState {
                        elapsed,
                        draw_index,
                        state: record.canonical.clone(),
                        observations: record.observations.clone(),
                    },
                });
            };
            push(episode, elapsed, draw_index, &first.record);
            let play = Play::one_lane(configuration, 0, &tokens);
            for stepped in reference.play_in_full(play, Mode::State)?.remove(0) {
                let record = &stepped.record;
                draw_index += record.draws.len() as u32;
                elapsed += u32::from(record.kind == HEAD_STEP);
                if record.ended() {
                    (episode, elapsed, draw_index) = (episode + 1, 0, 0);
                    // The state at an end is no place to go on from, unless the reference has reset already.
                    if !configuration.reference_resets {
                        continue;
                    }
                }
                push(episode, elapsed, draw_index, record);
            }
        }
        Ok(Pool { states, seed })
    }

    /// A visited state.
    pub fn any(&self, noise: &mut Noise) -> &Seen {
        &self.states[noise.below(self.states.len() as u64) as usize]
    }

    /// A trace without tokens that starts in `seen`.
    pub fn trace(&self, configuration: &Configuration, seen: &Seen) -> Trace {
        let mut trace = Trace::seeded(configuration, self.seed, 1 << 43, Vec::new());
        trace.episode = seen.episode;
        trace.state = Some(seen.start.clone());
        trace
    }

    /// A state that is put together: one visited state in which `changes` values come from elsewhere.
    pub fn mixed(&self, configuration: &Configuration, noise: &mut Noise, changes: u64) -> Seen {
        let mut seen = self.any(noise).clone();
        for _ in 0..changes {
            let fields = configuration.canonical.iter().filter(|field| field.dtype != Dtype::Region).count();
            let place = noise.below(fields.max(1) as u64) as usize;
            self.change(configuration, noise, &mut seen, place);
        }
        seen
    }

    /// Changes one value of the field at `place`: to one seen elsewhere, a neighbour of one, or an edge of its type.
    pub fn change(&self, configuration: &Configuration, noise: &mut Noise, seen: &mut Seen, place: usize) {
        let Some(field) = configuration.canonical.get(place) else { return };
        let offset: usize = configuration.canonical[..place].iter().map(|field| field.state_bytes()).sum();
        let (width, count) = (field.dtype.bytes(), field.count() as u64);
        let at = offset + width * noise.below(count) as usize;
        let other = &self.any(noise).start.state[at..at + width];
        let value = match noise.below(8) {
            0 => edge(field.dtype, noise),
            1 | 2 => neighbour(field.dtype, other, noise.below(2) == 0),
            _ => other.to_vec(),
        };
        seen.start.state[at..at + width].copy_from_slice(&value);
    }

    /// The smallest, middle and largest value that was seen at each place of each field: what features are made of.
    pub fn landmarks(&self, configuration: &Configuration) -> Vec<Landmark> {
        let mut landmarks = Vec::new();
        let mut offset = 0;
        for field in &configuration.canonical {
            let width = field.dtype.bytes();
            if field.dtype != Dtype::Region {
                for index in 0..field.count() {
                    let at = offset + width * index;
                    let mut values: Vec<&[u8]> =
                        self.states.iter().map(|seen| &seen.start.state[at..at + width]).collect();
                    values.sort_by(|a, b| {
                        let (a, b) = (field.dtype.read(a).number(), field.dtype.read(b).number());
                        a.total_cmp(&b)
                    });
                    values.dedup();
                    let picks = [0, values.len() / 2, values.len() - 1].map(|pick| values[pick].to_vec());
                    let mut picks = picks.to_vec();
                    picks.dedup();
                    landmarks.push(Landmark { at, values: picks });
                }
            }
            offset += field.state_bytes();
        }
        landmarks
    }
}

/// The values of one place that stand for its range.
pub struct Landmark {
    /// Where it stands in the state form.
    pub at: usize,
    /// One to three values.
    pub values: Vec<Vec<u8>>,
}

fn edge(dtype: Dtype, noise: &mut Noise) -> Vec<u8> {
    let whole = [0i64, 1, -1, 2, 127, 255, 32_767, 65_535][noise.below(8) as usize];
    match dtype {
        Dtype::F32 => (whole as f32 * [1.0, 0.5, 0.1][noise.below(3) as usize]).to_le_bytes().to_vec(),
        Dtype::F64 => (whole as f64 * [1.0, 0.5, 0.1][noise.below(3) as usize]).to_le_bytes().to_vec(),
        _ => whole.to_le_bytes()[..dtype.bytes()].to_vec(),
    }
}

fn neighbour(dtype: Dtype, bytes: &[u8], up: bool) -> Vec<u8> {
    match dtype {
        Dtype::F32 => {
            let value = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
            (if up { value.next_up() } else { value - 1.0 }).to_le_bytes().to_vec()
        }
        Dtype::F64 => {
            let value = f64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            (if up { value.next_up() } else { value - 1.0 }).to_le_bytes().to_vec()
        }
        _ => {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let value = u64::from_le_bytes(word);
            let value = if up { value.wrapping_add(1) } else { value.wrapping_sub(1) };
            value.to_le_bytes()[..bytes.len()].to_vec()
        }
    }
}
