//! The stage that mines: what a source needs is made or found, its candidates and its ledger stream to disk.

use super::chain::GaugeChoice;
use super::indexes::{DenseSettings, Space, index};
use super::parts::Parts;
use super::relevance::{Judge, admit, stamp};
use super::stages::{OpenEncoder, Texts, Workplace, bm25, counts_of, embed, embed_corpus, to_json};
use super::{ExperimentError, Result};
use crate::data::store::Stored;
use crate::data::{Candidate, Collection, Digest, Error, Provenance, Run, Seed, jsonl};
use crate::encode::{Role, Vectors};
use crate::filter::Filters;
use crate::negatives::{
    self, Compat, Entry, Fate, Inputs, MiningSettings, Needs, Relevance, Report, Sampling, Sink, Task,
};
use crate::retrieve::{Bm25, Bm25Settings, DenseRanker, Gauge, Ranker, passage_as_query};
use crate::text::tokenizer::Truncation;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How mined candidates are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MineStage {
    /// Row of the source table.
    pub source: String,
    /// Ranks and numbers.
    pub mine: MiningSettings,
    /// BM25's parameters.
    pub bm25: Bm25Settings,
    /// Dense search.
    pub dense: DenseSettings,
    /// Seed of random draws.
    pub seed: Seed,
    /// The TREC run that the source `run` takes.
    pub run: Option<PathBuf>,
}

/// What a stage that proposes candidates made.
pub struct Mined {
    /// Where they are stored: `candidates.jsonl`, and `ledger.jsonl` with all that were judged.
    pub stored: Stored,
    /// What was counted: drops by rule, short queries, recall of the index.
    pub counts: MineCounts,
}

impl Mined {
    /// The candidates, by task, best first; read from the store, all in memory.
    ///
    /// # Errors
    /// [`ExperimentError::Data`] when they cannot be read.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        Ok(jsonl::read(&self.stored.file("candidates.jsonl"))?)
    }
}

/// What mining counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MineCounts {
    /// Drops and shortages.
    pub report: Report,
    /// Recall of the index used, against exact search; nothing for exact and other sources.
    pub recall: Option<Gauge>,
    /// What was cut off of pairs; nothing for sources without a cross-encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<Truncation>,
}

/// The models that sources rank by.
#[derive(Clone, Copy)]
pub struct Models<'m> {
    /// For sources over vectors.
    pub encoder: Option<&'m OpenEncoder>,
    /// For sources over relevance.
    pub judge: Option<&'m Judge<'m>>,
    /// What follows when the judge is too weak for bounds on its scores.
    pub choice: GaugeChoice,
}

/// Mines candidates for `tasks` from one source.
///
/// # Errors
/// [`ExperimentError::Source`], [`ExperimentError::Encode`], [`ExperimentError::WeakJudge`], or a stop.
pub fn mine(
    work: &Workplace<'_>,
    collection: &Collection,
    tasks: &[Task],
    models: Models<'_>,
    how: &MineStage,
) -> Result<Mined> {
    let row = negatives::named(&how.source)?;
    how.mine.check()?;
    let needs = |what| row.needs(what, &how.mine);
    let pooled: Vec<Task>;
    let tasks = if how.mine.compat == Compat::SentenceTransformers {
        pooled = negatives::compat::pooled(tasks);
        &pooled
    } else {
        tasks
    };
    let encoder = if needs(Needs::Vectors) || needs(Needs::Neighbours) {
        Some(models.encoder.ok_or(ExperimentError::NeedsEncoder(row.name))?)
    } else {
        None
    };
    let judge =
        if needs(Needs::Judge) { Some(models.judge.ok_or(ExperimentError::NeedsJudge(row.name))?) } else { None };
    let forced = match judge {
        Some(judge) if how.mine.filters().measures() => admit(std::slice::from_ref(&judge.standing), models.choice)?,
        _ => None,
    };
    let mut stage = Provenance::new("mine", key_settings(work, row, how))
        .input("corpus", collection.corpus_digest()?)
        .input("tasks", digest_of_tasks(tasks));
    if let Some(encoder) = encoder {
        stage = stage.input("encoder", encoder.digest.clone());
    }
    if let Some(judge) = judge {
        stage = stage.input("judge", judge.standing.judge.clone());
    }
    if let Some(reason) = &forced {
        stage = stage.input("forced", Digest::of_bytes(reason.as_bytes()));
    }
    let run = match (&how.run, needs(Needs::Run)) {
        (Some(path), true) => {
            stage = stage.input("run", Digest::of_file(path)?);
            Some(Run::read_trec(path)?)
        }
        _ => None,
    };
    let parts = Parts::of(&work.store.place(&stage));
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        let words = needs(Needs::Words).then(|| bm25(work, collection, &how.bm25)).transpose()?;
        let vectors = encoder.map(|encoder| vectors(work, encoder, collection, (tasks, row), how)).transpose()?;
        let (vectors, recall) = vectors.map_or((None, None), |(ranker, recall)| (Some(ranker), recall));
        let filters = Filters::new(&how.mine.filters());
        let mut source = row.make(Inputs {
            corpus: &collection.corpus,
            tasks,
            filters: &filters,
            settings: how.mine,
            seed: how.seed,
            words: words.as_ref().map(|index: &Bm25| index as &dyn Ranker),
            vectors: vectors.as_ref().map(|ranker| ranker as &dyn Ranker),
            run: run.as_ref(),
            judge: judge.map(|judge| judge as &dyn Relevance),
        })?;
        // Pairs take long: what is done of them is told more often.
        let part = if judge.is_some() { 8 } else { 256 };
        work.watch.begin(&format!("mine {}", how.source), tasks.len() as u64, "queries");
        let report = parts.make(tasks, folder, |tasks, [candidates, ledger]| {
            let before = source.report();
            let mut sink = Files { candidates, ledger, forced: forced.as_deref() };
            for part in tasks.chunks(part) {
                work.watch.check()?;
                source.propose(part, &mut sink)?;
                work.watch.advance(part.len() as u64);
            }
            Ok(source.report().since(&before))
        })?;
        work.watch.end();
        let truncation = judge.map(Judge::take_truncation);
        work.check_truncation("pairs", truncation.unwrap_or_default())?;
        provenance.counts = to_json(&MineCounts { report, recall, truncation })?;
        Ok::<(), ExperimentError>(())
    })?;
    parts.clear();
    let counts = serde_json::from_value(counts_of(&stored)?).unwrap_or_default();
    Ok(Mined { stored, counts })
}

/// The settings that decide what a source proposes; those that do not touch it are no part of its key.
fn key_settings(work: &Workplace<'_>, row: &negatives::Source, how: &MineStage) -> serde_json::Value {
    let mut own = serde_json::Map::new();
    let needs = |what| row.needs(what, &how.mine);
    if needs(Needs::Vectors) || needs(Needs::Neighbours) {
        own.insert("dense".to_owned(), json!(how.dense));
        own.insert("precision".to_owned(), json!(work.precision));
        own.insert("storage".to_owned(), json!(work.storage));
    }
    if needs(Needs::Words) {
        own.insert("bm25".to_owned(), json!(how.bm25));
    }
    if needs(Needs::Draws) || how.mine.sampling != Sampling::Top || how.mine.compat == Compat::FlagEmbedding {
        own.insert("seed".to_owned(), json!(how.seed));
    }
    json!({"source": how.source, "mine": how.mine, "filters": ["judged_positive", "same_text"], "own": own})
}

/// The encoder's ranking for the tasks' queries and, for a source that asks for it, with their positives as queries;
/// for HNSW also its recall against exact search over some of them.
fn vectors(
    work: &Workplace<'_>,
    encoder: &OpenEncoder,
    collection: &Collection,
    (tasks, row): (&[Task], &negatives::Source),
    how: &MineStage,
) -> Result<(DenseRanker, Option<Gauge>)> {
    let passages = embed_corpus(work, encoder, collection)?;
    let texts: Vec<String> = tasks.iter().map(|task| task.query.text.clone()).collect();
    let asked = embed(work, encoder, &Texts::listed("training queries", Role::Query, &texts))?;
    let mut ids: Vec<_> = tasks.iter().map(|task| task.query.id.clone()).collect();
    let mut queries = asked.vectors;
    if row.needs(Needs::Neighbours, &how.mine) {
        let positives: BTreeMap<_, _> = tasks
            .iter()
            .flat_map(|task| &task.positives)
            .filter_map(|document| Some((passage_as_query(&document.id), collection.corpus.row(document.id.as_str())?)))
            .collect();
        let mut values = queries.widened(0..queries.len()).into_owned();
        for &row in positives.values() {
            values.extend_from_slice(&passages.vectors.row(row));
        }
        queries = Arc::new(Vectors::new(queries.dimension(), values));
        ids.extend(positives.into_keys());
    }
    let space = Space { ids: collection.corpus.ids().clone(), similarity: encoder.similarity(), passages };
    let (index, report) = index(work, &space, &queries, (&how.dense, how.mine.range_max as usize))?;
    let passages = (space.ids, space.passages.vectors);
    Ok((DenseRanker::new(index, space.similarity, passages, (&ids, queries))?, report.gauge))
}

/// Streams candidates and ledger to their files.
struct Files<'f, 's> {
    candidates: (&'f mut dyn Write, &'f Path),
    ledger: (&'f mut dyn Write, &'f Path),
    /// What is stamped on every candidate.
    forced: Option<&'s str>,
}

impl Sink for Files<'_, '_> {
    fn accept(&mut self, mut entry: Entry) -> crate::data::Result<()> {
        if let Some(reason) = self.forced {
            stamp(&mut entry.candidate, reason);
        }
        if entry.fate == Fate::Proposed {
            write_line(&mut self.candidates, &entry.candidate)?;
        }
        write_line(&mut self.ledger, &entry)
    }
}

fn write_line((out, path): &mut (&mut dyn Write, &Path), record: &impl Serialize) -> crate::data::Result<()> {
    serde_json::to_writer(&mut *out, record).map_err(|error| Error::io("write", path)(error.into()))?;
    out.write_all(b"\n").map_err(Error::io("write", path))
}

/// Digest of queries and their positives, texts included.
#[must_use]
pub fn digest_of_tasks(tasks: &[Task]) -> Digest {
    let mut text = String::new();
    for task in tasks {
        text.push_str(Digest::of_bytes(format!("{} {}", task.query.id, task.query.text).as_bytes()).short(32));
        for positive in &task.positives {
            text.push_str(Digest::of_bytes(format!("{} {}", positive.id, positive.content()).as_bytes()).short(32));
        }
    }
    Digest::of_bytes(text.as_bytes())
}
