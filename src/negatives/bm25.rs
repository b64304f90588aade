//! Negatives that share words with the query: the best passages by BM25.

use super::ranked::Ranked;
use super::select::Selector;
use super::{Inputs, NegativeSource, SourceError};
use crate::data::Scores;
use crate::retrieve::Bm25;

pub(super) const NAME: &str = "bm25";

#[expect(clippy::needless_pass_by_value, reason = "the signature of the table")]
pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    Ok(Box::new(Ranked {
        name: NAME,
        searcher: Box::new(Bm25::of_corpus(inputs.corpus, &inputs.bm25)?),
        score: |score| Scores { bm25: Some(score), ..Scores::default() },
        corpus: inputs.corpus,
        selector: Selector::new(inputs.filters, inputs.settings),
    }))
}
