//! Drops candidates outside a window of ranks; the best ranks hold most answers that nobody judged.

use super::{Case, Filter, FilterSettings, Verdict};

pub(super) const NAME: &str = "rank_window";

/// Measures the rank; it must be above `min` and at most `max`.
struct RankWindow {
    min: u32,
    max: u32,
}

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    let (min, max) = (settings.range_min.unwrap_or(0), settings.range_max.unwrap_or(u32::MAX));
    (min > 0 || max < u32::MAX).then(|| Box::new(RankWindow { min, max }) as Box<dyn Filter>)
}

impl Filter for RankWindow {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let judge = |rank: u32| {
            let bound = if rank <= self.min { self.min + 1 } else { self.max };
            let wrong = rank <= self.min || rank > self.max;
            Verdict::drop_if(wrong, NAME, (f64::from(rank), f64::from(bound)))
        };
        case.candidates.iter().map(|proposed| judge(proposed.candidate.rank)).collect()
    }
}
