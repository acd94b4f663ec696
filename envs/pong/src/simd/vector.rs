//! What the rules need of an instruction set: whole numbers of 16 bits in many lanes, and the singles made of them.
//!
//! A vector has `LANES` *slots*. Where `INTERLEAVED`, slot `2j` holds lane `j` and slot `2j + 1` lane `LANES / 2 + j`:
//! widening the even and the odd slots then gives the two halves of the lanes in order, without a shuffle.

use super::quotient::Quotient;

/// A vector of 16-bit whole numbers.
///
/// # Safety
/// Every function may only be called on a machine that has the instruction set, and pointers must be good for as many
/// values as are read or written there; they need not be aligned.
pub(super) trait Vector: Copy {
    /// How many lanes it holds, at most 32.
    const LANES: usize;
    /// Whether lanes stand in the slots as above, or in order.
    const INTERLEAVED: bool;
    /// One truth value per slot.
    type Mask: Copy;
    /// Singles for one half of the lanes, in order.
    type Floats: Copy;

    unsafe fn splat(value: i16) -> Self;
    unsafe fn load(from: *const i16) -> Self;
    unsafe fn store(self, to: *mut i16);
    /// `LANES` bytes, in the order of the lanes.
    unsafe fn actions(from: *const u8) -> Self;
    /// `LANES` zeros.
    unsafe fn clear(to: *mut u8);

    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn eq(self, other: Self) -> Self::Mask;
    unsafe fn above(self, other: Self) -> Self::Mask;
    /// From 0 to `limit`.
    unsafe fn within(self, limit: Self) -> Self::Mask;

    unsafe fn all() -> Self::Mask;
    unsafe fn and(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// `a` and not `b`.
    unsafe fn and_not(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    unsafe fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Bit i is slot i.
    unsafe fn bits(mask: Self::Mask) -> u32;
    unsafe fn mask(bits: u32) -> Self::Mask;

    /// Divided, rounded once.
    unsafe fn quotient(self, quotient: Quotient) -> [Self::Floats; 2];
    /// The entry that the low three bits name.
    unsafe fn lookup(self, table: &[f32; 8]) -> [Self::Floats; 2];
    /// `(vy + 13) / 26`.
    unsafe fn view_of_vy(self) -> [Self::Floats; 2];
    /// `LANES / 2` values.
    unsafe fn store_floats(floats: Self::Floats, to: *mut f32);
    /// `LANES` rows of 8 values: those of the columns, and two zeros.
    unsafe fn store_rows(columns: [[Self::Floats; 2]; 6], to: *mut f32);
}

/// The slot of a lane.
#[inline(always)]
pub(super) const fn slot_of_lane<V: Vector>(lane: usize) -> usize {
    let half = V::LANES / 2;
    if V::INTERLEAVED { lane % half * 2 + lane / half } else { lane }
}

/// The lane of a slot.
#[inline(always)]
pub(super) const fn lane_of_slot<V: Vector>(slot: usize) -> usize {
    let half = V::LANES / 2;
    if V::INTERLEAVED { slot % 2 * half + slot / 2 } else { slot }
}
