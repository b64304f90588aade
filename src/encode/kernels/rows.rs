//! What stands between the products, row by row: GELU, softmax, layer norm, and their slopes.

use super::lanes::Lanes;
use super::product::Rows;
use super::{Instructions, run};

/// `e^x` within 2 units in the last place from -87 to 88; below, about 1.6e-38; above, about 1.7e38 (Cephes' polynomial).
///
/// # Safety
/// The instructions of `L` are enabled where this is compiled.
#[inline(always)]
pub(super) unsafe fn exp<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
        let round = L::splat(12_582_912.0);
        // The bound first: the processor then hands a NaN through.
        let x = L::splat(-87.0).max(L::splat(88.0).min(x));
        let n = x.mul_add(L::splat(std::f32::consts::LOG2_E), round).sub(round);
        let r = n.mul_add(L::splat(-0.693_359_4), x);
        let r = n.mul_add(L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(1.987_569_1e-4);
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = p.mul_add(r, L::splat(c));
        }
        let p = p.mul_add(r.mul(r), r).add(L::splat(1.0));
        p.times_power_of_two(n)
    }
}

/// Φ(x) and φ(x), the normal distribution and its density: Φ within 1.5e-7
/// (Abramowitz and Stegun 1964, formula 7.1.26, for the error function).
///
/// # Safety
/// As [`exp`].
#[inline(always)]
unsafe fn normal<L: Lanes>(x: L) -> (L, L) {
    // SAFETY: the caller's.
    unsafe {
        let (zero, one) = (L::splat(0.0), L::splat(1.0));
        let z = x.max(zero.sub(x)).mul(L::splat(std::f32::consts::FRAC_1_SQRT_2));
        let decay = exp(zero.sub(z.mul(z)));
        let t = one.div(z.mul_add(L::splat(0.327_591_1), one));
        let mut p = L::splat(1.061_405_4);
        for c in [-1.453_152_1, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
            p = p.mul_add(t, L::splat(c));
        }
        let half = p.mul(t).mul(decay.mul(L::splat(0.5)));
        (half.where_negative(x, one.sub(half)), decay.mul(L::splat(0.398_942_3)))
    }
}

/// `x Φ(x)` in place (Hendrycks and Gimpel 2016, arXiv 1606.08415): within 2e-7 of max(1, |x|).
pub fn gelu(instructions: Instructions, values: &mut [f32]) {
    run!(instructions, gelu_in(values: &mut [f32] = values));
}

/// `slope (Φ(x) + x φ(x))` in place of `slope`.
///
/// # Panics
/// When there are not as many slopes as values.
pub fn gelu_slope(instructions: Instructions, x: &[f32], slope: &mut [f32]) {
    assert_eq!(x.len(), slope.len(), "a slope for each value");
    run!(instructions, gelu_slope_in(x: &[f32] = x, slope: &mut [f32] = slope));
}

/// Softmax of each row of `width` in place; minus infinity becomes 0 beside anything larger by 88.
pub fn softmax(instructions: Instructions, rows: &mut [f32], width: usize) {
    run!(instructions, softmax_in(rows: &mut [f32] = rows, width: usize = width));
}

/// `y (g - Σ g y)` in place of g, row by row.
///
/// # Panics
/// When there are not as many slopes as shares.
pub fn softmax_slope(instructions: Instructions, shares: &[f32], slopes: &mut [f32], width: usize) {
    assert_eq!(shares.len(), slopes.len(), "a slope for each share");
    run!(instructions, softmax_slope_in(shares: &[f32] = shares, slopes: &mut [f32] = slopes, width: usize = width));
}

/// Scale, shift and epsilon of a layer norm (Ba et al. 2016, arXiv 1607.06450).
#[derive(Debug, Clone, Copy)]
pub struct Norm<'n> {
    /// `(D,)`.
    pub weight: &'n [f32],
    /// `(D,)`.
    pub bias: &'n [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// Layer norm of each row in place; rows stand `stride` apart.
///
/// # Panics
/// When weight and bias differ in length or are longer than `stride`.
pub fn norm(instructions: Instructions, rows: &mut [f32], stride: usize, by: Norm<'_>) {
    assert!(by.weight.len() == by.bias.len() && by.weight.len() <= stride, "a weight and a bias for each column");
    run!(instructions, norm_in(rows: &mut [f32] = rows, stride: usize = stride, by: Norm<'_> = by));
}

/// Layer norm of each row of `rows` with the same row of `more` added, in place of `rows`; rows stand `stride` apart.
///
/// # Panics
/// As [`norm`]; when `more` is not as long as `rows`.
pub fn add_norm(instructions: Instructions, rows: &mut [f32], more: &[f32], stride: usize, by: Norm<'_>) {
    assert!(by.weight.len() == by.bias.len() && by.weight.len() <= stride, "a weight and a bias for each column");
    assert_eq!(rows.len(), more.len(), "as many values to add");
    run!(
        instructions,
        add_norm_in(rows: &mut [f32] = rows, more: &[f32] = more, stride: usize = stride, by: Norm<'_> = by)
    );
}

/// `(g w - mean(g w) - x̂ mean(g w x̂)) / deviation` in place of g, for rows `x` before the norm; rows of both stand
/// `stride` apart.
///
/// # Panics
/// When there are not as many slopes as values.
pub fn norm_slope(instructions: Instructions, x: &[f32], slopes: &mut [f32], stride: usize, by: Norm<'_>) {
    assert!(x.len() == slopes.len() && by.weight.len() <= stride, "a slope for each value");
    run!(
        instructions,
        norm_slope_in(x: &[f32] = x, slopes: &mut [f32] = slopes, stride: usize = stride, by: Norm<'_> = by)
    );
}

/// Adds Σ g x̂ to the first half of `out`, Σ g to the second, over rows `x` before the norm; rows of both stand `stride`
/// apart.
///
/// # Panics
/// When there are not as many slopes as values.
pub fn norm_parameter_slopes(
    instructions: Instructions,
    (x, slopes): (&[f32], &[f32]),
    stride: usize,
    out: &mut [f32],
    eps: f32,
) {
    assert!(x.len() == slopes.len() && out.len() <= 2 * stride, "a slope for each value");
    run!(
        instructions,
        norm_parameter_slopes_in(x: &[f32] = x, slopes: &[f32] = slopes, stride: usize = stride, out: &mut [f32] = out, eps: f32 = eps)
    );
}

/// Adds the sum of the rows to `out`, one value a column.
///
/// # Panics
/// When `out` is not as long as a row.
pub fn add_columns(instructions: Instructions, rows: Rows<'_>, out: &mut [f32]) {
    assert_eq!(rows.width, out.len(), "a sum for each column");
    run!(instructions, add_columns_in(rows: Rows<'_> = rows, out: &mut [f32] = out));
}

// SAFETY: for all below, the instructions of `L` are enabled where they are compiled ([`run`]), and every register is
// loaded from and stored to a slice of the length given beside it.

/// `form` of the registers of each slice's `place..`, and how many values they hold.
macro_rules! each_register {
    ($length:expr, |$place:ident, $left:ident| $form:block) => {
        for $place in (0..$length).step_by(L::COUNT) {
            let $left = $length - $place;
            $form
        }
    };
}

#[inline(always)]
unsafe fn gelu_in<L: Lanes>(values: &mut [f32]) {
    each_register!(values.len(), |place, left| {
        unsafe {
            let x = L::load_first(values.as_ptr().add(place), left);
            x.mul(normal(x).0).store_first(values.as_mut_ptr().add(place), left);
        }
    });
}

#[inline(always)]
unsafe fn gelu_slope_in<L: Lanes>(x: &[f32], slope: &mut [f32]) {
    each_register!(x.len(), |place, left| {
        unsafe {
            let x = L::load_first(x.as_ptr().add(place), left);
            let slope_here = L::load_first(slope.as_ptr().add(place), left);
            let (share, density) = normal(x);
            slope_here.mul(x.mul_add(density, share)).store_first(slope.as_mut_ptr().add(place), left);
        }
    });
}

/// Sum of `term(place, left)`, registers of it, whose lanes from `left` on are 0.
#[inline(always)]
unsafe fn sum<L: Lanes>(length: usize, term: impl Fn(usize, usize) -> L) -> f32 {
    unsafe {
        let mut total = L::splat(0.0);
        each_register!(length, |place, left| {
            total = total.add(term(place, left));
        });
        total.sum()
    }
}

/// The largest value; a NaN may be passed over.
#[inline(always)]
pub(super) unsafe fn largest<L: Lanes>(row: &[f32]) -> f32 {
    unsafe {
        let mut most = L::splat(f32::NEG_INFINITY);
        let whole = row.len() / L::COUNT * L::COUNT;
        for place in (0..whole).step_by(L::COUNT) {
            most = most.max(L::load(row.as_ptr().add(place)));
        }
        row[whole..].iter().copied().fold(most.largest(), f32::max)
    }
}

#[inline(always)]
unsafe fn softmax_in<L: Lanes>(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        unsafe {
            let most = largest::<L>(row);
            let total = {
                let row = row.as_mut_ptr();
                let mut total = L::splat(0.0);
                each_register!(width, |place, left| {
                    let x = L::load_first(row.add(place), left).sub(L::splat(most));
                    // Exactly 0, so that what is masked takes no part at all.
                    L::splat(0.0).where_negative(x.add(L::splat(87.0)), exp(x)).store_first(row.add(place), left);
                    total = total.add(L::load_first(row.add(place), left));
                });
                total.sum()
            };
            let scale = L::splat(1.0 / total);
            each_register!(width, |place, left| {
                let at = row.as_mut_ptr().add(place);
                L::load_first(at, left).mul(scale).store_first(at, left);
            });
        }
    }
}

#[inline(always)]
unsafe fn softmax_slope_in<L: Lanes>(shares: &[f32], slopes: &mut [f32], width: usize) {
    for (y, g) in shares.chunks_exact(width).zip(slopes.chunks_exact_mut(width)) {
        unsafe {
            let of = |from: &[f32], place, left| L::load_first(from.as_ptr().add(place), left);
            let inner = L::splat(sum::<L>(width, |place, left| of(g, place, left).mul(of(y, place, left))));
            each_register!(width, |place, left| {
                let slope = of(y, place, left).mul(of(g, place, left).sub(inner));
                slope.store_first(g.as_mut_ptr().add(place), left);
            });
        }
    }
}

/// Mean and 1 / deviation of a row.
#[inline(always)]
unsafe fn moments<L: Lanes>(row: &[f32], eps: f32) -> (f32, f32) {
    unsafe {
        let count = row.len() as f32;
        let mean = sum::<L>(row.len(), |place, left| L::load_first(row.as_ptr().add(place), left)) / count;
        let squares = sum::<L>(row.len(), |place, left| {
            // Lanes beyond the end hold the mean, and so add nothing.
            let apart = L::load_first(row.as_ptr().add(place), left).sub(first_lanes::<L>(mean, left));
            apart.mul(apart)
        });
        (mean, 1.0 / (squares / count + eps).sqrt())
    }
}

/// `value` in the first `count` lanes, 0 in the others.
#[inline(always)]
unsafe fn first_lanes<L: Lanes>(value: f32, count: usize) -> L {
    unsafe { if count >= L::COUNT { L::splat(value) } else { L::load_first([value; 16].as_ptr(), count) } }
}

#[inline(always)]
unsafe fn norm_in<L: Lanes>(rows: &mut [f32], stride: usize, by: Norm<'_>) {
    for row in rows.chunks_mut(stride) {
        unsafe { norm_row::<L>(&mut row[..by.weight.len()], by) };
    }
}

#[inline(always)]
unsafe fn norm_row<L: Lanes>(row: &mut [f32], by: Norm<'_>) {
    unsafe {
        let (mean, scale) = moments::<L>(row, by.eps);
        let (mean, scale) = (L::splat(mean), L::splat(scale));
        each_register!(row.len(), |place, left| {
            let of = |from: &[f32]| L::load_first(from.as_ptr().add(place), left);
            let centred = of(row).sub(mean).mul(scale);
            centred.mul_add(of(by.weight), of(by.bias)).store_first(row.as_mut_ptr().add(place), left);
        });
    }
}

#[inline(always)]
unsafe fn add_norm_in<L: Lanes>(rows: &mut [f32], more: &[f32], stride: usize, by: Norm<'_>) {
    for (row, more) in rows.chunks_mut(stride).zip(more.chunks(stride)) {
        let row = &mut row[..by.weight.len()];
        let more = &more[..by.weight.len()];
        unsafe {
            each_register!(row.len(), |place, left| {
                let of = |from: &[f32]| L::load_first(from.as_ptr().add(place), left);
                of(row).add(of(more)).store_first(row.as_mut_ptr().add(place), left);
            });
            norm_row::<L>(row, by);
        }
    }
}

#[inline(always)]
unsafe fn norm_slope_in<L: Lanes>(x: &[f32], slopes: &mut [f32], stride: usize, by: Norm<'_>) {
    let width = by.weight.len();
    for (x, g) in x.chunks(stride).zip(slopes.chunks_mut(stride)) {
        let (x, g) = (&x[..width], &mut g[..width]);
        unsafe {
            let of = |from: &[f32], place, left| L::load_first(from.as_ptr().add(place), left);
            let (mean, scale) = moments::<L>(x, by.eps);
            let (mean, scale) = (L::splat(mean), L::splat(scale));
            let centred = |place, left| of(x, place, left).sub(mean).mul(scale);
            let weighted = |g: &[f32], place, left| of(g, place, left).mul(of(by.weight, place, left));
            let count = width as f32;
            let first = L::splat(sum::<L>(width, |place, left| weighted(g, place, left)) / count);
            let second = sum::<L>(width, |place, left| weighted(g, place, left).mul(centred(place, left))) / count;
            let second = L::splat(second);
            each_register!(width, |place, left| {
                let slope = weighted(g, place, left).sub(first).sub(centred(place, left).mul(second)).mul(scale);
                slope.store_first(g.as_mut_ptr().add(place), left);
            });
        }
    }
}

#[inline(always)]
unsafe fn norm_parameter_slopes_in<L: Lanes>(x: &[f32], slopes: &[f32], stride: usize, out: &mut [f32], eps: f32) {
    let width = out.len() / 2;
    let (of_weight, of_bias) = out.split_at_mut(width);
    for (x, g) in x.chunks(stride).zip(slopes.chunks(stride)) {
        let (x, g) = (&x[..width], &g[..width]);
        unsafe {
            let (mean, scale) = moments::<L>(x, eps);
            let (mean, scale) = (L::splat(mean), L::splat(scale));
            each_register!(width, |place, left| {
                let of = |from: &[f32]| L::load_first(from.as_ptr().add(place), left);
                let centred = of(x).sub(mean).mul(scale);
                of(g).mul_add(centred, of(of_weight)).store_first(of_weight.as_mut_ptr().add(place), left);
                of(of_bias).add(of(g)).store_first(of_bias.as_mut_ptr().add(place), left);
            });
        }
    }
}

#[inline(always)]
unsafe fn add_columns_in<L: Lanes>(rows: Rows<'_>, out: &mut [f32]) {
    for number in 0..rows.count {
        let row = rows.row(number);
        each_register!(row.len(), |place, left| {
            unsafe {
                let at = out.as_mut_ptr().add(place);
                L::load_first(at, left).add(L::load_first(row.as_ptr().add(place), left)).store_first(at, left);
            }
        });
    }
}
