//! `nearmiss search`: the best passages of each judged query, by words, by vectors, or by several rankings fused.

use super::arguments::{Data, PromptArguments, at_least_one};
use super::bm25::Bm25Arguments;
use super::commands::open_encoder;
use super::dense::{DenseArguments, IndexName};
use crate::data::{Collection, Digest, Provenance, Query, Run};
use crate::experiment::ExperimentError;
use crate::experiment::stages::{self, OpenEncoder, Workplace};
use crate::retrieve::{Fusion, Searcher, fusion};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Retriever {
    /// Shared words.
    Bm25,
    /// An encoder's vectors, by the index that --index says.
    Dense,
    /// An encoder's vectors, over a graph.
    Hnsw,
    /// Several rankings in one: those of --fuse, and the runs of --run.
    Fusion,
}

#[derive(Debug, Args)]
pub(super) struct Search {
    #[command(flatten)]
    pub data: Data,
    /// How passages are found.
    #[arg(long, value_enum)]
    pub retriever: Retriever,
    /// Encoder folder or name, for dense search.
    #[arg(long, value_name = "DIR")]
    pub encoder: Option<PathBuf>,
    #[command(flatten)]
    pub prompts: PromptArguments,
    /// Passages per query.
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub k: usize,
    /// Retrievers that fusion joins. [default: bm25,dense; none where --run gives runs]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,NAME")]
    pub fuse: Option<Vec<Retriever>>,
    /// Runs that fusion joins, after the retrievers.
    #[arg(long, value_name = "FILE.trec", num_args = 1..)]
    pub run: Vec<PathBuf>,
    /// How fusion joins: rrf, rrf:K, or a weight for each ranking, by which scores brought to 0..1 are summed.
    #[arg(long, default_value = "rrf", value_name = "rrf|W,W", value_parser = joining)]
    pub fusion: Joining,
    #[command(flatten)]
    pub dense: DenseArguments,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
    /// The run to write.
    #[arg(long, value_name = "FILE.trec")]
    pub out: PathBuf,
}

/// How rankings are fused.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Joining {
    /// By reciprocal ranks.
    Reciprocal(f32),
    /// By scores, each ranking with its weight.
    Weights(Vec<f32>),
}

fn joining(text: &str) -> Result<Joining, String> {
    let above_zero = |text: &str| text.parse::<f32>().ok().filter(|number| *number > 0.0 && number.is_finite());
    if text == "rrf" {
        return Ok(Joining::Reciprocal(60.0));
    }
    if let Some(k) = text.strip_prefix("rrf:") {
        return above_zero(k).map(Joining::Reciprocal).ok_or_else(|| "expected a number above 0 after rrf:".to_owned());
    }
    let weights: Option<Vec<f32>> = text.split(',').map(above_zero).collect();
    weights.map(Joining::Weights).ok_or_else(|| "expected rrf, rrf:60 or weights above 0 such as 0.3,0.7".to_owned())
}

/// What searches need besides how they are done.
struct Asked<'a> {
    collection: &'a Collection,
    queries: &'a [Query],
    encoder: Option<OpenEncoder>,
    arguments: &'a Search,
}

/// Searches, and writes the run with its provenance.
pub(super) fn run(work: &Workplace<'_>, arguments: &Search) -> Result<()> {
    let parts = parts(arguments)?;
    let collection = work.collection(&arguments.data.data)?;
    let (queries, _) = stages::judged_queries(&collection, &arguments.data.split)?;
    let dense = parts.iter().any(|part| *part != Retriever::Bm25);
    let encoder = if dense { open_encoder(work, arguments.encoder.as_deref(), &arguments.prompts)? } else { None };
    if dense && encoder.is_none() {
        bail!("a dense search needs an encoder\n  hint: give one with --encoder");
    }
    let mut provenance = Provenance::new(
        "search",
        json!({"retriever": format!("{:?}", arguments.retriever), "k": arguments.k, "split": arguments.data.split}),
    )
    .input("corpus", collection.corpus_digest()?)
    .input("split", collection.split_digest(&arguments.data.split)?);
    if parts.contains(&Retriever::Bm25) {
        provenance.settings["bm25"] = json!(arguments.bm25.settings());
    }
    if let Some(encoder) = &encoder {
        provenance.settings["prompts"] = encoder.prompts();
        provenance.settings["dense"] = json!(arguments.dense.settings(None)?);
        provenance.settings["precision"] = json!(work.precision);
        provenance.settings["storage"] = json!(work.storage);
        provenance = provenance.input("encoder", encoder.digest.clone());
    }
    let asked = Asked { collection: &collection, queries: &queries, encoder, arguments };
    let mut runs = Vec::new();
    for part in &parts {
        let (run, counts) = search(work, &asked, *part)?;
        provenance.counts[format!("{part:?}").to_lowercase()] = counts;
        runs.push(run);
    }
    let found = if arguments.retriever == Retriever::Fusion {
        for (number, path) in arguments.run.iter().enumerate() {
            runs.push(Run::read_trec(path)?);
            provenance = provenance.input(&format!("run{}", number + 1), Digest::of_file(path)?);
        }
        provenance.settings["fusion"] = json!(arguments.fusion);
        fuse(&runs, &queries, &arguments.fusion, arguments.k)
    } else {
        runs.swap_remove(0)
    };
    found.write_trec(&arguments.out, "nearmiss")?;
    provenance.write_beside(&arguments.out)?;
    work.watch.note(&format!("{}: {} queries", arguments.out.display(), found.len()));
    Ok(())
}

/// The retrievers to ask.
fn parts(arguments: &Search) -> Result<Vec<Retriever>> {
    if arguments.retriever != Retriever::Fusion {
        return Ok(vec![arguments.retriever]);
    }
    let default = if arguments.run.is_empty() { vec![Retriever::Bm25, Retriever::Dense] } else { Vec::new() };
    let parts = arguments.fuse.clone().unwrap_or(default);
    let count = parts.len() + arguments.run.len();
    if count < 2 || parts.contains(&Retriever::Fusion) {
        bail!("--fuse and --run: expected at least two rankings, none of them a fusion, found {count}");
    }
    if let Joining::Weights(weights) = &arguments.fusion
        && weights.len() != count
    {
        bail!("--fusion: expected a weight for each of {count} rankings, found {}", weights.len());
    }
    Ok(parts)
}

/// The run of one retriever, and what it counted.
fn search(work: &Workplace<'_>, asked: &Asked<'_>, retriever: Retriever) -> Result<(Run, serde_json::Value)> {
    let Asked { collection, queries, encoder, arguments } = asked;
    let index = match retriever {
        Retriever::Bm25 => {
            let index = stages::bm25(work, collection, &arguments.bm25.settings())?;
            let run = index.search(queries, arguments.k).map_err(ExperimentError::from)?;
            return Ok((run, json!({"passages": index.len()})));
        }
        Retriever::Hnsw => Some(IndexName::Hnsw),
        Retriever::Dense | Retriever::Fusion => None,
    };
    let encoder = encoder.as_ref().context("no encoder")?;
    let settings = arguments.dense.settings(index)?;
    let (searcher, report) = stages::dense(work, encoder, collection, (queries, "queries"), (&settings, arguments.k))?;
    let run = searcher.search(queries, arguments.k).map_err(ExperimentError::from)?;
    Ok((run, serde_json::to_value(report)?))
}

/// One ranking of all `runs`, of the queries `queries`.
fn fuse(runs: &[Run], queries: &[Query], joining: &Joining, k: usize) -> Run {
    let mut fused = Run::default();
    for query in queries {
        let lists: Vec<_> = runs.iter().map(|run| run.get(query.id.as_str())).collect();
        let hits = match joining {
            Joining::Reciprocal(damping) => Fusion::Reciprocal { k: *damping }.fuse(&lists, k),
            Joining::Weights(weights) => {
                fusion::weighted(&lists.into_iter().zip(weights.iter().copied()).collect::<Vec<_>>(), k)
            }
        };
        fused.insert(query.id.clone(), hits);
    }
    fused
}
