//! Negatives drawn from the positives of the other queries: what in-batch negatives are, but fixed before training.

use super::drawn::{Draft, Drawn};
use super::{Inputs, NegativeSource, SourceError, Task};
use std::collections::BTreeSet;
use std::ops::Range;

pub(super) const NAME: &str = "other-positives";

/// Rows that are a positive of any query.
struct Positives(Vec<usize>);

#[expect(clippy::unnecessary_wraps, reason = "the signature of the table")]
pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let positives = inputs.tasks.iter().flat_map(|task| &task.positives);
    let rows: BTreeSet<usize> = positives.filter_map(|document| inputs.corpus.row(document.id.as_str())).collect();
    Ok(Box::new(Drawn::new(NAME, Positives(rows.into_iter().collect()), &inputs)))
}

impl Draft for Positives {
    fn places(&self, _: &Task) -> Range<usize> {
        0..self.0.len()
    }

    fn row(&self, place: usize) -> usize {
        self.0[place]
    }
}
