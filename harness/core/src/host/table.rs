//! What `harness/cuda/host_shim.h` exports, in Rust: the structs of the kernels and the table of their launchers.

use crate::shape::{ActionKind, Resets, Shape};
use bytemuck::{Pod, Zeroable};
use std::ffi::c_char;

/// The version of [`HostTable`].
pub(crate) const TABLE_VERSION: u32 = 3;
/// Words of a layout at most.
pub(crate) const LAYOUT_WORDS_MAX: usize = 1024;
pub(crate) const GRAIN_NONE: u32 = u32::MAX;
const REGIONS_MAX: usize = 8;
const GRAINS_MAX: usize = 16;

/// The launchers of one environment's kernels: each plays `count` lanes, one after the other, and returns null or what
/// the source did that it must not do.
#[repr(C)]
pub struct HostTable {
    pub(super) version: u32,
    pub(super) size: u32,
    pub(super) layout: unsafe extern "C" fn(u32, *mut u32),
    pub(super) limits: unsafe extern "C" fn(u32, *mut u32, *mut u32, *const u8),
    pub(super) reset: unsafe extern "C" fn(
        u32,
        *const RawLanes,
        *const RawRecords,
        *const u8,
        *const RawShape,
        *const u8,
        u32,
    ) -> *const c_char,
    pub(super) step_many: unsafe extern "C" fn(
        u32,
        *const RawLanes,
        *const RawRecords,
        *const u8,
        *const RawShape,
        *const RawSteps,
    ) -> *const c_char,
    pub(super) step:
        unsafe extern "C" fn(u32, *const RawLanes, *mut u32, *const u8, *const RawShape, *const u32) -> *const c_char,
    pub(super) rollout:
        unsafe extern "C" fn(u32, *const RawRollout, *const RawLanes, *const u8, *const RawShape) -> *const c_char,
    pub(super) observe:
        unsafe extern "C" fn(u32, *mut u8, *const RawLanes, *const u8, *const RawShape) -> *const c_char,
    pub(super) legal: unsafe extern "C" fn(u32, *const RawLanes, *const u8, *const RawShape) -> *const c_char,
    pub(super) inject: unsafe extern "C" fn(
        u32,
        *mut u32,
        *const RawLanes,
        *const RawRecords,
        *const u8,
        *const RawShape,
        *const u8,
    ) -> *const c_char,
}

/// `LsHeader`: [`Header`](crate::Header), the kind of source and the place in its list, and who decides next.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
pub(crate) struct RawHeader {
    pub seed: u64,
    pub stream: u64,
    pub list_place: u64,
    pub episode: u32,
    pub elapsed: u32,
    pub draw_index: u32,
    pub deciders: u32,
    pub listed: u32,
    pub unused: u32,
}

/// `LsList`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawList {
    pub values: *const u32,
    pub count: u64,
}

/// `LsLanes`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawLanes {
    pub headers: *mut RawHeader,
    pub states: *mut u32,
    pub regions: *mut u32,
    pub observations: *mut u8,
    pub rewards: *mut u8,
    pub masks: *mut u32,
    pub lists: *const RawList,
    pub first: u32,
    pub stride: u32,
}

/// `LsRecords`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRecords {
    pub bytes: *mut u8,
    pub used: *mut u32,
    pub rows: *mut u8,
    pub rows_used: *mut u32,
    pub ended: *mut u32,
    pub stride: u32,
    pub rows_stride: u32,
}

/// `LsSteps`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawSteps {
    pub tokens: *const u32,
    pub tokens_stride: u32,
    pub step_count: u32,
    pub grain: u32,
    pub resets: u32,
    pub named: u32,
}

/// `LsRollout`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRollout {
    pub digests: *mut u64,
    pub played: *mut u32,
    pub ended: *mut u32,
    pub heads: *mut u32,
    pub seed: u64,
    pub step_count: u32,
    pub unused: u32,
}

/// `LsShape`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct RawShape {
    agents: u32,
    width: u32,
    action: u32,
    count: u32,
    extra: u32,
    mask_words: u32,
    canonical_bytes: u32,
    canonical_regions: u32,
    observation_bytes: u32,
    episode_steps_max: u32,
    resets: u32,
    pub region_words: u32,
    pub region_first: [u32; REGIONS_MAX],
    region_bytes: [u32; REGIONS_MAX],
    row_bytes: [u32; GRAINS_MAX],
}

impl RawShape {
    /// The same sizes as plain words.
    pub fn of(shape: &Shape) -> Self {
        assert!(shape.regions.len() <= REGIONS_MAX && shape.row_bytes.len() <= GRAINS_MAX);
        let (action, count, extra) = match shape.action {
            ActionKind::Discrete { count, extra, .. } => (0, count, extra),
            ActionKind::Continuous => (1, 0, 0),
        };
        let mut raw = RawShape {
            agents: shape.agents as u32,
            width: shape.width as u32,
            action,
            count,
            extra,
            mask_words: shape.mask_words() as u32,
            canonical_bytes: shape.canonical_bytes as u32,
            canonical_regions: shape.regions.iter().filter(|region| region.canonical).count() as u32,
            observation_bytes: shape.observation_bytes as u32,
            // A limit of 0 would end an episode at its first step, as 1 does.
            episode_steps_max: shape.episode_steps_max.map_or(0, |limit| limit.max(1)),
            resets: u32::from(shape.resets == Resets::Harness),
            region_words: 0,
            region_first: [0; REGIONS_MAX],
            region_bytes: [0; REGIONS_MAX],
            row_bytes: [0; GRAINS_MAX],
        };
        for (i, region) in shape.regions.iter().enumerate() {
            assert_eq!(region.bytes % 4, 0, "a region is made of words");
            raw.region_first[i] = raw.region_words;
            raw.region_bytes[i] = region.bytes as u32;
            raw.region_words += region.bytes as u32 / 4;
        }
        for (raw, bytes) in raw.row_bytes.iter_mut().zip(&shape.row_bytes) {
            *raw = *bytes as u32;
        }
        raw
    }
}
