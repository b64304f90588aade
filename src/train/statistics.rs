//! What a run's numbers say: the share each source of negatives has in the gradient, and the spread of gradient norms.
//!
//! In `InfoNCE` the softmax weight of a negative is its factor in the query's gradient. A source whose negatives weigh
//! nothing teaches nothing, however many they are. Gradient norms are those before clipping, of every step.

use super::loss::Comparisons;
use super::trainer::StepRecord;
use crate::data::arrays::Arrays;
use crate::data::{self};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A negative with a smaller softmax weight is dead: ten thousand of them would weigh as much as one query's all.
pub const DEAD: f32 = 1e-4;

/// Classes of the histogram of gradient norms.
const CLASSES: usize = 20;

/// The form of the array file.
const FORM: &str = "nearmiss training 1";

/// What the negatives of one source weigh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceWeight {
    /// Its share of all negatives' softmax weights, 0 to 1.
    pub share: f64,
    /// Share of its comparisons with a softmax weight below [`DEAD`], 0 to 1.
    pub dead: f64,
}

/// Sums by source, over the batches of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Tallies(Vec<Tally>);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    weight: f64,
    dead: usize,
    comparisons: usize,
}

impl Tallies {
    /// Nothing yet, for so many sources.
    #[must_use]
    pub fn new(sources: usize) -> Self {
        Self(vec![Tally::default(); sources])
    }

    /// Adds the negatives of a batch: their weights `(B, C)`, and the source of each column.
    pub fn count(&mut self, weights: &[f32], comparisons: &Comparisons, sources: &[usize]) {
        for (query, row) in weights.chunks(comparisons.columns()).enumerate() {
            for (column, &weight) in row.iter().enumerate().filter(|&(column, _)| comparisons.opposes(query, column)) {
                let tally = &mut self.0[sources[column]];
                tally.weight += f64::from(weight);
                tally.dead += usize::from(weight < DEAD);
                tally.comparisons += 1;
            }
        }
    }

    /// Adds what another batch gave.
    pub fn add(&mut self, other: &Self) {
        for (sum, tally) in self.0.iter_mut().zip(&other.0) {
            sum.weight += tally.weight;
            sum.dead += tally.dead;
            sum.comparisons += tally.comparisons;
        }
    }

    /// The weights of the sources that had negatives, by name.
    #[must_use]
    pub fn by_name(&self, names: &[String]) -> BTreeMap<String, SourceWeight> {
        let total: f64 = self.0.iter().map(|tally| tally.weight).sum();
        let weight = |tally: &Tally| SourceWeight {
            share: if total > 0.0 { tally.weight / total } else { 0.0 },
            dead: tally.dead as f64 / tally.comparisons as f64,
        };
        let present = names.iter().zip(&self.0).filter(|(_, tally)| tally.comparisons > 0);
        present.map(|(name, tally)| (name.clone(), weight(tally))).collect()
    }
}

/// A run's numbers together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunStatistics {
    /// Steps taken.
    pub steps: usize,
    /// Of the global gradient norm before clipping.
    pub gradient_norm: Spread,
    /// What each source's negatives weighed, mean over the steps that had some.
    pub sources: BTreeMap<String, SourceWeight>,
}

/// How numbers spread.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Mean square of their distance from it (the sample's variance, by n - 1); 0 for one number.
    pub variance: f64,
    /// Standard deviation by mean; 0 where the mean is 0.
    pub coefficient_of_variation: f64,
    /// Bounds of the histogram's classes, one more than there are counts, in equal steps.
    pub edges: Vec<f64>,
    /// Numbers in each class; the upper bound belongs to the last one alone.
    pub counts: Vec<usize>,
}

impl Spread {
    /// The spread of `values`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a class's number")]
    pub fn of(values: &[f64]) -> Self {
        let Some(&first) = values.first() else { return Self::default() };
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let variance = if values.len() > 1 { squares / (count - 1.0) } else { 0.0 };
        let (low, high) = values.iter().fold((first, first), |(low, high), &v| (low.min(v), high.max(v)));
        let width = (high - low) / CLASSES as f64;
        let mut counts = vec![0; CLASSES];
        for value in values {
            let class = if width > 0.0 { ((value - low) / width) as usize } else { 0 };
            counts[class.min(CLASSES - 1)] += 1;
        }
        Self {
            mean,
            variance,
            coefficient_of_variation: if mean > 0.0 { variance.sqrt() / mean } else { 0.0 },
            edges: (0..=CLASSES).map(|class| low + width * class as f64).collect(),
            counts,
        }
    }
}

impl RunStatistics {
    /// Of the steps of a run.
    #[must_use]
    pub fn of(steps: &[StepRecord]) -> Self {
        let norms: Vec<f64> = steps.iter().map(|step| step.gradient_norm).collect();
        let mean = |name: &str| {
            let weights: Vec<&SourceWeight> = steps.iter().filter_map(|step| step.sources.get(name)).collect();
            let mean = |part: fn(&SourceWeight) -> f64| {
                weights.iter().map(|weight| part(weight)).sum::<f64>() / weights.len() as f64
            };
            SourceWeight { share: mean(|weight| weight.share), dead: mean(|weight| weight.dead) }
        };
        Self {
            steps: steps.len(),
            gradient_norm: Spread::of(&norms),
            sources: names(steps).into_iter().map(|name| (name.to_owned(), mean(name))).collect(),
        }
    }

    /// Lines for people: the norm's spread, and a line for each source.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Spread { mean, variance, coefficient_of_variation, .. } = self.gradient_norm;
        let norm = format!(
            "gradient norm over {} steps: mean {mean:.4}, variance {variance:.4}, coefficient of variation {coefficient_of_variation:.3}",
            self.steps
        );
        let sources = self.sources.iter().map(|(name, weight)| {
            format!(
                "negatives from {name}: {:.1} % of the softmax weight, {:.1} % dead (below {DEAD})",
                100.0 * weight.share,
                100.0 * weight.dead
            )
        });
        std::iter::once(norm).chain(sources).collect()
    }
}

fn names(steps: &[StepRecord]) -> BTreeSet<&str> {
    steps.iter().flat_map(|step| step.sources.keys()).map(String::as_str).collect()
}

/// Writes the numbers of all steps to `path` as arrays of f32, one number a step: `loss`, `learning_rate`,
/// `temperature`, `gradient_norm`, and for each source `share.<source>` and `dead.<source>`, not a number where the step
/// had no negative of it.
///
/// # Errors
/// [`data::Error::Io`].
#[expect(clippy::cast_possible_truncation, reason = "kept as f32")]
pub fn write(path: &Path, steps: &[StepRecord]) -> data::Result<()> {
    let column = |value: &dyn Fn(&StepRecord) -> f64| steps.iter().map(|step| value(step) as f32).collect::<Vec<f32>>();
    let mut columns = vec![
        ("loss".to_owned(), column(&|step| f64::from(step.loss))),
        ("learning_rate".to_owned(), column(&|step| step.learning_rate)),
        ("temperature".to_owned(), column(&|step| step.temperature)),
        ("gradient_norm".to_owned(), column(&|step| step.gradient_norm)),
    ];
    for name in names(steps) {
        let of = |part: fn(&SourceWeight) -> f64| column(&|step| step.sources.get(name).map_or(f64::NAN, part));
        columns.push((format!("share.{name}"), of(|weight| weight.share)));
        columns.push((format!("dead.{name}"), of(|weight| weight.dead)));
    }
    let mut arrays = Arrays::default();
    for (name, values) in &columns {
        arrays.add(name.as_str(), values);
    }
    arrays.write(path, FORM, &[("steps", steps.len().to_string()), ("dead_below", DEAD.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::arrays::ArrayFile;
    use crate::train::InBatch;

    #[test]
    fn shares_and_dead_negatives_are_counted_by_source() {
        // Two queries, one negative each; columns: positives (source 1), then negatives of sources 0 and 2.
        let comparisons = Comparisons::new(2, 1, InBatch::All, |query, column| (query, column) == (1, 0));
        let mut tallies = Tallies::new(4);
        let weights = [0.5, 0.1, 0.4, 0.0, 0.0, 0.7, 0.00005, 0.3];
        tallies.count(&weights, &comparisons, &[1, 1, 0, 2]);
        let names = ["bm25", "judged", "random", "unseen"].map(str::to_owned);
        let found = tallies.by_name(&names);
        let share = |name: &str| (found[name].share * 0.80005, found[name].dead);
        let close =
            |(a, dead): (f64, f64), (b, expected): (f64, f64)| (a - b).abs() < 1e-6 && (dead - expected).abs() < 1e-9;
        assert!(close(share("bm25"), (0.40005, 0.5)), "{found:?}");
        assert!(close(share("judged"), (0.1, 0.0)), "the forbidden comparison does not count: {found:?}");
        assert!(close(share("random"), (0.3, 0.5)), "{found:?}");
        assert!(!found.contains_key("unseen"));
        let mut twice = tallies.clone();
        twice.add(&tallies);
        assert_eq!(twice.by_name(&names), found);
    }

    #[test]
    fn a_spread_counts_every_number_once() {
        let spread = Spread::of(&[1.0, 2.0, 2.0, 5.0]);
        assert!((spread.mean - 2.5).abs() < 1e-12 && (spread.variance - 3.0).abs() < 1e-12);
        assert!((spread.coefficient_of_variation - 3f64.sqrt() / 2.5).abs() < 1e-12);
        assert_eq!(spread.edges.len(), CLASSES + 1);
        assert_eq!((spread.counts[0], spread.counts[5], spread.counts[CLASSES - 1]), (1, 2, 1));
        assert_eq!(spread.counts.iter().sum::<usize>(), 4);
        let even = Spread::of(&[3.0, 3.0]);
        assert!(even.variance.abs() < 1e-12 && even.counts[0] == 2);
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn steps_are_kept_as_arrays() -> Result<(), Box<dyn std::error::Error>> {
        let step = |step: usize, source: &str| StepRecord {
            step,
            loss: step as f32,
            gradient_norm: 0.5,
            learning_rate: 1e-3,
            temperature: 0.05,
            sources: BTreeMap::from([(source.to_owned(), SourceWeight { share: 1.0, dead: 0.25 })]),
        };
        let steps = [step(1, "bm25"), step(2, "random")];
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("statistics.safetensors");
        write(&path, &steps)?;
        let file = ArrayFile::open(&path, FORM)?;
        assert_eq!(*file.array::<f32>("loss")?, [1.0, 2.0]);
        let shares = file.array::<f32>("share.bm25")?;
        assert!((shares[0] - 1.0).abs() < 1e-6 && shares[1].is_nan());
        assert!((file.array::<f32>("dead.random")?[1] - 0.25).abs() < 1e-6);
        let run = RunStatistics::of(&steps);
        assert_eq!(run.sources.len(), 2);
        assert!((run.sources["bm25"].share - 1.0).abs() < 1e-12, "mean over the steps that had some");
        assert_eq!(run.lines().len(), 3);
        Ok(())
    }
}
