//! Drops candidates that are copies, whole or nearly, of a positive or of an earlier candidate that stays.
//! Near is measured by the word triples two texts share, of all they have (Jaccard, Broder 1997). Only pairs that can be
//! near are measured: of each text the few triples with the smallest hashes are looked up, one of which near texts must
//! share (Bayardo et al. 2007, "Scaling Up All Pairs Similarity Search"). Unlike a sketch (`MinHash`) this misses none.

use super::{Case, Filter, FilterSettings, Verdict};
use crate::data::Passage;
use crate::text::measure::words;
use std::collections::HashMap;
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
        let mut taken = Taken { bound: f64::from(self.0), texts: Vec::new(), places: HashMap::new() };
        for positive in case.positives {
            taken.add(None, shingles(&positive.content()));
        }
        let mut verdicts = Vec::with_capacity(case.candidates.len());
        for proposed in case.candidates {
            // What two sources propose is no copy of itself.
            let (passage, own) = (Some(&proposed.candidate.passage), shingles(proposed.text));
            let nearest = taken.nearest(passage, &own);
            verdicts.push(Verdict::drop_if(nearest >= taken.bound, NAME, (nearest, taken.bound)));
            if nearest < taken.bound {
                taken.add(passage, own);
            }
        }
        verdicts
    }
}

/// Texts as shingles, found by those with the smallest hashes.
struct Taken<'c> {
    bound: f64,
    texts: Vec<(Option<&'c Passage>, Vec<u64>)>,
    places: HashMap<u64, Vec<usize>>,
}

impl<'c> Taken<'c> {
    fn add(&mut self, passage: Option<&'c Passage>, own: Vec<u64>) {
        for &shingle in self.first(&own) {
            self.places.entry(shingle).or_default().push(self.texts.len());
        }
        self.texts.push((passage, own));
    }

    /// The greatest share with a text of another passage; 0 where none reaches the bound.
    fn nearest(&self, passage: Option<&Passage>, own: &[u64]) -> f64 {
        let mut near: Vec<usize> =
            self.first(own).iter().filter_map(|one| self.places.get(one)).flatten().copied().collect();
        near.sort_unstable();
        near.dedup();
        let others = near.into_iter().map(|place| &self.texts[place]).filter(|(other, _)| *other != passage);
        others.map(|(_, other)| share(own, other, self.bound)).fold(0.0, f64::max)
    }

    /// Of sorted shingles those one of which every near text has among its own first: n - ⌈bound · n⌉ + 1 of n.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the count")]
    fn first<'s>(&self, own: &'s [u64]) -> &'s [u64] {
        // A little less than the bound: one more looked up harms nothing.
        let common = (self.bound * own.len() as f64 - 1e-6).ceil().max(0.0) as usize;
        &own[..own.len().min(own.len() - common.min(own.len()) + 1)]
    }
}

/// Hashes of the runs of three words, sorted, each once; of the whole text where it is shorter.
fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<u64> = words(text).iter().map(hash).collect();
    let mut all: Vec<u64> =
        if words.len() < SHINGLE { vec![hash(&words)] } else { words.windows(SHINGLE).map(|run| hash(&run)).collect() };
    all.sort_unstable();
    all.dedup();
    all
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
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
    fn what_is_looked_up_finds_every_near_text() {
        // Texts that share from none to all of 40 numbers, and the bounds between.
        let text = |from: u64, count: u64| {
            let mut all: Vec<u64> = (from..from + count).map(|number| hash(&number)).collect();
            all.sort_unstable();
            all
        };
        let texts: Vec<Vec<u64>> = (0..40).flat_map(|from| [text(from, 40), text(0, from + 1)]).collect();
        let ids = (0..texts.len())
            .map(|place| Passage::Corpus(crate::data::DocId::new(&format!("d{place}")).expect("an id")));
        let ids: Vec<Passage> = ids.collect();
        for bound in [0.01, 0.3, 0.5, 0.75, 0.9, 1.0] {
            let mut taken = Taken { bound, texts: Vec::new(), places: HashMap::new() };
            for (id, own) in ids.iter().zip(&texts) {
                let all = taken.texts.iter().map(|(_, other)| share(own, other, bound));
                let nearest = all.filter(|share| *share >= bound).fold(0.0, f64::max);
                let found = taken.nearest(Some(id), own);
                assert!(
                    (found - nearest).abs() < 1e-12 || (nearest == 0.0 && found < bound),
                    "{bound}: {found}, {nearest}"
                );
                taken.add(Some(id), own.clone());
            }
        }
    }

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
