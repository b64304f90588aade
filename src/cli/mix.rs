//! `nearmiss mix`: training instances from candidate files.

use super::arguments::Data;
use super::filter::MeasureName;
use super::progress::say;
use super::score::read_candidates;
use crate::data::{Provenance, Seed, jsonl};
use crate::experiment::ExperimentError;
use crate::experiment::arm::{ArmRecipe, MixName};
use crate::experiment::stages::Workplace;
use crate::filter::Measure;
use crate::mix::{self, Arm, Pool, Positives, RatioOf, Shortfall, Supply, common_queries, instances};
use crate::negatives::Task;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Mix {
    #[command(flatten)]
    pub data: Data,
    /// Candidate files.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE.jsonl")]
    pub candidates: Vec<PathBuf>,
    /// Negatives per query by source: bm25=1,written=1. With --mix direct and ratio the sum counts alone.
    #[arg(long, required = true, value_delimiter = ',', value_name = "SOURCE=COUNT")]
    pub take: Vec<String>,
    /// So many of each source in every instance; any of all sources; two sources in a proportion; two whose shares change
    /// over training; or from easy to hard over training. The last two lay a schedule into the order of the file, which
    /// `nearmiss train` follows with `order = "file"`.
    #[arg(long = "mix", value_enum, default_value = "hybrid")]
    pub kind: Kind,
    /// The proportion of --mix ratio: negatives of the first source of --take for each of the second.
    #[arg(long, required_if_eq("kind", "ratio"))]
    pub ratio: Option<f64>,
    /// What the proportion is of: the second source's negatives, or the instances.
    #[arg(long, value_enum)]
    pub ratio_of: Option<Of>,
    /// Of --mix schedule: share of the first source of --take from the first instance to the last, at equal distances
    /// with straight lines between: 0,1.
    #[arg(long, value_delimiter = ',', value_name = "SHARE", required_if_eq("kind", "schedule"))]
    pub share: Vec<f64>,
    /// Of --mix easy-to-hard: the score that says how hard a negative is. [default: its rank]
    #[arg(long, value_enum)]
    pub by: Option<MeasureName>,
    /// Of a mix that changes over training: instances of each query; training then takes one epoch.
    #[arg(long, default_value_t = 1)]
    pub passes: usize,
    /// What becomes of a query with too few: drop, fewer (not for `nearmiss train`), or fill=SOURCE.
    #[arg(long, default_value = "drop", value_name = "drop|fewer|fill=SOURCE", value_parser = short)]
    pub short: Short,
    /// Seed of draws and orders.
    #[arg(long, default_value_t = Seed(1))]
    pub seed: Seed,
    /// The instances to write.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Hybrid,
    Direct,
    Ratio,
    Schedule,
    EasyToHard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Of {
    Rest,
    Instances,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Short {
    Drop,
    Fewer,
    Fill(String),
}

fn short(text: &str) -> Result<Short, String> {
    match (text, text.strip_prefix("fill=")) {
        ("drop", _) => Ok(Short::Drop),
        ("fewer", _) => Ok(Short::Fewer),
        (_, Some(source)) if !source.is_empty() => Ok(Short::Fill(source.to_owned())),
        _ => Err("expected drop, fewer or fill=SOURCE".to_owned()),
    }
}

impl Mix {
    /// Sources and counts, in the order given.
    fn shares(&self) -> Result<Vec<(String, usize)>> {
        let mut shares: Vec<(String, usize)> = Vec::new();
        for take in &self.take {
            let parsed = take
                .split_once('=')
                .and_then(|(source, count)| Some((source.to_owned(), count.parse::<usize>().ok().filter(|&c| c > 0)?)));
            let Some((source, count)) = parsed else {
                bail!(
                    "--take: expected SOURCE=COUNT with a count of 1 or more, found {take:?}\n  hint: for example --take bm25=1,written=1"
                );
            };
            if shares.iter().any(|(other, _)| *other == source) {
                bail!("--take: expected each source once, found {take:?} after another count for it");
            }
            shares.push((source, count));
        }
        Ok(shares)
    }

    fn mix(&self) -> Result<mix::Mix> {
        let shares = self.shares()?;
        let first = shares.first().map(|(source, _)| source.clone());
        let pair = matches!(self.kind, Kind::Ratio | Kind::Schedule);
        if pair && shares.len() != 2 {
            bail!("--take: expected two sources for this --mix, found {}", shares.len());
        }
        let arm = ArmRecipe {
            name: "mix".to_owned(),
            negatives: shares.into_iter().collect(),
            mix: match self.kind {
                Kind::Hybrid => MixName::Hybrid,
                Kind::Direct => MixName::Direct,
                Kind::Ratio => MixName::Ratio,
                Kind::Schedule => MixName::Schedule,
                Kind::EasyToHard => MixName::EasyToHard,
            },
            ratio: self.ratio,
            ratio_of: self.ratio_of.map(|of| match of {
                Of::Rest => RatioOf::Rest,
                Of::Instances => RatioOf::Instances,
            }),
            ratio_source: first.filter(|_| pair),
            shares: self.share.clone(),
            by: self.by.map(Measure::from),
            filters: None,
        };
        arm.mix(self.seed, self.passes).map_err(|wrong| ExperimentError::arm(wrong).into())
    }
}

/// Mixes and writes.
pub(super) fn run(work: &Workplace<'_>, arguments: &Mix) -> Result<()> {
    let mix = arguments.mix()?;
    let collection = work.collection(&arguments.data.data)?;
    let tasks = Task::all(&collection, &collection.qrels(&arguments.data.split)?)?;
    let told = json!({"mix": mix, "short": format!("{:?}", arguments.short), "split": arguments.data.split});
    let provenance = Provenance::new("mix", told)
        .input("corpus", collection.corpus_digest()?)
        .input("split", collection.split_digest(&arguments.data.split)?);
    let (candidates, mut provenance) = read_candidates(&arguments.candidates, provenance)?;
    let pool: Pool = candidates.into_iter().collect();
    let short = match &arguments.short {
        Short::Drop => Shortfall::Drop,
        Short::Fewer => Shortfall::Fewer,
        Short::Fill(source) => Shortfall::Fill(source),
    };
    let arm = Arm { name: "mix", mix: &mix, pool: &pool, short };
    let common = common_queries(tasks.iter().map(|task| &task.query.id), &[arm]).map_err(ExperimentError::from)?;
    if common.queries.is_empty() {
        let first = common.dropped.values().flatten().next().map_or(String::new(), |s| s.shortage.to_string());
        return Err(ExperimentError::NoCommonQuery(first).into());
    }
    let is_short = |query: &&_| matches!(pool.choose_by(query, &mix, short), Ok((_, Supply::Short)));
    let helped = common.queries.iter().filter(is_short).count();
    let records =
        instances(&tasks, &arm, &common.queries, Positives::All, &collection.corpus).map_err(ExperimentError::from)?;
    jsonl::write(&arguments.out, &records)?;
    provenance.counts = json!({"instances": records.len(), "queries": common.queries.len(), "dropped": common.dropped.len(), "short": helped});
    provenance.write_beside(&arguments.out)?;
    let rule = match short {
        Shortfall::Drop => String::new(),
        Shortfall::Fewer => format!("; {helped} queries have fewer"),
        Shortfall::Fill(source) => format!("; {helped} queries were filled up from {source}"),
    };
    say(&format!(
        "{}: {} instances of {} negatives for {} queries; {} queries left out for too few candidates{rule}",
        arguments.out.display(),
        records.len(),
        mix.negatives(),
        common.queries.len(),
        common.dropped.len()
    ));
    if mix.course().is_some() {
        say("its order is a schedule: train with order = \"file\" and one epoch");
    }
    Ok(())
}
