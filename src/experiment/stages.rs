//! The stages of the line, each from inputs with a digest to an output in the store: made once, found again.
//! The command line calls single ones, the experiment all of them.

use super::indexes::{DenseSettings, IndexReport, Space, index};
use super::{ExperimentError, Result};
use crate::data::store::Stored;
use crate::data::{Collection, Digest, Provenance, Qrels, Query, Reading, Store, Watch, atomic};
use crate::encode::blocks::Keeping;
use crate::encode::pooling::Pooling;
use crate::encode::{BiEncoder, Computing, Precision, Prompts, Role, Storage, TextSource, Vectors};
use crate::eval::{Dialect, Evaluation, Metric, Rules, evaluate};
use crate::retrieve::{Bm25, Bm25Settings, Dense, Searcher, Similarity};
use crate::text::tokenizer::Truncation;
use candle_core::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
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
    /// How vectors of passages are stored; those of queries are f32.
    pub storage: Storage,
    /// Share of the texts of a stage that may be cut, 0 to 1; more is an error.
    pub max_truncated: Option<f64>,
}

impl Workplace<'_> {
    /// Says what was cut off of the texts called `name`, if anything was.
    ///
    /// # Errors
    /// [`ExperimentError::Truncated`] when it is more than may be.
    pub fn check_truncation(&self, name: &str, truncation: Truncation) -> Result<()> {
        if truncation.truncated > 0 {
            self.watch.note(&format!("{name}: {truncation}"));
        }
        match self.max_truncated {
            Some(most) if truncation.share() > most => {
                Err(ExperimentError::Truncated { name: name.to_owned(), truncation, most: 100.0 * most })
            }
            _ => Ok(()),
        }
    }

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

    /// The same encoder with a pooling given by hand, where one is; else says what was assumed of its own.
    #[must_use]
    pub fn pooled(mut self, pooling: Option<Pooling>, work: &Workplace<'_>) -> Self {
        if let Some(pooling) = pooling {
            self.encoder = self.encoder.pooled(pooling);
            self.digest = Digest::of_json(&json!({"encoder": self.digest, "pooling": pooling}));
        } else if let Some(assumed) = &self.encoder.settings().assumed {
            work.watch.note(assumed);
        }
        self
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

    /// Its prompts and pooling, for provenance.
    #[must_use]
    pub fn prompts(&self) -> serde_json::Value {
        let settings = self.encoder.settings();
        json!({"query": settings.query_prompt, "document": settings.document_prompt, "pooling": settings.pooling})
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
    pub texts: &'t dyn TextSource,
    /// Digest of the texts and their order.
    pub digest: Digest,
    /// How their vectors are stored.
    pub storage: Storage,
}

impl<'t> Texts<'t> {
    /// All passages of `collection`.
    #[must_use]
    pub fn corpus(work: &Workplace<'_>, collection: &'t Collection) -> Self {
        let corpus = &collection.corpus;
        Self {
            name: "corpus",
            role: Role::Document,
            texts: corpus,
            digest: corpus.digest().clone(),
            storage: work.storage,
        }
    }

    /// Texts in memory; their vectors are f32.
    #[must_use]
    pub fn listed(name: &'t str, role: Role, texts: &'t Vec<String>) -> Self {
        let mut hash = String::new();
        for text in texts {
            hash.push_str(Digest::of_bytes(text.as_bytes()).short(32));
        }
        Self { name, role, texts, digest: Digest::of_bytes(hash.as_bytes()), storage: Storage::F32 }
    }
}

/// Vectors in the store.
#[derive(Clone)]
pub struct Embedded {
    /// A row a text, mapped.
    pub vectors: Arc<Vectors>,
    /// What they were made from and how.
    pub key: Digest,
    /// What was cut off of the texts.
    pub truncation: Truncation,
}

/// Vectors of `texts`, from the store or made now in blocks that survive an interruption. Says what was cut off.
///
/// # Errors
/// [`ExperimentError::Encode`]; [`ExperimentError::Truncated`] when more texts were cut than may be; or a stop.
pub fn embed(work: &Workplace<'_>, encoder: &OpenEncoder, texts: &Texts<'_>) -> Result<Embedded> {
    let settings =
        json!({"role": texts.role, "device": work.device_name, "precision": work.precision, "storage": texts.storage});
    let stage = Provenance::new("embed", settings)
        .input("encoder", encoder.digest.clone())
        .input("texts", texts.digest.clone());
    let key = stage.key();
    let blocks = work.store.place(&stage).with_extension("blocks");
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        work.watch.begin(&format!("embed {}", texts.name), texts.texts.count() as u64, "texts");
        let file = folder.join("vectors.safetensors");
        let keeping = Keeping { file: &file, storage: texts.storage, blocks: &blocks, block: BLOCK };
        let truncation = encoder.encoder.encode_to_file(texts.texts, texts.role, &keeping, work.watch)?;
        work.watch.end();
        provenance.counts = to_json(&truncation)?;
        Ok::<(), ExperimentError>(())
    })?;
    if blocks.is_dir() {
        // What is left of them is only a waste of space.
        let _ = std::fs::remove_dir_all(&blocks);
    }
    let truncation: Truncation = serde_json::from_value(counts_of(&stored)?).unwrap_or_default();
    work.check_truncation(texts.name, truncation)?;
    let vectors = Arc::new(Vectors::read(&stored.file("vectors.safetensors"))?);
    Ok(Embedded { vectors, key, truncation })
}

/// Vectors of all passages, by row.
///
/// # Errors
/// As [`embed`].
pub fn embed_corpus(work: &Workplace<'_>, encoder: &OpenEncoder, collection: &Collection) -> Result<Embedded> {
    embed(work, encoder, &Texts::corpus(work, collection))
}

/// A dense searcher over `collection` that knows `queries` and will be asked for the best `k`.
///
/// # Errors
/// [`ExperimentError::Encode`], [`ExperimentError::Retrieve`], or a stop.
pub fn dense(
    work: &Workplace<'_>,
    encoder: &OpenEncoder,
    collection: &Collection,
    (queries, name): (&[Query], &str),
    (settings, k): (&DenseSettings, usize),
) -> Result<(Dense, IndexReport)> {
    let passages = embed_corpus(work, encoder, collection)?;
    let texts: Vec<String> = queries.iter().map(|query| query.text.clone()).collect();
    let asked = embed(work, encoder, &Texts::listed(name, Role::Query, &texts))?;
    let ids: Vec<_> = queries.iter().map(|query| query.id.clone()).collect();
    let space = Space { ids: collection.corpus.ids().clone(), similarity: encoder.similarity(), passages };
    let (index, mut report) = index(work, &space, &asked.vectors, (settings, k))?;
    report.truncation = BTreeMap::from([("corpus", space.passages.truncation), ("queries", asked.truncation)]);
    Ok((Dense::new(index, &ids, asked.vectors)?, report))
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
        json!({"split": split, "eval": how, "dialect": Dialect::default(), "device": work.device_name, "precision": work.precision, "storage": work.storage}),
    )
    .input("encoder", encoder.digest.clone())
    .input("corpus", collection.corpus_digest()?)
    .input("split", collection.split_digest(split)?);
    let stored = work.store.get_or_make(stage, |folder, _| {
        let (queries, qrels) = judged_queries(collection, split)?;
        let settings = DenseSettings::exact();
        let (searcher, _) = dense(work, encoder, collection, (&queries, "test queries"), (&settings, how.depth))?;
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
