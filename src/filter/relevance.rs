//! Drops candidates that a cross-encoder calls relevant (`RocketQA`, 2010.08191, section 3.3).
//! It looks at the relevance in the candidate's scores; one without it stays.

use super::{Case, Filter, FilterSettings, Verdict};

pub(super) const NAME: &str = "relevance";

/// Measures the probability of relevance; below the bound.
struct Relevance(f32);

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    settings.max_relevance.map(|bound| Box::new(Relevance(bound)) as Box<dyn Filter>)
}

impl Filter for Relevance {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let judge = |relevance: Option<f32>| match relevance {
            Some(found) => Verdict::drop_if(found >= self.0, NAME, (f64::from(found), f64::from(self.0))),
            None => Verdict::Keep,
        };
        case.candidates.iter().map(|proposed| judge(proposed.candidate.scores.relevance)).collect()
    }
}
