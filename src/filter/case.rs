//! What a judge sees: one query, its positives, its candidates, and all that was measured of them beforehand.

use super::TestData;
use crate::data::{Candidate, Document, Query};

/// A query with all that is known of its candidates.
#[derive(Clone, Copy)]
pub struct Case<'c> {
    /// The query.
    pub query: &'c Query,
    /// Every passage judged relevant for it.
    pub positives: &'c [Document],
    /// The candidates, in the order of their source.
    pub candidates: &'c [Proposed<'c>],
    /// Scores of the positives by the measure of [`Proposed::score`]; empty where nobody scored them.
    pub positive_scores: &'c [f32],
    /// Vectors of the positives, each of length 1; empty where nobody embedded them.
    pub positive_vectors: &'c [&'c [f32]],
    /// Strings that answer the query; empty where none are known.
    pub answers: &'c [String],
    /// What must not get into training.
    pub test: Option<&'c TestData>,
}

impl<'c> Case<'c> {
    /// A case of which nothing was measured.
    #[must_use]
    pub fn new(query: &'c Query, positives: &'c [Document], candidates: &'c [Proposed<'c>]) -> Self {
        let (positive_scores, positive_vectors, answers) = (&[], &[], &[]);
        Self { query, positives, candidates, positive_scores, positive_vectors, answers, test: None }
    }
}

/// A candidate with its text and what was measured.
#[derive(Debug, Clone, Copy)]
pub struct Proposed<'c> {
    /// The candidate.
    pub candidate: &'c Candidate,
    /// Its text: title and body.
    pub text: &'c str,
    /// Its score by the measure that bounds and margins are for: the source's own, or the chosen one.
    pub score: Option<f32>,
    /// Its vector, of length 1.
    pub vector: Option<&'c [f32]>,
}

impl<'c> Proposed<'c> {
    /// A candidate of which nothing was measured.
    #[must_use]
    pub fn new(candidate: &'c Candidate, text: &'c str) -> Self {
        Self { candidate, text, score: None, vector: None }
    }
}
