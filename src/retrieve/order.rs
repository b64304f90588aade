//! The best k rows under the one order of hits: score descending by `total_cmp`, then passage id descending by
//! bytes, as [`crate::data::Hit::rank_order`] has it; ids are compared through [`IdTable::places`].

use crate::data::{Hit, IdTable};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Keeps the best `k` of the rows pushed, in O(log k) each.
pub struct TopK<'o> {
    ids: &'o IdTable,
    k: usize,
    /// The worst kept entry is at the top.
    heap: BinaryHeap<Entry>,
}

struct Entry {
    score: f32,
    place: u32,
    row: usize,
}

impl Ord for Entry {
    /// Greater is worse, so that a max-heap gives up the worst.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl<'o> TopK<'o> {
    /// Nothing yet, room for `k`.
    #[must_use]
    pub fn new(ids: &'o IdTable, k: usize) -> Self {
        Self { ids, k, heap: BinaryHeap::with_capacity(k.min(ids.len()) + 1) }
    }

    /// Offers `row` with `score`.
    ///
    /// # Panics
    /// When `row` is not a row of the table.
    pub fn push(&mut self, row: usize, score: f32) {
        let entry = Entry { score, place: self.ids.places()[row], row };
        if self.heap.len() < self.k {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    /// The score that a row must reach to be kept, once `k` are; a row that has just this score is kept if its
    /// id ranks first.
    #[must_use]
    pub fn floor(&self) -> Option<f32> {
        if self.heap.len() < self.k { None } else { self.heap.peek().map(|worst| worst.score) }
    }

    /// The kept hits, best first.
    #[must_use]
    pub fn into_hits(self) -> Vec<Hit> {
        let best = self.heap.into_sorted_vec().into_iter();
        best.map(|entry| Hit { doc: self.ids.id(entry.row), score: entry.score }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DocId;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn top_k_is_the_head_of_the_full_sort(scores in proptest::collection::vec(-3i8..3, 0..60), k in 0usize..70) {
            // Few different scores make many ties; ids of unequal length make byte order matter.
            let ids: Vec<DocId> = (0..scores.len()).filter_map(|i| DocId::new(&format!("{}", i * 7)).ok()).collect();
            let table = IdTable::new(ids.iter().map(DocId::as_str));
            let mut top = TopK::new(&table, k);
            let mut all = Vec::new();
            for (row, &score) in scores.iter().enumerate() {
                let score = f32::from(score) / 2.0;
                top.push(row, score);
                all.push(Hit { doc: ids[row].clone(), score });
            }
            all.sort_by(Hit::rank_order);
            all.truncate(k);
            prop_assert_eq!(top.floor(), all.last().filter(|_| all.len() == k && k > 0).map(|hit| hit.score));
            prop_assert_eq!(top.into_hits(), all);
        }
    }
}
