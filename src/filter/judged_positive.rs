//! Drops passages that are judged relevant for the query: they are no negatives.

use super::{Case, Filter, Verdict};
use crate::data::Passage;
use std::collections::HashSet;

pub(super) const NAME: &str = "judged_positive";

/// Measures how many judged positives have the candidate's id; none may.
pub(super) struct JudgedPositive;

impl Filter for JudgedPositive {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let positives: HashSet<&str> = case.positives.iter().map(|document| document.id.as_str()).collect();
        let judge = |passage: &Passage| match passage {
            Passage::Corpus(id) if positives.contains(id.as_str()) => {
                Verdict::Drop { rule: NAME.to_owned(), measured: 1.0, bound: 0.0 }
            }
            _ => Verdict::Keep,
        };
        case.candidates.iter().map(|proposed| judge(&proposed.candidate.passage)).collect()
    }
}
