//! How good the encoder is on queries that it is not trained on, while it is trained: the un-tuned one first, then again
//! and again; the best state is kept, and training ends early when there is no more gain.
//! What is measured comes in as a function: this layer does not search.

use super::{Material, Result, TrainSettings};
use crate::data::{Instance, QueryId, Seed, Watch};
use crate::encode::{BiEncoder, Role, Vectors};
use candle_core::Tensor;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Which values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// High ones, as of nDCG.
    Higher,
    /// Low ones, as of a loss.
    Lower,
}

/// A measure of what is trained, as it is now.
pub struct Validation<'v> {
    /// What it is, over what: "nDCG@10 of 81 queries over 1,023 passages".
    pub measure: String,
    /// Which values are good.
    pub better: Better,
    /// The value of what is trained as it is now; it must not change it.
    pub value: &'v dyn Fn() -> Result<f64>,
}

/// One look at the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Steps taken so far; 0: the un-tuned encoder.
    pub step: usize,
    /// What was measured.
    pub value: f64,
}

/// All looks of a run, in order; the first is the un-tuned encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// As [`Validation::measure`].
    pub measure: String,
    /// Which values are good.
    pub better: Better,
    /// The looks.
    pub checks: Vec<Check>,
}

impl Validation<'_> {
    /// The curve through `checks`.
    #[must_use]
    pub fn curve(&self, checks: Vec<Check>) -> Curve {
        Curve { measure: self.measure.clone(), better: self.better, checks }
    }
}

impl Curve {
    /// True when `value` is better than `other`; a tie is not.
    fn gains(&self, value: f64, other: f64) -> bool {
        match self.better {
            Better::Higher => value > other,
            Better::Lower => value < other,
        }
    }

    /// The best look at the trained encoder, the earliest of equals.
    #[must_use]
    pub fn best(&self) -> Option<Check> {
        let trained = self.checks.iter().copied().filter(|check| check.step > 0);
        trained.reduce(|best, check| if self.gains(check.value, best.value) { check } else { best })
    }

    /// Looks since the best one.
    #[must_use]
    pub fn since_best(&self) -> usize {
        let best = self.best().map_or(0, |best| best.step);
        self.checks.iter().filter(|check| check.step > best).count()
    }

    /// True when the best look is better than the un-tuned encoder.
    #[must_use]
    pub fn improved(&self) -> bool {
        match (self.checks.first(), self.best()) {
            (Some(untuned), Some(best)) => self.gains(best.value, untuned.value),
            _ => false,
        }
    }

    /// One sentence for people: un-tuned, best, and a warning when training did not help.
    #[must_use]
    pub fn summary(&self) -> String {
        let (Some(untuned), Some(best)) = (self.checks.first(), self.best()) else {
            return format!("{}: not measured after training", self.measure);
        };
        let change = format!(
            "{}: {:.4} un-tuned, {:.4} at best (step {}, kept)",
            self.measure, untuned.value, best.value, best.step
        );
        if self.improved() { change } else { format!("{change}; training did NOT make it better than its base") }
    }
}

/// Instances to train on, and those of held-out queries: about `share` (0 to 1) of the queries, at least one and not all
/// where there are two. A query is on one side with all its instances. Which ones follows from `seed`, not from the order.
#[must_use]
pub fn split(instances: &[Instance], share: f64, seed: Seed) -> (Vec<Instance>, Vec<Instance>) {
    let mut queries: Vec<&QueryId> = instances.iter().map(|instance| &instance.query_id).collect();
    queries.sort_unstable();
    queries.dedup();
    queries.shuffle(&mut seed.stream("train/validation"));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the queries")]
    let count = ((share * queries.len() as f64).round() as usize).clamp(1, queries.len().saturating_sub(1).max(1));
    let held: HashSet<&QueryId> = queries.into_iter().take(count).collect();
    instances.iter().cloned().partition(|instance| !held.contains(&instance.query_id))
}

/// Mean loss per query of the encoder over `instances`, as training takes it at the first temperature but without
/// dropout; in batches in the order given.
///
/// # Errors
/// As [`Material::new`] and [`BiEncoder::encode`].
pub fn loss(encoder: &BiEncoder, instances: &[Instance], settings: &TrainSettings, watch: &dyn Watch) -> Result<f64> {
    let material = Material::new(encoder, instances, settings)?;
    let places: Vec<usize> = (0..instances.len()).collect();
    let mut sum = 0.0;
    for batch in places.chunks(settings.batch_size) {
        let queries: Vec<&str> = batch.iter().map(|&b| instances[b].query.as_str()).collect();
        let positives = batch.iter().map(|&b| &instances[b].positive);
        let passages: Vec<&str> =
            positives.chain(batch.iter().flat_map(|&b| &instances[b].negatives)).map(|p| p.text.as_str()).collect();
        let mut rows = wide(&encoder.encode(&queries, Role::Query, watch)?.vectors);
        rows.extend(wide(&encoder.encode(&passages, Role::Document, watch)?.vectors));
        let shape = (queries.len() + passages.len(), encoder.width());
        let vectors = Tensor::from_vec(rows, shape, encoder.device())?;
        let value = material.value(&vectors, batch, settings.temperature)?.value.to_scalar::<f32>()?;
        sum += f64::from(value) * batch.len() as f64;
    }
    Ok(sum / instances.len().max(1) as f64)
}

/// All values, row by row.
fn wide(vectors: &Vectors) -> Vec<f32> {
    vectors.widened(0..vectors.len()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(better: Better, values: &[f64]) -> Curve {
        let checks = values.iter().enumerate().map(|(step, &value)| Check { step, value }).collect();
        Curve { measure: "m".into(), better, checks }
    }

    #[test]
    fn the_best_look_is_the_earliest_of_equals_and_never_the_untuned_one() {
        let rising = curve(Better::Higher, &[0.5, 0.4, 0.6, 0.6, 0.55]);
        assert_eq!(rising.best(), Some(Check { step: 2, value: 0.6 }));
        assert_eq!(rising.since_best(), 2);
        assert!(rising.improved() && !rising.summary().contains("NOT"));
        let worse = curve(Better::Higher, &[0.9, 0.4, 0.6]);
        assert_eq!(worse.best(), Some(Check { step: 2, value: 0.6 }));
        assert!(!worse.improved() && worse.summary().contains("NOT make it better"), "{}", worse.summary());
        let loss = curve(Better::Lower, &[2.0, 1.5, 1.7]);
        assert_eq!(loss.best(), Some(Check { step: 1, value: 1.5 }));
        assert!(loss.improved());
        assert_eq!(curve(Better::Higher, &[0.5]).best(), None);
    }
}
