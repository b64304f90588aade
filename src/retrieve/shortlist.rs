//! Passages that may still be among the best k of a query, by scores that are off by no more than a margin.
//! The k-th best of what was seen, less the margin on either side, is a bar: what does not reach it cannot be among the
//! best k by the true scores. So what stays is few and holds them all.

use multiversion::multiversion;

/// Entries a list of the best `k` grows to before it is cut back.
fn room(k: usize) -> usize {
    (2 * k).max(128)
}

/// A short list for each of some queries.
pub(super) struct Shortlists {
    k: usize,
    /// How far a score may be from the true one, by query.
    margins: Vec<f32>,
    /// What a score must reach, by query.
    bars: Vec<f32>,
    lists: Vec<List>,
    reached: Vec<u32>,
}

struct List {
    /// Score and row.
    kept: Vec<(f32, u32)>,
    room: usize,
}

impl Shortlists {
    /// Empty lists for the best `k`, one for each of `margins`.
    pub(super) fn new(k: usize, margins: Vec<f32>) -> Self {
        let lists = margins.iter().map(|_| List { kept: Vec::new(), room: room(k) }).collect();
        Self { k, bars: vec![f32::NEG_INFINITY; margins.len()], margins, lists, reached: Vec::new() }
    }

    /// Offers passage `row` to every query, with the query's product times `scale` as its score.
    ///
    /// # Panics
    /// When `row` is no u32.
    pub(super) fn push(&mut self, row: usize, products: &[f32], scale: f32) {
        self.reached.clear();
        reaching(products, &self.bars, scale, &mut self.reached);
        let row = u32::try_from(row).expect("rows are counted in u32");
        for place in 0..self.reached.len() {
            let query = self.reached[place] as usize;
            self.lists[query].kept.push((products[query] * scale, row));
            if self.lists[query].kept.len() == self.lists[query].room {
                self.cut(query);
            }
        }
    }

    /// Drops what cannot be among the best k.
    fn cut(&mut self, query: usize) {
        let List { kept, room } = &mut self.lists[query];
        if kept.len() >= self.k && self.k > 0 {
            let (_, last, _) = kept.select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0));
            let bar = last.0 - 2.0 * self.margins[query];
            kept.retain(|(score, _)| *score >= bar);
            self.bars[query] = bar;
        }
        // Many within the margin, as copies of one text are: they all stay.
        *room = (*room).max(2 * kept.len());
    }

    /// These and `others`, of the same queries.
    pub(super) fn joined(mut self, others: Self) -> Self {
        for (query, other) in others.lists.into_iter().enumerate() {
            self.lists[query].kept.extend(other.kept);
            self.cut(query);
        }
        self
    }

    /// The rows of each list, in no order.
    pub(super) fn into_rows(mut self) -> Vec<Vec<u32>> {
        (0..self.lists.len()).for_each(|query| self.cut(query));
        self.lists.into_iter().map(|list| list.kept.into_iter().map(|(_, row)| row).collect()).collect()
    }
}

/// Adds the places at which a product times `scale` reaches its bar.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma", "aarch64+neon"))]
fn reaching(products: &[f32], bars: &[f32], scale: f32, places: &mut Vec<u32>) {
    const STEP: usize = 16;
    let count = u32::try_from(products.len()).unwrap_or(u32::MAX);
    let (products, rest) = products.as_chunks::<STEP>();
    let (bars, bars_rest) = bars.as_chunks::<STEP>();
    let mut first = 0;
    for (products, bars) in products.iter().zip(bars) {
        let mut reached =
            (0..STEP).fold(0_u16, |reached, at| reached | u16::from(products[at] * scale >= bars[at]) << at);
        while reached != 0 {
            places.push(first + reached.trailing_zeros());
            reached &= reached - 1;
        }
        first += 16;
    }
    places.extend(
        (first..count).zip(rest.iter().zip(bars_rest)).filter(|(_, (p, b))| *p * scale >= **b).map(|(at, _)| at),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_by_true_scores_are_all_there_and_little_else(
            truth in proptest::collection::vec(-9i8..9, 1..400), k in 1usize..60, noise in 0usize..7, queries in 1usize..40
        ) {
            let margin = 0.25;
            // A score as it might come out: off by up to the margin, another error for each query and row.
            let seen = |row: usize, query: usize| {
                f32::from(truth[row]) + margin * ((row * 7 + query * 3 + noise) % 9) as f32 / 4.0 - margin
            };
            let halves = [0..truth.len() / 2, truth.len() / 2..truth.len()].map(|rows| {
                let mut lists = Shortlists::new(k, vec![margin; queries]);
                for row in rows {
                    lists.push(row, &(0..queries).map(|query| seen(row, query) * 2.0).collect::<Vec<_>>(), 0.5);
                }
                lists
            });
            let [first, second] = halves;
            let mut sorted = truth.clone();
            sorted.sort_by(|a, b| b.cmp(a));
            let last = sorted[k.min(truth.len()) - 1];
            for rows in first.joined(second).into_rows() {
                for (row, score) in truth.iter().enumerate() {
                    let kept = rows.contains(&u32::try_from(row).expect("few rows"));
                    prop_assert!(kept || *score < last, "row {row} of score {score} is lost, the last is {last}");
                    prop_assert!(!kept || *score >= last - 1, "row {row} of score {score} is no candidate, the last is {last}");
                }
            }
        }
    }
}
