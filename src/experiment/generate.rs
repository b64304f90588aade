//! The stage that lets a local model write negatives: journal while it runs, candidates when it is whole.

use super::mining::digest_of_tasks;
use super::stages::{Workplace, counts_of, to_json, write_json};
use super::{ExperimentError, Result};
use crate::data::store::Stored;
use crate::data::{Candidate, Collection, Digest, Fault, Provenance, QueryId, atomic, jsonl};
use crate::generate::{EngineSettings, Tuned};
use crate::model::gguf::Gguf;
use crate::negatives::Task;
use crate::negatives::written::gauge::{Bar, REQUESTS};
use crate::negatives::written::{Brief, Gauge, Summary, Target};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the generator wrote.
pub struct Written {
    /// Accepted negatives, by task.
    pub candidates: Vec<Candidate>,
    /// Accepted, given up, defects, tokens.
    pub summary: Summary,
    /// Where they are stored.
    pub stored: Stored,
}

/// Whether this build can run a generator.
#[must_use]
pub fn available() -> bool {
    cfg!(feature = "llm")
}

/// Negatives for `tasks` by the model in `generator`; goes on in the journal where an earlier start was stopped.
///
/// # Errors
/// [`ExperimentError::Data`] when the file is refused, or a stop; [`ExperimentError::Written`];
/// [`ExperimentError::NoGenerator`] in a build without the feature `llm`.
pub fn write(
    work: &Workplace<'_>,
    generator: &Path,
    tasks: &[Task],
    brief: &Brief<'_>,
    engine: &EngineSettings,
) -> Result<Written> {
    let (gguf, weights, stage) = begin(generator, tasks, brief, engine)?;
    let journal = work.store.journal(&stage);
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        let (candidates, summary) = run(work, (gguf, weights), tasks, (brief, engine), &journal)?;
        jsonl::write(&folder.join("candidates.jsonl"), &candidates)?;
        std::fs::copy(&journal, folder.join("journal.jsonl")).map_err(crate::data::Error::io("copy", &journal))?;
        provenance.counts = to_json(&summary)?;
        Ok::<(), ExperimentError>(())
    })?;
    if journal.is_file() {
        let _ = std::fs::remove_file(&journal);
    }
    let candidates = jsonl::read(&stored.file("candidates.jsonl"))?;
    let summary = serde_json::from_value(counts_of(&stored)?).unwrap_or_default();
    Ok(Written { candidates, summary, stored })
}

/// Where the store keeps what was tuned for a generator.
fn tuned_name(weights: &Digest) -> String {
    format!("tuned-{}.json", weights.short(16))
}

/// Keeps what was tuned, for every later use of the generator with this store; where it lies.
///
/// # Errors
/// [`ExperimentError::Data`] when it cannot be written.
pub fn keep_tuned(work: &Workplace<'_>, weights: &Digest, tuned: &Tuned) -> Result<PathBuf> {
    let path = work.store.file(&tuned_name(weights));
    atomic::write_file(&path, |file| {
        serde_json::to_writer_pretty(&mut *file, tuned)
            .map_err(std::io::Error::other)
            .map_err(crate::data::Error::io("write", &path))
    })?;
    Ok(path)
}

/// The checked file, its digest, and the stage that writes with it.
fn begin(
    generator: &Path,
    tasks: &[Task],
    brief: &Brief<'_>,
    engine: &EngineSettings,
) -> Result<(Gguf, Digest, Provenance)> {
    let settings = &brief.settings;
    // The file is checked before anything else is done with it.
    let gguf = Gguf::open(generator)?;
    let weights = Digest::of_file(generator)?;
    let prompt =
        crate::text::prompt::PromptFile::find(&settings.prompt, crate::negatives::written::conversation::INPUTS)?;
    // Threads and batch sizes are no part of the key: they change the last digits, not what is asked for.
    let told = json!({"written": settings, "context": engine.context, "chat_template": engine.chat_template, "thinking": engine.thinking});
    let mut stage = Provenance::new("generate", told)
        .input("generator", weights.clone())
        .input("prompt", prompt.digest)
        .input("tasks", digest_of_tasks(tasks));
    if !brief.neighbours.is_empty() {
        let shown: BTreeMap<&QueryId, &Vec<String>> = brief.neighbours.iter().collect();
        stage = stage.input("neighbours", Digest::of_json(&json!(shown)));
    }
    if !brief.targets.is_empty() {
        let targets: Vec<_> = brief.targets.iter().map(Target::identity).collect();
        stage = stage.input("targets", Digest::of_json(&json!(targets)));
    }
    if let Some(reason) = &brief.forced {
        stage = stage.input("forced", Digest::of_bytes(reason.as_bytes()));
    }
    Ok((gguf, weights, stage))
}

/// Measures whether the model in `generator` can write: bits for each byte of passages of `collection`, and acceptance
/// of the first requests, whose records the writing itself finds again.
///
/// # Errors
/// As [`write()`].
pub fn gauge(
    work: &Workplace<'_>,
    (generator, collection): (&Path, &Collection),
    tasks: &[Task],
    brief: &Brief<'_>,
    engine: &EngineSettings,
) -> Result<Gauge> {
    let (gguf, weights, writing) = begin(generator, tasks, brief, engine)?;
    let stage = Provenance::new("gauge", json!({"of": writing.settings, "inputs": writing.inputs}))
        .input("corpus", collection.corpus_digest()?);
    let stored = work.store.get_or_make(stage, |folder, _| {
        let bar = Bar::of(collection.corpus.contents()?, brief.settings.seed);
        let asked: Vec<Task> = tasks.iter().filter(|task| !task.positives.is_empty()).take(REQUESTS).cloned().collect();
        let gauge = measure(work, (gguf, weights), (&asked, &bar), (brief, engine), &work.store.journal(&writing))?;
        write_json(&folder.join("gauge.json"), &gauge)?;
        Ok::<(), ExperimentError>(())
    })?;
    let path = stored.file("gauge.json");
    let text = std::fs::read_to_string(&path).map_err(crate::data::Error::io("read", &path))?;
    serde_json::from_str(&text)
        .map_err(|error| crate::data::Error::from(Fault::new(&path, "a gauge", error.to_string())).into())
}

#[cfg(feature = "llm")]
fn measure(
    work: &Workplace<'_>,
    (gguf, weights): (Gguf, Digest),
    (tasks, bar): (&[Task], &Bar),
    (brief, engine): (&Brief<'_>, &EngineSettings),
    journal: &Path,
) -> Result<Gauge> {
    let mut engine = load(work, (gguf, weights), engine)?;
    work.watch.begin("gauge the generator", bar.passages.len() as u64, "passages");
    let texts: Vec<&str> = bar.passages.iter().map(String::as_str).collect();
    let bits = engine.bits(&texts, work.watch)?;
    work.watch.end();
    let mut gauge = Gauge {
        passages: texts.len(),
        // JSON knows no infinity.
        bits_per_byte: bits.per_byte().min(f64::MAX),
        bar_bits_per_byte: bar.bits_per_byte.min(f64::MAX),
        requests: 0,
        accepted: 0,
    };
    // What cannot foretell need not be asked.
    if gauge.bits_per_byte <= gauge.bar_bits_per_byte {
        let (_, summary) = crate::negatives::written::write(tasks, &mut engine, brief, journal, work.watch)?;
        (gauge.requests, gauge.accepted) = (summary.requests, summary.accepted);
    }
    Ok(gauge)
}

#[cfg(not(feature = "llm"))]
fn measure(
    _: &Workplace<'_>,
    _: (Gguf, Digest),
    _: (&[Task], &Bar),
    _: (&Brief<'_>, &EngineSettings),
    _: &Path,
) -> Result<Gauge> {
    Err(ExperimentError::NoGenerator)
}

/// The engine over a checked file, by what was tuned for it where nothing else was said.
#[cfg(feature = "llm")]
fn load(
    work: &Workplace<'_>,
    (gguf, weights): (Gguf, Digest),
    engine: &EngineSettings,
) -> Result<crate::generate::LlamaEngine> {
    let mut engine = engine.clone();
    let tuned = work.store.file(&tuned_name(&weights));
    if tuned.is_file() {
        let text = std::fs::read_to_string(&tuned).map_err(crate::data::Error::io("read", &tuned))?;
        // A file of another version is as good as none.
        if let Ok(tuned) = serde_json::from_str::<Tuned>(&text) {
            engine = engine.or_tuned(&tuned, std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        }
    }
    Ok(crate::generate::LlamaEngine::load(gguf, weights, engine)?)
}

#[cfg(feature = "llm")]
fn run(
    work: &Workplace<'_>,
    (gguf, weights): (Gguf, Digest),
    tasks: &[Task],
    (brief, engine): (&Brief<'_>, &EngineSettings),
    journal: &Path,
) -> Result<(Vec<Candidate>, Summary)> {
    let mut engine = load(work, (gguf, weights), engine)?;
    Ok(crate::negatives::written::write(tasks, &mut engine, brief, journal, work.watch)?)
}

#[cfg(not(feature = "llm"))]
fn run(
    _: &Workplace<'_>,
    _: (Gguf, Digest),
    _: &[Task],
    _: (&Brief<'_>, &EngineSettings),
    _: &Path,
) -> Result<(Vec<Candidate>, Summary)> {
    Err(ExperimentError::NoGenerator)
}
