//! Scaled dot-product attention within each sequence (Vaswani et al. 2017, arXiv 1706.03762, equation 1), for a few
//! queries at a time: their scores stay in the first cache from the product through softmax to the mix of values.

use super::lanes::Lanes;
use super::product::{pair_row, steps, to_pairs};
use super::rows::{exp, largest};
use super::tile::{Operands, Tile, tile_rows};
use super::{Buffer, Instructions, Precision, run};

/// Queries whose scores are held together; a multiple of every tile's rows.
const QUERIES: usize = 24;

/// Heads of one sequence: where queries, keys and values lie, and where the mix goes.
#[derive(Debug)]
pub struct Attention<'a> {
    /// Rows of queries, keys and values side by side, D each: `(L, 3 D)`.
    pub qkv: &'a [f32],
    /// From one row of `qkv` to the next.
    pub qkv_stride: usize,
    /// Rows of the mixed values: `(L, D)`.
    pub out: &'a mut [f32],
    /// From one row of `out` to the next.
    pub out_stride: usize,
    /// Heads, and the width of one: D is their product.
    pub heads: (usize, usize),
    /// What both products are computed from.
    pub precision: Precision,
}

/// Room for one head's keys and values, and for a few queries with their scores.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    keys: Buffer,
    values: Buffer,
    scores: Buffer,
    pairs: Buffer,
}

/// Attention over the `length` rows of one sequence.
///
/// # Panics
/// When a slice is too short.
pub fn attend(instructions: Instructions, length: usize, of: &mut Attention<'_>, scratch: &mut AttentionScratch) {
    if length == 0 {
        return;
    }
    let width = of.heads.0 * of.heads.1;
    assert!((length - 1) * of.qkv_stride + 3 * width <= of.qkv.len() && 3 * width <= of.qkv_stride, "qkv is too short");
    assert!((length - 1) * of.out_stride + width <= of.out.len() && width <= of.out_stride, "out is too short");
    run!(
        instructions,
        attend_in(length: usize = length, of: &mut Attention<'_> = of, scratch: &mut AttentionScratch = scratch)
    );
}

/// The right side of a product: `(panels, steps, panel)`.
#[derive(Clone, Copy)]
struct Panels<'p> {
    values: &'p [f32],
    steps: usize,
    panel: usize,
    columns: usize,
    operands: Operands,
}

/// Columns of a panel, where a matrix of `columns` is cut evenly into panels of at most [`Lanes::ACROSS`] registers.
#[inline(always)]
fn panel<L: Lanes>(columns: usize) -> usize {
    let registers = columns.div_ceil(L::COUNT);
    registers.div_ceil(registers.div_ceil(L::ACROSS)) * L::COUNT
}

impl Panels<'_> {
    /// `a · self` into rows of `out`.
    ///
    /// # Safety
    /// The instructions of `L` are enabled where this is compiled; `a` has `count` rows of `steps`, `out` as many of `columns`.
    #[inline(always)]
    unsafe fn multiply<L: Lanes>(
        &self,
        count: usize,
        (a, a_row): (*const f32, usize),
        (out, out_row): (*mut f32, usize),
    ) {
        for place in (0..self.columns).step_by(self.panel) {
            let columns = self.panel.min(self.columns - place);
            // SAFETY: the caller's, and the panel of `place` begins at `place * steps`.
            unsafe {
                let tile = Tile {
                    depth: self.steps,
                    operands: self.operands,
                    a,
                    a_row,
                    a_step: 1,
                    b: self.values.as_ptr().add(place * self.steps),
                    b_step: self.panel,
                    start: std::ptr::null(),
                    start_row: 0,
                    out: out.add(place),
                    out_row,
                    columns,
                };
                tile_rows::<L>(&tile, count, columns.div_ceil(L::COUNT));
            }
        }
    }
}

/// # Safety
/// The instructions of `L` are enabled where this is compiled, and the sizes fit ([`attend`] looks).
#[inline(always)]
unsafe fn attend_in<L: Lanes>(length: usize, of: &mut Attention<'_>, scratch: &mut AttentionScratch) {
    let (heads, width) = of.heads;
    let operands = Operands::of(of.precision);
    let (key_steps, value_steps) = (steps(operands, width), steps(operands, length));
    let (key_panel, value_panel) = (panel::<L>(length), panel::<L>(width));
    let keys = scratch.keys.room(length.next_multiple_of(key_panel) * key_steps);
    let values = scratch.values.room(width.next_multiple_of(value_panel) * value_steps);
    // Odd in cache lines: the rows of a tile then lie in different places of the first cache.
    let score_row = (length.div_ceil(16) | 1) * 16;
    let scores = scratch.scores.room(QUERIES * score_row);
    let (query_row, share_row) = (pair_row(key_steps), pair_row(value_steps));
    let pairs = scratch.pairs.room(QUERIES * query_row.max(share_row) + pair_row(width));
    let scale = 1.0 / (width as f32).sqrt();
    for head in 0..heads {
        let column = head * width;
        let (qkv, stride) = (of.qkv, of.qkv_stride);
        let rows = |part: usize| qkv[part * heads * width + column..].chunks(stride).map(|row| &row[..width]);
        // SAFETY: the instructions are the caller's.
        unsafe {
            pack_keys::<L>(rows(1).take(length), (operands, key_panel), keys, pairs);
            pack_values::<L>(rows(2).take(length), (operands, value_panel), values);
        }
        let keys = Panels { values: keys, steps: key_steps, panel: key_panel, columns: length, operands };
        let values = Panels { values, steps: value_steps, panel: value_panel, columns: width, operands };
        for first in (0..length).step_by(QUERIES) {
            let count = QUERIES.min(length - first);
            let mut shares = [0.0f32; QUERIES];
            // SAFETY: `count` rows of queries stand from `first` on, and as many of `out`; rows of scores have room for
            // `length`, those of `pairs` for the steps of either side.
            unsafe {
                let queries = match operands {
                    Operands::Single => (of.qkv.as_ptr().add(first * of.qkv_stride + column), of.qkv_stride),
                    Operands::Pairs => {
                        for (to, query) in pairs.chunks_exact_mut(query_row).zip(rows(0).skip(first)).take(count) {
                            to_pairs::<L>(query, to);
                        }
                        (pairs.as_ptr(), query_row)
                    }
                };
                keys.multiply::<L>(count, queries, (scores.as_mut_ptr(), score_row));
                for (row, share) in scores.chunks_exact_mut(score_row).zip(&mut shares).take(count) {
                    *share = powers::<L>(&mut row[..length], scale);
                }
                let powers = match operands {
                    Operands::Single => (scores.as_ptr(), score_row),
                    Operands::Pairs => {
                        let rows = scores.chunks_exact(score_row).take(count);
                        for (to, row) in pairs.chunks_exact_mut(share_row).zip(rows) {
                            to_pairs::<L>(&row[..length], to);
                        }
                        (pairs.as_ptr(), share_row)
                    }
                };
                let out = of.out.as_mut_ptr().add(first * of.out_stride + column);
                values.multiply::<L>(count, powers, (out, of.out_stride));
                for (row, &share) in shares.iter().enumerate().take(count) {
                    let row = out.add(row * of.out_stride);
                    for place in (0..width).step_by(L::COUNT) {
                        let mixed = L::load_first(row.add(place), width - place).mul(L::splat(share));
                        mixed.store_first(row.add(place), width - place);
                    }
                }
            }
        }
    }
}

/// Keys of one head, the columns of a right side.
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled.
#[inline(always)]
unsafe fn pack_keys<'k, L: Lanes>(
    rows: impl Iterator<Item = &'k [f32]>,
    (operands, panel): (Operands, usize),
    keys: &mut [f32],
    pairs: &mut [f32],
) {
    for (number, row) in rows.enumerate() {
        let key = match operands {
            Operands::Single => row,
            Operands::Pairs => {
                // SAFETY: the instructions are the caller's.
                unsafe { to_pairs::<L>(row, pairs) };
                &pairs[..row.len().div_ceil(2)]
            }
        };
        let packed = &mut keys[number / panel * panel * key.len()..];
        for (step, &value) in packed.chunks_exact_mut(panel).zip(key) {
            step[number % panel] = value;
        }
    }
}

/// Values of one head, the steps of a right side.
///
/// # Safety
/// As [`pack_keys`].
#[inline(always)]
unsafe fn pack_values<'v, L: Lanes>(
    mut rows: impl ExactSizeIterator<Item = &'v [f32]>,
    (operands, panel): (Operands, usize),
    values: &mut [f32],
) {
    let steps = steps(operands, rows.len());
    for step in 0..steps {
        let first = rows.next().unwrap_or_default();
        let second = if operands == Operands::Pairs { rows.next() } else { None };
        for place in (0..first.len()).step_by(L::COUNT) {
            // Panels are whole registers, so a register never crosses from one to the next.
            let to = &mut values[(place / panel * steps + step) * panel + place % panel..][..L::COUNT];
            // SAFETY: the instructions are the caller's; loads stay within the rows, the store within `to`.
            unsafe {
                let of = |row: &[f32]| L::load_first(row.as_ptr().add(place), row.len() - place);
                let value = match operands {
                    Operands::Single => of(first),
                    Operands::Pairs => of(first).pair_with(second.map_or(L::splat(0.0), of)),
                };
                value.store(to.as_mut_ptr());
            }
        }
    }
}

/// `e^(scale (x - max x))` in place of each x; 1 / their sum.
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled.
#[inline(always)]
unsafe fn powers<L: Lanes>(row: &mut [f32], scale: f32) -> f32 {
    let (at, length) = (row.as_mut_ptr(), row.len());
    // SAFETY: registers are loaded and stored within `row`.
    unsafe {
        let most = largest::<L>(row);
        let whole = length / L::COUNT * L::COUNT;
        let (scale, shift) = (L::splat(scale), L::splat(-most * scale));
        let mut total = L::splat(0.0);
        for place in (0..whole).step_by(L::COUNT) {
            let power = exp(L::load(at.add(place)).mul_add(scale, shift));
            power.store(at.add(place));
            total = total.add(power);
        }
        if whole < length {
            let left = length - whole;
            exp(L::load_first(at.add(whole), left).mul_add(scale, shift)).store_first(at.add(whole), left);
            total = total.add(L::load_first(at.add(whole), left));
        }
        1.0 / total.sum()
    }
}
