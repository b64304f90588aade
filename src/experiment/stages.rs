//! The stages of the line, each from inputs with a digest to an output in the store: made once, found again.
//! The command line calls single ones, the experiment all of them.

use super::recipe::DenseChoice;
use super::{ExperimentError, Result};
use crate::data::store::Stored;
use crate::data::{Collection, Digest, Provenance, Qrels, Query, Reading, Store, Watch, atomic};
use crate::encode::{BiEncoder, Computing, Precision, Prompts, Role, Vectors};
use crate::eval::{Dialect, Evaluation, Metric, Rules, evaluate};
use crate::retrieve::{Bm25, Bm25Settings, Dense, DenseIndex, Exact, Searcher, Similarity};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Texts that are embedded between two blocks kept on disk.
const BLOCK: usize = 1024;

/// Where stages keep their outputs and compute, and who follows them.
pub struct Workplace<'w> {
    /// Outputs by content key.
    pub store: Store,
    /// Where tensors live.
    pub device: Device,
    /// Its name, part of every key: devices differ in the last digits.
    pub device_name: &'static str,
    /// What encoders multiply in inference, part of every key that vectors decide.
    pub precision: Precision,
    /// Progress and stop.
    pub watch: &'w dyn Watch,
    /// Bad lines passed over in each file of a collection.
    pub skip_bad_lines: u64,
}

impl Workplace<'_> {
    /// The collection in `folder`; what was passed over lies beside each file as `<file>.rejected.jsonl`.
    ///
    /// # Errors
    /// As [`Collection::open_with`]; [`crate::data::Error::Io`] when a side file cannot be written.
    pub fn collection(&self, folder: &Path) -> crate::data::Result<Collection> {
        let reading = Reading { watch: self.watch, skip_bad_lines: self.skip_bad_lines };
        let collection = Collection::open_with(folder, &reading)?;
        collection.rejected().iter().try_for_each(|lines| lines.write_beside(self.watch))?;
        Ok(collection)
    }
}

/// An encoder with the digest of its folder.
pub struct OpenEncoder {
    /// The encoder.
    pub encoder: BiEncoder,
    /// Digest of what decides its vectors: of the folder, and of prompts given by hand.
    pub digest: Digest,
}

impl OpenEncoder {
    /// The encoder in `folder`.
    ///
    /// # Errors
    /// [`ExperimentError::Encode`].
    pub fn open(folder: &Path, work: &Workplace<'_>) -> Result<Self> {
        let computing = Computing { precision: work.precision, ..Computing::of(&work.device) };
        let encoder = BiEncoder::open_with(folder, &work.device, computing)?;
        Ok(Self { encoder, digest: BiEncoder::digest(folder)? })
    }

    /// The same encoder with prompts given by hand.
    #[must_use]
    pub fn prompted(mut self, prompts: &Prompts) -> Self {
        if *prompts != Prompts::default() {
            self.encoder = self.encoder.prompted(prompts);
            self.digest = Digest::of_json(&json!({"encoder": self.digest, "prompts": prompts}));
        }
        self
    }

    /// Its prompts, for provenance.
    #[must_use]
    pub fn prompts(&self) -> serde_json::Value {
        let settings = self.encoder.settings();
        json!({"query": settings.query_prompt, "document": settings.document_prompt})
    }

    pub(super) fn similarity(&self) -> Similarity {
        similarity(&self.encoder)
    }
}

/// How vectors of `encoder` are compared.
pub(super) fn similarity(encoder: &BiEncoder) -> Similarity {
    match encoder.settings().length {
        crate::encode::settings::Length::Unit => Similarity::Cosine,
        crate::encode::settings::Length::Free => Similarity::Dot,
    }
}

/// Texts to embed: what they are for people, their side, their digest.
pub struct Texts<'t> {
    /// "corpus", "test queries" ...
    pub name: &'t str,
    /// Queries or documents.
    pub role: Role,
    /// The texts, in row order.
    pub texts: Vec<String>,
}

impl Texts<'_> {
    /// Digest of the texts and their order.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = String::new();
        for text in &self.texts {
            hash.push_str(Digest::of_bytes(text.as_bytes()).short(32));
        }
        Digest::of_bytes(hash.as_bytes())
    }
}

/// Vectors of `texts`, from the store or made now in blocks that survive an interruption.
///
/// # Errors
/// [`ExperimentError::Encode`], or a stop.
pub fn embed(work: &Workplace<'_>, encoder: &OpenEncoder, texts: &Texts<'_>) -> Result<Arc<Vectors>> {
    let settings = json!({"role": texts.role, "device": work.device_name, "precision": work.precision});
    let stage =
        Provenance::new("embed", settings).input("encoder", encoder.digest.clone()).input("texts", texts.digest());
    let blocks = work.store.place(&stage).with_extension("blocks");
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        work.watch.begin(&format!("embed {}", texts.name), texts.texts.len() as u64, "texts");
        let borrowed: Vec<&str> = texts.texts.iter().map(String::as_str).collect();
        let encoded = encoder.encoder.encode_in_blocks(&borrowed, texts.role, (&blocks, BLOCK), work.watch)?;
        work.watch.end();
        encoded.vectors.write(&folder.join("vectors.bin"))?;
        provenance.counts = json!({"texts": borrowed.len(), "truncated": encoded.truncated});
        Ok::<(), ExperimentError>(())
    })?;
    if blocks.is_dir() {
        // What is left of them is only a waste of space.
        let _ = std::fs::remove_dir_all(&blocks);
    }
    Ok(Arc::new(Vectors::read(&stored.file("vectors.bin"))?))
}

/// Vectors of all passages, by row.
///
/// # Errors
/// As [`embed`].
pub fn embed_corpus(work: &Workplace<'_>, encoder: &OpenEncoder, collection: &Collection) -> Result<Arc<Vectors>> {
    embed(work, encoder, &Texts { name: "corpus", role: Role::Document, texts: collection.corpus.contents()? })
}

/// How dense search is done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DenseSettings {
    /// Exact, or over a graph.
    pub index: DenseChoice,
    /// Shape of the graph.
    #[cfg(feature = "hnsw")]
    pub hnsw: crate::retrieve::HnswSettings,
}

/// A dense searcher over `collection` that knows `queries`; for HNSW also its recall at 100 against exact search
/// over at most 200 of them.
///
/// # Errors
/// [`ExperimentError::Encode`], [`ExperimentError::Retrieve`], or a stop.
pub fn dense(
    work: &Workplace<'_>,
    encoder: &OpenEncoder,
    collection: &Collection,
    (queries, name): (&[Query], &str),
    settings: &DenseSettings,
) -> Result<(Dense, Option<f64>)> {
    let passages = embed_corpus(work, encoder, collection)?;
    let texts = Texts { name, role: Role::Query, texts: queries.iter().map(|q| q.text.clone()).collect() };
    let vectors = embed(work, encoder, &texts)?;
    let ids: Vec<_> = queries.iter().map(|query| query.id.clone()).collect();
    let similarity = encoder.similarity();
    let exact = || Exact::new(collection.corpus.ids().clone(), passages.clone(), similarity);
    match settings.index {
        DenseChoice::Exact => Ok((Dense::new(DenseIndex::Exact(exact()?), &ids, vectors)?, None)),
        #[cfg(feature = "hnsw")]
        DenseChoice::Hnsw => {
            let graph =
                crate::retrieve::Hnsw::build(collection.corpus.ids().clone(), &passages, similarity, &settings.hnsw)?;
            let graph = Dense::new(DenseIndex::Hnsw(graph), &ids, vectors.clone())?;
            let exact = Dense::new(DenseIndex::Exact(exact()?), &ids, vectors)?;
            let sample = &queries[..queries.len().min(200)];
            let recall = crate::retrieve::recall(&graph.search(sample, 100)?, &exact.search(sample, 100)?);
            Ok((graph, Some(recall)))
        }
    }
}

/// The queries of a split that have judgements, by id, and the judgements.
///
/// # Errors
/// [`crate::data::Error::Input`] when the split is not there or does not fit.
pub fn judged_queries(collection: &Collection, split: &str) -> Result<(Vec<Query>, Qrels)> {
    let qrels = collection.qrels(split)?;
    let queries = qrels.iter().filter_map(|(id, _)| collection.queries.get(id.as_str()).cloned()).collect();
    Ok((queries, qrels))
}

/// The counts that a finished stage left in its provenance.
///
/// # Errors
/// [`crate::data::Error`] when the file is damaged.
pub fn counts_of(stored: &Stored) -> Result<serde_json::Value> {
    let path = stored.file("provenance.json");
    let text = std::fs::read_to_string(&path).map_err(crate::data::Error::io("read", &path))?;
    let provenance: Provenance = serde_json::from_str(&text).map_err(|error| {
        crate::data::Error::from(
            crate::data::Fault::new(&path, "provenance of a stage", error.to_string())
                .hint("remove this folder of the store to have it made anew"),
        )
    })?;
    Ok(provenance.counts)
}

pub(super) fn to_json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value)
        .map_err(|error| ExperimentError::Data(crate::data::Error::io("encode", Path::new("counts"))(error.into())))
}

/// How an encoder is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalStage {
    /// Hits kept per query.
    pub depth: usize,
    /// What is measured.
    pub metrics: Vec<Metric>,
}

/// An encoder's scores on a split.
pub struct Scored {
    /// The metrics.
    pub evaluation: Evaluation,
    /// The TREC run.
    pub run: std::path::PathBuf,
}

/// Embeds the corpus and the queries of `split`, searches exactly, and scores.
///
/// # Errors
/// [`ExperimentError::Encode`], [`ExperimentError::Retrieve`], or a stop.
pub fn score(
    work: &Workplace<'_>,
    encoder: &OpenEncoder,
    collection: &Collection,
    split: &str,
    how: &EvalStage,
) -> Result<Scored> {
    let stage = Provenance::new(
        "eval",
        json!({"split": split, "eval": how, "dialect": Dialect::default(), "device": work.device_name, "precision": work.precision}),
    )
    .input("encoder", encoder.digest.clone())
    .input("corpus", collection.corpus_digest()?)
    .input("split", collection.split_digest(split)?);
    let stored = work.store.get_or_make(stage, |folder, _| {
        let (queries, qrels) = judged_queries(collection, split)?;
        let settings = DenseSettings {
            index: DenseChoice::Exact,
            #[cfg(feature = "hnsw")]
            hnsw: crate::retrieve::HnswSettings::default(),
        };
        let (searcher, _) = dense(work, encoder, collection, (&queries, "test queries"), &settings)?;
        let run = searcher.search(&queries, how.depth)?;
        run.write_trec(&folder.join("run.trec"), "nearmiss")?;
        let evaluation = evaluate(&run.lists(), &qrels, &how.metrics, &Rules::of_collection(collection, &qrels)?);
        write_json(&folder.join("metrics.json"), &evaluation)
    })?;
    let evaluation = read_json(&stored.file("metrics.json"))?;
    Ok(Scored { evaluation, run: stored.file("run.trec") })
}

/// The BM25 index of `collection`, from the store or made now.
///
/// # Errors
/// [`ExperimentError::Retrieve`], or a stop.
pub fn bm25(work: &Workplace<'_>, collection: &Collection, settings: &Bm25Settings) -> Result<Bm25> {
    let stage = Provenance::new("index", json!({"bm25": settings})).input("corpus", collection.corpus_digest()?);
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        let index = Bm25::of_corpus(&collection.corpus, settings, work.watch)?;
        work.watch.note(&format!("BM25 index: {} passages, {} terms", index.len(), index.vocabulary()));
        provenance.counts = json!({"passages": index.len(), "terms": index.vocabulary()});
        index.write(&folder.join("bm25.safetensors"))?;
        Ok::<(), ExperimentError>(())
    })?;
    Ok(Bm25::open(&stored.file("bm25.safetensors"))?)
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|error| crate::data::Error::io("encode", path)(error.into()))?;
    atomic::write_file(path, |out| {
        out.write_all(&text)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(|e| crate::data::Error::io("write", path)(e).into())
    })
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(crate::data::Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|error| {
        crate::data::Error::from(
            crate::data::Fault::new(path, "a file of this program", error.to_string())
                .hint("remove this folder of the store to have it made anew"),
        )
        .into()
    })
}
