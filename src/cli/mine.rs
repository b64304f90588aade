//! `nearmiss mine`: candidates from the corpus, by one source or several, and the ledger of all that were judged.

use super::arguments::{Data, PromptArguments};
use super::bm25::Bm25Arguments;
use super::commands::open_encoder;
use super::dense::DenseArguments;
use super::joined::{self, Part};
use super::score::JudgeArguments;
use crate::data::{Provenance, Seed};
use crate::experiment::chain::GaugeChoice;
use crate::experiment::mining::{self, MineStage, Mined, Models};
use crate::experiment::stages::Workplace;
use crate::filter::{Bar, FilterSettings, Preset};
use crate::negatives::compat::pooled;
use crate::negatives::{Compat, MiningSettings, Pool, Sampling, SimAns, SimAnsFormula, Task};
use crate::retrieve::Fusion;
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Mine {
    #[command(flatten)]
    pub data: Data,
    #[arg(long, required = true, value_delimiter = ',', value_name = "NAME[=COUNT]", help = source_help())]
    pub source: Vec<Quota>,
    /// Encoder folder or name, for sources over vectors.
    #[arg(long, value_name = "DIR")]
    pub encoder: Option<PathBuf>,
    #[command(flatten)]
    pub prompts: PromptArguments,
    /// TREC run for the source `run`.
    #[arg(long, value_name = "FILE.trec")]
    pub run: Option<PathBuf>,
    #[command(flatten)]
    pub judge: JudgeArguments,
    /// Whose best passages the source `cross-encoder` orders anew.
    #[arg(long, value_enum, default_value = "bm25")]
    pub pool: PoolName,
    /// How many of them.
    #[arg(long, default_value_t = MiningSettings::default().pool_depth)]
    pub pool_depth: u32,
    /// Let bounds and margins on the scores of a judge stand whose held-out AUC is below 0.8; candidates are stamped.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub dense: DenseArguments,
    /// Negatives per query and source; beside sources with a number of their own, the most per query in all.
    /// [default: 3]
    #[arg(long)]
    pub num_negatives: Option<u32>,
    /// Best ranks skipped. [default: 0; with --compat flagembedding 10]
    #[arg(long)]
    pub range_min: Option<u32>,
    /// Last rank looked at. [default: 100; with --compat as that tool has it]
    #[arg(long)]
    pub range_max: Option<u32>,
    /// Which of those kept are taken: the best, any, or by the softmax of their scores.
    #[arg(long, value_enum, default_value = "top")]
    pub sampling: SamplingName,
    /// Of softmax sampling, in the unit of the score.
    #[arg(long, default_value_t = MiningSettings::default().temperature)]
    pub temperature: f32,
    /// Highest score taken, in the unit of the source's.
    #[arg(long, allow_negative_numbers = true)]
    pub max_score: Option<f32>,
    /// Lowest score taken.
    #[arg(long, allow_negative_numbers = true)]
    pub min_score: Option<f32>,
    /// Taken ones score so much below the positive.
    #[arg(long)]
    pub absolute_margin: Option<f32>,
    /// The same as a share of the positive's score.
    #[arg(long)]
    pub relative_margin: Option<f32>,
    /// A margin by NV-Retriever's name: topk-percpos-0.95 or topk-marginpos-0.05.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["absolute_margin", "relative_margin"])]
    pub preset: Option<Preset>,
    /// Which of several positives margins are measured from.
    #[arg(long, value_enum, default_value = "lowest")]
    pub bar: BarName,
    /// Make the selection of another tool from the same scores.
    #[arg(long, value_enum)]
    pub compat: Option<CompatName>,
    /// How fusion joins two rankings: rrf, or the weight of BM25's scores from 0 to 1.
    #[arg(long, default_value = "rrf", value_name = "rrf|WEIGHT", value_parser = fusion)]
    pub fusion: Fusion,
    /// `SimANS`: paper, paper:A:B with its a and b, or released.
    #[arg(long, default_value = "paper", value_name = "FORMULA", value_parser = simans)]
    pub simans: SimAns,
    /// How far lengths of random-length are from the positives', as a share.
    #[arg(long, default_value_t = MiningSettings::default().length_band)]
    pub length_band: f32,
    /// Seed of all draws.
    #[arg(long, default_value_t = Seed(1))]
    pub seed: Seed,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
    /// The candidates to write; the ledger stands beside them as FILE.ledger.jsonl.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

fn source_help() -> String {
    let known = crate::negatives::names();
    format!(
        "Sources, several at once with commas, each with its own number per query if one is given: bm25=10,dense=5,random. Known: {known}"
    )
}

/// A source and how many of its negatives a query gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quota {
    source: String,
    count: Option<u32>,
}

impl std::str::FromStr for Quota {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (source, count) = match text.split_once('=') {
            None => (text, None),
            Some((source, count)) => {
                let count = count.parse().ok().filter(|&count| count > 0);
                (source, Some(count.ok_or_else(|| format!("expected a number from 1 after =, found {text:?}"))?))
            }
        };
        crate::negatives::named(source).map_err(|error| error.to_string())?;
        Ok(Self { source: source.to_owned(), count })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SamplingName {
    Top,
    Random,
    Softmax,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PoolName {
    Bm25,
    Dense,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BarName {
    Lowest,
    Highest,
    Mean,
}

impl From<BarName> for Bar {
    fn from(name: BarName) -> Self {
        match name {
            BarName::Lowest => Self::Lowest,
            BarName::Highest => Self::Highest,
            BarName::Mean => Self::Mean,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompatName {
    SentenceTransformers,
    #[value(name = "flagembedding")]
    FlagEmbedding,
}

fn fusion(text: &str) -> Result<Fusion, String> {
    match (text, text.parse::<f32>()) {
        ("rrf", _) => Ok(Fusion::default()),
        (_, Ok(first)) if (0.0..=1.0).contains(&first) => Ok(Fusion::Weighted { first }),
        _ => Err("expected rrf or a weight from 0 to 1".to_owned()),
    }
}

fn simans(text: &str) -> Result<SimAns, String> {
    let paper = SimAns::default();
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["paper"] => Ok(paper),
        ["released"] => Ok(SimAns { formula: SimAnsFormula::Released, ..paper }),
        ["paper", a, b] => match (a.parse(), b.parse()) {
            (Ok(a), Ok(b)) => Ok(SimAns { a, b, ..paper }),
            _ => Err("expected numbers in paper:A:B".to_owned()),
        },
        _ => Err("expected paper, paper:A:B or released".to_owned()),
    }
}

impl Mine {
    /// The settings of a source with `quota`.
    fn settings(&self, quota: Option<u32>, most_positives: u32) -> MiningSettings {
        let compat = match self.compat {
            None => Compat::Nearmiss,
            Some(CompatName::SentenceTransformers) => Compat::SentenceTransformers,
            Some(CompatName::FlagEmbedding) => Compat::FlagEmbedding,
        };
        let flag = compat == Compat::FlagEmbedding;
        let num_negatives = quota.or(self.num_negatives).unwrap_or(if flag { 15 } else { 3 });
        let range_min = self.range_min.unwrap_or(if flag { 10 } else { 0 });
        let margins = FilterSettings {
            absolute_margin: self.absolute_margin,
            relative_margin: self.relative_margin,
            ..FilterSettings::default()
        };
        let margins = match self.preset {
            Some(preset) => margins.with(preset),
            None => margins,
        };
        let range_max = self.range_max.unwrap_or_else(|| match compat {
            Compat::Nearmiss => 100,
            Compat::FlagEmbedding => 210,
            // Its own default: ten times as many where some may be skipped.
            Compat::SentenceTransformers => {
                let skips = margins.absolute_margin.or(margins.relative_margin).or(self.max_score).is_some();
                range_min + num_negatives * if skips { 10 } else { 1 } + most_positives
            }
        });
        MiningSettings {
            range_min,
            range_max,
            num_negatives,
            sampling: match self.sampling {
                SamplingName::Top => Sampling::Top,
                SamplingName::Random => Sampling::Random,
                SamplingName::Softmax => Sampling::Softmax,
            },
            temperature: self.temperature,
            max_score: self.max_score,
            min_score: self.min_score,
            absolute_margin: margins.absolute_margin,
            relative_margin: margins.relative_margin,
            bar: self.bar.into(),
            compat,
            fusion: self.fusion,
            simans: self.simans,
            pool: match self.pool {
                PoolName::Bm25 => Pool::Bm25,
                PoolName::Dense => Pool::Dense,
            },
            pool_depth: self.pool_depth,
            length_band: self.length_band,
        }
    }
}

/// Mines from every source, and writes candidates, ledger and provenance.
pub(super) fn run(work: &Workplace<'_>, arguments: &Mine) -> Result<()> {
    let collection = work.collection(&arguments.data.data)?;
    let tasks = Task::all(&collection, &collection.qrels(&arguments.data.split)?)?;
    let encoder = open_encoder(work, arguments.encoder.as_deref(), &arguments.prompts)?;
    let judge = arguments.judge.open(work)?;
    let choice = if arguments.force { GaugeChoice::Force } else { GaugeChoice::Obey };
    let models = Models { encoder: encoder.as_ref(), judge: judge.as_ref(), choice };
    // Only a compatible selection looks at it, and takes queries of one text as one.
    let most_positives = pooled(&tasks).iter().map(|task| task.positives.len()).max().unwrap_or(0);
    let dense = arguments.dense.settings(None)?;
    let mut parts: Vec<Part> = Vec::new();
    let (mut reports, mut settings) = (serde_json::Map::new(), serde_json::Map::new());
    for Quota { source, count } in &arguments.source {
        let how = MineStage {
            source: source.clone(),
            mine: arguments.settings(*count, u32::try_from(most_positives).unwrap_or(u32::MAX)),
            bm25: arguments.bm25.settings(),
            dense,
            seed: arguments.seed,
            run: arguments.run.clone(),
        };
        let mined = mining::mine(work, &collection, &tasks, models, &how)?;
        work.watch.note(&told(source, &mined));
        reports.insert(source.clone(), serde_json::to_value(&mined.counts)?);
        settings.insert(source.clone(), serde_json::to_value(how.mine)?);
        let [candidates, ledger] = ["candidates.jsonl", "ledger.jsonl"].map(|name| mined.stored.file(name));
        parts.push(Part { candidates, ledger });
    }
    let has_quota = arguments.source.iter().any(|quota| quota.count.is_some());
    let ledger = ledger_beside(&arguments.out);
    let total = arguments.num_negatives.filter(|_| has_quota).map(|total| total as usize);
    let (before, kept) = joined::join(&parts, &tasks, total, (&arguments.out, &ledger))?;
    if let Some(total) = total {
        work.watch.note(&format!("{kept} of {before} candidates within {total} a query"));
    }
    let mut provenance = Provenance::new("mine", json!({"sources": settings, "total": arguments.num_negatives.filter(|_| has_quota), "seed": arguments.seed, "split": arguments.data.split, "bm25": arguments.bm25.settings(), "dense": dense, "storage": work.storage, "precision": work.precision}))
        .input("corpus", collection.corpus_digest()?)
        .input("split", collection.split_digest(&arguments.data.split)?);
    if let Some(judge) = &judge {
        provenance.settings["judges"] = json!([judge.standing]);
        provenance = provenance.input("judge", judge.standing.judge.clone());
    }
    if let Some(encoder) = encoder {
        provenance.settings["prompts"] = encoder.prompts();
        provenance = provenance.input("encoder", encoder.digest);
    }
    if let Some(run) = &arguments.run {
        provenance = provenance.input("run", crate::data::Digest::of_file(run)?);
    }
    provenance.counts = reports.into();
    provenance.write_beside(&arguments.out)?;
    work.watch.note(&format!("{}: {kept} candidates; ledger: {}", arguments.out.display(), ledger.display()));
    Ok(())
}

fn told(source: &str, mined: &Mined) -> String {
    let (report, recall) = (&mined.counts.report, mined.counts.recall);
    let recall = recall.map_or(String::new(), |gauge| format!("; {gauge}"));
    format!(
        "{source}: {} candidates for {} queries, {} got fewer than asked{recall}\n{}",
        report.proposed,
        report.queries,
        report.short.len(),
        report.waterfall
    )
}

/// `candidates.jsonl` to `candidates.ledger.jsonl`.
pub(super) fn ledger_beside(path: &Path) -> PathBuf {
    path.with_extension("ledger.jsonl")
}
