//! The vectors of AVX-512 (F and BW): 32 lanes at once, truth values in mask registers.

use super::field::{Kernel, Task};
use super::quotient::{Quotient, VIEW_OF_VY, observed_by};
use super::rules::play;
use super::vector::Vector;
use std::arch::x86_64::*;

/// One step of all lanes.
///
/// # Safety
/// The machine has AVX-512 F and BW, and the task's pointers are good.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn step(task: Task<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        match task.kernel() {
            Kernel::Columns => play::<Avx512, false, false>(task),
            Kernel::ColumnsSkip => play::<Avx512, false, true>(task),
            Kernel::Rows => play::<Avx512, true, false>(task),
            Kernel::RowsSkip => play::<Avx512, true, true>(task),
        }
    }
}

/// # Safety
/// The machine has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn observed(numerators: [i16; 6]) -> [f32; 6] {
    // SAFETY: as the caller promises.
    unsafe { observed_by::<Avx512>(numerators) }
}

/// 32 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512i);

/// Runs intrinsics on a machine that has them.
macro_rules! run {
    ($body:expr) => {{
        // SAFETY: the caller of each function of the trait promises the instruction set and its pointers.
        unsafe { $body }
    }};
}

impl Vector for Avx512 {
    const LANES: usize = 32;
    const INTERLEAVED: bool = true;
    type Mask = __mmask32;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn splat(value: i16) -> Self {
        run!(Avx512(_mm512_set1_epi16(value)))
    }

    #[inline(always)]
    unsafe fn load(from: *const i16) -> Self {
        run!(Avx512(_mm512_loadu_si512(from.cast())))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i16) {
        run!(_mm512_storeu_si512(to.cast(), self.0));
    }

    #[inline(always)]
    unsafe fn actions(from: *const u8) -> Self {
        run!({
            let even = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
            let odd = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.add(16).cast()));
            Avx512(_mm512_or_si512(even, _mm512_slli_epi32::<16>(odd)))
        })
    }

    #[inline(always)]
    unsafe fn clear(to: *mut u8) {
        run!(_mm256_storeu_si256(to.cast(), _mm256_setzero_si256()));
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        run!(Avx512(_mm512_add_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        run!(Avx512(_mm512_sub_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        run!(Avx512(_mm512_min_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        run!(Avx512(_mm512_max_epi16(self.0, other.0)))
    }

    #[inline(always)]
    unsafe fn eq(self, other: Self) -> __mmask32 {
        run!(_mm512_cmpeq_epi16_mask(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn above(self, other: Self) -> __mmask32 {
        run!(_mm512_cmpgt_epi16_mask(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn within(self, limit: Self) -> __mmask32 {
        run!(_mm512_cmple_epu16_mask(self.0, limit.0))
    }

    #[inline(always)]
    unsafe fn all() -> __mmask32 {
        !0
    }

    #[inline(always)]
    unsafe fn and(a: __mmask32, b: __mmask32) -> __mmask32 {
        a & b
    }

    #[inline(always)]
    unsafe fn and_not(a: __mmask32, b: __mmask32) -> __mmask32 {
        a & !b
    }

    #[inline(always)]
    unsafe fn select(mask: __mmask32, yes: Self, no: Self) -> Self {
        run!(Avx512(_mm512_mask_blend_epi16(mask, no.0, yes.0)))
    }

    #[inline(always)]
    unsafe fn bits(mask: __mmask32) -> u32 {
        mask
    }

    #[inline(always)]
    unsafe fn mask(bits: u32) -> __mmask32 {
        bits
    }

    #[inline(always)]
    unsafe fn quotient(self, quotient: Quotient) -> [__m512; 2] {
        run!({
            let factor = _mm512_set1_ps(quotient.factor);
            let scale = i32::from(quotient.scale);
            let even = _mm512_madd_epi16(self.0, _mm512_set1_epi32(scale));
            let odd = _mm512_madd_epi16(self.0, _mm512_set1_epi32(scale << 16));
            [_mm512_mul_ps(_mm512_cvtepi32_ps(even), factor), _mm512_mul_ps(_mm512_cvtepi32_ps(odd), factor)]
        })
    }

    #[inline(always)]
    unsafe fn lookup(self, table: &[f32; 8]) -> [__m512; 2] {
        run!({
            // Four bits of each index count, and the table is there twice.
            let half = _mm256_loadu_pd(table.as_ptr().cast());
            let table = _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castpd256_pd512(half), half));
            let odd = _mm512_srli_epi32::<16>(self.0);
            [_mm512_permutexvar_ps(self.0, table), _mm512_permutexvar_ps(odd, table)]
        })
    }

    #[inline(always)]
    unsafe fn view_of_vy(self) -> [__m512; 2] {
        run!({
            let (low, high) = (_mm512_loadu_ps(VIEW_OF_VY.as_ptr()), _mm512_loadu_ps(VIEW_OF_VY.as_ptr().add(16)));
            let odd = _mm512_srli_epi32::<16>(self.0);
            [_mm512_permutex2var_ps(low, self.0, high), _mm512_permutex2var_ps(low, odd, high)]
        })
    }

    #[inline(always)]
    unsafe fn store_floats(floats: __m512, to: *mut f32) {
        run!(_mm512_storeu_ps(to, floats));
    }

    #[inline(always)]
    unsafe fn store_rows(columns: [[__m512; 2]; 6], to: *mut f32) {
        run!({
            for half in 0..2 {
                let [a, b, c, d, e, f] = columns;
                let (ab, cd) = (pairs(a[half], b[half]), pairs(c[half], d[half]));
                let ef = pairs(e[half], f[half]);
                for i in 0..4 {
                    // Quarter q of `first` has the first four values of row 4q + i.
                    let first = match i % 2 {
                        0 => _mm512_unpacklo_pd(ab[i / 2], cd[i / 2]),
                        _ => _mm512_unpackhi_pd(ab[i / 2], cd[i / 2]),
                    };
                    for q in [0, 2] {
                        let (q0, q1) = (2 * q as i64, 2 * q as i64 + 2);
                        let last = 8 + (i % 2) as i64;
                        let index = _mm512_setr_epi64(q0, q0 + 1, q0 + last, 0, q1, q1 + 1, q1 + last, 0);
                        let rows = _mm512_maskz_permutex2var_pd(0b0111_0111, first, index, ef[i / 2]);
                        let row = to.add(8 * (16 * half + 4 * q + i)).cast();
                        _mm256_storeu_pd(row, _mm512_castpd512_pd256(rows));
                        _mm256_storeu_pd(row.add(16), _mm512_extractf64x4_pd::<1>(rows));
                    }
                }
            }
        });
    }
}

/// In each quarter the values of two columns side by side: of its first two lanes, and of its last two.
#[inline(always)]
unsafe fn pairs(a: __m512, b: __m512) -> [__m512d; 2] {
    run!([_mm512_castps_pd(_mm512_unpacklo_ps(a, b)), _mm512_castps_pd(_mm512_unpackhi_ps(a, b))])
}
