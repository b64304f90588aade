//! Finding passages for queries: BM25, exact search over vectors, HNSW.
//! Every searcher gives a [`Run`]: higher scores are better whatever the method, ties fall by the
//! one rule of [`crate::data::Hit::rank_order`]. Distances become scores here and nowhere above.
//! How vectors come to be is not known here: [`Dense`] takes those of the queries ready-made.

pub mod bm25;
pub mod choice;
pub mod dense;
pub mod dot;
pub mod exact;
pub mod fusion;
#[cfg(feature = "hnsw")]
pub mod hnsw;
pub mod order;
pub mod ranker;
pub mod recall;
mod shortlist;

pub use bm25::{Bm25, Bm25Settings, LengthRule, TitleRule};
pub use dense::{Dense, DenseIndex, Similarity};
pub use exact::Exact;
pub use fusion::Fusion;
#[cfg(feature = "hnsw")]
pub use hnsw::{GraphStorage, Hnsw, HnswSettings};
pub use ranker::{DenseRanker, Ranker, passage_as_query};
pub use recall::{Gauge, recall};

use crate::data::{self, IdTable, Query, QueryId, Run};

/// Result of the retrieve layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a search or an index is not possible.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading passages failed.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// A setting is outside its range.
    #[error("`{key}`: expected {expected}, found {found}")]
    Setting {
        /// The key of the settings.
        key: &'static str,
        /// Its range.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// Rows and identifiers do not pair.
    #[error(
        "expected one vector per identifier, found {vectors} vectors and {ids} identifiers\n  hint: were the vectors made from another corpus?"
    )]
    Count {
        /// Number of rows.
        vectors: usize,
        /// Number of identifiers.
        ids: usize,
    },
    /// Queries and passages are of different spaces.
    #[error(
        "expected query vectors of length {passages} like the passages', found {queries}\n  hint: encode both with one encoder"
    )]
    Dimension {
        /// Length of passage vectors.
        passages: usize,
        /// Length of query vectors.
        queries: usize,
    },
    /// A vector holds NaN or infinity.
    #[error("the vector of {0} holds a value that is not finite\n  hint: did training diverge?")]
    NotFinite(String),
    /// A query came that was not encoded beforehand.
    #[error("no vector for query {0}\n  hint: encode all queries that are to be searched")]
    NoVector(QueryId),
    /// A graph does not find what it should.
    #[error(
        "expected recall of {target}, found: {gauge}\n  hint: a higher expansion_add or connectivity gives a better graph; --index exact finds all"
    )]
    Recall {
        /// What was asked for.
        target: f64,
        /// What was reached.
        gauge: Gauge,
    },
    /// The HNSW library refused.
    #[error("the HNSW index cannot {action}: {reason}")]
    Hnsw {
        /// What was asked for.
        action: &'static str,
        /// The library's words.
        reason: String,
    },
}

/// Finds passages for queries.
pub trait Searcher: Sync {
    /// The best `k` passages of each query, fewer where fewer qualify; every query has a list.
    ///
    /// # Errors
    /// [`Error::NoVector`] for dense searchers, [`Error::Hnsw`].
    fn search(&self, queries: &[Query], k: usize) -> Result<Run>;
}

/// Pairs identifiers with row counts at the door of each index over vectors; gives the norm of each row.
fn check_rows(ids: &IdTable, vectors: &crate::encode::Vectors) -> Result<Vec<f32>> {
    if ids.len() != vectors.len() {
        return Err(Error::Count { vectors: vectors.len(), ids: ids.len() });
    }
    let norms = vectors.norms();
    match norms.iter().position(|norm| !norm.is_finite()) {
        Some(row) => Err(Error::NotFinite(ids.get(row).to_owned())),
        None => Ok(norms),
    }
}
