//! Drops candidates much shorter or longer than the positives: length alone would tell them apart.

use super::{Case, Filter, FilterSettings, Verdict};

pub(super) const NAME: &str = "length_ratio";

/// Measures characters in mean characters of the positives; within the bounds.
struct LengthRatio {
    min: f64,
    max: f64,
}

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    let (min, max) = (settings.min_length_ratio, settings.max_length_ratio);
    let bounds = LengthRatio { min: min.map_or(0.0, f64::from), max: max.map_or(f64::INFINITY, f64::from) };
    (min.is_some() || max.is_some()).then(|| Box::new(bounds) as Box<dyn Filter>)
}

/// Mean characters of the positives of a case or task.
pub(crate) fn mean_length(positives: &[crate::data::Document]) -> f64 {
    let characters: usize = positives.iter().map(|positive| positive.content().chars().count()).sum();
    characters as f64 / positives.len().max(1) as f64
}

impl Filter for LengthRatio {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let usual = mean_length(case.positives).max(1.0);
        let judge = |text: &str| {
            let ratio = text.chars().count() as f64 / usual;
            let bound = if ratio < self.min { self.min } else { self.max };
            Verdict::drop_if(ratio < self.min || ratio > self.max, NAME, (ratio, bound))
        };
        case.candidates.iter().map(|proposed| judge(proposed.text)).collect()
    }
}
