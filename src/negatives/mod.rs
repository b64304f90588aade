//! Where negatives come from: sources behind one trait, pushing into a sink.
//! A mined source is one file and one row of [`TABLE`], by which it is chosen. What it finds goes through the filters
//! and, dropped or not, into the ledger.

mod bm25;
pub mod compat;
mod cross_encoder;
mod dense;
mod drawn;
mod draws;
mod fusion;
mod given_run;
pub mod ledger;
mod neighbours;
mod other_positives;
mod random;
mod random_length;
mod ranked;
pub mod screen;
mod searched;
pub mod select;
pub mod settings;
mod simans;
pub mod source;
mod star;
pub mod written;

pub use ledger::{Entry, Fate};
pub use select::{Report, Short};
pub use settings::{Compat, MiningSettings, Pool, Sampling, SimAns, SimAnsFormula};
pub use source::{NegativeSource, Relevance, Sink, SourceError, Task};

use crate::data::{Corpus, Run, Seed};
use crate::filter::Filters;
use crate::retrieve::Ranker;

/// What mined sources are made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The passages to choose from.
    pub corpus: &'a Corpus,
    /// All tasks that will be asked for.
    pub tasks: &'a [Task],
    /// The judges that a candidate must pass: those of [`MiningSettings::filters`], or stricter ones.
    pub filters: &'a Filters,
    /// Which ranks, how many.
    pub settings: MiningSettings,
    /// Seed of all draws.
    pub seed: Seed,
    /// BM25, for sources that need [`Needs::Words`].
    pub words: Option<&'a dyn Ranker>,
    /// An encoder's ranking, for sources that need [`Needs::Vectors`] or [`Needs::Neighbours`].
    pub vectors: Option<&'a dyn Ranker>,
    /// A given ranking, for sources that need [`Needs::Run`].
    pub run: Option<&'a Run>,
    /// A cross-encoder, for sources that need [`Needs::Judge`].
    pub judge: Option<&'a dyn Relevance>,
}

impl<'a> Inputs<'a> {
    fn words(&self, source: &'static str) -> Result<&'a dyn Ranker, SourceError> {
        self.words.ok_or(SourceError::Missing(source, "a BM25 index"))
    }

    fn vectors(&self, source: &'static str) -> Result<&'a dyn Ranker, SourceError> {
        self.vectors.ok_or(SourceError::Missing(source, "an encoder's vectors"))
    }
}

/// What a source needs beyond corpus and settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A BM25 index.
    Words,
    /// A searcher that has the vectors of all tasks' queries.
    Vectors,
    /// The same, with the vectors of all positives as queries too ([`crate::retrieve::passage_as_query`]).
    Neighbours,
    /// A given run.
    Run,
    /// A cross-encoder.
    Judge,
    /// What [`MiningSettings::pool`] names: words or vectors.
    Pool,
    /// The seed, whatever the settings say: what it proposes is drawn.
    Draws,
}

/// One row of the table of mined sources.
pub struct Source {
    /// Its name in settings, candidates and reports.
    pub name: &'static str,
    /// What it proposes, for help texts.
    pub about: &'static str,
    /// What must be made before.
    pub needs: &'static [Needs],
    make: for<'a> fn(Inputs<'a>) -> Result<Box<dyn NegativeSource + 'a>, SourceError>,
}

impl Source {
    /// The source, ready to propose.
    ///
    /// # Errors
    /// [`SourceError::Setting`], [`SourceError::Missing`].
    pub fn make<'a>(&self, inputs: Inputs<'a>) -> Result<Box<dyn NegativeSource + 'a>, SourceError> {
        inputs.settings.check()?;
        (self.make)(inputs)
    }

    /// True when it needs `what` under these settings.
    #[must_use]
    pub fn needs(&self, what: Needs, settings: &MiningSettings) -> bool {
        self.needs.contains(&what) || (self.needs.contains(&Needs::Pool) && settings.pool.needs() == what)
    }
}

type Make = for<'a> fn(Inputs<'a>) -> Result<Box<dyn NegativeSource + 'a>, SourceError>;

const fn row(name: &'static str, about: &'static str, needs: &'static [Needs], make: Make) -> Source {
    Source { name, about, needs, make }
}

use Needs::{Draws, Neighbours, Vectors, Words};

/// Every mined source.
pub static TABLE: &[Source] = &[
    row(random::NAME, "passages drawn uniformly from the corpus", &[Draws], random::make),
    row(random_length::NAME, "the same, about as long as the positives", &[Draws], random_length::make),
    row(other_positives::NAME, "positives of other queries", &[Draws], other_positives::make),
    row(bm25::NAME, "the best passages by BM25", &[Words], bm25::make),
    row(dense::NAME, "the best passages by the encoder's vectors", &[Vectors], dense::make),
    row(fusion::NAME, "the best passages by both rankings in one", &[Words, Vectors], fusion::make),
    row(cross_encoder::NAME, "the best passages by a cross-encoder", &[Needs::Judge, Needs::Pool], cross_encoder::make),
    row(given_run::NAME, "the best passages of a TREC run", &[Needs::Run], given_run::make),
    row(neighbours::BY_WORDS, "passages like the positive, by BM25", &[Words], neighbours::make_by_words),
    row(neighbours::BY_VECTORS, "passages like the positive, by vectors", &[Neighbours], neighbours::make_by_vectors),
    row(simans::NAME, "passages whose score is about the positive's", &[Vectors, Draws], simans::make),
    row(star::NAME, "half the encoder's best, half random", &[Vectors, Draws], star::make),
];

/// The source called `name`.
///
/// # Errors
/// [`SourceError::Unknown`] names those there are.
pub fn named(name: &str) -> Result<&'static Source, SourceError> {
    let unknown = || SourceError::Unknown { found: name.to_owned(), known: names() };
    TABLE.iter().find(|row| row.name == name).ok_or_else(unknown)
}

/// Names of all sources, for help texts.
#[must_use]
pub fn names() -> String {
    TABLE.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
