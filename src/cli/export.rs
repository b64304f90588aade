//! `nearmiss export`: instances in the form of another trainer, with a card that says what they are made of.

use super::progress::say;
use crate::data::{Candidate, Digest, Error, Instance, Passage, Provenance, QueryId, atomic, jsonl};
use crate::experiment::stages::Workplace;
use crate::mix::export::{self, Form, Format, TABLE};
use crate::negatives::screen::Measure;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// BEIR folder the instances are of.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Instances, as `nearmiss mix` writes them.
    #[arg(long, value_name = "FILE.jsonl")]
    pub instances: PathBuf,
    /// Form: pair, triplet, n-tuple, labeled-pair, labeled-list (sentence-transformers), flagembedding, tevatron,
    /// tevatron-old, pylate, tsv, beir, trec.
    #[arg(long, value_name = "FORM", value_parser = form)]
    pub to: &'static Form,
    /// How tables are stored; Parquet for forms whose readers know it.
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: ExportFormat,
    /// Scored candidates and positives, as `nearmiss score` writes both; their scores are exported too.
    #[arg(long, num_args = 1.., value_name = "FILE.jsonl")]
    pub scores: Vec<PathBuf>,
    /// Which of the scores.
    #[arg(long, value_enum, default_value = "cosine")]
    pub measure: ExportMeasure,
    /// Folder to write; what stands there is replaced.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportMeasure {
    Cosine,
    Bm25,
    Relevance,
}

impl From<ExportMeasure> for Measure {
    fn from(measure: ExportMeasure) -> Self {
        match measure {
            ExportMeasure::Cosine => Self::Cosine,
            ExportMeasure::Bm25 => Self::Bm25,
            ExportMeasure::Relevance => Self::Relevance,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    Jsonl,
    Parquet,
}

impl From<ExportFormat> for Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Jsonl => Self::JsonLines,
            ExportFormat::Parquet => Self::Parquet,
        }
    }
}

pub(super) fn form(name: &str) -> Result<&'static Form, String> {
    export::named(name).ok_or_else(|| format!("expected one of {}", TABLE.map(|form| form.name).join(", ")))
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Exports, compares, and writes the card.
pub(super) fn run(work: &Workplace<'_>, arguments: &Export) -> Result<()> {
    if arguments.out.exists() && !arguments.out.join("README.md").is_file() && !is_empty(&arguments.out) {
        bail!(
            "--out {}: expected a new folder or an older export, found another one\n  hint: it would be replaced as a whole",
            arguments.out.display()
        );
    }
    let collection = work.collection(&arguments.data)?;
    let instances = jsonl::read::<Instance>(&arguments.instances)?;
    let measure = Measure::from(arguments.measure);
    let format = Format::from(arguments.format);
    let settings = json!({"form": arguments.to.name, "format": format.ending(), "measure": measure});
    let mut provenance = Provenance::new("export", settings)
        .input("corpus", collection.corpus_digest()?)
        .input("instances", Digest::of_file(&arguments.instances)?);
    let mut scores: HashMap<(QueryId, Passage), f32> = HashMap::new();
    for (number, path) in (1..).zip(&arguments.scores) {
        let candidates = jsonl::read::<Candidate>(path)?.into_iter();
        scores.extend(candidates.filter_map(|one| Some(((one.query, one.passage), measure.of(&one.scores)?))));
        provenance = provenance.input(&format!("scores {number}"), Digest::of_file(path)?);
    }
    let scores = (!arguments.scores.is_empty()).then_some(&scores);
    let data = export::Export { instances: &instances, scores, corpus: &collection.corpus };
    let facts = arguments.to.export(&data, format, &arguments.out)?;
    provenance.counts = counts(&instances);
    provenance.write(&arguments.out.join("provenance.json"))?;
    card(&arguments.out, arguments.to, &provenance)?;
    say(&format!(
        "{}: {} instances as {}; {facts} pairs of query and passage read back as they were written",
        arguments.out.display(),
        instances.len(),
        arguments.to.name
    ));
    Ok(())
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Instances, queries, and negatives by source.
fn counts(instances: &[Instance]) -> serde_json::Value {
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    for negative in instances.iter().flat_map(|instance| &instance.negatives) {
        *sources.entry(&negative.source).or_default() += 1;
    }
    let queries: std::collections::BTreeSet<_> = instances.iter().map(|instance| &instance.query_id).collect();
    json!({"instances": instances.len(), "queries": queries.len(), "negatives": sources})
}

fn card(folder: &Path, form: &Form, provenance: &Provenance) -> Result<()> {
    let path = folder.join("README.md");
    let told = serde_json::to_string_pretty(provenance)?;
    let text = format!(
        "---\ntags:\n- sentence-similarity\n- hard-negatives\n---\n# Training data for a dense retriever\n\nIn the form `{}`: {}. Made by {}.\n\nWhat it holds and what it was made from:\n\n```json\n{told}\n```\n",
        form.name, form.about, provenance.program
    );
    atomic::write_file(&path, |out| out.write_all(text.as_bytes()).map_err(Error::io("write", &path)))?;
    Ok(())
}
