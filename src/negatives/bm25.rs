//! Negatives that share words with the query: the best passages by BM25.

use super::ranked::Ranked;
use super::searched::{Searched, words};
use super::{Inputs, NegativeSource, SourceError};

pub(super) const NAME: &str = "bm25";

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let lister = Searched { ranker: inputs.words(NAME)?, scores: words };
    Ok(Box::new(Ranked::new(NAME, lister, &inputs)?))
}
