//! The vectors of AVX2: 16 lanes at once, a true slot has all bits set.

use super::field::{Kernel, Task};
use super::quotient::{BY_SPEED, Quotient, observed_by};
use super::rules::play;
use super::vector::Vector;
use std::arch::x86_64::*;

/// One step of all lanes.
///
/// # Safety
/// The machine has AVX2, and the task's pointers are good.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn step(task: Task<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        match task.kernel() {
            Kernel::Columns => play::<Avx2, false, false>(task),
            Kernel::ColumnsSkip => play::<Avx2, false, true>(task),
            Kernel::Rows => play::<Avx2, true, false>(task),
            Kernel::RowsSkip => play::<Avx2, true, true>(task),
        }
    }
}

/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn observed(numerators: [i16; 6]) -> [f32; 6] {
    // SAFETY: as the caller promises.
    unsafe { observed_by::<Avx2>(numerators) }
}

/// 16 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256i);

/// Runs intrinsics on a machine that has them.
macro_rules! run {
    ($body:expr) => {{
        // SAFETY: the caller of each function of the trait promises the instruction set and its pointers.
        unsafe { $body }
    }};
}

impl Vector for Avx2 {
    const LANES: usize = 16;
    const INTERLEAVED: bool = true;
    type Mask = __m256i;
    type Floats = __m256;

    #[inline(always)]
    unsafe fn splat(value: i16) -> Self {
        run!(Avx2(_mm256_set1_epi16(value)))
    }

    #[inline(always)]
    unsafe fn load(from: *const i16) -> Self {
        run!(Avx2(_mm256_loadu_si256(from.cast())))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i16) {
        run!(_mm256_storeu_si256(to.cast(), self.0));
    }

    #[inline(always)]
    unsafe fn actions(from: *const u8) -> Self {
        run!({
            let even = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            let odd = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(8).cast()));
            Avx2(_mm256_or_si256(even, _mm256_slli_epi32::<16>(odd)))
        })
    }

    #[inline(always)]
    unsafe fn clear(to: *mut u8) {
        run!(_mm_storeu_si128(to.cast(), _mm_setzero_si128()));
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        run!(Avx2(_mm256_add_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        run!(Avx2(_mm256_sub_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        run!(Avx2(_mm256_min_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        run!(Avx2(_mm256_max_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn eq(self, other: Self) -> __m256i {
        run!(_mm256_cmpeq_epi16(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn above(self, other: Self) -> __m256i {
        run!(_mm256_cmpgt_epi16(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn within(self, limit: Self) -> __m256i {
        run!(_mm256_cmpeq_epi16(_mm256_min_epu16(self.0, limit.0), self.0))
    }

    #[inline(always)]
    unsafe fn all() -> __m256i {
        run!(_mm256_set1_epi16(-1))
    }

    #[inline(always)]
    unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
        run!(_mm256_and_si256(a, b))
    }

    #[inline(always)]
    unsafe fn and_not(a: __m256i, b: __m256i) -> __m256i {
        run!(_mm256_andnot_si256(b, a))
    }

    #[inline(always)]
    unsafe fn select(mask: __m256i, yes: Self, no: Self) -> Self {
        run!(Avx2(_mm256_blendv_epi8(no.0, yes.0, mask)))
    }

    #[inline(always)]
    unsafe fn bits(mask: __m256i) -> u32 {
        run!({
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(mask), _mm256_extracti128_si256::<1>(mask));
            _mm_movemask_epi8(bytes) as u32
        })
    }

    #[inline(always)]
    unsafe fn mask(bits: u32) -> __m256i {
        run!({
            let bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, i16::MIN);
            _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(bits as i16), bit), bit)
        })
    }

    #[inline(always)]
    unsafe fn quotient(self, quotient: Quotient) -> [__m256; 2] {
        run!({
            let factor = _mm256_set1_ps(quotient.factor);
            let scale = i32::from(quotient.scale);
            let even = _mm256_madd_epi16(self.0, _mm256_set1_epi32(scale));
            let odd = _mm256_madd_epi16(self.0, _mm256_set1_epi32(scale << 16));
            [_mm256_mul_ps(_mm256_cvtepi32_ps(even), factor), _mm256_mul_ps(_mm256_cvtepi32_ps(odd), factor)]
        })
    }

    #[inline(always)]
    unsafe fn lookup(self, table: &[f32; 8]) -> [__m256; 2] {
        run!({
            let table = _mm256_loadu_ps(table.as_ptr());
            let odd = _mm256_srli_epi32::<16>(self.0);
            [_mm256_permutevar8x32_ps(table, self.0), _mm256_permutevar8x32_ps(table, odd)]
        })
    }

    #[inline(always)]
    unsafe fn view_of_vy(self) -> [__m256; 2] {
        run!(self.add(Avx2::splat(13)).quotient(BY_SPEED))
    }

    #[inline(always)]
    unsafe fn store_floats(floats: __m256, to: *mut f32) {
        run!(_mm256_storeu_ps(to, floats));
    }

    #[inline(always)]
    unsafe fn store_rows(columns: [[__m256; 2]; 6], to: *mut f32) {
        run!({
            let zeros = _mm256_setzero_pd();
            for half in 0..2 {
                let [a, b, c, d, e, f] = columns;
                let (ab, cd) = (pairs(a[half], b[half]), pairs(c[half], d[half]));
                let ef = pairs(e[half], f[half]);
                for i in 0..4 {
                    // Half q of each has values of row 4q + i.
                    let (first, last) = match i % 2 {
                        0 => (_mm256_unpacklo_pd(ab[i / 2], cd[i / 2]), _mm256_unpacklo_pd(ef[i / 2], zeros)),
                        _ => (_mm256_unpackhi_pd(ab[i / 2], cd[i / 2]), _mm256_unpackhi_pd(ef[i / 2], zeros)),
                    };
                    let row = to.add(8 * (8 * half + i)).cast();
                    _mm256_storeu_pd(row, _mm256_permute2f128_pd::<0x20>(first, last));
                    _mm256_storeu_pd(row.add(16), _mm256_permute2f128_pd::<0x31>(first, last));
                }
            }
        });
    }
}

/// In each half the values of two columns side by side: of its first two lanes, and of its last two.
#[inline(always)]
unsafe fn pairs(a: __m256, b: __m256) -> [__m256d; 2] {
    run!([_mm256_castps_pd(_mm256_unpacklo_ps(a, b)), _mm256_castps_pd(_mm256_unpackhi_ps(a, b))])
}
