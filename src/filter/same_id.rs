//! Drops the passage that has the query's id: in collections whose queries are passages it is the query itself.

use super::{Case, Filter, FilterSettings, Switch, Verdict};
use crate::data::Passage;

pub(super) const NAME: &str = "same_id";

/// Measures 1 for the same id, 0 for another; 0 is allowed.
struct SameId;

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    (settings.same_id == Switch::On).then(|| Box::new(SameId) as Box<dyn Filter>)
}

impl Filter for SameId {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let same = |passage: &Passage| matches!(passage, Passage::Corpus(id) if id.as_str() == case.query.id.as_str());
        let candidates = case.candidates.iter();
        candidates.map(|proposed| Verdict::drop_if(same(&proposed.candidate.passage), NAME, (1.0, 0.0))).collect()
    }
}
