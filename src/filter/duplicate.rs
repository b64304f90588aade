//! Drops candidates that are copies, whole or nearly, of a positive or of an earlier candidate that stays.
//! Near is measured by the word triples two texts share, of all they have (Jaccard, Broder 1997). The pairs of one
//! query are few enough to count that in full; no sketch (`MinHash`) with its error is needed.

use super::{Case, Filter, FilterSettings, Verdict};
use crate::data::Passage;
use crate::text::measure::words;
use std::hash::{DefaultHasher, Hash, Hasher};

pub(super) const NAME: &str = "near_duplicate";

/// Words of a shingle.
const SHINGLE: usize = 3;

/// Measures the greatest Jaccard share with a positive or a kept candidate; below the bound.
struct Duplicate(f32);

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    settings.near_duplicate.map(|bound| Box::new(Duplicate(bound)) as Box<dyn Filter>)
}

impl Filter for Duplicate {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let bound = f64::from(self.0);
        let mut taken: Vec<(Option<&Passage>, Vec<u64>)> =
            case.positives.iter().map(|positive| (None, shingles(&positive.content()))).collect();
        let mut verdicts = Vec::with_capacity(case.candidates.len());
        for proposed in case.candidates {
            let (passage, own) = (Some(&proposed.candidate.passage), shingles(proposed.text));
            // What two sources propose is no copy of itself.
            let others = taken.iter().filter(|(other, _)| *other != passage);
            let nearest = others.map(|(_, other)| share(&own, other, bound)).fold(0.0, f64::max);
            verdicts.push(Verdict::drop_if(nearest >= bound, NAME, (nearest, bound)));
            if nearest < bound {
                taken.push((passage, own));
            }
        }
        verdicts
    }
}

/// Hashes of the runs of three words, sorted, each once; of the whole text where it is shorter.
fn shingles(text: &str) -> Vec<u64> {
    let words = words(text);
    let hash = |run: &[String]| {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        hasher.finish()
    };
    let mut all: Vec<u64> =
        if words.len() < SHINGLE { vec![hash(&words)] } else { words.windows(SHINGLE).map(hash).collect() };
    all.sort_unstable();
    all.dedup();
    all
}

/// Common ones of all ones, 0 to 1; 0 also where the numbers alone keep it below `bound`.
fn share(a: &[u64], b: &[u64], bound: f64) -> f64 {
    let (fewer, more) = (a.len().min(b.len()), a.len().max(b.len()));
    if (fewer as f64) < bound * more as f64 {
        return 0.0;
    }
    let (mut common, mut left, mut right) = (0_usize, 0, 0);
    while left < a.len() && right < b.len() {
        match a[left].cmp(&b[right]) {
            std::cmp::Ordering::Less => left += 1,
            std::cmp::Ordering::Greater => right += 1,
            std::cmp::Ordering::Equal => (common, left, right) = (common + 1, left + 1, right + 1),
        }
    }
    common as f64 / (a.len() + b.len() - common) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_share_is_that_of_the_sets() {
        let texts = ["a b c d e", "a b c d f", "b c d e", "x", "x", "a b c d e f g h"];
        for left in texts {
            for right in texts {
                let (a, b) = (shingles(left), shingles(right));
                let (x, y): (HashSet<_>, HashSet<_>) = (a.iter().collect(), b.iter().collect());
                let full = x.intersection(&y).count() as f64 / x.union(&y).count() as f64;
                assert!((share(&a, &b, 0.0) - full).abs() < 1e-12, "{left} / {right}");
                let cut = share(&a, &b, 0.6);
                assert!((cut - full).abs() < 1e-12 || (cut == 0.0 && full < 0.6), "{left} / {right}");
            }
        }
    }
}
