//! The registers and the local memory of 32 lanes, and what the warps of one block share.

use super::Machine;
use crate::code::*;
use std::cell::UnsafeCell;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Words(pub(super) [u32; 32]);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Wides(pub(super) [u64; 32]);

/// A warp between two of its instructions.
pub(super) struct Warp {
    pub(super) words: Vec<Words>,
    pub(super) wides: Vec<Wides>,
    pub(super) bits: Vec<u32>,
    /// The lanes in which each place was written.
    pub(super) words_known: Vec<u32>,
    pub(super) wides_known: Vec<u32>,
    pub(super) bits_known: Vec<u32>,
    /// Local memory, lane after lane, and one mark for each written byte.
    pub(super) local: Vec<u64>,
    pub(super) local_known: Vec<u8>,
    /// Lanes that wait, with where they go on; the lowest last.
    pub(super) groups: Vec<(u32, u32)>,
    pub(super) first_thread: u32,
    pub(super) instructions: u64,
}

pub(super) struct Scratch {
    pub(super) warps: Vec<Warp>,
    pub(super) shared: Vec<UnsafeCell<u64>>,
    pub(super) shared_known: Vec<UnsafeCell<u8>>,
    /// For each block of code: instructions issued, and executed by threads.
    pub(super) counts: Vec<(u64, u64)>,
}

impl Scratch {
    pub(super) fn of(machine: &Machine<'_>) -> Self {
        let warps = if machine.kernel.waits { machine.grid.threads.div_ceil(32) } else { 1 };
        let shared = machine.kernel.shared_bytes;
        Scratch {
            warps: (0..warps).map(|_| Warp::of(machine)).collect(),
            shared: (0..shared.div_ceil(8)).map(|_| UnsafeCell::new(0)).collect(),
            shared_known: (0..shared).map(|_| UnsafeCell::new(0)).collect(),
            counts: vec![(0, 0); machine.kernel.blocks.len()],
        }
    }
}

impl Warp {
    pub(super) fn of(machine: &Machine<'_>) -> Self {
        let kernel = machine.kernel;
        let [words, wides, bits] = kernel.places.map(|count| count as usize);
        let mut warp = Warp {
            words: vec![Words([0; 32]); words],
            wides: vec![Wides([0; 32]); wides],
            bits: vec![0; bits],
            words_known: vec![0; words],
            wides_known: vec![0; wides],
            bits_known: vec![0; bits],
            local: vec![0; kernel.local_bytes.div_ceil(8) * 32],
            local_known: vec![0; kernel.local_bytes * 32],
            groups: Vec::new(),
            first_thread: 0,
            instructions: 0,
        };
        for (class, place, fixed) in &kernel.fixed {
            let place = *place as usize;
            match (class, fixed) {
                (Class::Word, Fixed::Word(value)) => warp.words[place] = Words([*value; 32]),
                (Class::Wide, Fixed::Wide(value)) => warp.wides[place] = Wides([*value; 32]),
                (Class::Word, Fixed::BlockSize) => warp.words[place] = Words([machine.grid.threads; 32]),
                (Class::Word, Fixed::GridSize) => warp.words[place] = Words([machine.grid.blocks; 32]),
                (Class::Word, Fixed::Lane) => warp.words[place] = Words(std::array::from_fn(|lane| lane as u32)),
                (Class::Word, Fixed::One) => warp.words[place] = Words([1; 32]),
                (Class::Predicate, Fixed::True) => warp.bits[place] = u32::MAX,
                _ => {}
            }
        }
        warp
    }

    /// Before the first instruction of some threads of a block.
    pub(super) fn begin(&mut self, machine: &Machine<'_>, block: u32, first_thread: u32) {
        for known in [&mut self.words_known, &mut self.wides_known, &mut self.bits_known] {
            known.fill(0);
        }
        for (class, place, fixed) in &machine.kernel.fixed {
            let place = *place as usize;
            match class {
                Class::Word => self.words_known[place] = u32::MAX,
                Class::Wide => self.wides_known[place] = u32::MAX,
                Class::Predicate => self.bits_known[place] = u32::MAX,
            }
            match fixed {
                Fixed::Thread => self.words[place] = Words(std::array::from_fn(|lane| first_thread + lane as u32)),
                Fixed::BlockIndex => self.words[place] = Words([block; 32]),
                _ => {}
            }
        }
        self.local_known.fill(0);
        let lanes = (machine.grid.threads - first_thread).min(32);
        self.groups.clear();
        self.groups.push((0, u32::MAX >> (32 - lanes)));
        (self.first_thread, self.instructions) = (first_thread, 0);
    }
}

/// All ones in the lanes of a mask.
#[inline(always)]
pub(super) fn expand(mask: u32) -> [u32; 32] {
    std::array::from_fn(|lane| (mask >> lane & 1).wrapping_neg())
}

/// The lanes of a mask.
pub(super) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            lane
        })
    })
}
