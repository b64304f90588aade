//! Registers of Advanced SIMD on aarch64 (4 f32).

use super::lanes::{Lanes, tiles};
use super::tile::{Tile, tile_of};
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "some sixty instructions"))]
use std::arch::aarch64::*;

/// Four f32.
#[derive(Clone, Copy)]
pub(super) struct Neon(float32x4_t);

// SAFETY: for every block here, every aarch64 has the instructions, and the trait's callers have their pointers valid.
impl Lanes for Neon {
    const COUNT: usize = 4;
    const ROWS: usize = 8;
    const ACROSS: usize = 3;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(vdupq_n_f32(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(vld1q_f32(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut values = [0.0; 4];
        unsafe {
            std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), count.min(4));
            Self(vld1q_f32(values.as_ptr()))
        }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mut values = [0.0; 4];
        unsafe {
            vst1q_f32(values.as_mut_ptr(), self.0);
            std::ptr::copy_nonoverlapping(values.as_ptr(), to, count.min(4));
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(vaddq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(vsubq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(vmulq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(vdivq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(vmaxq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { Self(vminq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        unsafe { Self(vfmaq_f32(term.0, self.0, factor.0)) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        unsafe {
            let exponent = vaddq_s32(vcvtq_s32_f32(n.0), vdupq_n_s32(127));
            Self(vmulq_f32(self.0, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))))
        }
    }
    #[inline(always)]
    unsafe fn where_negative(self, of: Self, other: Self) -> Self {
        unsafe { Self(vbslq_f32(vcltzq_f32(of.0), self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { vaddvq_f32(self.0) }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe { vmaxvq_f32(self.0) }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe {
            let low = |v: float32x4_t| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(v)));
            let kept = vdupq_n_u32(0xffff_0000);
            let high = |v: float32x4_t| vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), kept));
            let sum = vfmaq_f32(self.0, low(a.0), low(b.0));
            Self(vfmaq_f32(sum, high(a.0), high(b.0)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        unsafe {
            let bits = vreinterpretq_u32_f32(self.0);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
            vst1_u16(to, vshrn_n_u32::<16>(rounded));
        }
    }
    #[inline(always)]
    unsafe fn pair_with(self, high: Self) -> Self {
        unsafe {
            let rounded = |v: float32x4_t| {
                let bits = vreinterpretq_u32_f32(v);
                let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
                vshrq_n_u32::<16>(vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd))
            };
            let pairs = vorrq_u32(rounded(self.0), vshlq_n_u32::<16>(rounded(high.0)));
            Self(vreinterpretq_f32_u32(pairs))
        }
    }
    unsafe fn tile(tile: &Tile, rows: usize, across: usize) {
        unsafe { tiles!(Self, tile, rows, across, [1 2 3 4 5 6 7 8] [1 2 3]) }
    }
}
