//! `nearmiss score`: the scores of candidates, and of the positives that margins are measured from.

use super::arguments::{Data, PromptArguments};
use super::bm25::Bm25Arguments;
use super::commands::{find_encoder, open_encoder};
use crate::data::{Candidate, Digest, Provenance, jsonl};
use crate::experiment::ExperimentError;
use crate::experiment::relevance::{Judge, Standing, judges_of};
use crate::experiment::scoring::{self, Embedded, Measures};
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
    pub judge: JudgeArguments,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
    /// The candidates to write; the positives' scores stand beside them as FILE.positives.jsonl.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

/// A model that says how relevant a passage is.
#[derive(Debug, Args)]
pub(super) struct JudgeArguments {
    /// Cross-encoder folder or name for the relevance; of a judge that `nearmiss train --task cross-encoder` made, each
    /// query is judged by the fold that was not trained on it.
    #[arg(long, value_name = "DIR")]
    pub cross_encoder: Option<PathBuf>,
    /// Number of the label whose probability is the relevance, where the cross-encoder has several.
    #[arg(long, requires = "cross_encoder")]
    pub label: Option<usize>,
}

impl JudgeArguments {
    /// The judge, where one is named; says what is known of it.
    pub fn open<'w>(&self, work: &'w Workplace<'w>) -> Result<Option<Judge<'w>>, ExperimentError> {
        let Some(name) = &self.cross_encoder else { return Ok(None) };
        let judge = Judge::open(work, &find_encoder(name)?, self.label)?;
        work.watch.note(&judge.standing.line());
        Ok(Some(judge))
    }
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

/// The judges whose scores the files hold, each once.
pub(super) fn judges_of_all(files: &[PathBuf]) -> Result<Vec<Standing>> {
    let mut judges: Vec<Standing> = Vec::new();
    for path in files {
        judges.extend(judges_of(path)?.into_iter().filter(|one| !judges.contains(one)).collect::<Vec<_>>());
    }
    Ok(judges)
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
    let judge = arguments.judge.open(work)?;
    let mut judges = judges_of_all(&arguments.candidates)?;
    if let Some(judge) = &judge {
        // Every score of theirs is replaced.
        judges = vec![judge.standing.clone()];
        provenance.settings["label"] = json!(arguments.judge.label);
        provenance = provenance.input("judge", judge.standing.judge.clone());
    }
    provenance.settings["judges"] = json!(judges);
    let measures = Measures { words: Some(&words), vectors: vectors.as_ref(), judge: judge.as_ref() };
    let (candidates, positives) = scoring::score(&collection, &tasks, candidates, measures)?;
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
