//! The right side of a product, packed for one use: what attention and the slopes of weights multiply by.

use super::lanes::Lanes;
use super::product::{steps, to_pairs};
use super::tile::{Operands, Tile, tile_rows};

/// A packed right side: `(panels, steps, panel)`.
#[derive(Clone, Copy)]
pub(super) struct Panels<'p> {
    pub values: &'p [f32],
    pub steps: usize,
    pub panel: usize,
    pub columns: usize,
    pub operands: Operands,
}

/// A left side where it lies, as [`Tile`] has it.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub first: *const f32,
    pub row: usize,
    pub step: usize,
}

/// Where sums go, and whether to what is there.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub first: *mut f32,
    pub row: usize,
    pub onto: bool,
}

/// Columns of a panel, where a matrix of `columns` is cut evenly into panels of at most [`Lanes::ACROSS`] registers.
#[inline(always)]
pub(super) fn panel<L: Lanes>(columns: usize) -> usize {
    let registers = columns.div_ceil(L::COUNT);
    registers.div_ceil(registers.div_ceil(L::ACROSS)) * L::COUNT
}

impl Panels<'_> {
    /// `count` rows of `left · self` into `sums`.
    ///
    /// # Safety
    /// The instructions of `L` are enabled where this is compiled; `left` has `count` rows of `steps`, `sums` as many of `columns`.
    #[inline(always)]
    pub unsafe fn multiply<L: Lanes>(&self, count: usize, left: Left, sums: Sums) {
        for place in (0..self.columns).step_by(self.panel) {
            let columns = self.panel.min(self.columns - place);
            // SAFETY: the caller's, and the panel of `place` begins at `place * steps`.
            unsafe {
                let out = sums.first.add(place);
                let tile = Tile {
                    depth: self.steps,
                    operands: self.operands,
                    a: left.first,
                    a_row: left.row,
                    a_step: left.step,
                    b: self.values.as_ptr().add(place * self.steps),
                    b_step: self.panel,
                    start: if sums.onto { out.cast_const() } else { std::ptr::null() },
                    start_row: sums.row,
                    out,
                    out_row: sums.row,
                    columns,
                };
                tile_rows::<L>(&tile, count, columns.div_ceil(L::COUNT));
            }
        }
    }
}

/// Rows that become the columns of a right side: its steps run along each row.
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled.
#[inline(always)]
pub(super) unsafe fn pack_columns<'k, L: Lanes>(
    rows: impl Iterator<Item = &'k [f32]>,
    (operands, panel): (Operands, usize),
    packed: &mut [f32],
    pairs: &mut [f32],
) {
    for (number, row) in rows.enumerate() {
        let column = match operands {
            Operands::Single => row,
            Operands::Pairs => {
                // SAFETY: the instructions are the caller's.
                unsafe { to_pairs::<L>(row, pairs) };
                &pairs[..row.len().div_ceil(2)]
            }
        };
        let packed = &mut packed[number / panel * panel * column.len()..];
        for (step, &value) in packed.chunks_exact_mut(panel).zip(column) {
            step[number % panel] = value;
        }
    }
}

/// Rows that become the steps of a right side: its columns run along each row.
///
/// # Safety
/// As [`pack_columns`].
#[inline(always)]
pub(super) unsafe fn pack_steps<'v, L: Lanes>(
    mut rows: impl ExactSizeIterator<Item = &'v [f32]>,
    (operands, panel): (Operands, usize),
    packed: &mut [f32],
) {
    let steps = steps(operands, rows.len());
    for step in 0..steps {
        let first = rows.next().unwrap_or_default();
        let second = if operands == Operands::Pairs { rows.next() } else { None };
        for place in (0..first.len()).step_by(L::COUNT) {
            // Panels are whole registers, so a register never crosses from one to the next.
            let to = &mut packed[(place / panel * steps + step) * panel + place % panel..][..L::COUNT];
            // SAFETY: the instructions are the caller's; loads stay within the rows, the store within `to`.
            unsafe { one_step::<L>((first, second), place, operands).store(to.as_mut_ptr()) };
        }
    }
}

/// A register of one step from `place` on: values of `first`, or pairs of them with those of `second`.
///
/// # Safety
/// As [`pack_columns`]; `place` is below the rows' length.
#[inline(always)]
pub(super) unsafe fn one_step<L: Lanes>(
    (first, second): (&[f32], Option<&[f32]>),
    place: usize,
    operands: Operands,
) -> L {
    // SAFETY: the caller's.
    unsafe {
        let of = |row: &[f32]| L::load_first(row.as_ptr().add(place), row.len() - place);
        match operands {
            Operands::Single => of(first),
            Operands::Pairs => of(first).pair_with(second.map_or(L::splat(0.0), of)),
        }
    }
}
