//! Student's paired t test and Cohen's `d_z`. The distribution's tail is a regularised incomplete beta function, by
//! Lentz's continued fraction (Press et al., Numerical Recipes, 6.4) and Lanczos' logarithm of gamma.

use super::mean;
use std::f64::consts::PI;

/// Two-sided p-value of "the mean of `differences` is 0", for at least two; 1 where all are 0, 0 where all are equal.
#[must_use]
pub fn paired(differences: &[f64]) -> f64 {
    let count = differences.len() as f64;
    match effect(differences) {
        Some(effect) => tail(effect * count.sqrt(), count - 1.0),
        None if mean(differences) == 0.0 => 1.0,
        None => 0.0,
    }
}

/// Mean over sample standard deviation (divided by n - 1); `None` where all are equal.
#[must_use]
pub fn effect(differences: &[f64]) -> Option<f64> {
    let (mean, count) = (mean(differences), differences.len() as f64);
    // Equal values give a deviation of 0 but for the mean's rounding.
    if differences.iter().all(|difference| (difference - differences[0]).abs() <= 1e-15) {
        return None;
    }
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    Some(mean / (squares / (count - 1.0)).sqrt())
}

/// Probability of a |t| at least this large at `freedom` degrees of freedom.
#[must_use]
pub fn tail(t: f64, freedom: f64) -> f64 {
    let whole = freedom + t * t;
    incomplete_beta([freedom / 2.0, 0.5], [freedom / whole, t * t / whole])
}

/// Regularised incomplete beta function of `x` for a and b above 0. `x` comes with its complement, which near 1 it
/// does not hold precisely.
fn incomplete_beta([a, b]: [f64; 2], [x, complement]: [f64; 2]) -> f64 {
    if x <= 0.0 || complement <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * complement.ln()).exp();
    // The fraction is quick on the side of the mean; the other side is the complement.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, complement) / b
    }
}

/// The continued fraction of the incomplete beta function.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let away_from_0 = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut upper = 1.0;
    let mut lower = 1.0 / away_from_0(1.0 - (a + b) * x / (a + 1.0));
    let mut value = lower;
    for step in 1..10_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            lower = 1.0 / away_from_0(1.0 + term * lower);
            upper = away_from_0(1.0 + term / upper);
            value *= lower * upper;
        }
        if (value / before - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// Natural logarithm of gamma for arguments above 0: Lanczos' approximation with g = 7 and nine terms.
#[expect(clippy::excessive_precision, reason = "as published")]
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_13,
        -176.615_029_162_140_59,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_571_6e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let series: f64 = (1_u8..).zip(TERMS).map(|(place, term)| term / (x + f64::from(place))).sum();
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + (series + 0.999_999_999_999_809_93).ln()
}
