//! Dropout (Srivastava et al. 2014) whose mask is a function of a key and a place: never stored, and the same on every
//! processor, device and number of threads.

use super::lanes::Lanes;
use super::{Instructions, run};

/// Which values are dropped, and what the others are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    key: u64,
    /// A value is dropped where the upper half of its hash is below this.
    bound: u32,
    scale: f32,
}

/// The mask of one row of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutRow {
    key: u32,
    bound: u32,
    scale: f32,
}

impl Dropout {
    /// Dropout of a share `rate` of the values, rounded to a 65,536th; nothing when that is 0.
    ///
    /// # Panics
    /// When `rate` is not below 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 65,535")]
    #[expect(clippy::cast_precision_loss, reason = "16 bits")]
    pub fn new(rate: f64, key: u64) -> Option<Self> {
        assert!((0.0..1.0).contains(&rate), "a share below 1");
        let bound = (rate * 65_536.0).round().min(65_535.0) as u32;
        (bound > 0).then(|| Self { key, bound, scale: 65_536.0 / (65_536 - bound) as f32 })
    }

    /// The mask of the row at a place.
    #[must_use]
    pub fn row(self, place: [u32; 3]) -> DropoutRow {
        // SplitMix64 (Steele et al. 2014), once a number.
        let key = place.iter().fold(self.key, |key, &number| {
            let mut x = (key ^ u64::from(number)).wrapping_add(0x9e37_79b9_7f4a_7c15);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        });
        DropoutRow { key: (key >> 32) as u32, bound: self.bound, scale: self.scale }
    }
}

impl DropoutRow {
    /// What the value in `column` is multiplied by: 0, or a little more than 1.
    #[inline(always)]
    #[must_use]
    pub fn factor(self, column: u32) -> f32 {
        // A 32-bit mixer of two rounds (Wellons' "lowbias32").
        let mut x = self.key.wrapping_add(column.wrapping_mul(0x9e37_79b1));
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        if (x ^ (x >> 16)) >> 16 < self.bound { 0.0 } else { self.scale }
    }

    /// [`DropoutRow::apply`], for the caller's instructions.
    #[inline(always)]
    pub(super) fn apply_here(self, row: &mut [f32]) {
        for (column, value) in (0u32..).zip(row) {
            *value *= self.factor(column);
        }
    }

    /// The row with some of its values dropped and the others made larger, in place.
    pub fn apply(self, instructions: Instructions, row: &mut [f32]) {
        run!(instructions, apply_in(of: DropoutRow = self, row: &mut [f32] = row));
    }
}

/// # Safety
/// The instructions of `L` are enabled where this is compiled.
// SAFETY: nothing within needs care; kernels compiled for given instructions are called as one kind of function.
#[inline(always)]
unsafe fn apply_in<L: Lanes>(of: DropoutRow, row: &mut [f32]) {
    of.apply_here(row);
}
