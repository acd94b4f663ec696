//! The vectors of a machine of which nothing is known: arrays and loops, which a compiler turns into what it has.

use super::quotient::{Quotient, VIEW_OF_VY};
use super::vector::Vector;
use std::array::from_fn;

/// 16 lanes.
#[derive(Clone, Copy)]
pub(super) struct Portable([i16; 16]);

/// All bits of a true slot are set.
type Mask = [i16; 16];

#[inline(always)]
fn halves(value: impl Fn(usize) -> f32) -> [[f32; 8]; 2] {
    [from_fn(&value), from_fn(|i| value(8 + i))]
}

#[inline(always)]
fn truth(value: bool) -> i16 {
    -i16::from(value)
}

impl Vector for Portable {
    const LANES: usize = 16;
    const INTERLEAVED: bool = false;
    type Mask = Mask;
    type Floats = [f32; 8];

    #[inline(always)]
    unsafe fn splat(value: i16) -> Self {
        Portable([value; 16])
    }

    #[inline(always)]
    unsafe fn load(from: *const i16) -> Self {
        // SAFETY: the pointer is good for 16 values, as the caller promises.
        Portable(unsafe { from.cast::<[i16; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i16) {
        // SAFETY: the pointer is good for 16 values, as the caller promises.
        unsafe { to.cast::<[i16; 16]>().write_unaligned(self.0) };
    }

    #[inline(always)]
    unsafe fn actions(from: *const u8) -> Self {
        // SAFETY: the pointer is good for 16 bytes, as the caller promises.
        let bytes = unsafe { from.cast::<[u8; 16]>().read_unaligned() };
        Portable(bytes.map(i16::from))
    }

    #[inline(always)]
    unsafe fn clear(to: *mut u8) {
        // SAFETY: the pointer is good for 16 bytes, as the caller promises.
        unsafe { to.cast::<[u8; 16]>().write_unaligned([0; 16]) };
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i].wrapping_sub(other.0[i])))
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i].min(other.0[i])))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i].max(other.0[i])))
    }

    #[inline(always)]
    unsafe fn eq(self, other: Self) -> Mask {
        from_fn(|i| truth(self.0[i] == other.0[i]))
    }

    #[inline(always)]
    unsafe fn above(self, other: Self) -> Mask {
        from_fn(|i| truth(self.0[i] > other.0[i]))
    }

    #[inline(always)]
    unsafe fn within(self, limit: Self) -> Mask {
        from_fn(|i| truth(self.0[i] >= 0) & truth(self.0[i] <= limit.0[i]))
    }

    #[inline(always)]
    unsafe fn all() -> Mask {
        [-1; 16]
    }

    #[inline(always)]
    unsafe fn and(a: Mask, b: Mask) -> Mask {
        from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    unsafe fn and_not(a: Mask, b: Mask) -> Mask {
        from_fn(|i| a[i] & !b[i])
    }

    #[inline(always)]
    unsafe fn select(mask: Mask, yes: Self, no: Self) -> Self {
        Portable(from_fn(|i| (yes.0[i] & mask[i]) | (no.0[i] & !mask[i])))
    }

    #[inline(always)]
    unsafe fn bits(mask: Mask) -> u32 {
        (0..16).fold(0, |bits, i| bits | u32::from(mask[i] != 0) << i)
    }

    #[inline(always)]
    unsafe fn mask(bits: u32) -> Mask {
        from_fn(|i| truth(bits >> i & 1 == 1))
    }

    #[inline(always)]
    unsafe fn quotient(self, quotient: Quotient) -> [[f32; 8]; 2] {
        halves(|i| (i32::from(self.0[i]) * i32::from(quotient.scale)) as f32 * quotient.factor)
    }

    #[inline(always)]
    unsafe fn lookup(self, table: &[f32; 8]) -> [[f32; 8]; 2] {
        halves(|i| table[(self.0[i] & 7) as usize])
    }

    #[inline(always)]
    unsafe fn view_of_vy(self) -> [[f32; 8]; 2] {
        halves(|i| VIEW_OF_VY[(self.0[i] & 31) as usize])
    }

    #[inline(always)]
    unsafe fn store_floats(floats: [f32; 8], to: *mut f32) {
        // SAFETY: the pointer is good for 8 values, as the caller promises.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(floats) };
    }

    #[inline(always)]
    unsafe fn store_rows(columns: [[[f32; 8]; 2]; 6], to: *mut f32) {
        for lane in 0..16 {
            let row: [f32; 8] = from_fn(|i| if i < 6 { columns[i][lane / 8][lane % 8] } else { 0.0 });
            // SAFETY: the pointer is good for 16 rows of 8 values, as the caller promises.
            unsafe { to.add(8 * lane).cast::<[f32; 8]>().write_unaligned(row) };
        }
    }
}
