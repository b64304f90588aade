//! Every kernel on every instruction set this machine has, against plain loops in f64.

use super::lanes::bf16;
use super::*;
use proptest::prelude::*;

/// Values that look random, from -`largest` to `largest`.
pub(super) fn values(count: usize, seed: u32, largest: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * largest
    };
    (0..count).map(|_| next()).collect()
}

pub(super) fn rounded(value: f32) -> f32 {
    f32::from_bits(u32::from(bf16(value)) << 16)
}

/// `x Wᵀ + b` in f64, and for each value the sum of the terms' magnitudes, by which rounding is measured.
fn plain_product(x: &[f32], w: &[f32], bias: &[f32], inputs: usize) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for row in x.chunks_exact(inputs) {
        for (weights, &bias) in w.chunks_exact(inputs).zip(bias) {
            let terms = || row.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b));
            let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
            out.push((sum + f64::from(bias), size + f64::from(bias.abs())));
        }
    }
    out
}

/// The product by the kernels, its rows without gaps; what stands in the gaps must not change.
fn product(set: Instructions, precision: Precision, x: &[f32], (w, bias): (&[f32], &[f32]), inputs: usize) -> Vec<f32> {
    const GAP: usize = 3;
    let (rows, outputs) = (x.len() / inputs, bias.len());
    let padded: Vec<f32> = x.chunks_exact(inputs).flat_map(|row| row.iter().copied().chain([f32::NAN; GAP])).collect();
    let split = outputs / 2 * inputs;
    let packed = Packed::new(set, precision, inputs, &[&w[..split], &w[split..]]);
    assert_eq!(packed.outputs(), outputs);
    let mut out = vec![7.0; rows * (outputs + GAP)];
    let x = Rows::new(&padded, (rows, inputs), inputs + GAP);
    packed.apply(x, Onto::Bias(bias), (&mut out, outputs + GAP), &mut ProductScratch::default());
    assert!(out.chunks_exact(outputs + GAP).all(|row| row[outputs..] == [7.0; GAP]), "a gap was written");
    out.chunks_exact(outputs + GAP).flat_map(|row| row[..outputs].to_vec()).collect()
}

#[test]
fn the_machine_has_at_least_the_portable_set() {
    let here = Instructions::here();
    assert_eq!(here.last().map(|set| set.name()), Some("portable"));
    assert_eq!(here[0], Instructions::best());
}

/// Sizes beyond what is summed, and what goes through the panels, at once.
#[test]
fn a_product_of_several_blocks_is_that_of_plain_loops() {
    let (rows, inputs, outputs) = (150, 1100, 50);
    let (x, w, bias) = (values(rows * inputs, 1, 1.0), values(outputs * inputs, 2, 1.0), values(outputs, 3, 1.0));
    let (x, w): (Vec<f32>, Vec<f32>) = (x.into_iter().map(rounded).collect(), w.into_iter().map(rounded).collect());
    let expected = plain_product(&x, &w, &bias, inputs);
    for set in Instructions::here() {
        for precision in [Precision::F32, Precision::Bf16] {
            let ours = product(set, precision, &x, (&w, &bias), inputs);
            for (ours, (sum, size)) in ours.iter().zip(&expected) {
                assert!((f64::from(*ours) - sum).abs() < 4e-6 * size, "{} {precision:?}: {ours} for {sum}", set.name());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_product_is_that_of_plain_loops(rows in 1usize..40, inputs in 1usize..90, outputs in 1usize..120, seed: u32) {
        let (x, w) = (values(rows * inputs, seed, 1.0), values(outputs * inputs, seed ^ 1, 1.0));
        let bias = values(outputs, seed ^ 2, 1.0);
        for set in Instructions::here() {
            for (precision, x, w) in [
                (Precision::F32, x.clone(), w.clone()),
                (Precision::Bf16, x.iter().copied().map(rounded).collect(), w.iter().copied().map(rounded).collect()),
            ] {
                let ours = product(set, precision, &x, (&w, &bias), inputs);
                for (ours, (sum, size)) in ours.iter().zip(plain_product(&x, &w, &bias, inputs)) {
                    prop_assert!((f64::from(*ours) - sum).abs() < 4e-6 * size, "{} {precision:?}: {ours} for {sum}", set.name());
                }
            }
        }
    }

    #[test]
    fn a_row_of_a_product_does_not_depend_on_the_others(rows in 2usize..30, inputs in 1usize..70, outputs in 1usize..60, seed: u32) {
        let (x, w) = (values(rows * inputs, seed, 2.0), values(outputs * inputs, seed ^ 1, 2.0));
        let bias = values(outputs, seed ^ 2, 2.0);
        for set in Instructions::here() {
            for precision in [Precision::F32, Precision::Bf16] {
                let together = product(set, precision, &x, (&w, &bias), inputs);
                for (row, together) in x.chunks_exact(inputs).zip(together.chunks_exact(outputs)) {
                    let alone = product(set, precision, row, (&w, &bias), inputs);
                    prop_assert_eq!(&alone, together, "{} {:?}", set.name(), precision);
                }
            }
        }
    }

    #[test]
    fn attention_is_that_of_plain_loops(length in 1usize..70, heads in 1usize..4, width in 1usize..40, seed: u32) {
        let d = heads * width;
        let (stride, out_stride) = (3 * d + 5, d + 2);
        for set in Instructions::here() {
            for (precision, largest, bound) in [(Precision::F32, 3.0, 2e-5), (Precision::Bf16, 1.0, 0.02)] {
                let qkv = values(length * stride, seed, largest);
                let at = |row: usize, part: usize, head: usize, place: usize| f64::from(qkv[row * stride + part * d + head * width + place]);
                let mut out = vec![7.0f32; length * out_stride];
                let mut of = Attention { qkv: &qkv, qkv_stride: stride, out: &mut out, out_stride, heads: (heads, width), precision, dropout: None };
                attend(set, length, &mut of, &mut AttentionScratch::default());
                for head in 0..heads {
                    for query in 0..length {
                        let scores: Vec<f64> = (0..length)
                            .map(|key| (0..width).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum::<f64>() / (width as f64).sqrt())
                            .collect();
                        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let powers: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                        let total: f64 = powers.iter().sum();
                        for i in 0..width {
                            let mixed = powers.iter().enumerate().map(|(key, p)| p * at(key, 2, head, i)).sum::<f64>() / total;
                            let ours = f64::from(out[query * out_stride + head * width + i]);
                            prop_assert!((ours - mixed).abs() < bound, "{} {precision:?}: {ours} for {mixed}", set.name());
                        }
                    }
                }
                prop_assert!(out.chunks_exact(out_stride).all(|row| row[d..] == [7.0; 2]), "a gap was written");
            }
        }
    }

    #[test]
    fn norms_are_those_of_plain_loops(rows in 1usize..6, width in 1usize..80, seed: u32) {
        const GAP: usize = 2;
        let (weight, bias) = (values(width, seed, 2.0), values(width, seed ^ 1, 2.0));
        let (x, more) = (values(rows * (width + GAP), seed ^ 2, 5.0), values(rows * (width + GAP), seed ^ 3, 5.0));
        for set in Instructions::here() {
            let mut ours = x.clone();
            add_norm(set, &mut ours, &more, width + GAP, Norm { weight: &weight, bias: &bias, eps: 1e-3 });
            for (row, (ours, (x, more))) in ours.chunks_exact(width + GAP).zip(x.chunks_exact(width + GAP).zip(more.chunks_exact(width + GAP))).enumerate() {
                let sums: Vec<f64> = x[..width].iter().zip(more).map(|(a, b)| f64::from(a + b)).collect();
                let mean = sums.iter().sum::<f64>() / width as f64;
                let variance = sums.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
                for i in 0..width {
                    let expected = (sums[i] - mean) / (variance + 1e-3).sqrt() * f64::from(weight[i]) + f64::from(bias[i]);
                    // Where all values of a row are nearly equal, rounding of their mean is what is seen.
                    prop_assert!((f64::from(ours[i]) - expected).abs() < 1e-4, "{} row {row}: {} for {expected}", set.name(), ours[i]);
                }
                prop_assert_eq!(&ours[width..], &x[width..], "a gap was written");
            }
        }
    }
}

/// The error function, by its series and its continued fraction, to 1e-15.
fn erf(x: f64) -> f64 {
    let z = x.abs();
    let value = if z < 3.0 {
        let (mut term, mut sum) = (z, z);
        for n in 1..200 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..80).rev().fold(0.0, |below, n| f64::from(n) / 2.0 / (z + below));
        1.0 - (-z * z).exp() / (z + fraction) / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

/// -30 to 30 in steps of 1/4096.
fn grid() -> impl Iterator<Item = f32> {
    (-122_880i32..=122_880).map(|i| i as f32 / 4096.0)
}

#[test]
fn gelu_and_its_slope_stay_within_their_bounds_on_a_grid() {
    let x: Vec<f32> = grid().collect();
    for set in Instructions::here() {
        let (mut ours, mut slopes) = (x.clone(), vec![1.0; x.len()]);
        gelu(set, &mut ours);
        gelu_slope(set, &x, &mut slopes);
        for ((&x, ours), slope) in x.iter().zip(ours).zip(slopes) {
            let exact = f64::from(x);
            let share = 0.5 * (1.0 + erf(exact * std::f64::consts::FRAC_1_SQRT_2));
            let density = (-0.5 * exact * exact).exp() / std::f64::consts::TAU.sqrt();
            let apart = (f64::from(ours) - exact * share).abs() / exact.abs().max(1.0);
            assert!(apart < 2e-7, "{}: gelu({x}) = {ours}, off by {apart}", set.name());
            let apart = (f64::from(slope) - share - exact * density).abs();
            assert!(apart < 5e-7, "{}: gelu'({x}) = {slope}, off by {apart}", set.name());
        }
    }
}

#[test]
fn softmax_is_exact_to_a_few_last_digits_on_a_grid() {
    // Beside 0, the share of x is e^x / (1 + e^x): this shows the exponential itself, from -86 to 0.
    for set in Instructions::here() {
        for i in 0..=352_256 {
            let x = -(i as f32) / 4096.0;
            let mut row = [x, 0.0];
            softmax(set, &mut row, 2);
            let expected = f64::from(x).exp() / (1.0 + f64::from(x).exp());
            let apart = (f64::from(row[0]) / expected - 1.0).abs();
            assert!(apart < 4e-7, "{}: softmax of {x} = {}, off by {apart}", set.name(), row[0]);
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for set in Instructions::here() {
        let mut row = [0.5, f32::NAN, 1.0];
        softmax(set, &mut row, 3);
        assert!(row.iter().any(|v| v.is_nan()), "{}: {row:?}", set.name());
        let mut row = [f32::NAN, 1.0];
        gelu(set, &mut row);
        assert!(row[0].is_nan() && !row[1].is_nan(), "{}: {row:?}", set.name());
        let packed = Packed::new(set, Precision::F32, 2, &[&[1.0, f32::NAN, 0.0, 1.0]]);
        let mut out = [0.0; 2];
        packed.apply(
            Rows::new(&[1.0, 1.0], (1, 2), 2),
            Onto::Bias(&[0.0; 2]),
            (&mut out, 2),
            &mut ProductScratch::default(),
        );
        assert!(out[0].is_nan() && (out[1] - 1.0).abs() < 1e-6, "{}: {out:?}", set.name());
    }
}
