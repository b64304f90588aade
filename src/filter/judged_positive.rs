//! Drops passages that are judged relevant for the query: they are no negatives.

use super::{Case, Filter, FilterSettings, Verdict};
use crate::data::Passage;
use std::collections::HashSet;

pub(super) const NAME: &str = "judged_positive";

/// Measures how many judged positives have the candidate's id; none may.
struct JudgedPositive;

#[expect(clippy::unnecessary_wraps, reason = "the signature of the table")]
pub(super) fn make(_: &FilterSettings) -> Option<Box<dyn Filter>> {
    Some(Box::new(JudgedPositive))
}

impl Filter for JudgedPositive {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let positives: HashSet<&str> = case.positives.iter().map(|document| document.id.as_str()).collect();
        let judged = |passage: &Passage| matches!(passage, Passage::Corpus(id) if positives.contains(id.as_str()));
        let candidates = case.candidates.iter();
        candidates.map(|proposed| Verdict::drop_if(judged(&proposed.candidate.passage), NAME, (1.0, 0.0))).collect()
    }
}
