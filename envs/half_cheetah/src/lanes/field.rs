//! The lanes, and the one step that training and the judge both take.
//!
//! A step of one lane reads 24 bytes of controls and 216 of state, and writes 224 of state and 8 of reward. The results
//! of a lane do not depend on how many lanes there are, on its place, or on its neighbours.

use super::instructions::{Instructions, Precision};
use super::kernel::Task;
use super::portable;
use crate::rules::HalfCheetah;
use crate::state::State;
use crate::world::World;
use lockstep_core::{Draws, Header, Out, Regions, Rules, Start, Writer};

/// Many cheetahs.
pub struct Field {
    instructions: Instructions,
    precision: Precision,
    world: World,
    states: Vec<State>,
    keys: Vec<u32>,
    order: Vec<u64>,
}

impl Field {
    /// `lanes` lanes at rest, before their first reset.
    pub fn new(world: &World, lanes: usize, instructions: Instructions, precision: Precision) -> Self {
        Field {
            instructions,
            precision,
            world: world.clone(),
            states: vec![bytemuck::Zeroable::zeroed(); lanes],
            keys: vec![0; lanes],
            order: Vec::new(),
        }
    }

    /// What no episode changes.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Starts the episode that a header names in one lane, as the readable backend does.
    pub fn start(&mut self, lane: usize, header: Header, draws: &mut impl Draws) {
        let Header { seed, stream, episode, .. } = header;
        let start = Start { seed, stream, episode };
        HalfCheetah::reset(&self.world, &mut self.states[lane], &mut Nothing, start, draws, &mut Nothing);
        self.keys[lane] = 0;
    }

    /// One lane's state.
    pub fn state(&self, lane: usize) -> &State {
        &self.states[lane]
    }

    /// Sets one lane's state.
    pub fn set(&mut self, lane: usize, state: &State) {
        self.states[lane] = *state;
        self.keys[lane] = 0;
    }

    /// Plays one step of all lanes with the controls of each, which are finite; writes a reward for each.
    pub fn step(&mut self, controls: &[[f32; 6]], rewards: &mut [f64]) {
        assert!(
            controls.len() == self.states.len() && rewards.len() == self.states.len(),
            "controls and rewards are those of all lanes"
        );
        let mut task = Task {
            world: &self.world,
            states: &mut self.states,
            keys: &mut self.keys,
            order: &mut self.order,
            controls,
            rewards,
        };
        match (self.instructions, self.precision) {
            (Instructions::Portable, Precision::Double) => portable::step(&mut task),
            (Instructions::Portable, Precision::Single) => portable::step_single(&mut task),
            // SAFETY: `Instructions::available` and `chosen` give only what the machine has.
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, Precision::Double) => unsafe { super::avx2::step(&mut task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, Precision::Single) => unsafe { super::avx2_single::step(&mut task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, Precision::Double) => unsafe { super::avx512::step(&mut task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, Precision::Single) => unsafe { super::avx512_single::step(&mut task) },
            #[cfg(not(target_arch = "x86_64"))]
            (Instructions::Avx2 | Instructions::Avx512, _) => unreachable!("this machine has none"),
        }
    }

    /// Writes what one lane sees.
    pub fn observe(&self, lane: usize, out: &mut [u8]) {
        HalfCheetah::observe(&self.world, &self.states[lane], &Nothing, 0, &mut Writer::new(out));
    }
}

/// No regions, and nobody who looks at results.
struct Nothing;

impl Regions for Nothing {
    fn load8(&self, _region: usize, _offset: u32) -> u8 {
        unreachable!("half_cheetah has no regions")
    }

    fn store8(&mut self, _region: usize, _offset: u32, _value: u8) {
        unreachable!("half_cheetah has no regions")
    }

    fn load32(&self, _region: usize, _offset: u32) -> u32 {
        unreachable!("half_cheetah has no regions")
    }

    fn store32(&mut self, _region: usize, _offset: u32, _value: u32) {
        unreachable!("half_cheetah has no regions")
    }

    fn clear(&mut self, _region: usize) {
        unreachable!("half_cheetah has no regions")
    }
}

impl Out<f64> for Nothing {
    fn observation(&mut self, _agent: usize) -> Option<Writer<'_>> {
        None
    }

    fn reward(&mut self, _agent: usize, _value: f64) {}

    fn wants(&self, _grain: usize) -> bool {
        false
    }

    fn row(&mut self, _grain: usize) -> Option<Writer<'_>> {
        None
    }
}

/// Draws of resets, noted in the form of a record's log, or nowhere.
#[derive(Default)]
pub(super) struct Noted {
    /// The log so far.
    pub bytes: Vec<u8>,
    /// Whether sites are named.
    pub named: bool,
    /// Whether anybody reads it.
    pub kept: bool,
}

impl Draws for Noted {
    fn below(&mut self, _bound: u32, _site: u32) -> u32 {
        unreachable!("the noise of a reset comes from NumPy's generator, which is ported")
    }

    fn word(&mut self, _site: u32) -> u32 {
        unreachable!("the noise of a reset comes from NumPy's generator, which is ported")
    }

    fn note(&mut self, bound: u64, value: u64, site: u32) {
        if self.kept {
            let site = if self.named { site } else { lockstep_core::SITE_UNNAMED };
            self.bytes.extend_from_slice(&site.to_le_bytes());
            self.bytes.extend_from_slice(&bound.to_le_bytes());
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
}
