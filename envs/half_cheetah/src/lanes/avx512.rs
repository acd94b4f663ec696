//! Doubles with AVX-512: eight lanes at once, a mask is a register of bits.

use super::kernel::{Lanes, Task, play};
use crate::real::{PARTS, Real, double, kernel};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One step of the task's lanes.
///
/// # Safety
/// The machine has AVX-512 with F and DQ.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn step(task: &mut Task<'_>) {
    play::<Avx512>(task);
}

/// Eight doubles.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512d);

/// Runs intrinsics on a machine that has them.
macro_rules! run {
    ($body:expr) => {{
        // SAFETY: values of this type are made in `step` alone, whose caller promises the instruction set.
        unsafe { $body }
    }};
}

impl Add for Avx512 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        run!(Avx512(_mm512_add_pd(self.0, other.0)))
    }
}

impl Sub for Avx512 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        run!(Avx512(_mm512_sub_pd(self.0, other.0)))
    }
}

impl Mul for Avx512 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        run!(Avx512(_mm512_mul_pd(self.0, other.0)))
    }
}

impl Div for Avx512 {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        run!(Avx512(_mm512_div_pd(self.0, other.0)))
    }
}

impl Neg for Avx512 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        run!(Avx512(_mm512_xor_pd(self.0, _mm512_set1_pd(-0.0))))
    }
}

impl Real for Avx512 {
    type Mask = __mmask8;

    #[inline(always)]
    fn of(value: f64) -> Self {
        run!(Avx512(_mm512_set1_pd(value)))
    }

    #[inline(always)]
    fn below(self, other: Self) -> __mmask8 {
        run!(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.0, other.0))
    }

    #[inline(always)]
    fn pick(mask: __mmask8, yes: Self, no: Self) -> Self {
        run!(Avx512(_mm512_mask_blend_pd(mask, no.0, yes.0)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        run!(Avx512(_mm512_abs_pd(self.0)))
    }

    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        let shifted = self * Self::of(double::TURNS) + Self::of(double::ROUND);
        let whole = shifted - Self::of(double::ROUND);
        let part = |index: usize| whole * Self::of(double::PART[index]);
        let (sine, cosine) = kernel(((self - part(0)) - part(1)) - part(2), PARTS);
        run!({
            let quarter = _mm512_castpd_si512(shifted.0);
            let sign = _mm512_set1_epi64(i64::MIN);
            let one = _mm512_set1_epi64(1);
            let is_odd = _mm512_test_epi64_mask(quarter, one);
            let swapped = (Self::pick(is_odd, cosine, sine).0, Self::pick(is_odd, sine, cosine).0);
            // The second bit of the quarter, and of the one after it, as a sign.
            let of_sine = _mm512_and_si512(_mm512_slli_epi64::<62>(quarter), sign);
            let of_cosine = _mm512_and_si512(_mm512_slli_epi64::<62>(_mm512_add_epi64(quarter, one)), sign);
            (
                Avx512(_mm512_xor_pd(swapped.0, _mm512_castsi512_pd(of_sine))),
                Avx512(_mm512_xor_pd(swapped.1, _mm512_castsi512_pd(of_cosine))),
            )
        })
    }

    #[inline(always)]
    fn both(a: __mmask8, b: __mmask8) -> __mmask8 {
        a & b
    }

    #[inline(always)]
    fn either(a: __mmask8, b: __mmask8) -> __mmask8 {
        a | b
    }

    #[inline(always)]
    fn differ(a: __mmask8, b: __mmask8) -> __mmask8 {
        a ^ b
    }

    #[inline(always)]
    fn always(value: bool) -> __mmask8 {
        if value { 0xFF } else { 0 }
    }

    #[inline(always)]
    fn any(mask: __mmask8) -> bool {
        mask != 0
    }
}

impl Lanes for Avx512 {
    const IS_SINGLE: bool = false;
    const LANES: usize = 8;

    #[inline(always)]
    fn load(from: &[f64]) -> Self {
        let from = &from[..8];
        // SAFETY: eight doubles can be read there, and the machine has AVX-512 as above.
        unsafe { Avx512(_mm512_loadu_pd(from.as_ptr())) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        let to = &mut to[..8];
        // SAFETY: eight doubles can be written there, and the machine has AVX-512 as above.
        unsafe { _mm512_storeu_pd(to.as_mut_ptr(), self.0) };
    }

    #[inline(always)]
    fn bits(mask: __mmask8) -> u32 {
        u32::from(mask)
    }
}
