//! `nearmiss score`: the scores of candidates, and of the positives that margins are measured from.

use super::arguments::{Data, PromptArguments};
use super::bm25::Bm25Arguments;
use super::commands::open_encoder;
use crate::data::{Candidate, Digest, Provenance, jsonl};
use crate::experiment::scoring::{self, Embedded};
use crate::experiment::stages::{self, Workplace};
use crate::negatives::Task;
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Score {
    #[command(flatten)]
    pub data: Data,
    /// Candidate files.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE.jsonl")]
    pub candidates: Vec<PathBuf>,
    /// Encoder folder or name; without one cosines stay as they are.
    #[arg(long, value_name = "DIR")]
    pub encoder: Option<PathBuf>,
    #[command(flatten)]
    pub prompts: PromptArguments,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
    /// The candidates to write; the positives' scores stand beside them as FILE.positives.jsonl.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

/// Candidates of all files, and the provenance with their digests.
pub(super) fn read_candidates(files: &[PathBuf], mut provenance: Provenance) -> Result<(Vec<Candidate>, Provenance)> {
    let mut candidates = Vec::new();
    for (number, path) in (1..).zip(files) {
        candidates.extend(jsonl::read::<Candidate>(path)?);
        provenance = provenance.input(&format!("candidates {number}"), Digest::of_file(path)?);
    }
    Ok((candidates, provenance))
}

/// `candidates.jsonl` to `candidates.positives.jsonl`.
pub(super) fn positives_beside(path: &Path) -> PathBuf {
    path.with_extension("positives.jsonl")
}

/// Scores and writes.
pub(super) fn run(work: &Workplace<'_>, arguments: &Score) -> Result<()> {
    let collection = work.collection(&arguments.data.data)?;
    let tasks = Task::all(&collection, &collection.qrels(&arguments.data.split)?)?;
    let settings =
        json!({"split": arguments.data.split, "bm25": arguments.bm25.settings(), "precision": work.precision});
    let provenance = Provenance::new("score", settings)
        .input("corpus", collection.corpus_digest()?)
        .input("split", collection.split_digest(&arguments.data.split)?);
    let (candidates, mut provenance) = read_candidates(&arguments.candidates, provenance)?;
    let words = stages::bm25(work, &collection, &arguments.bm25.settings())?;
    let encoder = open_encoder(work, arguments.encoder.as_deref(), &arguments.prompts)?;
    let vectors =
        encoder.as_ref().map(|encoder| Embedded::new(work, encoder, &collection, (&tasks, &candidates))).transpose()?;
    if let Some(encoder) = &encoder {
        provenance = provenance.input("encoder", encoder.digest.clone());
    }
    let (candidates, positives) = scoring::score(&collection, &tasks, candidates, (Some(&words), vectors.as_ref()))?;
    jsonl::write(&arguments.out, &candidates)?;
    let beside = positives_beside(&arguments.out);
    jsonl::write(&beside, &positives)?;
    provenance.counts = json!({"candidates": candidates.len(), "positives": positives.len()});
    provenance.write_beside(&arguments.out)?;
    work.watch.note(&format!(
        "{}: {} candidates scored; {}: {} positives",
        arguments.out.display(),
        candidates.len(),
        beside.display(),
        positives.len()
    ));
    Ok(())
}
