//! Negatives drawn from the passages about as long as the positives, so that length does not tell them apart.
//! About is `length_band`: a share of the positives' mean characters, up and down.

use super::drawn::{Draft, Drawn};
use super::{Inputs, NegativeSource, SourceError, Task};
use crate::filter::mean_length;
use std::ops::Range;

pub(super) const NAME: &str = "random-length";

/// Rows by length, with their lengths in characters.
struct ByLength {
    rows: Vec<(usize, usize)>,
    band: f64,
}

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let texts = inputs.corpus.contents()?;
    let mut rows: Vec<(usize, usize)> = texts.iter().map(|text| text.chars().count()).zip(0..).collect();
    rows.sort_unstable();
    let draft = ByLength { rows, band: f64::from(inputs.settings.length_band) };
    Ok(Box::new(Drawn::new(NAME, draft, &inputs)))
}

impl Draft for ByLength {
    fn places(&self, task: &Task) -> Range<usize> {
        let usual = mean_length(&task.positives);
        let (least, most) = (usual * (1.0 - self.band), usual * (1.0 + self.band));
        let start = self.rows.partition_point(|&(length, _)| (length as f64) < least);
        start..self.rows.partition_point(|&(length, _)| length as f64 <= most).max(start)
    }

    fn row(&self, place: usize) -> usize {
        self.rows[place].1
    }
}
