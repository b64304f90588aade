//! Registers of AVX-512 (16 f32) and of AVX2 with FMA (8 f32).

use super::lanes::{Lanes, tiles};
use super::tile::{Tile, tile_of};
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "some sixty instructions"))]
use std::arch::x86_64::*;

/// Sixteen f32; `PAIRS` says whether the processor multiplies pairs of bf16.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const PAIRS: bool>(__m512);

/// A mask of the first `count` lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    if count >= 16 { 0xffff } else { (1 << count) - 1 }
}

// SAFETY: for every block here, the trait's callers have the instructions enabled and their pointers valid;
// masked loads and stores touch only the lanes of their mask.
impl<const PAIRS: bool> Lanes for Avx512<PAIRS> {
    const COUNT: usize = 16;
    const ROWS: usize = 8;
    const ACROSS: usize = 3;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm512_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        unsafe { Self(_mm512_maskz_loadu_ps(first(count), from)) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm512_div_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(_mm512_max_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { Self(_mm512_min_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, term.0)) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        unsafe { Self(_mm512_scalef_ps(self.0, n.0)) }
    }
    #[inline(always)]
    unsafe fn where_negative(self, of: Self, other: Self) -> Self {
        unsafe {
            let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(of.0, _mm512_setzero_ps());
            Self(_mm512_mask_blend_ps(negative, other.0, self.0))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe {
            if PAIRS {
                let pairs = |v: __m512| std::mem::transmute::<__m512, __m512bh>(v);
                return Self(_mm512_dpbf16_ps(self.0, pairs(a.0), pairs(b.0)));
            }
            let low = |v: __m512| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(v)));
            let kept = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            let high = |v: __m512| _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), kept));
            let sum = _mm512_fmadd_ps(low(a.0), low(b.0), self.0);
            Self(_mm512_fmadd_ps(high(a.0), high(b.0), sum))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        unsafe {
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(rounded_512::<PAIRS>(self.0)));
        }
    }
    #[inline(always)]
    unsafe fn pair_with(self, high: Self) -> Self {
        unsafe {
            let (low, high) = (rounded_512::<PAIRS>(self.0), rounded_512::<PAIRS>(high.0));
            Self(_mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32::<16>(high))))
        }
    }
    unsafe fn tile(tile: &Tile, rows: usize, across: usize) {
        // Compiled for the instructions by itself: it is called, not inlined.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
        unsafe fn with_pairs(tile: &Tile, rows: usize, across: usize) {
            unsafe { tiles!(Avx512<true>, tile, rows, across, [1 2 3 4 5 6 7 8] [1 2 3]) }
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn without_pairs(tile: &Tile, rows: usize, across: usize) {
            unsafe { tiles!(Avx512<false>, tile, rows, across, [1 2 3 4 5 6 7 8] [1 2 3]) }
        }
        unsafe { if PAIRS { with_pairs(tile, rows, across) } else { without_pairs(tile, rows, across) } }
    }
}

/// bf16 of each lane in the low half of its 32 bits.
#[inline(always)]
unsafe fn rounded_512<const PAIRS: bool>(value: __m512) -> __m512i {
    // SAFETY: the callers have the instructions enabled.
    unsafe {
        if PAIRS {
            return _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value)));
        }
        let bits = _mm512_castps_si512(value);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        _mm512_srli_epi32::<16>(rounded)
    }
}

/// bf16 of each lane in the low half of its 32 bits.
#[inline(always)]
unsafe fn rounded_256(value: __m256) -> __m256i {
    // SAFETY: the callers have the instructions enabled.
    unsafe {
        let bits = _mm256_castps_si256(value);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        _mm256_srli_epi32::<16>(rounded)
    }
}

/// Eight f32.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

/// All bits set in the first `count` lanes.
#[inline(always)]
unsafe fn first_of_eight(count: usize) -> __m256i {
    const ONES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: eight values from place 0 to 8 of sixteen.
    unsafe { _mm256_loadu_si256(ONES.as_ptr().add(8 - count.min(8)).cast()) }
}

// SAFETY: for every block here, as for AVX-512.
impl Lanes for Avx2 {
    const COUNT: usize = 8;
    const ROWS: usize = 6;
    const ACROSS: usize = 2;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        unsafe { Self(_mm256_maskload_ps(from, first_of_eight(count))) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        unsafe { _mm256_maskstore_ps(to, first_of_eight(count), self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm256_div_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(_mm256_max_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { Self(_mm256_min_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, factor.0, term.0)) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.0), _mm256_set1_epi32(127));
            Self(_mm256_mul_ps(self.0, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))))
        }
    }
    #[inline(always)]
    unsafe fn where_negative(self, of: Self, other: Self) -> Self {
        unsafe {
            let negative = _mm256_cmp_ps::<_CMP_LT_OQ>(of.0, _mm256_setzero_ps());
            Self(_mm256_blendv_ps(other.0, self.0, negative))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe {
            let low = |v: __m256| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(v)));
            let kept = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32.cast_signed()));
            let sum = _mm256_fmadd_ps(low(a.0), low(b.0), self.0);
            Self(_mm256_fmadd_ps(_mm256_and_ps(a.0, kept), _mm256_and_ps(b.0, kept), sum))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        unsafe {
            let high = rounded_256(self.0);
            let half = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high));
            _mm_storeu_si128(to.cast(), half);
        }
    }
    #[inline(always)]
    unsafe fn pair_with(self, high: Self) -> Self {
        unsafe {
            let (low, high) = (rounded_256(self.0), rounded_256(high.0));
            Self(_mm256_castsi256_ps(_mm256_or_si256(low, _mm256_slli_epi32::<16>(high))))
        }
    }
    unsafe fn tile(tile: &Tile, rows: usize, across: usize) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn here(tile: &Tile, rows: usize, across: usize) {
            unsafe { tiles!(Avx2, tile, rows, across, [1 2 3 4 5 6] [1 2]) }
        }
        unsafe { here(tile, rows, across) }
    }
}
