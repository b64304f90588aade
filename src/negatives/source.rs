//! The shape every source of negatives has.

use super::{Entry, Fate, Report};
use crate::data::{self, Candidate, Collection, Document, Fault, Qrels, Query};
use crate::retrieve;
use std::path::Path;

/// A training query that needs negatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The query.
    pub query: Query,
    /// Every passage judged relevant for it; at least one.
    pub positives: Vec<Document>,
}

impl Task {
    /// A task for each query of `qrels` with a passage judged relevant, by query id.
    ///
    /// # Errors
    /// [`data::Error::Input`] when a query or passage is not in `collection`.
    pub fn all(collection: &Collection, qrels: &Qrels) -> data::Result<Vec<Self>> {
        let absent = |kind: &str, id: &str| {
            Fault::new(
                Path::new("the judgements"),
                format!("{kind} of this collection"),
                format!("unknown {kind} {id}"),
            )
        };
        let mut tasks = Vec::new();
        for (id, _) in qrels.iter() {
            let positives = qrels
                .relevant(id.as_str())
                .map(|doc| collection.corpus.get(doc.as_str())?.ok_or_else(|| absent("passage", doc.as_str()).into()))
                .collect::<data::Result<Vec<Document>>>()?;
            if positives.is_empty() {
                continue;
            }
            let query = collection.queries.get(id.as_str()).ok_or_else(|| absent("query", id.as_str()))?.clone();
            tasks.push(Self { query, positives });
        }
        Ok(tasks)
    }
}

/// Where candidates go, one by one, so that sources stream.
pub trait Sink {
    /// Takes one candidate that was judged, proposed or not: a query's come in the order of its source.
    ///
    /// # Errors
    /// When it cannot be kept; the source then stops.
    fn accept(&mut self, entry: Entry) -> data::Result<()>;
}

/// Keeps those that are proposed.
impl Sink for Vec<Candidate> {
    fn accept(&mut self, entry: Entry) -> data::Result<()> {
        if entry.fate == Fate::Proposed {
            self.push(entry.candidate);
        }
        Ok(())
    }
}

/// Keeps all.
impl Sink for Vec<Entry> {
    fn accept(&mut self, entry: Entry) -> data::Result<()> {
        self.push(entry);
        Ok(())
    }
}

/// Why a source cannot be made or go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Reading passages or keeping candidates failed.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// A cross-encoder failed.
    #[error(transparent)]
    Encode(#[from] crate::encode::EncodeError),
    /// Indexing or searching failed.
    #[error(transparent)]
    Search(#[from] retrieve::Error),
    /// A setting is outside its range.
    #[error("`{key}`: expected {expected}, found {found}")]
    Setting {
        /// The key of the settings.
        key: &'static str,
        /// Its range.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A name that is no source.
    #[error("expected a source of negatives ({known}), found {found:?}")]
    Unknown {
        /// The name.
        found: String,
        /// Those there are.
        known: String,
    },
    /// A source was asked for without what it works on.
    #[error("the source {0} needs {1}, and none was given")]
    Missing(&'static str, &'static str),
}

/// Says how relevant passages are for queries.
pub trait Relevance: Sync {
    /// The probability of relevance, 0 to 1, of each query and text.
    ///
    /// # Errors
    /// [`SourceError::Encode`], [`SourceError::Data`].
    fn relevance(&self, pairs: &[(&Query, &str)]) -> Result<Vec<f32>, SourceError>;
}

/// A source of negatives.
pub trait NegativeSource {
    /// Proposes candidates for each task, best first, judged positives left out.
    ///
    /// # Errors
    /// When reading, searching or keeping fails; what was accepted stays.
    fn propose(&mut self, tasks: &[Task], sink: &mut dyn Sink) -> Result<(), SourceError>;

    /// What was dropped and which queries got fewer than asked, over all calls so far; empty for a
    /// source that keeps its own account.
    fn report(&self) -> Report {
        Report::default()
    }
}
