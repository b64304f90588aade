//! How a number goes from its first value to its last over a run: the learning rate and the temperature.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The way between two values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// In equal steps.
    #[default]
    Linear,
    /// Along half a cosine: slowly at both ends.
    Cosine,
    /// It stays at the first value.
    Constant,
}

impl Curve {
    /// What is left of the first value after `share` (0 to 1) of the way: 1 at its start; 0 at its end, or 1 if constant.
    #[must_use]
    pub fn left(self, share: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - share,
            Self::Cosine => f64::midpoint(1.0, (PI * share).cos()),
            Self::Constant => 1.0,
        }
    }
}

/// Factor of the learning rate at `step` (from 0) of `total`, 0 to 1: it rises in equal steps over `warmup` of them, then
/// follows `curve`. It is transformers' `get_scheduler` for `total + 1` steps without the first, whose rate of 0 trains
/// nothing; so the last step's is above 0 too.
#[must_use]
pub fn rate(curve: Curve, step: usize, warmup: usize, total: usize) -> f64 {
    let place = step + 1;
    if place < warmup {
        return place as f64 / warmup as f64;
    }
    curve.left((place - warmup) as f64 / (total + 1 - warmup).max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        curve: Curve,
        warmup: usize,
        total: usize,
        factors: Vec<f64>,
    }

    #[test]
    fn factors_are_those_of_transformers() -> Result<(), serde_json::Error> {
        let golden: Vec<Golden> = serde_json::from_str(include_str!("../../tests/peers/schedules.json"))?;
        for Golden { curve, warmup, total, factors } in &golden {
            assert_eq!(factors.len(), *total);
            for (step, factor) in factors.iter().enumerate() {
                let ours = rate(*curve, step, *warmup, *total);
                assert!(
                    (ours - factor).abs() < 1e-12,
                    "{curve:?} {warmup} of {total}, step {step}: {ours} for {factor}"
                );
                assert!(ours > 0.0);
            }
        }
        for curve in [Curve::Linear, Curve::Cosine, Curve::Constant] {
            assert!(golden.iter().any(|golden| golden.curve == curve), "no golden numbers for {curve:?}");
        }
        Ok(())
    }
}
