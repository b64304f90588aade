//! `nearmiss train`: an encoder, or a cross-encoder as a judge, trained on instances. Every setting is in a TOML file; the
//! common ones are options too.

use super::commands::{beside, find_encoder};
use crate::data::{Digest, Error, Provenance, Seed, jsonl};
use crate::encode::{BiEncoder, CrossEncoder, Precision};
use crate::experiment::judge::{JudgeSettings, Judgement};
use crate::experiment::recipe::from_toml;
use crate::experiment::training::Training;
use crate::experiment::{ExperimentError, Workplace, chain, judge, training};
use crate::train::loss::TABLE;
use crate::train::{LossSettings, PairLoss, TrainSettings};
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Train {
    /// Training instances, as `nearmiss mix` writes them.
    #[arg(long, value_name = "FILE.jsonl")]
    pub instances: PathBuf,
    /// What is trained.
    #[arg(long, value_enum, default_value_t = Task::BiEncoder)]
    pub task: Task,
    /// Encoder folder or name to start from; a cross-encoder may start from either kind.
    #[arg(long, value_name = "DIR")]
    pub encoder: PathBuf,
    /// The collection of the instances: a cross-encoder is then measured on queries it was not trained on; a bi-encoder
    /// needs it for `--validation-split` and `--renew-every`.
    #[arg(long, value_name = "DIR", requires = "split")]
    pub data: Option<PathBuf>,
    /// The split whose queries the instances have.
    #[arg(long, requires = "data")]
    pub split: Option<String>,
    /// Of a cross-encoder: what is made small.
    #[arg(long, value_enum, default_value_t = Pairing::Binary)]
    pub pair_loss: Pairing,
    /// Folder for the trained encoder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Decides the order of the instances, what is dropped, and which queries are held out.
    #[arg(long, default_value_t = Seed(1))]
    pub seed: Seed,
    /// All settings, under the keys of a recipe's [train]; options given beside it win.
    #[arg(long, value_name = "FILE.toml")]
    pub settings: Option<PathBuf>,
    /// Cross-encoder folder or name whose scores margin-mse and listwise-kl learn from.
    #[arg(long, value_name = "DIR")]
    pub teacher: Option<PathBuf>,
    /// Encoder folder or name that takes likely answers out of the negatives; its margin is set in the file.
    #[arg(long, value_name = "DIR")]
    pub guide: Option<PathBuf>,
    /// Passes over the instances.
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Instances a batch.
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Batches a step.
    #[arg(long)]
    pub accumulate: Option<usize>,
    /// Lowest layers that stay as they are, with the embeddings; 0: the embeddings alone.
    #[arg(long, value_name = "N")]
    pub freeze_layers: Option<usize>,
    /// Largest learning rate.
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Share of the steps over which the learning rate rises.
    #[arg(long)]
    pub warmup_share: Option<f64>,
    /// What is made small; its numbers are set in the file.
    #[arg(long, value_parser = PossibleValuesParser::new(TABLE.iter().map(|row| row.name)))]
    pub loss: Option<String>,
    /// Similarities are divided by it.
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Whose passages stand against a query beside its own negatives: none, positives, all.
    #[arg(long, value_enum)]
    pub in_batch: Option<InBatch>,
    /// Texts are cut to so many tokens in training.
    #[arg(long)]
    pub max_length: Option<usize>,
    /// Share of values that a step drops; what the encoder's configuration says unless given.
    #[arg(long, value_name = "SHARE")]
    pub dropout: Option<f64>,
    /// Share of the queries held out to look at the encoder with; the best state is kept.
    #[arg(long, value_name = "SHARE")]
    pub validation_share: Option<f64>,
    /// Split of the collection to look at the encoder with, over the whole corpus; the best state is kept.
    #[arg(long, value_name = "SPLIT", requires = "data")]
    pub validation_split: Option<String>,
    /// Mines the negatives of the source `dense` again after every so many steps; which, and how, is set in the file.
    #[arg(long, value_name = "STEPS", requires = "data")]
    pub renew_every: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Task {
    BiEncoder,
    CrossEncoder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Pairing {
    /// Each pair is an answer or none; the number is a probability.
    Binary,
    /// The order of a query's passages.
    Listwise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum InBatch {
    None,
    Positives,
    All,
}

impl Train {
    /// `precision` is that of the option, which wins over the file where it is not the default.
    fn settings(&self, precision: Precision) -> Result<TrainSettings> {
        let mut settings = match &self.settings {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
                let settings: TrainSettings = from_toml(&text, path, "settings of training").map_err(Error::from)?;
                // Before options change them, so that what is wrong in the file is said of the file.
                settings.check().with_context(|| path.display().to_string())?;
                settings
            }
            None => TrainSettings::default(),
        };
        let put = |to: &mut f64, from: Option<f64>| *to = from.unwrap_or(*to);
        put(&mut settings.learning_rate, self.learning_rate);
        put(&mut settings.warmup_share, self.warmup_share);
        put(&mut settings.temperature, self.temperature);
        put(&mut settings.validation_share, self.validation_share);
        let put = |to: &mut usize, from: Option<usize>| *to = from.unwrap_or(*to);
        put(&mut settings.epochs, self.epochs);
        put(&mut settings.batch_size, self.batch_size);
        put(&mut settings.accumulate, self.accumulate);
        put(&mut settings.max_length, self.max_length);
        if precision != Precision::default() {
            settings.precision = precision;
        }
        settings.dropout = self.dropout.or(settings.dropout);
        settings.freeze_layers = self.freeze_layers.or(settings.freeze_layers);
        if let Some(name) = self.loss.as_ref().filter(|name| **name != settings.loss.name) {
            settings.loss = LossSettings::named(name);
        }
        settings.in_batch = match self.in_batch {
            Some(InBatch::None) => crate::train::InBatch::None,
            Some(InBatch::Positives) => crate::train::InBatch::Positives,
            Some(InBatch::All) => crate::train::InBatch::All,
            None => settings.in_batch,
        };
        settings.validation_split = self.validation_split.clone().or(settings.validation_split);
        if let Some(every) = self.renew_every {
            settings.renewal.get_or_insert_default().every = every;
        }
        if let Err(mut wrong) = settings.check() {
            // A key of the loss has no option.
            if !wrong.key.contains('.') {
                wrong.key = format!("--{}", wrong.key.replace('_', "-"));
            }
            bail!(wrong);
        }
        Ok(settings)
    }
}

/// Trains, and writes the encoder, its provenance, and the numbers of its steps.
pub(super) fn run(work: &Workplace<'_>, arguments: &Train) -> Result<()> {
    let settings = arguments.settings(work.precision)?;
    let base = find_encoder(&arguments.encoder)?;
    if arguments.task == Task::CrossEncoder {
        return run_judge(work, arguments, &settings, &base);
    }
    let looks_up = settings.validation_split.is_some() || settings.renewal.is_some();
    if arguments.data.is_some() && !looks_up {
        bail!("--data: a bi-encoder needs it for --validation-split and --renew-every alone, and neither is given");
    }
    let collection = arguments.data.as_ref().map(|data| work.collection(data)).transpose()?;
    let held = collection.as_ref().zip(arguments.split.as_deref());
    let mut provenance = Provenance::new("train", json!({"train": settings, "seed": arguments.seed}))
        .input("encoder", BiEncoder::digest(&base).map_err(ExperimentError::from)?)
        .input("instances", Digest::of_file(&arguments.instances)?);
    let mut instances = arguments.instances.clone();
    if let Some(teacher) = &arguments.teacher {
        let teacher = find_encoder(teacher)?;
        instances = training::teach(work, &instances, &teacher)?;
        provenance = provenance.input("teacher", CrossEncoder::digest(&teacher).map_err(ExperimentError::from)?);
    }
    let guide = arguments.guide.as_deref().map(find_encoder).transpose()?;
    if let Some(guide) = &guide {
        provenance = provenance.input("guide", BiEncoder::digest(guide).map_err(ExperimentError::from)?);
    }
    let how = Training { settings: &settings, seed: arguments.seed, collection: held, guide: guide.as_deref() };
    let trained = training::train(work, &base, &instances, how)?;
    chain::publish_folder(&trained.folder, &arguments.out)?;
    provenance.counts = serde_json::to_value(&trained.summary)?;
    provenance.write_beside(&arguments.out)?;
    jsonl::write(&beside(&arguments.out, ".steps.jsonl"), &trained.steps)?;
    let statistics = beside(&arguments.out, ".statistics.safetensors");
    std::fs::copy(&trained.statistics, &statistics).map_err(Error::io("copy", &trained.statistics))?;
    if let (Some(first), Some(last)) = (trained.steps.first(), trained.steps.last()) {
        work.watch.note(&format!(
            "{}: {} steps, loss {:.4} to {:.4}",
            arguments.out.display(),
            trained.steps.len(),
            first.loss,
            last.loss
        ));
    }
    for line in trained.summary.lines() {
        work.watch.note(&line);
    }
    Ok(())
}

/// Trains a cross-encoder, and writes it, its provenance and, measured, what it is worth.
fn run_judge(work: &Workplace<'_>, arguments: &Train, settings: &TrainSettings, base: &Path) -> Result<()> {
    let loss = match arguments.pair_loss {
        Pairing::Binary => PairLoss::Binary,
        Pairing::Listwise => PairLoss::Listwise,
    };
    let collection = arguments.data.as_ref().map(|data| work.collection(data)).transpose()?;
    let how = JudgeSettings { training: settings, loss, seed: arguments.seed };
    let held = collection.as_ref().zip(arguments.split.as_deref());
    let trained = judge::train_judge(work, (base, &arguments.instances), how, held)?;
    chain::publish_folder(&trained.folder, &arguments.out)?;
    let mut provenance = Provenance::new(
        "train",
        json!({"task": "cross-encoder", "loss": loss, "train": settings, "seed": arguments.seed, "split": arguments.split}),
    )
    .input("encoder", CrossEncoder::digest(base).map_err(ExperimentError::from)?)
    .input("instances", Digest::of_file(&arguments.instances)?);
    provenance.counts = json!({"training": trained.summary, "judgement": trained.judgement});
    provenance.write_beside(&arguments.out)?;
    for line in trained.judgement.iter().flat_map(Judgement::lines) {
        work.watch.note(&line);
    }
    if trained.judgement.is_none() {
        work.watch.note("not measured: --data and --split say on what");
    }
    Ok(())
}
