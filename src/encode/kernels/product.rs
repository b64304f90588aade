//! `X Wᵀ + b` and `G W` for weights packed once: columns of the product in panels that a tile reads from end to end.

use super::lanes::{Lanes, bf16};
use super::tile::{Operands, Tile, tile_rows};
use super::{Buffer, Instructions, run};

/// What products are computed from; sums are f32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats: the numbers of PyTorch to the last digits.
    #[default]
    F32,
    /// Both sides rounded to bf16 (8 bits of mantissa): faster where the processor multiplies it, and less exact.
    Bf16,
}

/// Steps that are summed before the sums are put down: the tile's left side then stays in the first cache.
const DEPTH: usize = 512;
/// Rows that go through all panels together: left side and a panel stay in the second cache.
const ROWS: usize = 128;

/// Rows of f32 at equal distances.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'r> {
    values: &'r [f32],
    pub(super) count: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
}

impl<'r> Rows<'r> {
    /// `count` rows of `width` values, each `stride` after the one before.
    ///
    /// # Panics
    /// When `values` does not hold them.
    #[must_use]
    pub fn new(values: &'r [f32], (count, width): (usize, usize), stride: usize) -> Self {
        assert!(count == 0 || (width <= stride && (count - 1) * stride + width <= values.len()), "rows beyond the end");
        Self { values, count, width, stride }
    }

    /// Row `number`.
    #[inline(always)]
    pub(super) fn row(&self, number: usize) -> &'r [f32] {
        &self.values[number * self.stride..][..self.width]
    }

    /// The columns `columns` of each row.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn columns(self, columns: std::ops::Range<usize>) -> Self {
        assert!(columns.end <= self.width, "columns beyond the end");
        let values = if self.count == 0 { self.values } else { &self.values[columns.start..] };
        Self { values, width: columns.len(), ..self }
    }
}

/// Room for the left side of a product in another form.
#[derive(Debug, Default)]
pub struct ProductScratch(Buffer);

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Onto<'b> {
    /// Nothing: the product replaces what was there.
    Nothing,
    /// This row, one value a column, in every row; the sum replaces what was there.
    Bias(&'b [f32]),
    /// The values that are there.
    Sums,
}

/// A weight matrix `(N, K)`, as PyTorch keeps a linear layer's, packed as the right side of a product.
#[derive(Debug)]
pub struct Packed {
    instructions: Instructions,
    operands: Operands,
    inputs: usize,
    outputs: usize,
    /// `(panels, steps, panel width)`, zeros beyond the last column.
    panels: Buffer,
}

impl Packed {
    /// For `X Wᵀ`: the matrix whose rows stand one after another in `parts`, each `(N_i, inputs)` row-major: N is their sum.
    ///
    /// # Panics
    /// When a part is no whole number of rows.
    #[must_use]
    pub fn new(instructions: Instructions, precision: Precision, inputs: usize, parts: &[&[f32]]) -> Self {
        assert!(inputs > 0 && parts.iter().all(|part| part.len().is_multiple_of(inputs)), "rows of {inputs}");
        let rows: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks_exact(inputs)).collect();
        let operands = Operands::of(precision);
        let (width, steps) = (instructions.panel(), steps(operands, inputs));
        let mut panels = Buffer::zeros(rows.len().div_ceil(width) * steps * width);
        for (panel, rows) in panels.values_mut().chunks_exact_mut(steps * width).zip(rows.chunks(width)) {
            for (column, row) in rows.iter().enumerate() {
                match operands {
                    Operands::Single => {
                        for (step, &value) in panel.chunks_exact_mut(width).zip(*row) {
                            step[column] = value;
                        }
                    }
                    Operands::Pairs => {
                        for (step, pair) in panel.chunks_exact_mut(width).zip(row.chunks(2)) {
                            let high = pair.get(1).map_or(0, |&value| u32::from(bf16(value)));
                            step[column] = f32::from_bits(u32::from(bf16(pair[0])) | high << 16);
                        }
                    }
                }
            }
        }
        Self { instructions, operands, inputs, outputs: rows.len(), panels }
    }

    /// For `G W`: the same matrix as [`Packed::new`] takes, whose rows are now what is summed over.
    ///
    /// # Panics
    /// As [`Packed::new`].
    #[must_use]
    pub fn transposed(instructions: Instructions, precision: Precision, columns: usize, parts: &[&[f32]]) -> Self {
        assert!(columns > 0 && parts.iter().all(|part| part.len().is_multiple_of(columns)), "rows of {columns}");
        let rows: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks_exact(columns)).collect();
        let operands = Operands::of(precision);
        let (width, steps) = (instructions.panel(), steps(operands, rows.len()));
        let mut panels = Buffer::zeros(columns.div_ceil(width) * steps * width);
        for (number, panel) in panels.values_mut().chunks_exact_mut(steps * width).enumerate() {
            let part = |row: &&'_ [f32]| number * width..row.len().min((number + 1) * width);
            match operands {
                Operands::Single => {
                    for (step, row) in panel.chunks_exact_mut(width).zip(&rows) {
                        let row = &row[part(row)];
                        step[..row.len()].copy_from_slice(row);
                    }
                }
                Operands::Pairs => {
                    for (step, pair) in panel.chunks_exact_mut(width).zip(rows.chunks(2)) {
                        let low = &pair[0][part(&pair[0])];
                        for (place, (to, &low)) in step.iter_mut().zip(low).enumerate() {
                            let high = pair.get(1).map_or(0, |row| u32::from(bf16(row[number * width + place])));
                            *to = f32::from_bits(u32::from(bf16(low)) | high << 16);
                        }
                    }
                }
            }
        }
        Self { instructions, operands, inputs: rows.len(), outputs: columns, panels }
    }

    /// Values in a row of the result: N for `X Wᵀ`, K for `G W`.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The product of `x` and the matrix into rows of `out`, each `stride` after the one before; values between rows
    /// are left alone.
    ///
    /// # Panics
    /// When a size does not fit.
    pub fn apply(&self, x: Rows<'_>, onto: Onto<'_>, (out, stride): (&mut [f32], usize), scratch: &mut ProductScratch) {
        if x.count == 0 || self.outputs == 0 {
            return;
        }
        assert!(!matches!(onto, Onto::Bias(bias) if bias.len() != self.outputs), "one bias a column");
        assert!((x.count - 1) * x.stride + self.inputs <= x.values.len(), "a row of x is too short");
        assert!(stride >= self.outputs && (x.count - 1) * stride + self.outputs <= out.len(), "out is too small");
        run!(
            self.instructions,
            multiply(w: &Packed = self, x: Rows<'_> = x, onto: Onto<'_> = onto, out: (&mut [f32], usize) = (out, stride), scratch: &mut Buffer = &mut scratch.0)
        );
    }
}

impl Operands {
    /// The form that `precision` multiplies.
    #[inline(always)]
    pub(super) fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::Single,
            Precision::Bf16 => Self::Pairs,
        }
    }
}

/// From one row of `steps` pairs to the next: rows begin a cache line, and those of a tile lie in different places of
/// the first cache.
#[inline(always)]
pub(super) fn pair_row(steps: usize) -> usize {
    (steps.div_ceil(16) | 1) * 16
}

/// Values, or pairs of them, of a row of `inputs`.
#[inline(always)]
pub(super) fn steps(operands: Operands, inputs: usize) -> usize {
    match operands {
        Operands::Single => inputs,
        Operands::Pairs => inputs.div_ceil(2),
    }
}

/// # Safety
/// The instructions of `L` are enabled where this is compiled, and the sizes fit ([`Packed::apply`] looks).
#[inline(always)]
unsafe fn multiply<L: Lanes>(
    w: &Packed,
    x: Rows<'_>,
    onto: Onto<'_>,
    (out, out_row): (&mut [f32], usize),
    scratch: &mut Buffer,
) {
    let steps = steps(w.operands, w.inputs);
    let pair_row = pair_row(steps);
    for first in (0..x.count).step_by(ROWS) {
        let count = ROWS.min(x.count - first);
        let rows = &x.values[first * x.stride..];
        let (a, a_row) = match w.operands {
            Operands::Single => (rows.as_ptr(), x.stride),
            Operands::Pairs => {
                let pairs = scratch.room(ROWS * pair_row);
                for (to, from) in pairs.chunks_exact_mut(pair_row).zip(rows.chunks(x.stride)).take(count) {
                    // SAFETY: the instructions are the caller's.
                    unsafe { to_pairs::<L>(&from[..w.inputs], to) };
                }
                (pairs.as_ptr(), pair_row)
            }
        };
        for depth in (0..steps).step_by(DEPTH) {
            for column in (0..w.outputs).step_by(L::PANEL) {
                let columns = L::PANEL.min(w.outputs - column);
                // SAFETY: `a` has `count` rows of `steps`; the panel of `column` begins at `column * steps` and has
                // `L::PANEL` values a step; bias and out have `columns` values from `column` in each row.
                unsafe {
                    let out = out.as_mut_ptr().add(first * out_row + column);
                    let (start, start_row) = match onto {
                        Onto::Bias(bias) if depth == 0 => (bias.as_ptr().add(column), 0),
                        Onto::Nothing if depth == 0 => (std::ptr::null(), 0),
                        _ => (out.cast_const(), out_row),
                    };
                    let tile = Tile {
                        depth: DEPTH.min(steps - depth),
                        operands: w.operands,
                        a: a.add(depth),
                        a_row,
                        a_step: 1,
                        b: w.panels.values().as_ptr().add(column * steps + depth * L::PANEL),
                        b_step: L::PANEL,
                        start,
                        start_row,
                        out,
                        out_row,
                        columns,
                    };
                    tile_rows::<L>(&tile, count, columns.div_ceil(L::COUNT));
                }
            }
        }
    }
}

/// `from` as bf16, two in each f32 of `to`, zeros after them.
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled; `to` has room for whole registers of them.
#[inline(always)]
pub(super) unsafe fn to_pairs<L: Lanes>(from: &[f32], to: &mut [f32]) {
    assert!(from.len().next_multiple_of(L::COUNT) <= 2 * to.len(), "no room for the pairs");
    let halves = to.as_mut_ptr().cast::<u16>();
    for place in (0..from.len()).step_by(L::COUNT) {
        // SAFETY: loads stay within `from`, stores within `to`, which the assertion saw to.
        unsafe { L::load_first(from.as_ptr().add(place), from.len() - place).store_bf16(halves.add(place)) };
    }
}
