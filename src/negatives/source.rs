//! The shape every source of negatives has.

use crate::data::{self, Candidate, Document, Query};

/// A training query that needs negatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The query.
    pub query: Query,
    /// Every passage judged relevant for it; at least one.
    pub positives: Vec<Document>,
}

/// Where candidates go, one by one, so that sources stream.
pub trait Sink {
    /// Takes one candidate.
    ///
    /// # Errors
    /// When it cannot be kept; the source then stops.
    fn accept(&mut self, candidate: Candidate) -> data::Result<()>;
}

impl Sink for Vec<Candidate> {
    fn accept(&mut self, candidate: Candidate) -> data::Result<()> {
        self.push(candidate);
        Ok(())
    }
}

/// A source of negatives.
pub trait NegativeSource {
    /// Proposes candidates for each task, best first, judged positives left out.
    ///
    /// # Errors
    /// When reading, searching or keeping fails; what was accepted stays.
    fn propose(&mut self, tasks: &[Task], sink: &mut dyn Sink) -> data::Result<()>;
}
