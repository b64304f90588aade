//! Negatives drawn uniformly from the corpus: the baseline of every comparison.

use super::drawn::{Drawn, Everything};
use super::{Inputs, NegativeSource, SourceError};

pub(super) const NAME: &str = "random";

#[expect(clippy::unnecessary_wraps, reason = "the signature of the table")]
pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    Ok(Box::new(Drawn::new(NAME, Everything(inputs.corpus.len()), &inputs)))
}
