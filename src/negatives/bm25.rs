//! Negatives that share words with the query: the best passages by BM25.
//! The caller brings the searcher, with the index that the settings ask for.

use super::ranked::Ranked;
use super::select::Selector;
use super::{Inputs, NegativeSource, SourceError};
use crate::data::Scores;

pub(super) const NAME: &str = "bm25";

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    Ok(Box::new(Ranked {
        name: NAME,
        searcher: inputs.searcher.ok_or(SourceError::NoSearcher(NAME))?,
        score: |score| Scores { bm25: Some(score), ..Scores::default() },
        corpus: inputs.corpus,
        selector: Selector::new(inputs.filters, inputs.settings),
    }))
}
