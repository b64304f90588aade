//! The slopes of attention within one sequence, by hand: shares are computed again from queries and keys, a few queries
//! at a time, so that nothing of size (L, L) is kept from the forward pass (as `FlashAttention` does, arXiv 2205.14135, B.4).
//! In f32 always: it is a small part of the work.

use super::attention::{QUERIES, SequenceDropout, powers};
use super::lanes::Lanes;
use super::panels::{Left, Panels, Sums, pack_columns, pack_steps, panel};
use super::tile::Operands;
use super::{Buffer, Instructions, run};

/// Heads of one sequence on the way back.
#[derive(Debug)]
pub struct AttentionSlopes<'a> {
    /// Rows of queries, keys and values as they were: `(L, 3 D)`.
    pub qkv: &'a [f32],
    /// Rows of the mixed values as they came out, and the slopes of the loss along them: `(L, D)` each.
    pub mixed: (&'a [f32], &'a [f32]),
    /// Where the slopes along queries, keys and values go: `(L, 3 D)`.
    pub out: &'a mut [f32],
    /// From one row of `qkv` and `out`, and from one row of `mixed`, to the next.
    pub strides: (usize, usize),
    /// Heads, and the width of one: D is their product.
    pub heads: (usize, usize),
    /// Which shares had been dropped.
    pub dropout: Option<SequenceDropout>,
}

/// Room for one head's keys and values, and for a few queries with their scores.
#[derive(Debug, Default)]
pub struct AttentionSlopesScratch {
    key_columns: Buffer,
    key_steps: Buffer,
    value_columns: Buffer,
    few_queries: Buffer,
    few_slopes: Buffer,
    shares: Buffer,
    dropped: Buffer,
    slopes: Buffer,
}

/// Slopes over the `length` rows of one sequence.
///
/// # Panics
/// When a slice is too short.
pub fn attend_slopes(
    instructions: Instructions,
    length: usize,
    of: &mut AttentionSlopes<'_>,
    scratch: &mut AttentionSlopesScratch,
) {
    if length == 0 {
        return;
    }
    let width = of.heads.0 * of.heads.1;
    let (wide, narrow) = of.strides;
    assert!(3 * width <= wide && width <= narrow, "rows are too short");
    assert!((length - 1) * wide + 3 * width <= of.qkv.len().min(of.out.len()), "qkv or out is too short");
    assert!((length - 1) * narrow + width <= of.mixed.0.len().min(of.mixed.1.len()), "mixed is too short");
    run!(
        instructions,
        slopes_in(length: usize = length, of: &mut AttentionSlopes<'_> = of, scratch: &mut AttentionSlopesScratch = scratch)
    );
}

/// # Safety
/// The instructions of `L` are enabled where this is compiled, and the sizes fit ([`attend_slopes`] looks).
#[inline(always)]
unsafe fn slopes_in<L: Lanes>(length: usize, of: &mut AttentionSlopes<'_>, scratch: &mut AttentionSlopesScratch) {
    let ((heads, width), (wide, narrow), operands) = (of.heads, of.strides, Operands::Single);
    let (long_panel, short_panel) = (panel::<L>(length), panel::<L>(width));
    let long = length.next_multiple_of(long_panel) * width;
    let short = width.next_multiple_of(short_panel);
    let key_columns = scratch.key_columns.room(long);
    let value_columns = scratch.value_columns.room(long);
    let key_steps = scratch.key_steps.room(short * length);
    let few_queries = scratch.few_queries.room(short * QUERIES);
    let few_slopes = scratch.few_slopes.room(short * QUERIES);
    let row = (length.div_ceil(16) | 1) * 16;
    let shares = scratch.shares.room(QUERIES * row);
    let dropped = scratch.dropped.room(QUERIES * row);
    let slopes = scratch.slopes.room(QUERIES * row);
    let scale = 1.0 / (width as f32).sqrt();
    for head in 0..heads {
        let column = head * width;
        let qkv = of.qkv;
        let part =
            |part: usize| qkv[part * heads * width + column..].chunks(wide).map(|row| &row[..width]).take(length);
        let (mixed, mixed_slopes) = of.mixed;
        let back = |first: usize| mixed_slopes[first * narrow + column..].chunks(narrow).map(|row| &row[..width]);
        // SAFETY: the instructions are the caller's.
        unsafe {
            pack_columns::<L>(part(1), (operands, long_panel), key_columns, &mut []);
            pack_columns::<L>(part(2), (operands, long_panel), value_columns, &mut []);
            pack_steps::<L>(part(1), (operands, short_panel), key_steps);
        }
        let long = |values| Panels { values, steps: width, panel: long_panel, columns: length, operands };
        let (keys, values) = (long(&*key_columns), long(&*value_columns));
        let keys_back = Panels { values: key_steps, steps: length, panel: short_panel, columns: width, operands };
        for first in (0..length).step_by(QUERIES) {
            let count = QUERIES.min(length - first);
            let few = |values| Panels { values, steps: count, panel: short_panel, columns: width, operands };
            // SAFETY: `count` rows of queries and of slopes stand from `first` on, as many of each scratch row; `length`
            // rows of keys and of values stand in `out`.
            unsafe {
                pack_steps::<L>(part(0).skip(first).take(count), (operands, short_panel), few_queries);
                pack_steps::<L>(back(first).take(count), (operands, short_panel), few_slopes);
                let left =
                    |from: &[f32], stride, at: usize| Left { first: from.as_ptr().add(at), row: stride, step: 1 };
                let into = |to: &mut [f32]| Sums { first: to.as_mut_ptr(), row, onto: false };
                keys.multiply::<L>(count, left(of.qkv, wide, first * wide + column), into(shares));
                values.multiply::<L>(count, left(mixed_slopes, narrow, first * narrow + column), into(slopes));
                for query in 0..count {
                    let here = query * row..query * row + length;
                    let (shares, slopes) = (&mut shares[here.clone()], &mut slopes[here.clone()]);
                    let inverse = powers::<L>(shares, scale);
                    for share in shares.iter_mut() {
                        *share *= inverse;
                    }
                    let at = (first + query) * narrow + column;
                    let inner: f32 = dot::<L>(&mixed[at..at + width], &mixed_slopes[at..at + width]);
                    if let Some(dropout) = of.dropout {
                        let mask = dropout.row(head, first + query);
                        mask.apply_here(slopes);
                        let dropped = &mut dropped[here];
                        dropped.copy_from_slice(shares);
                        mask.apply_here(dropped);
                    }
                    for (slope, &share) in slopes.iter_mut().zip(&*shares) {
                        *slope = share * (*slope - inner) * scale;
                    }
                }
                let used = if of.dropout.is_some() { &*dropped } else { &*shares };
                let out = of.out.as_mut_ptr();
                let to = |part: usize, row: usize, onto| Sums {
                    first: out.add(row * wide + part * heads * width + column),
                    row: wide,
                    onto,
                };
                let across = |from: &[f32]| Left { first: from.as_ptr(), row: 1, step: row };
                keys_back.multiply::<L>(count, left(slopes, row, 0), to(0, first, false));
                few(&*few_queries).multiply::<L>(length, across(slopes), to(1, 0, first > 0));
                few(&*few_slopes).multiply::<L>(length, across(used), to(2, 0, first > 0));
            }
        }
    }
}

/// The inner product of two rows of one length.
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled.
#[inline(always)]
unsafe fn dot<L: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: registers are loaded within the rows.
    unsafe {
        let mut total = L::splat(0.0);
        for place in (0..a.len()).step_by(L::COUNT) {
            let of = |row: &[f32]| L::load_first(row.as_ptr().add(place), row.len() - place);
            total = of(a).mul_add(of(b), total);
        }
        total.sum()
    }
}
