//! The innermost product: a few rows by a few registers of columns, summed in registers over the common dimension.
//! Each value is summed in the order of that dimension alone, whatever the tile's size.

use super::lanes::Lanes;

/// `out[i, j] = start[i, j] + Σ_k a[i, k] b[k, j]`, with everything where it lies.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Steps of the sum: values of `k`, or pairs of them.
    pub depth: usize,
    /// What lies at `a` and `b`.
    pub operands: Operands,
    /// First value of the left side.
    pub a: *const f32,
    /// From one of its rows to the next.
    pub a_row: usize,
    /// From one of its steps to the next.
    pub a_step: usize,
    /// First value of the right side; whole registers are read in every step.
    pub b: *const f32,
    /// From one of its steps to the next.
    pub b_step: usize,
    /// What the sums start from: nothing (null), a row for all (`start_row` 0), or a value each.
    pub start: *const f32,
    /// From one of its rows to the next.
    pub start_row: usize,
    /// Where the sums go.
    pub out: *mut f32,
    /// From one of its rows to the next.
    pub out_row: usize,
    /// Columns that exist; lanes beyond them are neither read from `start` nor written.
    pub columns: usize,
}

/// The form of both sides of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operands {
    /// One f32 a step.
    Single,
    /// Two bf16 a step, in the 32 bits of a f32.
    Pairs,
}

/// `tile` with `R` rows and `A` registers across.
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled, and the tile's places are valid for its sizes.
#[inline(always)]
pub(super) unsafe fn tile_of<L: Lanes, const R: usize, const A: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[L::splat(0.0); A]; R];
        if !tile.start.is_null() {
            for (i, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    let left = tile.columns.saturating_sub(v * L::COUNT);
                    *sum = L::load_first(tile.start.add(i * tile.start_row + v * L::COUNT), left);
                }
            }
        }
        let (mut a, mut b) = (tile.a, tile.b);
        match tile.operands {
            Operands::Single => {
                for _ in 0..tile.depth {
                    let across: [L; A] = std::array::from_fn(|v| L::load(b.add(v * L::COUNT)));
                    for (i, row) in sums.iter_mut().enumerate() {
                        let value = L::splat(*a.add(i * tile.a_row));
                        for (sum, &b) in row.iter_mut().zip(&across) {
                            *sum = value.mul_add(b, *sum);
                        }
                    }
                    a = a.add(tile.a_step);
                    b = b.add(tile.b_step);
                }
            }
            Operands::Pairs => {
                for _ in 0..tile.depth {
                    let across: [L; A] = std::array::from_fn(|v| L::load(b.add(v * L::COUNT)));
                    for (i, row) in sums.iter_mut().enumerate() {
                        let pair = L::splat(*a.add(i * tile.a_row));
                        for (sum, &b) in row.iter_mut().zip(&across) {
                            *sum = sum.add_pairs(pair, b);
                        }
                    }
                    a = a.add(tile.a_step);
                    b = b.add(tile.b_step);
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                let to = tile.out.add(i * tile.out_row + v * L::COUNT);
                let left = tile.columns.saturating_sub(v * L::COUNT);
                if left >= L::COUNT {
                    sum.store(to);
                } else {
                    sum.store_first(to, left);
                }
            }
        }
    }
}

/// All rows of `tile`, as many at a time as the registers hold.
///
/// # Safety
/// As [`tile_of`], for all `rows`.
#[inline(always)]
pub(super) unsafe fn tile_rows<L: Lanes>(tile: &Tile, rows: usize, across: usize) {
    let mut row = 0;
    while row < rows {
        let here = (rows - row).min(L::ROWS);
        // SAFETY: rows `row..row + here` are among the caller's.
        unsafe {
            let start = if tile.start.is_null() { tile.start } else { tile.start.add(row * tile.start_row) };
            let part = Tile { a: tile.a.add(row * tile.a_row), start, out: tile.out.add(row * tile.out_row), ..*tile };
            L::tile(&part, here, across);
        }
        row += here;
    }
}
