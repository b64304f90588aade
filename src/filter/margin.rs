//! Drops candidates whose score comes too near a positive's: likely answers that nobody judged.
//! NV-Retriever (2407.15831, section 3.2), with the comparisons of sentence-transformers' `mine_hard_negatives`, in f32 as
//! there. Where the query's positives or the candidate have no score, it stays.

use super::score_bounds::by_score;
use super::{Bar, Case, Filter, FilterSettings, Verdict};

pub(super) const ABSOLUTE: &str = "absolute_margin";
pub(super) const RELATIVE: &str = "relative_margin";

/// Measures the score; with the margin it may reach the positive's.
struct Absolute {
    margin: f32,
    bar: Bar,
}

/// Measures the score; at most `p - |p| m`, which is below p for negative p too.
struct Relative {
    margin: f32,
    bar: Bar,
}

pub(super) fn make_absolute(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    let bar = settings.bar;
    settings.margins().0.map(|margin| Box::new(Absolute { margin, bar }) as Box<dyn Filter>)
}

pub(super) fn make_relative(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    let bar = settings.bar;
    settings.margins().1.map(|margin| Box::new(Relative { margin, bar }) as Box<dyn Filter>)
}

impl Filter for Absolute {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        match self.bar.of(case.positive_scores) {
            Some(positive) => by_score(case, ABSOLUTE, positive - self.margin, |score| score + self.margin > positive),
            None => vec![Verdict::Keep; case.candidates.len()],
        }
    }
}

impl Filter for Relative {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        match self.bar.of(case.positive_scores) {
            Some(positive) => {
                let bound = positive - positive.abs() * self.margin;
                by_score(case, RELATIVE, bound, |score| score > bound)
            }
            None => vec![Verdict::Keep; case.candidates.len()],
        }
    }
}
