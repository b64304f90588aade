//! The one order of hits, and the best k under it.
//! Score descending by `total_cmp`, then passage id descending by bytes, as
//! [`crate::data::Hit::rank_order`] has it; here ids are compared through numbers made once.

use crate::data::{DocId, Hit};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Identifiers by row, with each row's place in the order of ties.
#[derive(Debug, Clone)]
pub struct RowOrder {
    ids: Vec<DocId>,
    /// Place of each row when ids are sorted descending by bytes; the smaller wins a tie.
    places: Vec<u32>,
}

impl RowOrder {
    /// The order over `ids`, which stand by row.
    ///
    /// # Panics
    /// When there are more than 2³² rows.
    #[must_use]
    pub fn new(ids: Vec<DocId>) -> Self {
        let count = u32::try_from(ids.len()).expect("a corpus has fewer than 2^32 passages");
        let mut rows: Vec<u32> = (0..count).collect();
        rows.sort_unstable_by(|&a, &b| ids[b as usize].as_str().as_bytes().cmp(ids[a as usize].as_str().as_bytes()));
        let mut places = vec![0; ids.len()];
        for (place, row) in (0..count).zip(rows) {
            places[row as usize] = place;
        }
        Self { ids, places }
    }

    /// Identifiers by row.
    #[must_use]
    pub fn ids(&self) -> &[DocId] {
        &self.ids
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Keeps the best `k` of the rows pushed, in O(log k) each.
pub struct TopK<'o> {
    order: &'o RowOrder,
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
    pub fn new(order: &'o RowOrder, k: usize) -> Self {
        Self { order, k, heap: BinaryHeap::with_capacity(k.min(order.len()) + 1) }
    }

    /// Offers `row` with `score`.
    ///
    /// # Panics
    /// When `row` is not a row of the order.
    pub fn push(&mut self, row: usize, score: f32) {
        let entry = Entry { score, place: self.order.places[row], row };
        if self.heap.len() < self.k {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    /// The kept hits, best first.
    #[must_use]
    pub fn into_hits(self) -> Vec<Hit> {
        let ids = &self.order.ids;
        self.heap.into_sorted_vec().into_iter().map(|e| Hit { doc: ids[e.row].clone(), score: e.score }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn top_k_is_the_head_of_the_full_sort(scores in proptest::collection::vec(-3i8..3, 0..60), k in 0usize..70) {
            // Few different scores make many ties; ids of unequal length make byte order matter.
            let ids: Vec<DocId> = (0..scores.len()).filter_map(|i| DocId::new(&format!("{}", i * 7)).ok()).collect();
            let order = RowOrder::new(ids.clone());
            let mut top = TopK::new(&order, k);
            let mut all = Vec::new();
            for (row, &score) in scores.iter().enumerate() {
                let score = f32::from(score) / 2.0;
                top.push(row, score);
                all.push(Hit { doc: ids[row].clone(), score });
            }
            all.sort_by(Hit::rank_order);
            all.truncate(k);
            prop_assert_eq!(top.into_hits(), all);
        }
    }
}
