//! Scores of an arm over its seeds, and how far they are from the un-tuned encoder.

use serde::{Deserialize, Serialize};

/// A metric over the seeds of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The value of each seed, in the order of the seeds.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Sample standard deviation (divided by n - 1); 0 for one seed.
    pub deviation: f64,
    /// Mean minus the un-tuned encoder's value.
    pub difference: f64,
}

impl Summary {
    /// The summary of `values` against `untuned`.
    ///
    /// # Panics
    /// When there is no value.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a handful of seeds")]
    pub fn new(values: Vec<f64>, untuned: f64) -> Self {
        assert!(!values.is_empty(), "an arm has at least one seed");
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let deviation = if values.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        Self { mean, deviation, difference: mean - untuned, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_sample_deviation() {
        let summary = Summary::new(vec![0.5, 0.7], 0.55);
        assert!((summary.mean - 0.6).abs() < 1e-12);
        assert!((summary.deviation - 0.02f64.sqrt()).abs() < 1e-12);
        assert!((summary.difference - 0.05).abs() < 1e-12);
        assert!(Summary::new(vec![0.5], 0.5).deviation.abs() < 1e-12);
    }
}
