//! Dense search: an index over passage vectors, and the vectors of the queries that will be asked.
//! The index is exact or HNSW; callers see one [`Searcher`] either way.

use super::exact::inverse;
use super::{Error, Result, Searcher, dot};
use crate::data::{Hit, Query, QueryId, Run};
use crate::encode::Vectors;
use crate::encode::vectors::norm;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// What a dense score is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// Cosine of the angle, -1 to 1.
    #[default]
    Cosine,
    /// Dot product, unbounded.
    Dot,
}

impl Similarity {
    /// The query vector as it is compared: brought to length 1 under cosine.
    #[must_use]
    pub fn ready(self, query: &[f32]) -> Vec<f32> {
        let scale = match self {
            Self::Cosine => inverse(norm(query)),
            Self::Dot => 1.0,
        };
        query.iter().map(|value| value * scale).collect()
    }

    /// The similarity of a query made [`Similarity::ready`] and a passage, to the bit what searches give; 0 where one is
    /// of zeros.
    #[must_use]
    pub fn of_ready(self, query: &[f32], passage: &[f32]) -> f32 {
        match self {
            Self::Dot => dot::single(query, passage),
            Self::Cosine => dot::single(query, passage) * inverse(norm(passage)),
        }
    }

    /// The similarity of two vectors of one length; 0 where one is of zeros.
    #[must_use]
    pub fn of(self, query: &[f32], passage: &[f32]) -> f32 {
        self.of_ready(&self.ready(query), passage)
    }
}

/// An index over passage vectors.
pub enum DenseIndex {
    /// Every passage is compared.
    Exact(super::Exact),
    /// A graph is walked; a few of the best may be missed.
    #[cfg(feature = "hnsw")]
    Hnsw(super::Hnsw),
}

impl DenseIndex {
    /// D, the length of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        match self {
            Self::Exact(index) => index.dimension(),
            #[cfg(feature = "hnsw")]
            Self::Hnsw(index) => index.dimension(),
        }
    }

    /// The best `k` passages of each query vector.
    ///
    /// # Errors
    /// [`Error::Hnsw`].
    ///
    /// # Panics
    /// When a query is not of length D.
    pub fn best(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Vec<Hit>>> {
        match self {
            Self::Exact(index) => Ok(index.best(queries, k)),
            #[cfg(feature = "hnsw")]
            Self::Hnsw(index) => index.best(queries, k),
        }
    }
}

/// Searches with query vectors made beforehand.
pub struct Dense {
    index: DenseIndex,
    rows: HashMap<QueryId, usize>,
    vectors: Arc<Vectors>,
}

impl Dense {
    /// Over `index`, for the queries `ids`, whose vectors stand in the same order.
    ///
    /// # Errors
    /// [`Error::Count`], [`Error::Dimension`] or [`Error::NotFinite`] when the vectors do not fit.
    pub fn new(index: DenseIndex, ids: &[QueryId], vectors: Arc<Vectors>) -> Result<Self> {
        if ids.len() != vectors.len() {
            return Err(Error::Count { vectors: vectors.len(), ids: ids.len() });
        }
        if vectors.dimension() != index.dimension() {
            return Err(Error::Dimension { passages: index.dimension(), queries: vectors.dimension() });
        }
        if let Some(row) = vectors.norms().into_iter().position(|norm| !norm.is_finite()) {
            return Err(Error::NotFinite(ids[row].to_string()));
        }
        let rows = ids.iter().cloned().zip(0..).collect();
        Ok(Self { index, rows, vectors })
    }
}

impl Searcher for Dense {
    fn search(&self, queries: &[Query], k: usize) -> Result<Run> {
        let vectors = queries
            .iter()
            .map(|query| match self.rows.get(&query.id) {
                Some(&row) => Ok(self.vectors.row(row)),
                None => Err(Error::NoVector(query.id.clone())),
            })
            .collect::<Result<Vec<_>>>()?;
        let vectors: Vec<&[f32]> = vectors.iter().map(AsRef::as_ref).collect();
        let mut run = Run::default();
        for (query, hits) in queries.iter().zip(self.index.best(&vectors, k)?) {
            run.insert(query.id.clone(), hits);
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::IdTable;
    use crate::retrieve::Exact;

    #[test]
    fn what_does_not_fit_is_said_before_any_search() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let docs = Arc::new(IdTable::new(["d"]));
        let index = || {
            Exact::new(docs.clone(), Arc::new(Vectors::new(2, vec![1.0, 0.0])), Similarity::Cosine)
                .map(DenseIndex::Exact)
        };
        let ids = [QueryId::new("q")?];
        let refused = |values: Vec<f32>, dimension| {
            let dense = index().and_then(|index| Dense::new(index, &ids, Arc::new(Vectors::new(dimension, values))));
            dense.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(refused(vec![1.0; 3], 3).contains("length 2"));
        assert!(refused(vec![1.0; 4], 2).contains("2 vectors and 1 identifiers"));
        assert!(refused(vec![1.0, f32::NAN], 2).contains("vector of q"));
        let dense = Dense::new(index()?, &ids, Arc::new(Vectors::new(2, vec![3.0, 4.0])))?;
        let asked =
            |id: &str| Ok::<_, Box<dyn std::error::Error>>(Query { id: QueryId::new(id)?, text: String::new() });
        assert!(matches!(dense.search(&[asked("other")?], 1), Err(Error::NoVector(_))));
        let score = dense.search(&[asked("q")?], 1)?.get("q")[0].score;
        assert!((score - 0.6).abs() < 1e-6, "{score}");
        Ok(())
    }
}
