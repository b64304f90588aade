//! Approximate search over a navigable small-world graph (HNSW, Malkov and Yashunin 2018), by usearch.
//! The graph finds candidates; their scores are those of exact search, from the vectors it was built over, whatever it
//! keeps itself. Built on several threads the same vectors give another graph each time, about as good; on one thread
//! the same. A saved graph is mapped, not read. Without the cargo feature `hnsw` this file is absent and dense search is
//! exact.

use super::dense::Similarity;
use super::exact::inverse;
use super::order::TopK;
use super::{Error, Result, check_rows, dot};
use crate::data::{Hit, IdTable, Watch};
use crate::encode::Vectors;
use half::{bf16, f16};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
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
    /// Recall against exact search that sets `expansion_search` by itself, above 0 to 1; default none. Lower is faster,
    /// higher slower.
    pub target_recall: Option<f64>,
    /// What the graph keeps of a vector, default `bf16`. Less is faster and takes less memory, and loses some recall.
    pub storage: GraphStorage,
    /// Threads that build, default 0: all there are. With 1 the same vectors give the same graph; more are faster.
    pub threads: usize,
}

impl Default for HnswSettings {
    fn default() -> Self {
        Self {
            connectivity: 16,
            expansion_add: 128,
            expansion_search: 128,
            target_recall: None,
            storage: GraphStorage::Bf16,
            threads: 0,
        }
    }
}

impl HnswSettings {
    /// Makes sure that every setting is in its range.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        let refuse = |key, expected, found: String| Err(Error::Setting { key, expected, found });
        if !(2..=256).contains(&self.connectivity) {
            return refuse("connectivity", "a number from 2 to 256", self.connectivity.to_string());
        }
        if self.expansion_add == 0 {
            return refuse("expansion_add", "a number from 1", "0".to_owned());
        }
        if self.expansion_search == 0 {
            return refuse("expansion_search", "a number from 1", "0".to_owned());
        }
        match self.target_recall {
            Some(target) if !(target > 0.0 && target <= 1.0) => {
                refuse("target_recall", "a share above 0, at most 1", target.to_string())
            }
            _ => Ok(()),
        }
    }

    /// What decides the graph, for its key: not how it is searched.
    #[must_use]
    pub fn of_graph(&self) -> serde_json::Value {
        serde_json::json!({
            "connectivity": self.connectivity,
            "expansion_add": self.expansion_add,
            "storage": self.storage,
            "reproducible": self.threads == 1,
        })
    }
}

/// What a graph keeps of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphStorage {
    /// All of it.
    F32,
    /// 11 bits of mantissa, in half the memory.
    F16,
    /// 8 bits of mantissa, in half the memory.
    Bf16,
    /// Whole numbers from -127 to 127, in a quarter of the memory.
    Int8,
}

impl GraphStorage {
    fn kind(self) -> ScalarKind {
        match self {
            Self::F32 => ScalarKind::F32,
            Self::F16 => ScalarKind::F16,
            Self::Bf16 => ScalarKind::BF16,
            Self::Int8 => ScalarKind::I8,
        }
    }
}

/// A graph over passage vectors.
pub struct Hnsw {
    index: Index,
    ids: Arc<IdTable>,
    vectors: Arc<Vectors>,
    /// 1 / norm of each passage under cosine; empty under dot.
    scales: Vec<f32>,
    similarity: Similarity,
    storage: GraphStorage,
    /// Searches that may run at once: usearch sets memory aside for each.
    places: usize,
}

impl Hnsw {
    /// Over `vectors`, whose rows are the passages `ids`.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Count`], [`Error::NotFinite`]; [`Error::Hnsw`] when memory is short; or a stop.
    pub fn build(
        (ids, vectors): (Arc<IdTable>, Arc<Vectors>),
        similarity: Similarity,
        settings: &HnswSettings,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let graph = Self::empty((ids, vectors), similarity, settings)?;
        let threads = if settings.threads == 0 { graph.places } else { settings.threads };
        let reserved = graph.index.reserve_capacity_and_threads(graph.ids.len(), threads.max(graph.places));
        reserved.map_err(failed("get memory"))?;
        let steps = graph.steps();
        let add = |row: usize| {
            watch.check()?;
            let vector = graph.compared(row);
            let added = match graph.storage {
                GraphStorage::Int8 => graph.index.add(row as u64, &codes(&vector, steps)),
                _ => graph.index.add(row as u64, &vector),
            };
            watch.advance(1);
            added.map_err(failed("take a vector"))
        };
        let rows = graph.ids.len();
        match threads {
            1 => (0..rows).try_for_each(add)?,
            _ if settings.threads == 0 => (0..rows).into_par_iter().try_for_each(add)?,
            _ => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.map_err(failed("start threads"))?.install(|| (0..rows).into_par_iter().try_for_each(add))?;
            }
        }
        Ok(graph)
    }

    /// A graph that [`Hnsw::save`] wrote, mapped; over the same passages, vectors and settings.
    ///
    /// # Errors
    /// As [`Hnsw::build`]; [`Error::Hnsw`] when it is no graph, or one of other vectors.
    pub fn view(
        path: &Path,
        (ids, vectors): (Arc<IdTable>, Arc<Vectors>),
        similarity: Similarity,
        settings: &HnswSettings,
    ) -> Result<Self> {
        let mut graph = Self::empty((ids, vectors), similarity, settings)?;
        // The number of threads outlives the opening.
        graph.index.reserve_capacity_and_threads(1, graph.places).map_err(failed("get memory"))?;
        graph.index.view(&path.to_string_lossy()).map_err(failed("be opened"))?;
        let due = (graph.vectors.dimension(), graph.ids.len(), graph.storage.kind());
        let found = (graph.index.dimensions(), graph.index.size(), graph.index.scalar_kind());
        if found != due {
            let reason = format!("expected dimension, vectors and storage {due:?}, found {found:?}");
            return Err(Error::Hnsw { action: "be opened", reason });
        }
        // Opening puts usearch's own distance in the place of ours.
        graph.measure();
        graph.index.change_expansion_search(settings.expansion_search);
        Ok(graph)
    }

    /// Writes the graph, with what it keeps of the vectors.
    ///
    /// # Errors
    /// [`Error::Hnsw`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.index.save(&path.to_string_lossy()).map_err(failed("be saved"))
    }

    fn empty(
        (ids, vectors): (Arc<IdTable>, Arc<Vectors>),
        similarity: Similarity,
        settings: &HnswSettings,
    ) -> Result<Self> {
        settings.check()?;
        let norms = check_rows(&ids, &vectors)?;
        let index = Index::new(&IndexOptions {
            dimensions: vectors.dimension(),
            metric: MetricKind::IP,
            quantization: settings.storage.kind(),
            connectivity: settings.connectivity,
            expansion_add: settings.expansion_add,
            expansion_search: settings.expansion_search,
            multi: false,
        })
        .map_err(failed("be made"))?;
        let scales = match similarity {
            Similarity::Cosine => norms.into_iter().map(inverse).collect(),
            Similarity::Dot => Vec::new(),
        };
        let places = rayon::current_num_threads();
        let mut graph = Self { index, ids, vectors, scales, similarity, storage: settings.storage, places };
        graph.measure();
        Ok(graph)
    }

    /// Gives the graph our dot products to measure by: usearch's own are compiled for the oldest processors.
    fn measure(&mut self) {
        let dimension = self.vectors.dimension();
        match self.storage {
            GraphStorage::F32 => self.index.change_metric::<f32>(Box::new(move |a, b| {
                1.0 - dot::single(of_graph(a, dimension), of_graph(b, dimension))
            })),
            GraphStorage::F16 => self.index.change_metric::<usearch::f16>(Box::new(move |a, b| {
                1.0 - dot::half(of_graph::<f16>(a.cast(), dimension), of_graph(b.cast(), dimension))
            })),
            GraphStorage::Bf16 => self.index.change_metric::<usearch::f16>(Box::new(move |a, b| {
                1.0 - dot::brain(of_graph::<bf16>(a.cast(), dimension), of_graph(b.cast(), dimension))
            })),
            GraphStorage::Int8 => self.index.change_metric::<i8>(Box::new(move |a, b| {
                1.0 - dot::whole(of_graph(a, dimension), of_graph(b, dimension))
            })),
        }
    }

    /// Passage `row` as it is compared: of length 1 under cosine.
    fn compared(&self, row: usize) -> Vec<f32> {
        let scale = self.scales.get(row).copied().unwrap_or(1.0);
        self.vectors.row(row).iter().map(|value| value * scale).collect()
    }

    /// Codes a unit, so that no component of any passage is beyond 127; only int8 needs it.
    fn steps(&self) -> f32 {
        if self.storage != GraphStorage::Int8 {
            return 1.0;
        }
        let greatest = |row| self.compared(row).iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        127.0 * inverse((0..self.ids.len()).into_par_iter().map(greatest).reduce(|| 0.0, f32::max))
    }

    /// D, the length of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.vectors.dimension()
    }

    /// Candidates kept in a search (ef).
    #[must_use]
    pub fn expansion(&self) -> usize {
        self.index.expansion_search()
    }

    /// Lets searches keep `expansion` candidates.
    pub fn expand(&self, expansion: usize) {
        self.index.change_expansion_search(expansion);
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
        let query = self.similarity.ready(query);
        // All that the walk kept are scored: what the graph keeps may have put them in another order.
        let count = k.max(self.expansion());
        let found = match self.storage {
            GraphStorage::Int8 => {
                let greatest = query.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                self.index.search(&codes(&query, 127.0 * inverse(greatest)), count)
            }
            _ => self.index.search(&query, count),
        };
        let mut top = TopK::new(&self.ids, k);
        for key in found.map_err(failed("search"))?.keys {
            let row = usize::try_from(key).expect("rows were added as usize");
            let score = dot::single(&query, &self.vectors.row(row));
            top.push(row, self.scales.get(row).map_or(score, |scale| score * scale));
        }
        Ok(top.into_hits())
    }
}

/// The vector of a graph that lies at `place`.
fn of_graph<'g, T>(place: *const T, dimension: usize) -> &'g [T] {
    // SAFETY: usearch calls its metric with vectors of the index's dimension and storage, which `Hnsw::measure` names,
    // aligned as it was told and alive for the call.
    #[expect(unsafe_code, reason = "vectors that usearch keeps")]
    unsafe {
        std::slice::from_raw_parts(place, dimension)
    }
}

/// Whole numbers, `steps` a unit.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn codes(vector: &[f32], steps: f32) -> Vec<i8> {
    vector.iter().map(|value| (value * steps).round().clamp(-127.0, 127.0) as i8).collect()
}

fn failed<E: std::fmt::Display>(action: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Hnsw { action, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Query, QueryId, Quiet};
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
        let folder = tempfile::tempdir()?;
        for similarity in [Similarity::Cosine, Similarity::Dot] {
            let exact = Exact::new(ids(2000), passages.clone(), similarity)?;
            let truth = Dense::new(DenseIndex::Exact(exact), &names, asked.clone())?.search(&queries, 10)?;
            for storage in [GraphStorage::F32, GraphStorage::F16, GraphStorage::Bf16, GraphStorage::Int8] {
                let settings = HnswSettings { storage, ..HnswSettings::default() };
                let graph = Hnsw::build((ids(2000), passages.clone()), similarity, &settings, &Quiet)?;
                let path = folder.path().join(format!("{similarity:?}-{storage:?}"));
                graph.save(&path)?;
                let found = Dense::new(DenseIndex::Hnsw(graph), &names, asked.clone())?.search(&queries, 10)?;
                let viewed = Hnsw::view(&path, (ids(2000), passages.clone()), similarity, &settings)?;
                let again = Dense::new(DenseIndex::Hnsw(viewed), &names, asked.clone())?.search(&queries, 10)?;
                assert!(
                    again.iter().eq(found.iter()),
                    "{similarity:?} {storage:?}: a mapped graph finds something else"
                );
                let share = recall(&found, &truth);
                assert!(share >= 0.95, "{similarity:?} {storage:?}: {share}");
                for (query, hits) in found.iter() {
                    assert_eq!(hits.len(), 10);
                    for hit in hits {
                        if let Some(same) = truth.get(query.as_str()).iter().find(|other| other.doc == hit.doc) {
                            assert_eq!(same.score.to_bits(), hit.score.to_bits(), "another score than exact search's");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn one_thread_gives_the_same_graph_and_k_may_exceed_the_expansion() -> Outcome {
        let passages = Arc::new(noise("p", 600, 12));
        let asked = noise("q", 20, 12);
        let asked: Vec<Vec<f32>> = (0..20).map(|row| asked.row(row).into_owned()).collect();
        let asked: Vec<&[f32]> = asked.iter().map(Vec::as_slice).collect();
        let settings = HnswSettings { expansion_search: 4, threads: 1, ..HnswSettings::default() };
        let build = || Hnsw::build((ids(600), passages.clone()), Similarity::Cosine, &settings, &Quiet);
        let first = build()?.best(&asked, 50)?;
        assert_eq!(build()?.best(&asked, 50)?, first);
        assert!(first.iter().all(|hits| hits.len() == 50));
        for wrong in [
            HnswSettings { connectivity: 1, ..settings },
            HnswSettings { target_recall: Some(1.5), ..settings },
            HnswSettings { expansion_search: 0, ..settings },
        ] {
            assert!(matches!(wrong.check(), Err(Error::Setting { .. })));
        }
        Ok(())
    }

    #[test]
    fn a_graph_of_other_vectors_or_no_graph_is_refused() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("graph");
        let settings = HnswSettings::default();
        let passages = Arc::new(noise("p", 50, 12));
        Hnsw::build((ids(50), passages.clone()), Similarity::Dot, &settings, &Quiet)?.save(&path)?;
        let refused = |count, dimension, settings: &HnswSettings| {
            let given = (ids(count), Arc::new(noise("p", count, dimension)));
            Hnsw::view(&path, given, Similarity::Dot, settings).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refused(50, 12, &settings), "");
        for message in [
            refused(49, 12, &settings),
            refused(50, 13, &settings),
            refused(50, 12, &HnswSettings { storage: GraphStorage::F32, ..settings }),
        ] {
            assert!(message.contains("expected dimension, vectors and storage"), "{message}");
        }
        std::fs::write(&path, "no graph")?;
        assert!(refused(50, 12, &settings).contains("cannot be opened"), "{}", refused(50, 12, &settings));
        Ok(())
    }
}
