//! One ranking from several: reciprocal ranks, or scores brought to one scale.
//! Pure functions over ranked lists; who made the lists is not known here.

use crate::data::{DocId, Hit};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How rankings are fused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fusion {
    /// Each list adds 1 / (k + rank) (Cormack, Clarke and Buettcher 2009).
    Reciprocal {
        /// Damps the first ranks; above 0, 60 in the paper. Lower trusts the first ranks more.
        k: f32,
    },
    /// Each list adds its weight times the score, brought to 0..1 between the list's worst and best hit.
    Weighted {
        /// Weight of the first list, 0 to 1; the second has the rest, further ones as much as the second.
        first: f32,
    },
}

impl Default for Fusion {
    fn default() -> Self {
        Self::Reciprocal { k: 60.0 }
    }
}

impl Fusion {
    /// True for settings in their range.
    #[must_use]
    pub fn is_valid(self) -> bool {
        match self {
            Self::Reciprocal { k } => k > 0.0 && k.is_finite(),
            Self::Weighted { first } => (0.0..=1.0).contains(&first),
        }
    }

    /// The best `k` of all that stand in `lists`, each in rank order, by the sum of what every list adds.
    #[must_use]
    pub fn fuse(self, lists: &[&[Hit]], k: usize) -> Vec<Hit> {
        match self {
            Self::Reciprocal { k: damping } => {
                sums(lists, k, |_, list| (1..=list.len()).map(|rank| 1.0 / (damping + rank as f32)).collect())
            }
            Self::Weighted { first } => {
                let weight = |number| if number == 0 { first } else { 1.0 - first };
                weighted(&lists.iter().enumerate().map(|(number, list)| (*list, weight(number))).collect::<Vec<_>>(), k)
            }
        }
    }
}

/// The best `k` of all that stand in `lists`, each in rank order, by the sum of their scores, each brought to 0..1 between
/// its list's worst and best hit and multiplied by its list's weight. A hit that a list lacks gets 0 from it.
#[must_use]
pub fn weighted(lists: &[(&[Hit], f32)], k: usize) -> Vec<Hit> {
    let bare: Vec<&[Hit]> = lists.iter().map(|(list, _)| *list).collect();
    sums(&bare, k, |number, list| {
        let (best, worst) = (list.first().map_or(0.0, |hit| hit.score), list.last().map_or(0.0, |hit| hit.score));
        let scaled = |hit: &Hit| if best > worst { (hit.score - worst) / (best - worst) } else { 1.0 };
        list.iter().map(|hit| lists[number].1 * scaled(hit)).collect()
    })
}

/// The best `k` by the sum of what `adds` gives for the hits of each list, by its number.
fn sums(lists: &[&[Hit]], k: usize, adds: impl Fn(usize, &[Hit]) -> Vec<f32>) -> Vec<Hit> {
    let mut sums: HashMap<&DocId, f32> = HashMap::new();
    for (number, list) in lists.iter().enumerate() {
        for (hit, added) in list.iter().zip(adds(number, list)) {
            *sums.entry(&hit.doc).or_default() += added;
        }
    }
    let mut fused: Vec<Hit> = sums.into_iter().map(|(doc, score)| Hit { doc: doc.clone(), score }).collect();
    fused.sort_by(Hit::rank_order);
    fused.truncate(k);
    fused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::InvalidId;

    fn list(hits: &[(&str, f32)]) -> Result<Vec<Hit>, InvalidId> {
        hits.iter().map(|&(doc, score)| Ok(Hit { doc: DocId::new(doc)?, score })).collect()
    }

    #[test]
    fn sums_are_those_of_a_sheet_of_paper() -> Result<(), InvalidId> {
        let (words, vectors) = (list(&[("a", 9.0), ("b", 5.0), ("c", 1.0)])?, list(&[("c", 0.8), ("d", 0.4)])?);
        let both: [&[Hit]; 2] = [&words, &vectors];
        let of = |fusion: Fusion| {
            fusion.fuse(&both, 10).iter().map(|hit| (hit.doc.to_string(), hit.score)).collect::<Vec<_>>()
        };
        let near = |found: Vec<(String, f32)>, expected: &[(&str, f32)]| {
            assert_eq!(
                found.iter().map(|(doc, _)| doc.as_str()).collect::<Vec<_>>(),
                expected.iter().map(|e| e.0).collect::<Vec<_>>()
            );
            for ((doc, score), (_, due)) in found.iter().zip(expected) {
                assert!((score - due).abs() < 1e-6, "{doc}: {score} for {due}");
            }
        };
        let due = [("c", 1.0 / 63.0 + 1.0 / 61.0), ("a", 1.0 / 61.0), ("d", 1.0 / 62.0), ("b", 1.0 / 62.0)];
        near(of(Fusion::default()), &due);
        near(of(Fusion::Weighted { first: 0.6 }), &[("a", 0.6), ("c", 0.4), ("b", 0.3), ("d", 0.0)]);
        let three = list(&[("d", 3.0)])?;
        let fused = weighted(&[(&words, 1.0), (&vectors, 2.0), (&three, 4.0)], 9);
        near(
            fused.iter().map(|h| (h.doc.to_string(), h.score)).collect(),
            &[("d", 4.0), ("c", 2.0), ("a", 1.0), ("b", 0.5)],
        );
        assert_eq!(Fusion::default().fuse(&both, 2).len(), 2);
        assert!(Fusion::default().fuse(&[], 2).is_empty());
        Ok(())
    }

    #[test]
    fn one_list_alone_keeps_its_order() -> Result<(), InvalidId> {
        let words = list(&[("a", 9.0), ("b", 5.0), ("c", 1.0)])?;
        for fusion in [Fusion::default(), Fusion::Weighted { first: 1.0 }] {
            let order: Vec<DocId> = fusion.fuse(&[&words], 3).into_iter().map(|hit| hit.doc).collect();
            assert_eq!(order, words.iter().map(|hit| hit.doc.clone()).collect::<Vec<_>>());
        }
        Ok(())
    }
}
