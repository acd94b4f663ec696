//! Singles with AVX2: eight lanes at once, a true lane has all bits set.

use super::kernel::{Lanes, Task, play};
use crate::real::{Real, SINGLE_PARTS, double, kernel, single};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One step of the task's lanes.
///
/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn step(task: &mut Task<'_>) {
    play::<Avx2Single>(task);
}

/// Eight singles.
#[derive(Clone, Copy)]
pub(super) struct Avx2Single(__m256);

/// Runs intrinsics on a machine that has them.
macro_rules! run {
    ($body:expr) => {{
        // SAFETY: values of this type are made in `step` alone, whose caller promises the instruction set.
        unsafe { $body }
    }};
}

impl Add for Avx2Single {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        run!(Avx2Single(_mm256_add_ps(self.0, other.0)))
    }
}

impl Sub for Avx2Single {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        run!(Avx2Single(_mm256_sub_ps(self.0, other.0)))
    }
}

impl Mul for Avx2Single {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        run!(Avx2Single(_mm256_mul_ps(self.0, other.0)))
    }
}

impl Div for Avx2Single {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        run!(Avx2Single(_mm256_div_ps(self.0, other.0)))
    }
}

impl Neg for Avx2Single {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        run!(Avx2Single(_mm256_xor_ps(self.0, _mm256_set1_ps(-0.0))))
    }
}

impl Real for Avx2Single {
    type Mask = __m256;

    #[inline(always)]
    fn of(value: f64) -> Self {
        run!(Avx2Single(_mm256_set1_ps(value as f32)))
    }

    #[inline(always)]
    fn below(self, other: Self) -> __m256 {
        run!(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0))
    }

    #[inline(always)]
    fn pick(mask: __m256, yes: Self, no: Self) -> Self {
        run!(Avx2Single(_mm256_blendv_ps(no.0, yes.0, mask)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        run!(Avx2Single(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)))
    }

    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        let shifted = self * Self::of(double::TURNS) + Self::of(single::ROUND);
        let whole = shifted - Self::of(single::ROUND);
        let part = |index: usize| whole * Self::of(single::PART[index]);
        let (sine, cosine) = kernel(((self - part(0)) - part(1)) - part(2), SINGLE_PARTS);
        run!({
            let quarter = _mm256_castps_si256(shifted.0);
            let sign = _mm256_set1_epi32(i32::MIN);
            let one = _mm256_set1_epi32(1);
            let is_odd = _mm256_castsi256_ps(_mm256_slli_epi32::<31>(quarter));
            let swapped = (_mm256_blendv_ps(sine.0, cosine.0, is_odd), _mm256_blendv_ps(cosine.0, sine.0, is_odd));
            // The second bit of the quarter, and of the one after it, as a sign.
            let of_sine = _mm256_and_si256(_mm256_slli_epi32::<30>(quarter), sign);
            let of_cosine = _mm256_and_si256(_mm256_slli_epi32::<30>(_mm256_add_epi32(quarter, one)), sign);
            (
                Avx2Single(_mm256_xor_ps(swapped.0, _mm256_castsi256_ps(of_sine))),
                Avx2Single(_mm256_xor_ps(swapped.1, _mm256_castsi256_ps(of_cosine))),
            )
        })
    }

    #[inline(always)]
    fn both(a: __m256, b: __m256) -> __m256 {
        run!(_mm256_and_ps(a, b))
    }

    #[inline(always)]
    fn either(a: __m256, b: __m256) -> __m256 {
        run!(_mm256_or_ps(a, b))
    }

    #[inline(always)]
    fn differ(a: __m256, b: __m256) -> __m256 {
        run!(_mm256_xor_ps(a, b))
    }

    #[inline(always)]
    fn always(value: bool) -> __m256 {
        run!(_mm256_castsi256_ps(_mm256_set1_epi32(-i32::from(value))))
    }

    #[inline(always)]
    fn any(mask: __m256) -> bool {
        run!(_mm256_movemask_ps(mask) != 0)
    }
}

impl Lanes for Avx2Single {
    const IS_SINGLE: bool = true;
    const LANES: usize = 8;

    #[inline(always)]
    fn load(from: &[f64]) -> Self {
        let from = &from[..8];
        // SAFETY: eight doubles can be read there, and the machine has AVX2 as above.
        unsafe {
            let low = _mm256_cvtpd_ps(_mm256_loadu_pd(from.as_ptr()));
            let high = _mm256_cvtpd_ps(_mm256_loadu_pd(from.as_ptr().add(4)));
            Avx2Single(_mm256_set_m128(high, low))
        }
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        let to = &mut to[..8];
        // SAFETY: eight doubles can be written there, and the machine has AVX2 as above.
        unsafe {
            _mm256_storeu_pd(to.as_mut_ptr(), _mm256_cvtps_pd(_mm256_castps256_ps128(self.0)));
            _mm256_storeu_pd(to.as_mut_ptr().add(4), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(self.0)));
        }
    }

    #[inline(always)]
    fn bits(mask: __m256) -> u32 {
        run!(_mm256_movemask_ps(mask) as u32)
    }
}
