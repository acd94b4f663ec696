//! Some lanes next to each other, as a launch sees them.

use super::HostRules;
use super::table::{RawHeader, RawLanes, RawList};
use crate::shape::Shape;
use bytemuck::cast_slice;
use std::ffi::{CStr, c_char};

/// Some lanes next to each other.
pub(super) struct Lanes<'a, R: HostRules> {
    pub shape: &'a Shape,
    pub region_words: usize,
    pub headers: &'a mut [RawHeader],
    pub states: &'a mut [R::State],
    pub regions: &'a mut [u32],
    pub observations: &'a mut [u8],
    pub rewards: &'a mut [R::Reward],
    pub masks: &'a mut [u32],
    pub lists: &'a [Vec<u32>],
    pub chains: &'a mut [u64],
    pub logs: &'a mut [Vec<u8>],
}

impl<'a, R: HostRules> Lanes<'a, R> {
    /// Cuts them into chunks of `size` lanes.
    pub fn chunks(mut self, size: usize) -> Vec<Lanes<'a, R>> {
        fn cut<'a, T>(rest: &mut &'a mut [T], count: usize) -> &'a mut [T] {
            rest.split_off_mut(..count).expect("there are as many as lanes")
        }
        let shape = self.shape;
        let mut chunks = Vec::with_capacity(self.headers.len().div_ceil(size));
        while !self.headers.is_empty() {
            let count = size.min(self.headers.len());
            chunks.push(Lanes {
                shape,
                region_words: self.region_words,
                headers: cut(&mut self.headers, count),
                states: cut(&mut self.states, count),
                regions: cut(&mut self.regions, count * self.region_words),
                observations: cut(&mut self.observations, count * shape.agents * shape.observation_bytes),
                rewards: cut(&mut self.rewards, count * shape.agents),
                masks: cut(&mut self.masks, count * shape.agents * shape.mask_words()),
                lists: self.lists.split_off(..count).expect("there are as many as lanes"),
                chains: cut(&mut self.chains, count),
                logs: cut(&mut self.logs, count),
            });
        }
        chunks
    }

    /// Calls a launcher over all of these lanes.
    ///
    /// # Panics
    /// If the source did what it must not do: that is a bug in it, as a panic of the Rust rules is.
    pub fn launch(&mut self, launcher: impl FnOnce(*const RawLanes) -> *const c_char) {
        let lists: Vec<RawList> =
            self.lists.iter().map(|list| RawList { values: list.as_ptr(), count: list.len() as u64 }).collect();
        let raw = RawLanes {
            headers: self.headers.as_mut_ptr(),
            states: self.states.as_mut_ptr().cast(),
            regions: self.regions.as_mut_ptr(),
            observations: self.observations.as_mut_ptr(),
            rewards: self.rewards.as_mut_ptr().cast(),
            masks: self.masks.as_mut_ptr(),
            lists: lists.as_ptr(),
            first: 0,
            stride: self.headers.len() as u32,
        };
        let fault = launcher(&raw);
        if !fault.is_null() {
            // SAFETY: a launcher returns null or a C string that stays until this thread's next launch.
            let fault = unsafe { CStr::from_ptr(fault) }.to_string_lossy();
            panic!("the CUDA source of {}: {fault}", R::NAME);
        }
    }

    /// The bytes of the canonical regions of `lane`.
    pub fn canonical_regions(&self, lane: usize) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.regions[lane * self.region_words..(lane + 1) * self.region_words];
        self.shape.regions.iter().filter_map(move |region| {
            let (head, tail) = rest.split_at(region.bytes / 4);
            rest = tail;
            region.canonical.then_some(cast_slice(head))
        })
    }
}
