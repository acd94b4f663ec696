//! Singles with AVX-512: sixteen lanes at once, a mask is a register of bits.

use super::kernel::{Lanes, Task, play};
use crate::real::{Real, SINGLE_PARTS, double, kernel, single};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One step of the task's lanes.
///
/// # Safety
/// The machine has AVX-512 with F and DQ.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn step(task: &mut Task<'_>) {
    play::<Avx512Single>(task);
}

/// Sixteen singles.
#[derive(Clone, Copy)]
pub(super) struct Avx512Single(__m512);

/// Runs intrinsics on a machine that has them.
macro_rules! run {
    ($body:expr) => {{
        // SAFETY: values of this type are made in `step` alone, whose caller promises the instruction set.
        unsafe { $body }
    }};
}

impl Add for Avx512Single {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        run!(Avx512Single(_mm512_add_ps(self.0, other.0)))
    }
}

impl Sub for Avx512Single {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        run!(Avx512Single(_mm512_sub_ps(self.0, other.0)))
    }
}

impl Mul for Avx512Single {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        run!(Avx512Single(_mm512_mul_ps(self.0, other.0)))
    }
}

impl Div for Avx512Single {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        run!(Avx512Single(_mm512_div_ps(self.0, other.0)))
    }
}

impl Neg for Avx512Single {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        run!(Avx512Single(_mm512_xor_ps(self.0, _mm512_set1_ps(-0.0))))
    }
}

impl Real for Avx512Single {
    type Mask = __mmask16;

    #[inline(always)]
    fn of(value: f64) -> Self {
        run!(Avx512Single(_mm512_set1_ps(value as f32)))
    }

    #[inline(always)]
    fn below(self, other: Self) -> __mmask16 {
        run!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0))
    }

    #[inline(always)]
    fn pick(mask: __mmask16, yes: Self, no: Self) -> Self {
        run!(Avx512Single(_mm512_mask_blend_ps(mask, no.0, yes.0)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        run!(Avx512Single(_mm512_abs_ps(self.0)))
    }

    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        let shifted = self * Self::of(double::TURNS) + Self::of(single::ROUND);
        let whole = shifted - Self::of(single::ROUND);
        let part = |index: usize| whole * Self::of(single::PART[index]);
        let (sine, cosine) = kernel(((self - part(0)) - part(1)) - part(2), SINGLE_PARTS);
        run!({
            let quarter = _mm512_castps_si512(shifted.0);
            let sign = _mm512_set1_epi32(i32::MIN);
            let one = _mm512_set1_epi32(1);
            let is_odd = _mm512_test_epi32_mask(quarter, one);
            let swapped = (Self::pick(is_odd, cosine, sine).0, Self::pick(is_odd, sine, cosine).0);
            // The second bit of the quarter, and of the one after it, as a sign.
            let of_sine = _mm512_and_si512(_mm512_slli_epi32::<30>(quarter), sign);
            let of_cosine = _mm512_and_si512(_mm512_slli_epi32::<30>(_mm512_add_epi32(quarter, one)), sign);
            (
                Avx512Single(_mm512_xor_ps(swapped.0, _mm512_castsi512_ps(of_sine))),
                Avx512Single(_mm512_xor_ps(swapped.1, _mm512_castsi512_ps(of_cosine))),
            )
        })
    }

    #[inline(always)]
    fn both(a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }

    #[inline(always)]
    fn either(a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }

    #[inline(always)]
    fn differ(a: __mmask16, b: __mmask16) -> __mmask16 {
        a ^ b
    }

    #[inline(always)]
    fn always(value: bool) -> __mmask16 {
        if value { 0xFFFF } else { 0 }
    }

    #[inline(always)]
    fn any(mask: __mmask16) -> bool {
        mask != 0
    }
}

impl Lanes for Avx512Single {
    const IS_SINGLE: bool = true;
    const LANES: usize = 16;

    #[inline(always)]
    fn load(from: &[f64]) -> Self {
        let from = &from[..16];
        // SAFETY: sixteen doubles can be read there, and the machine has AVX-512 as above.
        unsafe {
            let low = _mm512_cvtpd_ps(_mm512_loadu_pd(from.as_ptr()));
            let high = _mm512_cvtpd_ps(_mm512_loadu_pd(from.as_ptr().add(8)));
            Avx512Single(_mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high))
        }
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        let to = &mut to[..16];
        // SAFETY: sixteen doubles can be written there, and the machine has AVX-512 as above.
        unsafe {
            _mm512_storeu_pd(to.as_mut_ptr(), _mm512_cvtps_pd(_mm512_castps512_ps256(self.0)));
            _mm512_storeu_pd(to.as_mut_ptr().add(8), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(self.0)));
        }
    }

    #[inline(always)]
    fn bits(mask: __mmask16) -> u32 {
        u32::from(mask)
    }
}
