//! Drops candidates whose vector nearly is that of a positive or of a better candidate that stays: the same said in
//! other words. It needs the passages' vectors; a candidate without one stays.

use super::{Case, Filter, FilterSettings, Verdict};
use crate::data::Passage;

pub(super) const NAME: &str = "near_cosine";

/// Measures the greatest cosine with a positive or a kept candidate; below the bound.
struct NearCosine(f32);

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    settings.near_cosine.map(|bound| Box::new(NearCosine(bound)) as Box<dyn Filter>)
}

impl Filter for NearCosine {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let mut taken: Vec<(Option<&Passage>, &[f32])> = case.positive_vectors.iter().map(|&own| (None, own)).collect();
        let mut verdicts = Vec::with_capacity(case.candidates.len());
        for proposed in case.candidates {
            let Some(own) = proposed.vector else {
                verdicts.push(Verdict::Keep);
                continue;
            };
            let passage = Some(&proposed.candidate.passage);
            // What two sources propose is no copy of itself.
            let others = taken.iter().filter(|(other, _)| *other != passage);
            let nearest = others.map(|(_, other)| dot(own, other)).fold(f32::NEG_INFINITY, f32::max);
            let near = nearest >= self.0;
            verdicts.push(Verdict::drop_if(near, NAME, (f64::from(nearest), f64::from(self.0))));
            if !near {
                taken.push((passage, own));
            }
        }
        verdicts
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
