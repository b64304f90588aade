//! A register of f32 as the kernels see it, and the form of it that every processor has.
//!
//! All methods are unsafe for one reason: the implementation's instructions must be enabled where it is compiled in,
//! which [`super::run`] sees to. Methods that take a pointer need as many valid values there as they touch.

use super::tile::{Tile, tile_of};

/// Some f32 side by side.
pub(super) trait Lanes: Copy {
    /// How many.
    const COUNT: usize;
    /// Rows of the product's tile.
    const ROWS: usize;
    /// Registers across the product's tile.
    const ACROSS: usize;
    /// Columns of the product's tile.
    const PANEL: usize = Self::COUNT * Self::ACROSS;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// The first `count` values, and 0 in the other lanes; `count` may be above [`Lanes::COUNT`].
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    /// Stores the first `count` values; `count` may be above [`Lanes::COUNT`].
    unsafe fn store_first(self, to: *mut f32, count: usize);

    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// `self * factor + term`, rounded once where the processor can.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `self * 2^n` for whole `n` from -126 to 127.
    unsafe fn times_power_of_two(self, n: Self) -> Self;
    /// `self` where `of` is negative, `other` elsewhere.
    unsafe fn where_negative(self, of: Self, other: Self) -> Self;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(self) -> f32;
    /// The largest lane.
    unsafe fn largest(self) -> f32;

    /// `self + low(a) low(b) + high(a) high(b)` over pairs of bf16, one pair in the 32 bits of each lane.
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self;
    /// Stores the lanes as bf16, rounded to nearest, ties to even.
    unsafe fn store_bf16(self, to: *mut u16);
    /// Pairs of bf16, rounded as above: in each lane `self` low, `high` high.
    unsafe fn pair_with(self, high: Self) -> Self;

    /// [`tile_of`] for so many rows and registers across.
    unsafe fn tile(tile: &Tile, rows: usize, across: usize);
}

/// Picks the tile of a size known only at run time; each size is a function of its own, kept in registers.
macro_rules! tiles {
    ($lanes:ty, $tile:expr, $rows:expr, $across:expr, [$($r:literal)+] $a:tt) => {
        match $rows {
            $($r => tiles!(@across $lanes, $tile, $across, $r, $a),)+
            _ => {}
        }
    };
    (@across $lanes:ty, $tile:expr, $across:expr, $r:literal, [$($a:literal)+]) => {
        match $across {
            $($a => tile_of::<$lanes, $r, $a>($tile),)+
            _ => {}
        }
    };
}
pub(super) use tiles;

/// bf16 of a finite `value`, rounded to nearest, ties to even.
pub(super) fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Four f32 in plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 4]);

impl Portable {
    #[inline(always)]
    fn with(self, other: Self, by: impl Fn(f32, f32) -> f32) -> Self {
        Self([
            by(self.0[0], other.0[0]),
            by(self.0[1], other.0[1]),
            by(self.0[2], other.0[2]),
            by(self.0[3], other.0[3]),
        ])
    }
}

// The pointers are the callers'; nothing else here is unsafe.
impl Lanes for Portable {
    const COUNT: usize = 4;
    const ROWS: usize = 4;
    const ACROSS: usize = 2;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has four values there.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has room for four values there.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut values = [0.0; 4];
        // SAFETY: the caller has `count` values there.
        unsafe { std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), count.min(4)) };
        Self(values)
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: the caller has room for `count` values there.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, count.min(4)) };
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.with(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.with(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.with(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // Not `f32::mul_add`: without the instruction it is a call for every value.
        self.with(factor, |a, b| a * b).with(term, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "n is from -126 to 127")]
        self.with(n, |a, n| a * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn where_negative(self, of: Self, other: Self) -> Self {
        let pick = |i: usize| if of.0[i] < 0.0 { self.0[i] } else { other.0[i] };
        Self([pick(0), pick(1), pick(2), pick(3)])
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[1]) + (self.0[2] + self.0[3])
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.0[0].max(self.0[1]).max(self.0[2].max(self.0[3]))
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        let low = |v: f32| f32::from_bits(v.to_bits() << 16);
        let high = |v: f32| f32::from_bits(v.to_bits() & 0xffff_0000);
        self.with(a.with(b, |a, b| low(a) * low(b)), |s, p| s + p)
            .with(a.with(b, |a, b| high(a) * high(b)), |s, p| s + p)
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        // SAFETY: the caller has room for four values there.
        unsafe { to.cast::<[u16; 4]>().write_unaligned(self.0.map(bf16)) }
    }
    #[inline(always)]
    unsafe fn pair_with(self, high: Self) -> Self {
        self.with(high, |low, high| f32::from_bits(u32::from(bf16(low)) | u32::from(bf16(high)) << 16))
    }
    unsafe fn tile(tile: &Tile, rows: usize, across: usize) {
        // SAFETY: the caller's tile is valid.
        unsafe { tiles!(Self, tile, rows, across, [1 2 3 4] [1 2]) }
    }
}
