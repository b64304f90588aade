//! Scaled dot-product attention within each sequence (Vaswani et al. 2017, arXiv 1706.03762, equation 1), for a few
//! queries at a time: their scores stay in the first cache from the product through softmax to the mix of values.

use super::dropout::Dropout;
use super::lanes::Lanes;
use super::panels::{Left, Panels, Sums, pack_columns, pack_steps, panel};
use super::product::{pair_row, steps, to_pairs};
use super::rows::{exp, largest};
use super::tile::Operands;
use super::{Buffer, Instructions, Precision, run};

/// Queries whose scores are held together; a multiple of every tile's rows.
pub(super) const QUERIES: usize = 24;

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
    /// Which shares are dropped.
    pub dropout: Option<SequenceDropout>,
}

/// Dropout of the shares of one sequence: for each head and query a row of its own.
#[derive(Debug, Clone, Copy)]
pub struct SequenceDropout {
    /// Key and rate.
    pub dropout: Dropout,
    /// What tells this sequence, and this layer, from others.
    pub place: [u32; 2],
}

impl SequenceDropout {
    /// The shares of `query` over the keys, some dropped, in place.
    #[inline(always)]
    pub(super) fn apply(self, head: usize, query: usize, shares: &mut [f32]) {
        self.row(head, query).apply_here(shares);
    }

    /// The mask of the shares of `query`.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "heads and positions are below 2^16")]
    pub fn row(self, head: usize, query: usize) -> super::DropoutRow {
        self.dropout.row([self.place[0], self.place[1], (head << 16 | query) as u32])
    }
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
            pack_columns::<L>(rows(1).take(length), (operands, key_panel), keys, pairs);
            pack_steps::<L>(rows(2).take(length), (operands, value_panel), values);
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
                    Operands::Single => {
                        Left { first: of.qkv.as_ptr().add(first * of.qkv_stride + column), row: of.qkv_stride, step: 1 }
                    }
                    Operands::Pairs => {
                        for (to, query) in pairs.chunks_exact_mut(query_row).zip(rows(0).skip(first)).take(count) {
                            to_pairs::<L>(query, to);
                        }
                        Left { first: pairs.as_ptr(), row: query_row, step: 1 }
                    }
                };
                keys.multiply::<L>(count, queries, Sums { first: scores.as_mut_ptr(), row: score_row, onto: false });
                let rows = scores.chunks_exact_mut(score_row).zip(&mut shares).take(count);
                for (query, (row, share)) in (first..).zip(rows) {
                    *share = powers::<L>(&mut row[..length], scale);
                    if let Some(dropout) = of.dropout {
                        dropout.apply(head, query, &mut row[..length]);
                    }
                }
                let powers = match operands {
                    Operands::Single => Left { first: scores.as_ptr(), row: score_row, step: 1 },
                    Operands::Pairs => {
                        let rows = scores.chunks_exact(score_row).take(count);
                        for (to, row) in pairs.chunks_exact_mut(share_row).zip(rows) {
                            to_pairs::<L>(&row[..length], to);
                        }
                        Left { first: pairs.as_ptr(), row: share_row, step: 1 }
                    }
                };
                let out = of.out.as_mut_ptr().add(first * of.out_stride + column);
                values.multiply::<L>(count, powers, Sums { first: out, row: of.out_stride, onto: false });
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

/// `e^(scale (x - max x))` in place of each x; 1 / their sum.
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled.
#[inline(always)]
pub(super) unsafe fn powers<L: Lanes>(row: &mut [f32], scale: f32) -> f32 {
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
