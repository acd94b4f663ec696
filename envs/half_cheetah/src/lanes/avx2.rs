//! Doubles with AVX2: four lanes at once, a true lane has all bits set.

use super::kernel::{Lanes, Task, play};
use crate::real::{PARTS, Real, double, kernel};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One step of the task's lanes.
///
/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn step(task: &mut Task<'_>) {
    play::<Avx2>(task);
}

/// Four doubles.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256d);

/// Runs intrinsics on a machine that has them.
macro_rules! run {
    ($body:expr) => {{
        // SAFETY: values of this type are made in `step` alone, whose caller promises the instruction set.
        unsafe { $body }
    }};
}

impl Add for Avx2 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        run!(Avx2(_mm256_add_pd(self.0, other.0)))
    }
}

impl Sub for Avx2 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        run!(Avx2(_mm256_sub_pd(self.0, other.0)))
    }
}

impl Mul for Avx2 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        run!(Avx2(_mm256_mul_pd(self.0, other.0)))
    }
}

impl Div for Avx2 {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        run!(Avx2(_mm256_div_pd(self.0, other.0)))
    }
}

impl Neg for Avx2 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        run!(Avx2(_mm256_xor_pd(self.0, _mm256_set1_pd(-0.0))))
    }
}

impl Real for Avx2 {
    type Mask = __m256d;

    #[inline(always)]
    fn of(value: f64) -> Self {
        run!(Avx2(_mm256_set1_pd(value)))
    }

    #[inline(always)]
    fn below(self, other: Self) -> __m256d {
        run!(_mm256_cmp_pd::<_CMP_LT_OQ>(self.0, other.0))
    }

    #[inline(always)]
    fn pick(mask: __m256d, yes: Self, no: Self) -> Self {
        run!(Avx2(_mm256_blendv_pd(no.0, yes.0, mask)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        run!(Avx2(_mm256_andnot_pd(_mm256_set1_pd(-0.0), self.0)))
    }

    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        let shifted = self * Self::of(double::TURNS) + Self::of(double::ROUND);
        let whole = shifted - Self::of(double::ROUND);
        let part = |index: usize| whole * Self::of(double::PART[index]);
        let (sine, cosine) = kernel(((self - part(0)) - part(1)) - part(2), PARTS);
        run!({
            let quarter = _mm256_castpd_si256(shifted.0);
            let sign = _mm256_set1_epi64x(i64::MIN);
            let one = _mm256_set1_epi64x(1);
            let is_odd = _mm256_castsi256_pd(_mm256_slli_epi64::<63>(quarter));
            let swapped = (_mm256_blendv_pd(sine.0, cosine.0, is_odd), _mm256_blendv_pd(cosine.0, sine.0, is_odd));
            // The second bit of the quarter, and of the one after it, as a sign.
            let of_sine = _mm256_and_si256(_mm256_slli_epi64::<62>(quarter), sign);
            let of_cosine = _mm256_and_si256(_mm256_slli_epi64::<62>(_mm256_add_epi64(quarter, one)), sign);
            (
                Avx2(_mm256_xor_pd(swapped.0, _mm256_castsi256_pd(of_sine))),
                Avx2(_mm256_xor_pd(swapped.1, _mm256_castsi256_pd(of_cosine))),
            )
        })
    }

    #[inline(always)]
    fn both(a: __m256d, b: __m256d) -> __m256d {
        run!(_mm256_and_pd(a, b))
    }

    #[inline(always)]
    fn either(a: __m256d, b: __m256d) -> __m256d {
        run!(_mm256_or_pd(a, b))
    }

    #[inline(always)]
    fn differ(a: __m256d, b: __m256d) -> __m256d {
        run!(_mm256_xor_pd(a, b))
    }

    #[inline(always)]
    fn always(value: bool) -> __m256d {
        run!(_mm256_castsi256_pd(_mm256_set1_epi64x(-i64::from(value))))
    }

    #[inline(always)]
    fn any(mask: __m256d) -> bool {
        run!(_mm256_movemask_pd(mask) != 0)
    }
}

impl Lanes for Avx2 {
    const IS_SINGLE: bool = false;
    const LANES: usize = 4;

    #[inline(always)]
    fn load(from: &[f64]) -> Self {
        let from = &from[..4];
        // SAFETY: four doubles can be read there, and the machine has AVX2 as above.
        unsafe { Avx2(_mm256_loadu_pd(from.as_ptr())) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        let to = &mut to[..4];
        // SAFETY: four doubles can be written there, and the machine has AVX2 as above.
        unsafe { _mm256_storeu_pd(to.as_mut_ptr(), self.0) };
    }

    #[inline(always)]
    fn bits(mask: __m256d) -> u32 {
        run!(_mm256_movemask_pd(mask) as u32)
    }
}
