//! Which passage of a batch stands against which query, and which false negatives are taken out of it.

use crate::train::InBatch;
use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

/// Which passage stands against which query: `(B, C)`, row-major. A query's own positive always does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparisons {
    queries: usize,
    negatives: usize,
    compared: Vec<bool>,
}

impl Default for GuideMargin {
    fn default() -> Self {
        Self::Absolute(0.0)
    }
}

/// How far below the positive's similarity, by a guide encoder, a passage must stay to count as a negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuideMargin {
    /// In the unit of the similarity, 0 and up: passages above `p - m` are masked.
    Absolute(f32),
    /// As a share of the positive's, 0 to 1: passages above `p - |p| m` are masked.
    Relative(f32),
}

impl Comparisons {
    /// For B instances of H negatives each; the columns are the B positives, then the negatives instance by instance
    /// (C = B + B·H). `forbidden(query, column)` says that the column's passage is known to answer the query: it is
    /// then never its negative.
    #[must_use]
    pub fn new(
        instances: usize,
        negatives: usize,
        in_batch: InBatch,
        forbidden: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let columns = instances * (1 + negatives);
        let mut compared = Vec::with_capacity(instances * columns);
        for query in 0..instances {
            for column in 0..columns {
                let owner = if column < instances { column } else { (column - instances) / negatives.max(1) };
                let positive = column < instances;
                compared.push(match (owner == query, in_batch) {
                    (true, _) if positive => true,
                    (true, _) | (false, InBatch::All) => !forbidden(query, column),
                    (false, InBatch::Positives) => positive && !forbidden(query, column),
                    (false, InBatch::None) => false,
                });
            }
        }
        Self { queries: instances, negatives, compared }
    }

    /// B.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// H.
    #[must_use]
    pub fn negatives(&self) -> usize {
        self.negatives
    }

    /// C = B + B·H.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.queries * (1 + self.negatives)
    }

    /// True when the passage in `column` stands against `query`.
    #[must_use]
    pub fn compares(&self, query: usize, column: usize) -> bool {
        self.compared[query * self.columns() + column]
    }

    /// True when the passage in `column` is a negative that stands against `query`.
    #[must_use]
    pub fn opposes(&self, query: usize, column: usize) -> bool {
        column != query && self.compares(query, column)
    }

    /// Columns of the query's own negatives.
    #[must_use]
    pub fn own_negatives(&self, query: usize) -> std::ops::Range<usize> {
        let start = self.queries + query * self.negatives;
        start..start + self.negatives
    }

    /// Takes out the passages that a guide encoder finds as near to a query as its positive, up to `margin`: likely
    /// answers that nobody judged (`GISTEmbed`, arXiv 2402.16829, section 3; margins as in sentence-transformers).
    /// `similarities` are the guide's of each query and passage, `(B, C)` row-major. The number of comparisons taken out.
    pub fn mask_by_guide(&mut self, similarities: &[f32], margin: GuideMargin) -> usize {
        let columns = self.columns();
        let mut masked = 0;
        for query in 0..self.queries {
            let row = &similarities[query * columns..(query + 1) * columns];
            let bound = match margin {
                GuideMargin::Absolute(margin) => row[query] - margin,
                GuideMargin::Relative(share) => row[query] - row[query].abs() * share,
            };
            for (column, &similarity) in row.iter().enumerate() {
                if self.opposes(query, column) && similarity > bound {
                    self.compared[query * columns + column] = false;
                    masked += 1;
                }
            }
        }
        masked
    }

    /// The same batch where every query stands against its own passages alone, all of them.
    #[must_use]
    pub fn own(&self) -> Self {
        Self::new(self.queries, self.negatives, InBatch::None, |_, _| false)
    }

    /// 0 where `keep(query, column)` and minus infinity elsewhere: `(R, C)` for the queries in `rows`.
    pub(super) fn mask(&self, rows: &[u32], device: &Device, keep: impl Fn(usize, usize) -> bool) -> Result<Tensor> {
        let columns = self.columns();
        let values = rows.iter().flat_map(|&query| {
            let keep = &keep;
            (0..columns).map(move |column| if keep(query as usize, column) { 0.0 } else { f32::NEG_INFINITY })
        });
        Tensor::from_vec(values.collect::<Vec<f32>>(), (rows.len(), columns), device)
    }

    /// All queries.
    pub(super) fn all(&self) -> Vec<u32> {
        (0u32..).take(self.queries).collect()
    }

    /// Queries with at least one negative, and how many each of them has.
    pub(super) fn opposed(&self) -> (Vec<u32>, Vec<f32>) {
        let counts = (0u32..).take(self.queries).map(|query| {
            let opposing = (0..self.columns()).filter(|&column| self.opposes(query as usize, column));
            (query, opposing.count() as f32)
        });
        counts.filter(|&(_, count)| count > 0.0).unzip()
    }
}
