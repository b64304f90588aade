//! The best k rows under the one order of hits: score descending by `total_cmp`, then passage id descending by
//! bytes, as [`crate::data::Hit::rank_order`] has it; ids are compared through [`IdTable::places`].

use crate::data::{Hit, IdTable};
use std::cmp::Ordering;

/// Keeps the best `k` of the rows pushed: what comes is gathered, and cut back to the best when twice as many are
/// there, so that a row costs the same few steps at any `k`.
pub struct TopK<'o> {
    ids: &'o IdTable,
    k: usize,
    kept: Vec<Entry>,
    /// A row that does not rank before it is not among the best; known from the first cut on.
    last: Option<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    score: f32,
    place: u32,
    row: u32,
}

impl Entry {
    /// [`Ordering::Less`] when `self` ranks before `other`.
    fn rank_order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl<'o> TopK<'o> {
    /// Nothing yet, room for `k`.
    #[must_use]
    pub fn new(ids: &'o IdTable, k: usize) -> Self {
        let k = k.min(ids.len());
        Self { ids, k, kept: Vec::with_capacity(2 * k), last: None }
    }

    /// Offers `row` with `score`.
    ///
    /// # Panics
    /// When `row` is not a row of the table.
    #[inline]
    pub fn push(&mut self, row: usize, score: f32) {
        if self.last.is_some_and(|last| score < last.score) || self.k == 0 {
            return;
        }
        let row_number = u32::try_from(row).expect("rows are counted in u32");
        let entry = Entry { score, place: self.ids.places()[row], row: row_number };
        if self.last.is_none_or(|last| entry.rank_order(&last).is_lt()) {
            self.kept.push(entry);
            if self.kept.len() == 2 * self.k {
                self.cut();
            }
        }
    }

    /// Forgets all but the best.
    fn cut(&mut self) {
        if self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k - 1, Entry::rank_order);
            self.kept.truncate(self.k);
            self.last = self.kept.last().copied();
        } else if self.kept.len() == self.k {
            self.last = self.kept.iter().copied().max_by(Entry::rank_order);
        }
    }

    /// A score below which no row is kept any more, once `k` are. It is near the last kept one's; to have just that,
    /// all would have to be cut back at each call.
    #[must_use]
    pub fn floor(&mut self) -> Option<f32> {
        if self.last.is_none() || self.kept.len() > self.k + self.k / 4 {
            self.cut();
        }
        self.last.map(|last| last.score)
    }

    /// The kept hits, best first.
    #[must_use]
    pub fn into_hits(mut self) -> Vec<Hit> {
        self.cut();
        self.kept.sort_unstable_by(Entry::rank_order);
        let best = self.kept.into_iter();
        best.map(|entry| Hit { doc: self.ids.id(entry.row as usize), score: entry.score }).collect()
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
            match top.floor() {
                Some(floor) => prop_assert!(floor <= all[all.len() - 1].score),
                None => prop_assert!(all.is_empty()),
            }
            prop_assert_eq!(top.into_hits(), all);
        }
    }
}
