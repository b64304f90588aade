//! Negatives near the query in an encoder's space: the best passages by cosine.

use super::ranked::Ranked;
use super::searched::{Searched, vectors};
use super::{Inputs, NegativeSource, SourceError};

pub(super) const NAME: &str = "dense";

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let lister = Searched { ranker: inputs.vectors(NAME)?, scores: vectors };
    Ok(Box::new(Ranked::new(NAME, lister, &inputs)?))
}
