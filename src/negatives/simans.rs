//! Negatives whose score is about the positive's (`SimANS`, 2210.11773): drawn from the encoder's ranking by weights
//! that are greatest there. Nearer to the top are false negatives, farther down easy ones. The positive's score is the
//! bar of the settings; sampling is not used.

use super::ranked::{Listed, Lister, Ranked};
use super::searched::{Searched, vectors};
use super::{Inputs, NegativeSource, SimAns, SourceError, Task};
use crate::filter::Bar;

pub(super) const NAME: &str = "simans";

struct Ambiguous<'a> {
    ranking: Searched<'a>,
    weights: SimAns,
    bar: Bar,
}

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let ranking = Searched { ranker: inputs.vectors(NAME)?, scores: vectors };
    let lister = Ambiguous { ranking, weights: inputs.settings.simans, bar: inputs.settings.bar };
    Ok(Box::new(Ranked::new(NAME, lister, &inputs)?))
}

impl Lister for Ambiguous<'_> {
    fn lists(&self, tasks: &[Task], depth: usize) -> Result<Vec<Vec<Listed>>, SourceError> {
        self.ranking.lists(tasks, depth)
    }

    fn positives(&self, tasks: &[Task]) -> Result<Vec<Vec<f32>>, SourceError> {
        self.ranking.positives(tasks)
    }

    fn weight(&self, score: f32, positives: &[f32]) -> Option<f64> {
        Some(self.weights.log_weight(score, self.bar.of(positives)?))
    }

    fn weighs(&self) -> bool {
        true
    }
}
