//! Negatives near the query in an encoder's space: the best passages by cosine.
//! The caller brings the searcher, exact or HNSW, with the vectors of the queries in it.

use super::ranked::Ranked;
use super::select::Selector;
use super::{Inputs, NegativeSource, SourceError};
use crate::data::Scores;

pub(super) const NAME: &str = "dense";

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    Ok(Box::new(Ranked {
        name: NAME,
        searcher: inputs.searcher.ok_or(SourceError::NoSearcher(NAME))?,
        score: |score| Scores { cosine: Some(score), ..Scores::default() },
        corpus: inputs.corpus,
        selector: Selector::new(inputs.filters, inputs.settings),
    }))
}
