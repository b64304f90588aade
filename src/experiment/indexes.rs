//! Which index dense search walks: exact, or a graph that is made once and kept in the store. Which of them costs less
//! is told from their sizes, unless the settings say it.

#[cfg(feature = "hnsw")]
use super::ExperimentError;
use super::Result;
use super::recipe::DenseChoice;
use super::stages::{Embedded, Workplace};
use crate::data::IdTable;
#[cfg(feature = "hnsw")]
use crate::data::Provenance;
use crate::encode::Vectors;
use crate::retrieve::{DenseIndex, Exact, Gauge, Similarity};
use crate::text::tokenizer::Truncation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How dense search is done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DenseSettings {
    /// Exact, or over a graph.
    pub index: DenseChoice,
    /// Shape of the graph.
    #[cfg(feature = "hnsw")]
    pub hnsw: crate::retrieve::HnswSettings,
}

impl DenseSettings {
    /// Every passage is compared.
    #[must_use]
    pub fn exact() -> Self {
        Self {
            index: DenseChoice::Exact,
            #[cfg(feature = "hnsw")]
            hnsw: crate::retrieve::HnswSettings::default(),
        }
    }
}

/// The index that was taken, and what is known of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IndexReport {
    /// "exact" or "hnsw".
    pub index: &'static str,
    /// Why this one.
    pub reason: String,
    /// Its recall; nothing for exact search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gauge: Option<Gauge>,
    /// What was cut off, by texts.
    pub truncation: BTreeMap<&'static str, Truncation>,
}

impl std::fmt::Display for IndexReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {}: {}", self.index, self.reason)?;
        self.gauge.map_or(Ok(()), |gauge| write!(f, "; {gauge}"))
    }
}

/// Passages to search: ids and vectors by row, and what is compared.
pub(super) struct Space {
    pub ids: Arc<IdTable>,
    pub similarity: Similarity,
    pub passages: Embedded,
}

/// The index over `space` for searches of the best `k` with vectors such as `queries`.
///
/// # Errors
/// [`ExperimentError::Retrieve`], or a stop.
pub(super) fn index(
    work: &Workplace<'_>,
    space: &Space,
    queries: &Vectors,
    (settings, k): (&DenseSettings, usize),
) -> Result<(DenseIndex, IndexReport)> {
    let exact = || Exact::new(space.ids.clone(), space.passages.vectors.clone(), space.similarity);
    let report = |index, reason: String| IndexReport { index, reason, ..IndexReport::default() };
    match settings.index {
        DenseChoice::Exact => Ok((DenseIndex::Exact(exact()?), report("exact", "as asked for".to_owned()))),
        #[cfg(not(feature = "hnsw"))]
        DenseChoice::Auto => {
            let _ = (queries, k);
            Ok((DenseIndex::Exact(exact()?), report("exact", "this build has no other".to_owned())))
        }
        #[cfg(feature = "hnsw")]
        DenseChoice::Auto => {
            let there = work.store.place(&graph_stage(space, settings)).is_dir();
            let cheaper = crate::retrieve::choice::cheaper((space.ids.len(), queries.len()), there);
            if cheaper.graph {
                let (graph, report) = graph(work, space, queries, (settings, k), &exact()?)?;
                Ok((graph, IndexReport { reason: cheaper.reason, ..report }))
            } else {
                Ok((DenseIndex::Exact(exact()?), report("exact", cheaper.reason)))
            }
        }
        #[cfg(feature = "hnsw")]
        DenseChoice::Hnsw => graph(work, space, queries, (settings, k), &exact()?),
    }
    .inspect(|(_, report)| work.watch.note(&report.to_string()))
}

#[cfg(feature = "hnsw")]
fn graph_stage(space: &Space, settings: &DenseSettings) -> Provenance {
    let settings = serde_json::json!({"hnsw": settings.hnsw.of_graph(), "similarity": space.similarity});
    Provenance::new("graph", settings).input("vectors", space.passages.key.clone())
}

/// The graph, from the store or made now, gauged against `exact`.
#[cfg(feature = "hnsw")]
fn graph(
    work: &Workplace<'_>,
    space: &Space,
    queries: &Vectors,
    (settings, k): (&DenseSettings, usize),
    exact: &Exact,
) -> Result<(DenseIndex, IndexReport)> {
    use crate::retrieve::{Hnsw, recall};
    let over = || (space.ids.clone(), space.passages.vectors.clone());
    settings.hnsw.check()?;
    let stored = work.store.get_or_make(graph_stage(space, settings), |folder, provenance| {
        work.watch.begin("build the HNSW graph", space.ids.len() as u64, "passages");
        let graph = Hnsw::build(over(), space.similarity, &settings.hnsw, work.watch)?;
        work.watch.end();
        graph.save(&folder.join("graph.usearch"))?;
        let threads = if settings.hnsw.threads == 0 { rayon::current_num_threads() } else { settings.hnsw.threads };
        provenance.counts =
            serde_json::json!({"passages": space.ids.len(), "threads": threads, "reproducible": threads == 1});
        Ok::<(), ExperimentError>(())
    })?;
    let graph = Hnsw::view(&stored.file("graph.usearch"), over(), space.similarity, &settings.hnsw)?;
    let rows: Vec<usize> = (0..queries.len()).collect();
    let sample: Vec<_> = recall::sample(&rows, recall::SAMPLE).map(|&row| queries.row(row)).collect();
    let sample: Vec<&[f32]> = sample.iter().map(AsRef::as_ref).collect();
    let gauge = recall::gauge(&graph, exact, &sample, k.min(space.ids.len()), settings.hnsw.target_recall)?;
    let report = IndexReport {
        index: "hnsw",
        reason: "as asked for".to_owned(),
        gauge: Some(gauge),
        truncation: BTreeMap::new(),
    };
    Ok((DenseIndex::Hnsw(graph), report))
}
