//! Drops candidates whose score is above the highest or below the lowest allowed.
//! A candidate without a score stays: there is nothing to measure.

use super::{Case, Filter, FilterSettings, Verdict};

pub(super) const MAX: &str = "max_score";
pub(super) const MIN: &str = "min_score";

/// Measures the score; at most the bound.
struct MaxScore(f32);
/// Measures the score; at least the bound.
struct MinScore(f32);

pub(super) fn make_max(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    settings.max_score.map(|bound| Box::new(MaxScore(bound)) as Box<dyn Filter>)
}

pub(super) fn make_min(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    settings.min_score.map(|bound| Box::new(MinScore(bound)) as Box<dyn Filter>)
}

/// Drops the candidates whose score is `wrong`, with the bound it was measured by.
pub(super) fn by_score(case: &Case, rule: &str, bound: f32, wrong: impl Fn(f32) -> bool) -> Vec<Verdict> {
    let judge = |score: Option<f32>| match score {
        Some(score) => Verdict::drop_if(wrong(score), rule, (f64::from(score), f64::from(bound))),
        None => Verdict::Keep,
    };
    case.candidates.iter().map(|proposed| judge(proposed.score)).collect()
}

impl Filter for MaxScore {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        by_score(case, MAX, self.0, |score| score > self.0)
    }
}

impl Filter for MinScore {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        by_score(case, MIN, self.0, |score| score < self.0)
    }
}
