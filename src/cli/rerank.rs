//! `nearmiss rerank`: the best passages of a run in the order of a cross-encoder, as another run.

use super::arguments::Data;
use super::commands::find_encoder;
use crate::data::collection::require_document;
use crate::data::{Digest, Hit, Provenance, Run};
use crate::encode::cross_encoder::Scale;
use crate::encode::{Computing, CrossEncoder};
use crate::experiment::ExperimentError;
use crate::experiment::stages::{self, Workplace};
use crate::text::tokenizer::Truncation;
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Rerank {
    #[command(flatten)]
    pub data: Data,
    /// Cross-encoder folder or name.
    #[arg(long, value_name = "DIR")]
    pub cross_encoder: PathBuf,
    /// The run whose passages are scored.
    #[arg(long, value_name = "FILE.trec")]
    pub run: PathBuf,
    /// Best passages per query that are scored; the others are left out.
    #[arg(long, default_value_t = 100, value_parser = super::arguments::at_least_one)]
    pub k: usize,
    /// Number of the label whose probability is the score, where the cross-encoder has several.
    #[arg(long)]
    pub label: Option<usize>,
    /// Take the numbers that the cross-encoder's own configuration asks for, not probabilities.
    #[arg(long)]
    pub raw: bool,
    /// The run to write.
    #[arg(long, value_name = "FILE.trec")]
    pub out: PathBuf,
}

/// Scores the pairs query by query and writes the run with its provenance.
pub(super) fn rerank(work: &Workplace<'_>, arguments: &Rerank) -> Result<()> {
    let collection = work.collection(&arguments.data.data)?;
    let (queries, _) = stages::judged_queries(&collection, &arguments.data.split)?;
    let from = Run::read_trec(&arguments.run)?;
    let folder = find_encoder(&arguments.cross_encoder)?;
    let computing = Computing { precision: work.precision, ..Computing::of(&work.device) };
    let encoder = CrossEncoder::open(&folder, &work.device, computing).map_err(ExperimentError::from)?;
    let label = label(encoder.labels(), arguments.label)?;
    let scale = if arguments.raw { Scale::Raw } else { Scale::Relevance };
    let pairs = queries.iter().map(|query| from.get(query.id.as_str()).len().min(arguments.k)).sum::<usize>();
    work.watch.begin("rerank", pairs as u64, "pairs");
    let mut run = Run::default();
    let mut truncation = Truncation::default();
    for query in &queries {
        let hits = from.get(query.id.as_str());
        let hits = &hits[..hits.len().min(arguments.k)];
        let documents = hits.iter().map(|hit| require_document(&collection.corpus, hit.doc.as_str(), &arguments.run));
        let passages = documents.map(|document| Ok(document?.content())).collect::<Result<Vec<_>>>()?;
        let texts: Vec<(&str, &str)> = passages.iter().map(|passage| (query.text.as_str(), passage.as_str())).collect();
        let scored = encoder.score(&texts, scale, work.watch).map_err(ExperimentError::from)?;
        truncation = truncation.and(scored.truncation);
        let ranked = hits.iter().zip(&scored.scores).map(|(hit, row)| Hit { doc: hit.doc.clone(), score: row[label] });
        if !hits.is_empty() {
            run.insert(query.id.clone(), ranked.collect());
        }
    }
    work.watch.end();
    work.check_truncation("pairs", truncation)?;
    run.write_trec(&arguments.out, "nearmiss")?;
    let mut provenance = Provenance::new(
        "rerank",
        json!({"split": arguments.data.split, "k": arguments.k, "scale": scale, "label": encoder.labels()[label], "device": work.device_name, "precision": work.precision}),
    )
    .input("corpus", collection.corpus_digest()?)
    .input("split", collection.split_digest(&arguments.data.split)?)
    .input("run", Digest::of_file(&arguments.run)?)
    .input("cross_encoder", CrossEncoder::digest(&folder).map_err(ExperimentError::from)?);
    provenance.counts = json!({"queries": run.len(), "pairs": pairs, "truncation": truncation});
    provenance.write_beside(&arguments.out)?;
    work.watch.note(&format!("{}: {} queries, {pairs} pairs", arguments.out.display(), run.len()));
    Ok(())
}

/// Which of `labels` is the score: the only one, or the one that was asked for.
fn label(labels: &[String], asked: Option<usize>) -> Result<usize> {
    match asked {
        None if labels.len() == 1 => Ok(0),
        Some(label) if label < labels.len() => Ok(label),
        _ => {
            let names: Vec<String> =
                labels.iter().enumerate().map(|(label, name)| format!("{label} ({name})")).collect();
            let found = asked.map_or_else(|| "nothing".to_owned(), |label| label.to_string());
            bail!("--label: expected one of: {}, found {found}", names.join(", "))
        }
    }
}
