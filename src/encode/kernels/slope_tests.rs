//! What the backward pass needs of the kernels, on every instruction set this machine has, against plain loops in f64.

use super::tests::{rounded, values};
use super::*;
use proptest::prelude::*;

/// Rows of `width` with `gap` NaN after each.
fn spread(values: &[f32], width: usize, gap: usize) -> Vec<f32> {
    values.chunks_exact(width).flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(f32::NAN, gap))).collect()
}

fn both() -> [Precision; 2] {
    [Precision::F32, Precision::Bf16]
}

/// As `precision` would see them, so that only the order of sums differs.
fn seen(precision: Precision, values: &[f32]) -> Vec<f32> {
    values.iter().map(|&v| if precision == Precision::Bf16 { rounded(v) } else { v }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_transposed_product_is_that_of_plain_loops(rows in 1usize..30, n in 1usize..70, k in 1usize..120, seed: u32) {
        for (set, precision) in Instructions::here().into_iter().flat_map(|set| both().map(|p| (set, p))) {
            let (g, w) = (seen(precision, &values(rows * n, seed, 1.0)), seen(precision, &values(n * k, seed ^ 1, 1.0)));
            let split = n / 2 * k;
            let packed = Packed::transposed(set, precision, k, &[&w[..split], &w[split..]]);
            prop_assert_eq!(packed.outputs(), k);
            let padded = spread(&g, n, 3);
            for (onto, before) in [(Onto::Nothing, 0.0), (Onto::Sums, 7.0)] {
                let mut out = vec![7.0; rows * k];
                packed.apply(Rows::new(&padded, (rows, n), n + 3), onto, (&mut out, k), &mut ProductScratch::default());
                for (row, out) in g.chunks_exact(n).zip(out.chunks_exact(k)) {
                    for (column, &ours) in out.iter().enumerate() {
                        let terms = || row.iter().enumerate().map(|(i, &g)| f64::from(g) * f64::from(w[i * k + column]));
                        let (sum, size) = (before + terms().sum::<f64>(), before + terms().map(f64::abs).sum::<f64>());
                        prop_assert!((f64::from(ours) - sum).abs() <= 4e-6 * size, "{} {precision:?}: {ours} for {sum}", set.name());
                    }
                }
            }
        }
    }

    #[test]
    fn an_outer_sum_is_that_of_plain_loops(tokens in 1usize..300, n in 1usize..40, k in 1usize..110, seed: u32) {
        for (set, precision) in Instructions::here().into_iter().flat_map(|set| both().map(|p| (set, p))) {
            let (g, x) = (seen(precision, &values(tokens * n, seed, 1.0)), seen(precision, &values(tokens * k, seed ^ 1, 1.0)));
            let (g_rows, x_rows) = (spread(&g, n, 5), spread(&x, k, 2));
            let (g_rows, x_rows) = (Rows::new(&g_rows, (tokens, n), n + 5), Rows::new(&x_rows, (tokens, k), k + 2));
            let mut out = vec![0.5; n * k];
            add_outer((set, precision), g_rows, x_rows, &mut out, &mut OuterScratch::default());
            for (place, &ours) in out.iter().enumerate() {
                let terms = || (0..tokens).map(|t| f64::from(g[t * n + place / k]) * f64::from(x[t * k + place % k]));
                let (sum, size) = (0.5 + terms().sum::<f64>(), 0.5 + terms().map(f64::abs).sum::<f64>());
                prop_assert!((f64::from(ours) - sum).abs() < 4e-6 * size, "{} {precision:?}: {ours} for {sum}", set.name());
            }
            // A part of the columns gives a part of the sums.
            let part = n / 2..n;
            let mut some = vec![0.5; part.len() * k];
            add_outer((set, precision), g_rows.columns(part.clone()), x_rows, &mut some, &mut OuterScratch::default());
            prop_assert_eq!(&some[..], &out[part.start * k..]);
            let mut sums = vec![1.0; n];
            add_columns(set, g_rows, &mut sums);
            for (column, ours) in sums.into_iter().enumerate() {
                let sum = 1.0 + (0..tokens).map(|t| f64::from(g[t * n + column])).sum::<f64>();
                prop_assert!((f64::from(ours) - sum).abs() < 1e-3, "{}: {ours} for {sum}", set.name());
            }
        }
    }

    #[test]
    fn slopes_of_attention_are_those_of_plain_loops(length in 1usize..60, heads in 1usize..4, width in 1usize..40, drop: bool, seed: u32) {
        let d = heads * width;
        let (wide, narrow) = (3 * d + 5, d + 2);
        let dropout = drop.then(|| Dropout::new(0.3, u64::from(seed))).flatten().map(|dropout| SequenceDropout { dropout, place: [4, 2] });
        for set in Instructions::here() {
            let qkv = values(length * wide, seed, 2.0);
            let back = values(length * narrow, seed ^ 1, 1.0);
            let mut mixed = vec![0.0; length * narrow];
            let mut of = Attention { qkv: &qkv, qkv_stride: wide, out: &mut mixed, out_stride: narrow, heads: (heads, width), precision: Precision::F32, dropout };
            attend(set, length, &mut of, &mut AttentionScratch::default());
            let mut ours = vec![7.0f32; length * wide];
            let mut of = AttentionSlopes { qkv: &qkv, mixed: (&mixed, &back), out: &mut ours, strides: (wide, narrow), heads: (heads, width), dropout };
            attend_slopes(set, length, &mut of, &mut AttentionSlopesScratch::default());
            for head in 0..heads {
                let expected = plain_slopes(&qkv, &back, (length, width), &|part, row| row * wide + part * d + head * width, &|row| row * narrow + head * width, &|query| dropout.map(|d| d.row(head, query)));
                for (place, expected) in expected.into_iter().enumerate() {
                    let (part, row, i) = (place / width / length, place / width % length, place % width);
                    let found = f64::from(ours[row * wide + part * d + head * width + i]);
                    prop_assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{} part {part} row {row}: {found} for {expected}", set.name());
                }
            }
            prop_assert!(ours.chunks_exact(wide).all(|row| row[3 * d..] == [7.0; 5]), "a gap was written");
        }
    }

    #[test]
    fn slopes_of_norms_skip_the_gaps(rows in 1usize..6, width in 2usize..80, seed: u32) {
        const GAP: usize = 3;
        let (x, slopes) = (values(rows * width, seed, 3.0), values(rows * width, seed ^ 1, 1.0));
        let (weight, bias) = (values(width, seed ^ 2, 2.0), vec![0.0; width]);
        let by = Norm { weight: &weight, bias: &bias, eps: 1e-3 };
        for set in Instructions::here() {
            let (mut close, mut apart) = (slopes.clone(), spread(&slopes, width, GAP));
            norm_slope(set, &x, &mut close, width, by);
            norm_slope(set, &spread(&x, width, GAP), &mut apart, width + GAP, by);
            let (mut of_close, mut of_apart) = (vec![0.0; 2 * width], vec![0.0; 2 * width]);
            norm_parameter_slopes(set, (&x, &slopes), width, &mut of_close, 1e-3);
            norm_parameter_slopes(set, (&spread(&x, width, GAP), &spread(&slopes, width, GAP)), width + GAP, &mut of_apart, 1e-3);
            prop_assert!(of_close == of_apart, "{}", set.name());
            for (close, apart) in close.chunks_exact(width).zip(apart.chunks_exact(width + GAP)) {
                prop_assert_eq!(close, &apart[..width]);
            }
        }
    }
}

/// Slopes along queries, keys and values of one head, `(3, L, width)`, by the formulas over whole matrices in f64.
fn plain_slopes(
    qkv: &[f32],
    back: &[f32],
    (length, width): (usize, usize),
    at: &dyn Fn(usize, usize) -> usize,
    at_back: &dyn Fn(usize) -> usize,
    mask: &dyn Fn(usize) -> Option<DropoutRow>,
) -> Vec<f64> {
    let value = |part: usize, row: usize, i: usize| f64::from(qkv[at(part, row) + i]);
    let scale = 1.0 / (width as f64).sqrt();
    let mut out = vec![0.0; 3 * length * width];
    for query in 0..length {
        let factor = |key: usize| mask(query).map_or(1.0, |row| f64::from(row.factor(u32::try_from(key).unwrap_or(0))));
        let scores: Vec<f64> = (0..length)
            .map(|key| (0..width).map(|i| value(0, query, i) * value(1, key, i)).sum::<f64>() * scale)
            .collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|s| (s - most).exp()).sum();
        let shares: Vec<f64> = scores.iter().map(|s| (s - most).exp() / total).collect();
        let slope = |key: usize| {
            factor(key) * (0..width).map(|i| f64::from(back[at_back(query) + i]) * value(2, key, i)).sum::<f64>()
        };
        let inner: f64 = (0..length).map(|key| shares[key] * slope(key)).sum();
        for key in 0..length {
            let of_score = shares[key] * (slope(key) - inner) * scale;
            for i in 0..width {
                out[query * width + i] += of_score * value(1, key, i);
                out[(length + key) * width + i] += of_score * value(0, query, i);
                out[(2 * length + key) * width + i] += shares[key] * factor(key) * f64::from(back[at_back(query) + i]);
            }
        }
    }
    out
}

#[test]
fn dropout_drops_its_share_everywhere_alike_and_keeps_the_mean() {
    let Some(dropout) = Dropout::new(0.1, 17) else { panic!("a tenth is dropped") };
    assert_eq!(Dropout::new(0.0, 17), None);
    let (rows, width) = (400u32, 384usize);
    let masks: Vec<Vec<f32>> = (0..rows)
        .map(|row| {
            let mut values = vec![1.0; width];
            dropout.row([3, row, 1]).apply(Instructions::best(), &mut values);
            values
        })
        .collect();
    let dropped = |row: usize, column: usize| masks[row][column] == 0.0;
    let all = rows as usize * width;
    let share = |holds: &dyn Fn(usize, usize) -> bool| {
        (0..all).filter(|&place| holds(place / width, place % width)).count() as f64 / all as f64
    };
    // Of 153,600 draws the share is within 5 deviations (0.0008 each) of what is asked for, and of its square for two.
    assert!((share(&dropped) - 0.1).abs() < 0.004);
    for (down, across) in [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0)] {
        let pair = share(&|row, column| dropped(row, column) && dropped((row + down) % 400, (column + across) % width));
        assert!((pair - 0.01).abs() < 0.0015, "{down} {across}: {pair}");
    }
    let columns = (0..width).map(|column| (0..400).filter(|&row| dropped(row, column)).count());
    assert!(columns.into_iter().all(|count| (10..80).contains(&count)));
    let mean = masks.iter().flatten().sum::<f32>() / all as f32;
    assert!((mean - 1.0).abs() < 0.005, "{mean}");
    for set in Instructions::here() {
        let mut values = vec![1.0; width];
        dropout.row([3, 5, 1]).apply(set, &mut values);
        assert_eq!(values, masks[5], "{}", set.name());
    }
    assert_ne!(masks[0], masks[1]);
}
