//! The ledger: one record for each candidate that ever was, with what became of it and why.

use crate::data::Candidate;
use crate::filter::Verdict;
use serde::{Deserialize, Serialize};

/// A candidate and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The candidate.
    pub candidate: Candidate,
    /// What the filters said.
    #[serde(default, skip_serializing_if = "is_keep")]
    pub verdict: Verdict,
    /// What became of it.
    pub fate: Fate,
}

fn is_keep(verdict: &Verdict) -> bool {
    *verdict == Verdict::Keep
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It stands in the candidates.
    Proposed,
    /// No filter dropped it, and it was not taken: enough were, or it was not drawn.
    Spare,
    /// A filter dropped it.
    Dropped,
}

impl Entry {
    /// The fate of a candidate with this verdict that was taken or not.
    #[must_use]
    pub fn fate_of(verdict: &Verdict, taken: Taken) -> Fate {
        match (verdict.keeps(), taken) {
            (false, _) => Fate::Dropped,
            (true, Taken::Yes) => Fate::Proposed,
            (true, Taken::No) => Fate::Spare,
        }
    }
}

/// Whether a candidate was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was.
    Yes,
    /// It was not.
    No,
}
