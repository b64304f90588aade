//! Whether two runs differ: the queries they share, paired, for each metric.
//!
//! Two tests of "no difference" (Smucker, Allan and Carterette 2007): Fisher's randomisation test, which assumes
//! nothing about the values, and Student's paired t. The interval is a percentile bootstrap, the effect Cohen's `d_z`.
//! With many pairs some differ by chance: p-values are corrected by Holm (1979) over all pairs of one metric.
//! Every draw comes from a named stream of the seed and not from the pair, so that a pair's numbers are the same
//! whatever stands beside it, on any number of threads.

pub mod bootstrap;
pub mod randomisation;
pub mod student;

use super::{Evaluation, Metric};
use crate::data::Seed;
use serde::{Deserialize, Serialize};

/// How runs are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Sign patterns drawn where not all are counted, from 1; default 100,000. Fewer: coarser p-values, none below
    /// 1 / (draws + 1). More: slower.
    pub draws: u32,
    /// Resamples of the bootstrap, from 1; default 10,000. Fewer: the interval's ends waver. More: slower.
    pub resamples: u32,
    /// Share of intervals that cover the true difference, above 0 and below 1; default 0.95. Lower: narrower
    /// and more often wrong. Higher: wider and says less.
    pub confidence: f64,
    /// Seed of the draws.
    pub seed: Seed,
}

impl Default for Settings {
    fn default() -> Self {
        Self { draws: 100_000, resamples: 10_000, confidence: 0.95, seed: Seed(1) }
    }
}

/// The chance of a difference at least as large, in either direction, were there none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PValue {
    /// Of this comparison alone, 0 to 1.
    pub p: f64,
    /// Corrected by Holm over the comparisons of the same metric.
    pub holm: f64,
}

/// One run against another by one metric; differences are `run` minus `baseline`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is compared.
    pub metric: Metric,
    /// Place of the run that is subtracted, from 0.
    pub baseline: usize,
    /// Place of the other run.
    pub run: usize,
    /// Queries that count in both.
    pub queries: usize,
    /// Mean difference, -1 to 1.
    pub difference: f64,
    /// Bootstrap interval of the mean difference, lower end first.
    pub interval: [f64; 2],
    /// Queries where `run` is better.
    pub wins: usize,
    /// Queries where both are equal.
    pub ties: usize,
    /// Queries where `baseline` is better.
    pub losses: usize,
    /// Fisher's randomisation test.
    pub randomisation: PValue,
    /// True where every sign pattern was counted, false where they were drawn.
    pub exact: bool,
    /// Student's paired t test.
    pub student: PValue,
    /// Cohen's `d_z`: mean difference over its standard deviation; none where all differences are equal.
    pub effect: Option<f64>,
}

/// Every pair of `pairs` (places of baseline and run in `runs`) by every metric, metric by metric; pairs that share
/// fewer than two queries are left out.
///
/// # Panics
/// When a place is not below the number of runs, or a metric is not among their values.
#[must_use]
pub fn compare(
    runs: &[Evaluation],
    pairs: &[(usize, usize)],
    metrics: &[Metric],
    settings: &Settings,
) -> Vec<Comparison> {
    let mut all = Vec::new();
    for &metric in metrics {
        let compared = pairs.iter().filter_map(|&pair| one(runs, pair, metric, settings));
        let mut family: Vec<Comparison> = compared.collect();
        correct(&mut family, |comparison| &mut comparison.randomisation);
        correct(&mut family, |comparison| &mut comparison.student);
        all.extend(family);
    }
    all
}

/// Values closer than this differ by rounding alone: a metric sums the same terms in another order.
const SAME: f64 = 1e-12;

fn one(
    runs: &[Evaluation],
    (baseline, run): (usize, usize),
    metric: Metric,
    settings: &Settings,
) -> Option<Comparison> {
    let base = &runs[baseline].per_query;
    let paired = runs[run].per_query.iter().filter_map(|(query, values)| {
        let difference = values[&metric] - base.get(query)?[&metric];
        Some(if difference.abs() < SAME { 0.0 } else { difference })
    });
    let differences: Vec<f64> = paired.collect();
    if differences.len() < 2 {
        return None;
    }
    let count = |holds: fn(f64) -> bool| differences.iter().filter(|&&value| holds(metric.merit(value))).count();
    let randomisation = randomisation::test(&differences, settings.draws, settings.seed);
    let uncorrected = |p| PValue { p, holm: p };
    Some(Comparison {
        metric,
        baseline,
        run,
        queries: differences.len(),
        difference: mean(&differences),
        interval: bootstrap::interval(&differences, settings),
        wins: count(|merit| merit > 0.0),
        ties: count(|merit| merit == 0.0),
        losses: count(|merit| merit < 0.0),
        randomisation: uncorrected(randomisation.p),
        exact: randomisation.exact,
        student: uncorrected(student::paired(&differences)),
        effect: student::effect(&differences),
    })
}

/// Arithmetic mean of `values`, which are not empty.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn correct(family: &mut [Comparison], value: fn(&mut Comparison) -> &mut PValue) {
    let raw: Vec<f64> = family.iter_mut().map(|comparison| value(comparison).p).collect();
    for (comparison, holm) in family.iter_mut().zip(holm(&raw)) {
        value(comparison).holm = holm;
    }
}

/// Holm's step-down correction: for each p-value the least level at which its hypothesis falls.
#[must_use]
pub fn holm(raw: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..raw.len()).collect();
    order.sort_by(|&a, &b| raw[a].total_cmp(&raw[b]));
    let mut corrected = vec![0.0; raw.len()];
    let mut least = 0.0_f64;
    for (place, &index) in order.iter().enumerate() {
        least = least.max((raw[index] * (raw.len() - place) as f64).min(1.0));
        corrected[index] = least;
    }
    corrected
}

#[cfg(test)]
mod tests;
