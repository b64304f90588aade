//! `nearmiss generate queries`: queries a local model writes for passages, kept when a search finds the passage again.
//! The outcome is a BEIR folder whose train split they are, so that every other command takes it.

use super::arguments::{PromptArguments, at_least_one};
use super::bm25::Bm25Arguments;
use super::commands::open_encoder;
use super::generate::{WritingArguments, tell};
use super::tune::EngineArguments;
use crate::data::{Candidate, Collection, Digest, DocId, Document, Error, Provenance, Query, QueryId, atomic, jsonl};
use crate::experiment::indexes::DenseSettings;
use crate::experiment::stages::{self, Workplace};
use crate::experiment::{ExperimentError, generate};
use crate::negatives::Task;
use crate::negatives::written::Brief;
use crate::negatives::written::conversation::INPUTS;
use crate::negatives::written::round_trip::{Sorted, WrittenQuery, gather};
use crate::retrieve::Searcher;
use crate::text::prompt::{PromptFile, Writes};
use anyhow::{Context, Result, bail};
use clap::Args;
use rand::seq::SliceRandom;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct GenerateQueries {
    /// BEIR folder with the passages.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The model.
    #[arg(long, value_name = "FILE.gguf")]
    pub generator: PathBuf,
    /// Prompt that writes queries: queries, hard-queries, or a TOML file.
    #[arg(long, default_value = "queries")]
    pub prompt: String,
    /// Queries per passage.
    #[arg(long, default_value_t = 3)]
    pub num_queries: u32,
    /// Passages drawn from the corpus; all when there are fewer.
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    pub passages: usize,
    /// Split whose queries hard-queries starts from.
    #[arg(long, default_value = "train")]
    pub split: String,
    #[command(flatten)]
    pub writing: WritingArguments,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// The passage must come back among the first K of a search with the query; 0 keeps all.
    #[arg(long, default_value_t = 10, value_name = "K")]
    pub round_trip: usize,
    /// Encoder folder or name of that search; without one it is BM25.
    #[arg(long, value_name = "DIR")]
    pub encoder: Option<PathBuf>,
    #[command(flatten)]
    pub prompts: PromptArguments,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
    /// The BEIR folder to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// A passage as a task: it stands for its own query, which has no text yet.
pub(super) fn task_of(passage: &Document) -> Result<Task> {
    let id = QueryId::new(passage.id.as_str()).context("the id of a passage")?;
    Ok(Task { query: Query { id, text: String::new() }, positives: vec![passage.clone()] })
}

fn tasks(collection: &Collection, arguments: &GenerateQueries, writes: Writes) -> Result<Vec<Task>> {
    if writes == Writes::HardQueries {
        return Ok(Task::all(collection, &collection.qrels(&arguments.split)?)?);
    }
    let corpus = &collection.corpus;
    let mut stream = arguments.writing.seed.stream("passages to ask about");
    let mut rows: Vec<usize> = (0..corpus.len()).collect();
    rows.shuffle(&mut stream);
    rows.truncate(arguments.passages);
    rows.sort_unstable();
    rows.into_iter().map(|row| task_of(&corpus.document(row)?)).collect()
}

/// Writes queries, sends them through the search, and writes the folder.
pub(super) fn run(work: &Workplace<'_>, arguments: &GenerateQueries) -> Result<()> {
    let collection = work.collection(&arguments.data)?;
    let prompt = PromptFile::find(&arguments.prompt, INPUTS)?;
    let writes = prompt.reply.writes;
    if writes == Writes::Negatives {
        bail!("--prompt {}: it writes passages\n  hint: use `nearmiss generate negatives`", prompt.name);
    }
    let tasks = tasks(&collection, arguments, writes)?;
    let settings = arguments.writing.settings(&arguments.prompt, arguments.num_queries)?;
    let engine = arguments.engine.settings()?;
    let begun = Instant::now();
    let brief = Brief::new(&settings);
    let written = generate::write(work, &arguments.generator, &tasks, &brief, &engine)?;
    tell(work, (&written, &brief), begun.elapsed().as_secs_f64());
    let first: HashMap<&QueryId, &DocId> =
        tasks.iter().filter_map(|task| Some((&task.query.id, &task.positives.first()?.id))).collect();
    let passage_of = |candidate: &Candidate| first.get(&candidate.query).map(|&id| id.clone());
    let own: Vec<Query> = collection.queries.iter().cloned().collect();
    let mut sorted = gather(&written.candidates, passage_of, &own);
    // What a passage must not answer needs no way back to it.
    if writes == Writes::Queries && arguments.round_trip > 0 {
        sorted = round_trip(work, &collection, arguments, sorted)?;
    }
    let grade = u32::from(writes == Writes::Queries);
    write_folder(&collection, (&sorted, grade), &arguments.out)?;
    let mut provenance = Provenance::new(
        "generate-queries",
        json!({"written": settings, "engine": engine, "round_trip": arguments.round_trip, "passages": tasks.len()}),
    )
    .input("corpus", collection.corpus_digest()?)
    .input("generator", Digest::of_file(&arguments.generator)?);
    provenance.counts = json!({
        "writing": written.summary, "kept": sorted.kept.len(), "lost": sorted.lost.len(), "known": sorted.known.len(),
    });
    provenance.write_beside(&arguments.out)?;
    work.watch.note(&format!(
        "{}: {} queries for {} passages kept; {} did not find their passage, {} were known already",
        arguments.out.display(),
        sorted.kept.len(),
        tasks.len(),
        sorted.lost.len(),
        sorted.known.len()
    ));
    Ok(())
}

fn round_trip(
    work: &Workplace<'_>,
    collection: &Collection,
    arguments: &GenerateQueries,
    sorted: Sorted,
) -> Result<Sorted> {
    let sorted = match open_encoder(work, arguments.encoder.as_deref(), &arguments.prompts)? {
        None => {
            let index = stages::bm25(work, collection, &arguments.bm25.settings())?;
            sorted.round_trip(&index, arguments.round_trip)
        }
        Some(encoder) => {
            let mut queries: Vec<Query> = sorted.kept.iter().map(|written| written.query.clone()).collect();
            queries.sort_by(|a, b| a.id.cmp(&b.id));
            queries.dedup_by(|a, b| a.id == b.id);
            let how = (&DenseSettings::exact(), arguments.round_trip);
            let (searcher, _) = stages::dense(work, &encoder, collection, (&queries, "written queries"), how)?;
            let searcher: &dyn Searcher = &searcher;
            sorted.round_trip(searcher, arguments.round_trip)
        }
    };
    Ok(sorted.map_err(ExperimentError::from)?)
}

/// The corpus as it is, the kept queries, their judgements of `grade`, and what was left out.
fn write_folder(collection: &Collection, (sorted, grade): (&Sorted, u32), out: &Path) -> Result<()> {
    atomic::write_folder(out, |folder| -> Result<(), Error> {
        let from = collection.corpus.path();
        let name = from.file_name().unwrap_or_default();
        std::fs::copy(from, folder.join(name)).map_err(Error::io("copy", from))?;
        let mut queries: Vec<&WrittenQuery> = sorted.kept.iter().collect();
        queries.sort_by(|a, b| a.query.id.cmp(&b.query.id));
        queries.dedup_by(|a, b| a.query.id == b.query.id);
        let record = |written: &&WrittenQuery| json!({"_id": written.query.id, "text": written.query.text, "metadata": {"source": "written", "rank": written.rank}});
        jsonl::write(&folder.join("queries.jsonl"), &queries.iter().map(record).collect::<Vec<_>>())?;
        let qrels = folder.join("qrels");
        std::fs::create_dir(&qrels).map_err(Error::io("create", &qrels))?;
        let mut table = "query-id\tcorpus-id\tscore\n".to_owned();
        for written in &sorted.kept {
            table += &format!("{}\t{}\t{grade}\n", written.query.id, written.passage);
        }
        let path = qrels.join("train.tsv");
        std::fs::write(&path, table).map_err(Error::io("write", &path))?;
        let left_out = |reason: &'static str| move |written: &WrittenQuery| json!({"reason": reason, "text": written.query.text, "passage": written.passage});
        let dropped: Vec<_> = (sorted.lost.iter().map(left_out("round-trip")))
            .chain(sorted.known.iter().map(left_out("known")))
            .collect();
        jsonl::write(&folder.join("dropped.jsonl"), &dropped)
    })?;
    Ok(())
}
