//! Where negatives come from: sources behind one trait, pushing into a sink.
//! A mined source is one file and one row of [`TABLE`], by which it is chosen.

pub mod bm25;
pub mod dense;
pub mod random;
pub mod ranked;
pub mod select;
pub mod source;
pub mod written;

pub use select::{MiningSettings, Report, Short};
pub use source::{NegativeSource, Sink, SourceError, Task};

use crate::data::{Corpus, Seed};
use crate::filter::Filters;
use crate::retrieve::Searcher;

/// What mined sources are made from.
pub struct Inputs<'a> {
    /// The passages to choose from.
    pub corpus: &'a Corpus,
    /// The judges that a candidate must pass.
    pub filters: &'a Filters,
    /// Which ranks, how many.
    pub settings: MiningSettings,
    /// Seed of the random source.
    pub seed: Seed,
    /// The searcher that the source needs; see [`Needs`].
    pub searcher: Option<Box<dyn Searcher + 'a>>,
}

/// What a source needs beyond corpus and settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A BM25 index.
    Words,
    /// A searcher that has the vectors of all tasks' queries.
    Vectors,
}

/// One row of the table of mined sources.
pub struct Source {
    /// Its name in settings, candidates and reports.
    pub name: &'static str,
    /// What it proposes, for help texts.
    pub about: &'static str,
    /// What must be made before.
    pub needs: Needs,
    make: for<'a> fn(Inputs<'a>) -> Result<Box<dyn NegativeSource + 'a>, SourceError>,
}

impl Source {
    /// The source, ready to propose.
    ///
    /// # Errors
    /// [`SourceError::Setting`], [`SourceError::NoSearcher`].
    pub fn make<'a>(&self, inputs: Inputs<'a>) -> Result<Box<dyn NegativeSource + 'a>, SourceError> {
        inputs.settings.check()?;
        (self.make)(inputs)
    }
}

/// Every mined source.
pub const TABLE: [Source; 3] = [
    Source {
        name: random::NAME,
        about: "passages drawn uniformly from the corpus",
        needs: Needs::Nothing,
        make: random::make,
    },
    Source { name: bm25::NAME, about: "the best passages by BM25", needs: Needs::Words, make: bm25::make },
    Source {
        name: dense::NAME,
        about: "the best passages by the encoder's vectors",
        needs: Needs::Vectors,
        make: dense::make,
    },
];

/// The source called `name`.
///
/// # Errors
/// [`SourceError::Unknown`] names those there are.
pub fn named(name: &str) -> Result<&'static Source, SourceError> {
    static SOURCES: [Source; TABLE.len()] = TABLE;
    SOURCES
        .iter()
        .find(|row| row.name == name)
        .ok_or_else(|| SourceError::Unknown { found: name.to_owned(), known: TABLE.map(|row| row.name).join(", ") })
}

#[cfg(test)]
mod tests;
