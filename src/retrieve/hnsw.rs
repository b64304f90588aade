//! Approximate search over a navigable small-world graph (HNSW, Malkov and Yashunin 2018), by usearch.
//! Built on one thread, so that the same vectors give the same graph on the same machine; adding in
//! parallel is faster and not reproducible, and is the place to deepen. The graph is made anew at
//! each start. Without the cargo feature `hnsw` this file is absent and dense search is exact.

use super::dense::Similarity;
use super::order::TopK;
use super::{Error, Result, check_rows};
use crate::data::{Hit, IdTable};
use crate::encode::Vectors;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

/// Shape of the graph and effort of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HnswSettings {
    /// Neighbours of a node (M), 2 to 256, default 16. Lower loses recall, higher costs memory.
    pub connectivity: usize,
    /// Candidates kept when a passage is added (efConstruction), 1 and up, default 128. Lower gives
    /// a worse graph, higher a slower build.
    pub expansion_add: usize,
    /// Candidates kept in a search (ef), 1 and up, default 128; at least the number of hits asked
    /// for is used. Lower loses recall, higher is slower.
    pub expansion_search: usize,
    /// How vectors are stored, default `f32`.
    pub storage: Storage,
}

impl Default for HnswSettings {
    fn default() -> Self {
        Self { connectivity: 16, expansion_add: 128, expansion_search: 128, storage: Storage::F32 }
    }
}

impl HnswSettings {
    fn check(&self) -> Result<()> {
        let refuse = |key, expected, found: usize| Err(Error::Setting { key, expected, found: found.to_string() });
        if !(2..=256).contains(&self.connectivity) {
            return refuse("connectivity", "a number from 2 to 256", self.connectivity);
        }
        if self.expansion_add == 0 {
            return refuse("expansion_add", "a number from 1", 0);
        }
        if self.expansion_search == 0 {
            return refuse("expansion_search", "a number from 1", 0);
        }
        Ok(())
    }
}

/// How vectors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// As they are.
    F32,
    /// In half the memory, with 8 bits of precision: scores differ in the third digit.
    Bf16,
}

/// A graph over passage vectors.
pub struct Hnsw {
    index: Index,
    ids: Arc<IdTable>,
    /// Searches that may run at once: usearch sets memory aside for each.
    places: usize,
}

impl Hnsw {
    /// Over `vectors`, whose rows are the passages `ids`.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Count`], [`Error::NotFinite`]; [`Error::Hnsw`] when memory is short.
    pub fn build(
        ids: Arc<IdTable>,
        vectors: &Vectors,
        similarity: Similarity,
        settings: &HnswSettings,
    ) -> Result<Self> {
        settings.check()?;
        check_rows(&ids, vectors)?;
        let index = Index::new(&IndexOptions {
            dimensions: vectors.dimension(),
            metric: match similarity {
                Similarity::Cosine => MetricKind::Cos,
                Similarity::Dot => MetricKind::IP,
            },
            quantization: match settings.storage {
                Storage::F32 => ScalarKind::F32,
                Storage::Bf16 => ScalarKind::BF16,
            },
            connectivity: settings.connectivity,
            expansion_add: settings.expansion_add,
            expansion_search: settings.expansion_search,
            multi: false,
        })
        .map_err(failed("be made"))?;
        let places = rayon::current_num_threads();
        index.reserve_capacity_and_threads(vectors.len(), places).map_err(failed("get memory"))?;
        for row in 0..vectors.len() {
            index.add(row as u64, vectors.row(row)).map_err(failed("take a vector"))?;
        }
        Ok(Self { index, ids, places })
    }

    /// D, the length of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.index.dimensions()
    }

    /// About the best `k` passages of each query vector.
    ///
    /// # Errors
    /// [`Error::Hnsw`].
    pub fn best(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Vec<Hit>>> {
        if k == 0 {
            return Ok(vec![Vec::new(); queries.len()]);
        }
        // No more parts than places, whatever pool this runs in.
        let part = queries.len().div_ceil(self.places).max(1);
        let parts: Vec<Vec<Vec<Hit>>> = queries
            .par_chunks(part)
            .map(|part| part.iter().map(|query| self.best_of(query, k)).collect())
            .collect::<Result<_>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    fn best_of(&self, query: &[f32], k: usize) -> Result<Vec<Hit>> {
        let matches = self.index.search(query, k).map_err(failed("search"))?;
        let mut top = TopK::new(&self.ids, k);
        for (&row, distance) in matches.keys.iter().zip(matches.distances) {
            let row = usize::try_from(row).expect("rows were added as usize");
            // usearch's distance is 1 - similarity for both metrics.
            top.push(row, 1.0 - distance);
        }
        Ok(top.into_hits())
    }
}

fn failed<E: std::fmt::Display>(action: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Hnsw { action, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Query, QueryId};
    use crate::retrieve::exact::tests::{ids, noise};
    use crate::retrieve::{Dense, DenseIndex, Exact, Searcher, recall};

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn queries(count: usize) -> Vec<Query> {
        (0..count).filter_map(|i| Some(Query { id: QueryId::new(&i.to_string()).ok()?, text: String::new() })).collect()
    }

    #[test]
    fn nearly_everything_exact_search_finds_is_found_with_the_same_scores() -> Outcome {
        let (passages, asked, queries) = (Arc::new(noise("p", 2000, 16)), Arc::new(noise("q", 50, 16)), queries(50));
        let names: Vec<QueryId> = queries.iter().map(|q| q.id.clone()).collect();
        for similarity in [Similarity::Cosine, Similarity::Dot] {
            let exact = Exact::new(ids(2000), passages.clone(), similarity)?;
            let truth = Dense::new(DenseIndex::Exact(exact), &names, asked.clone())?.search(&queries, 10)?;
            for (storage, least, tolerance) in [(Storage::F32, 0.95, 1e-5), (Storage::Bf16, 0.9, 0.1)] {
                let settings = HnswSettings { storage, ..HnswSettings::default() };
                let graph = Hnsw::build(ids(2000), &passages, similarity, &settings)?;
                let found = Dense::new(DenseIndex::Hnsw(graph), &names, asked.clone())?.search(&queries, 10)?;
                let share = recall(&found, &truth);
                assert!(share >= least, "{similarity:?} {storage:?}: {share}");
                for (query, hits) in found.iter() {
                    assert_eq!(hits.len(), 10);
                    for hit in hits {
                        if let Some(same) = truth.get(query.as_str()).iter().find(|other| other.doc == hit.doc) {
                            assert!((same.score - hit.score).abs() < tolerance, "{} for {}", hit.score, same.score);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_same_vectors_give_the_same_run_and_k_may_exceed_the_expansion() -> Outcome {
        let passages = noise("p", 600, 12);
        let asked = noise("q", 20, 12);
        let asked: Vec<&[f32]> = (0..20).map(|row| asked.row(row)).collect();
        let settings = HnswSettings { expansion_search: 4, ..HnswSettings::default() };
        let build = || Hnsw::build(ids(600), &passages, Similarity::Cosine, &settings);
        let first = build()?.best(&asked, 50)?;
        assert_eq!(build()?.best(&asked, 50)?, first);
        assert!(first.iter().all(|hits| hits.len() == 50));
        let wrong = HnswSettings { connectivity: 1, ..settings };
        assert!(Hnsw::build(ids(600), &passages, Similarity::Cosine, &wrong).is_err());
        Ok(())
    }
}
