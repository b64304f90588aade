//! `Gᵀ X`, the slope of a weight: over the tokens, the sum of what came back times what had gone in.

use super::lanes::Lanes;
use super::panels::{Left, Panels, Sums, one_step, pack_steps, panel};
use super::product::{Rows, steps};
use super::tile::Operands;
use super::{Buffer, Instructions, Precision, run};

/// Tokens that are summed before the sums are put down; more would not stay in the second cache.
const TOKENS: usize = 512;
/// Columns of the right side that are packed together, for the same reason.
const COLUMNS: usize = 384;

/// Room for both sides of a product in another form.
#[derive(Debug, Default)]
pub struct OuterScratch {
    left: Buffer,
    right: Buffer,
}

/// Adds `Σ_t g[t, n] x[t, k]` to `out[n, k]`: `g` is `(T, N)`, `x` `(T, K)`, `out` `(N, K)` row-major without gaps.
/// Tokens are summed in their order, whatever their number.
///
/// # Panics
/// When sizes do not fit.
pub fn add_outer(
    (instructions, precision): (Instructions, Precision),
    g: Rows<'_>,
    x: Rows<'_>,
    out: &mut [f32],
    scratch: &mut OuterScratch,
) {
    assert!(g.count == x.count && out.len() == g.width * x.width, "two sides of as many tokens, a value for each pair");
    let operands = Operands::of(precision);
    run!(
        instructions,
        add_outer_in(operands: Operands = operands, g: Rows<'_> = g, x: Rows<'_> = x, out: &mut [f32] = out, scratch: &mut OuterScratch = scratch)
    );
}

/// # Safety
/// The instructions of `L` are enabled where this is compiled, and the sizes fit ([`add_outer`] looks).
#[inline(always)]
unsafe fn add_outer_in<L: Lanes>(
    operands: Operands,
    g: Rows<'_>,
    x: Rows<'_>,
    out: &mut [f32],
    scratch: &mut OuterScratch,
) {
    for first in (0..g.count).step_by(TOKENS) {
        let count = TOKENS.min(g.count - first);
        let steps = steps(operands, count);
        let left = match operands {
            Operands::Single => Left { first: g.row(first).as_ptr(), row: 1, step: g.stride },
            Operands::Pairs => {
                let row = (g.width.div_ceil(16) | 1) * 16;
                let pairs = scratch.left.room(steps * row);
                for (step, to) in pairs.chunks_exact_mut(row).enumerate() {
                    let one = first + 2 * step;
                    let both = (g.row(one), (one + 1 < first + count).then(|| g.row(one + 1)));
                    for place in (0..g.width).step_by(L::COUNT) {
                        // SAFETY: rows are padded to whole registers.
                        unsafe { one_step::<L>(both, place, operands).store(to[place..].as_mut_ptr()) };
                    }
                }
                Left { first: pairs.as_ptr(), row: 1, step: row }
            }
        };
        for column in (0..x.width).step_by(COLUMNS) {
            let columns = COLUMNS.min(x.width - column);
            let panel = panel::<L>(columns);
            let right = scratch.right.room(columns.next_multiple_of(panel) * steps);
            let rows = (first..first + count).map(|row| &x.row(row)[column..column + columns]);
            // SAFETY: the instructions are the caller's; `left` has `g.width` rows of `steps`, and so many rows of
            // `columns` stand in `out` from `column` on.
            unsafe {
                pack_steps::<L>(rows, (operands, panel), right);
                let right = Panels { values: right, steps, panel, columns, operands };
                let sums = Sums { first: out.as_mut_ptr().add(column), row: x.width, onto: true };
                right.multiply::<L>(g.width, left, sums);
            }
        }
    }
}
