//! The stage that lets a local model write negatives: journal while it runs, candidates when it is whole.

use super::mining::digest_of_tasks;
use super::stages::{Workplace, counts_of, to_json};
use super::{ExperimentError, Result};
use crate::data::store::Stored;
use crate::data::{Candidate, Digest, Provenance, QueryId, jsonl};
use crate::generate::EngineSettings;
use crate::model::gguf::Gguf;
use crate::negatives::Task;
use crate::negatives::written::{Brief, Summary, Target};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

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
    let settings = &brief.settings;
    // The file is checked before anything else is done with it.
    let gguf = Gguf::open(generator)?;
    let weights = Digest::of_file(generator)?;
    let prompt =
        crate::text::prompt::PromptFile::find(&settings.prompt, crate::negatives::written::conversation::INPUTS)?;
    // Threads and batch sizes are no part of the key: they change the last digits, not what is asked for.
    let told = json!({"written": settings, "context": engine.context, "chat_template": engine.chat_template});
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

#[cfg(feature = "llm")]
fn run(
    work: &Workplace<'_>,
    (gguf, weights): (Gguf, Digest),
    tasks: &[Task],
    (brief, engine): (&Brief<'_>, &EngineSettings),
    journal: &Path,
) -> Result<(Vec<Candidate>, Summary)> {
    let mut engine = crate::generate::LlamaEngine::load(gguf, weights, engine.clone())?;
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
