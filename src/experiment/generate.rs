//! The stage that lets a local model write negatives: journal while it runs, candidates when it is whole.

use super::mining::digest_of_tasks;
use super::stages::{Workplace, counts_of, to_json};
use super::{ExperimentError, Result};
use crate::data::store::Stored;
use crate::data::{Candidate, Digest, Provenance, atomic, jsonl};
use crate::generate::{EngineSettings, Tuned};
use crate::model::gguf::Gguf;
use crate::negatives::Task;
use crate::negatives::written::{Summary, WrittenSettings};
use serde_json::json;
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
    settings: &WrittenSettings,
    engine: &EngineSettings,
) -> Result<Written> {
    // The file is checked before anything else is done with it.
    let gguf = Gguf::open(generator)?;
    let weights = Digest::of_file(generator)?;
    let prompt =
        crate::text::prompt::PromptFile::find(&settings.prompt, crate::negatives::written::conversation::INPUTS)?;
    // Threads and batch sizes are no part of the key: they change the last digits, not what is asked for.
    let told = json!({"written": settings, "context": engine.context, "chat_template": engine.chat_template, "thinking": engine.thinking});
    let stage = Provenance::new("generate", told)
        .input("generator", weights.clone())
        .input("prompt", prompt.digest)
        .input("tasks", digest_of_tasks(tasks));
    let journal = work.store.journal(&stage);
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        let (candidates, summary) = run(work, (gguf, weights), tasks, (settings, engine), &journal)?;
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

#[cfg(feature = "llm")]
fn run(
    work: &Workplace<'_>,
    (gguf, weights): (Gguf, Digest),
    tasks: &[Task],
    (settings, engine): (&WrittenSettings, &EngineSettings),
    journal: &Path,
) -> Result<(Vec<Candidate>, Summary)> {
    let mut engine = engine.clone();
    let tuned = work.store.file(&tuned_name(&weights));
    if tuned.is_file() {
        let text = std::fs::read_to_string(&tuned).map_err(crate::data::Error::io("read", &tuned))?;
        // A file of another version is as good as none.
        if let Ok(tuned) = serde_json::from_str::<Tuned>(&text) {
            engine = engine.or_tuned(&tuned, std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        }
    }
    let mut engine = crate::generate::LlamaEngine::load(gguf, weights, engine)?;
    Ok(crate::negatives::written::write(tasks, &mut engine, settings, journal, work.watch)?)
}

#[cfg(not(feature = "llm"))]
fn run(
    _: &Workplace<'_>,
    _: (Gguf, Digest),
    _: &[Task],
    _: (&WrittenSettings, &EngineSettings),
    _: &Path,
) -> Result<(Vec<Candidate>, Summary)> {
    Err(ExperimentError::NoGenerator)
}
