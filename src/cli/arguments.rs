//! Every command with its arguments, as the user sees them in `--help`.

use super::bm25::{Explain, Index};
use super::dense::StorageName;
use super::import::Import;
use super::inspect::Inspect;
use super::tune::Tune;
use crate::data::Seed;
use crate::encode::Prompts;
use crate::encode::device::DeviceChoice;
use crate::encode::pooling::Pooling;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Makes hard negatives, trains a dense retriever on them, and shows whether they helped. Works offline.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(super) struct Arguments {
    /// Folder that keeps the outputs of stages by content, so that nothing is computed twice.
    #[arg(long, global = true, default_value = "runs/store", value_name = "DIR")]
    pub store: PathBuf,
    /// Where tensors live.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub device: Device,
    /// What encoders multiply when they embed, and in `train`; a recipe's [train] has a `precision` of its own.
    #[arg(long, global = true, value_enum, default_value = "f32")]
    pub precision: Precision,
    /// Bad lines passed over in each file of a collection; they go to <file>.rejected.jsonl beside it.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub skip_bad_lines: u64,
    /// How vectors of passages are stored.
    #[arg(long, global = true, value_enum, default_value = "f32")]
    pub vectors: StorageName,
    /// Share of texts that may be cut at the encoder's maximal length, in each stage; more is an error.
    #[arg(long, global = true, value_name = "PERCENT", value_parser = percent)]
    pub max_truncated: Option<f64>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Precision {
    /// 32-bit floats.
    F32,
    /// Rounded to 8 bits of mantissa, summed in f32: faster on processors that multiply bf16. CPU only.
    Bf16,
}

impl From<Precision> for crate::encode::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Device {
    /// The accelerator this build knows and the machine has, else the CPU.
    Auto,
    Cpu,
    Cuda,
    Metal,
}

impl From<Device> for DeviceChoice {
    fn from(device: Device) -> Self {
        match device {
            Device::Auto => Self::Auto,
            Device::Cpu => Self::Cpu,
            Device::Cuda => Self::Cuda,
            Device::Metal => Self::Metal,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what is in a collection and what is wrong with it; exit 1 when something is.
    Inspect(Inspect),
    /// Turn MS MARCO or TREC files into a BEIR folder.
    Import(Import),
    /// Run an experiment file from the collection to the table.
    Run(Run),
    /// Build the BM25 index of a corpus, so that searches find it ready.
    Index(Index),
    /// Find passages for the queries of a split; writes a TREC run.
    Search(Box<super::search::Search>),
    /// Take the BM25 score of one passage for one query apart.
    Explain(Explain),
    /// Mine negatives from the corpus; writes candidates.
    Mine(Box<super::mine::Mine>),
    /// Fill in the scores of candidates and of the judged positives.
    Score(Box<super::score::Score>),
    /// Drop candidates by rules; writes those that stay, and the ledger.
    Filter(Box<super::filter::Filter>),
    /// Show what became of a query's candidates, and why.
    Why(Box<super::why::Why>),
    /// Let a local model write.
    #[command(subcommand)]
    Generate(Generate),
    /// Find the fastest settings of a generator on this machine, in a few seconds, and keep them.
    Tune(Tune),
    /// List prompts, or show what a model is given.
    #[command(subcommand)]
    Prompt(super::prompt::Prompt),
    /// Make training instances from candidates.
    Mix(super::mix::Mix),
    /// Write instances in the form of another trainer.
    Export(super::export::Export),
    /// Train an encoder on instances; writes a sentence-transformers folder.
    Train(Box<super::train::Train>),
    /// Score TREC runs by judgements; compare them.
    Eval(Box<super::eval::Eval>),
    /// Order the passages of a run anew by a cross-encoder.
    Rerank(Box<super::rerank::Rerank>),
    /// Turn the texts of a collection into vectors.
    Encode(super::encode::Encode),
    /// Make an untrained encoder with a vocabulary from a corpus.
    NewEncoder(NewEncoder),
    /// Fetch a model from a Hugging Face hub into the cache; the only command that uses the network.
    #[cfg(feature = "pull")]
    Pull(super::pull::Pull),
}

/// The collection and its split.
#[derive(Debug, Args)]
pub(super) struct Data {
    /// BEIR folder (corpus.jsonl, queries.jsonl, qrels/).
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Split whose judged queries are used.
    #[arg(long)]
    pub split: String,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Experiment file (TOML).
    pub recipe: PathBuf,
    /// BEIR folder, instead of the recipe's.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Encoder folder or name, instead of the recipe's.
    #[arg(long, value_name = "DIR")]
    pub encoder: Option<PathBuf>,
    /// Generator, instead of the recipe's.
    #[arg(long, value_name = "FILE.gguf")]
    pub generator: Option<PathBuf>,
    /// Seeds, instead of the recipe's: 1,2,3.
    #[arg(long, value_delimiter = ',', value_name = "N,N")]
    pub seeds: Option<Vec<Seed>>,
    /// Run written arms even with a generator that is measured to be unable to write; their rows say so.
    #[arg(long)]
    pub force: bool,
    /// Folder for table.json, report.html, runs/ and encoders/. [default: runs/<name of the recipe>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What is put before texts, in place of what the encoder's folder says.
#[derive(Debug, Args)]
pub(super) struct PromptArguments {
    /// Put before every query, as "query: " for E5. [default: the encoder's own, often none]
    #[arg(long, value_name = "TEXT")]
    pub query_prompt: Option<String>,
    /// Put before every passage. [default: the encoder's own, often none]
    #[arg(long, value_name = "TEXT")]
    pub document_prompt: Option<String>,
    /// How token vectors become one: cls, mean, max, `mean_sqrt_len_tokens`, weightedmean or lasttoken. [default: what the
    /// encoder's folder says, or what is known of its kind]
    #[arg(long, value_name = "KIND", value_parser = pooling)]
    pub pooling: Option<Pooling>,
}

fn pooling(text: &str) -> Result<Pooling, String> {
    let known = Pooling::NAMES.iter().find(|(_, old, new)| text == *old || text == *new);
    let names = || Pooling::NAMES.map(|(.., name)| name).join(", ");
    known.map(|(pooling, ..)| *pooling).ok_or_else(|| format!("expected one of: {}", names()))
}

impl PromptArguments {
    pub fn prompts(&self) -> Prompts {
        Prompts { query: self.query_prompt.clone(), document: self.document_prompt.clone() }
    }
}

/// A share from "1%" or "0.5%".
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number.filter(|number| (0.0..=100.0).contains(number)) {
        Some(number) => Ok(number / 100.0),
        None => Err("expected a percentage such as 1% or 0.5%".to_owned()),
    }
}

/// A count that cannot be 0.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "expected a whole number from 1".to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum Generate {
    /// Write passages that look like an answer and are not; writes candidates.
    Negatives(Box<super::generate::GenerateNegatives>),
    /// Write queries for passages, kept when a search finds the passage; writes a BEIR folder.
    Queries(Box<super::queries::GenerateQueries>),
}

#[derive(Debug, Args)]
pub(super) struct NewEncoder {
    /// BEIR folder whose corpus and queries give the vocabulary.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for the encoder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Largest vocabulary.
    #[arg(long, default_value_t = 8000)]
    pub vocabulary: usize,
    /// Width of the vectors, a multiple of 32.
    #[arg(long, default_value_t = 128)]
    pub width: usize,
    /// Layers.
    #[arg(long, default_value_t = 2)]
    pub layers: usize,
    /// Longest text in tokens.
    #[arg(long, default_value_t = 128)]
    pub max_length: usize,
    /// Seed of the weights.
    #[arg(long, default_value_t = Seed(1))]
    pub seed: Seed,
}
