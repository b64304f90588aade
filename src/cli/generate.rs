//! `nearmiss generate negatives`: passages a local model writes for the queries of a split, as candidates.

use super::arguments::Data;
use super::commands::find_encoder;
use super::tune::EngineArguments;
use crate::data::{Candidate, Passage};
use crate::data::{Collection, Digest, Provenance, QueryId, Seed, jsonl};
use crate::encode::{BiEncoder, Computing, CrossEncoder};
use crate::experiment::ExperimentError;
use crate::experiment::generate::{self, Written};
use crate::experiment::stages::Workplace;
use crate::generate::Sampling;
use crate::negatives::Task;
use crate::negatives::written::conversation::INPUTS;
use crate::negatives::written::{Band, Brief, Meter, Target, ThisStart, WrittenSettings};
use crate::text::prompt::{PromptFile, Writes};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How replies are drawn and judged.
#[derive(Debug, Args)]
pub(super) struct WritingArguments {
    /// Pool of attributes that the prompt draws from.
    #[arg(long, default_value = "general")]
    pub attributes: String,
    /// Positions of the prompt's switches.
    #[arg(long, value_delimiter = ',', value_name = "NAME=POSITION")]
    pub switches: Vec<String>,
    /// Replies a request may take: each after the first is told what was wrong. [default: the prompt's, else 2]
    #[arg(long)]
    pub attempts: Option<u32>,
    /// Randomness of the draws; 0 takes the likeliest token. [default: the prompt's, else 0.8]
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Most tokens of a reply.
    #[arg(long, default_value_t = 1024)]
    pub max_tokens: u32,
    /// Seed of the draws.
    #[arg(long, default_value_t = Seed(1))]
    pub seed: Seed,
}

impl WritingArguments {
    pub fn settings(&self, prompt: &str, count: u32) -> Result<WrittenSettings> {
        Ok(WrittenSettings {
            prompt: prompt.to_owned(),
            attributes: self.attributes.clone(),
            switches: switches(&self.switches)?,
            num_negatives: count,
            attempts: self.attempts,
            max_tokens: self.max_tokens,
            sampling: self.temperature.map(Sampling::with_temperature).transpose()?,
            seed: self.seed,
            ..WrittenSettings::default()
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct GenerateNegatives {
    #[command(flatten)]
    pub data: Data,
    /// The model.
    #[arg(long, value_name = "FILE.gguf")]
    pub generator: PathBuf,
    /// Prompt: a name from `nearmiss prompt list`, or a TOML file.
    #[arg(long, default_value = "plain")]
    pub prompt: String,
    /// Negatives per query.
    #[arg(long, default_value_t = 5)]
    pub num_negatives: u32,
    #[command(flatten)]
    pub writing: WritingArguments,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// Mined candidates: shown to prompts that ask for neighbours; `--encoder` and `--cross-encoder` learn from them
    /// how near to its query a negative lies.
    #[arg(long, value_name = "FILE.jsonl")]
    pub mined: Option<PathBuf>,
    /// Encoder folder or name: negatives whose cosine is outside the mined ones' band are sent back.
    #[arg(long, value_name = "DIR", requires = "mined")]
    pub encoder: Option<PathBuf>,
    /// Cross-encoder folder or name: the same for its relevance.
    #[arg(long, value_name = "DIR", requires = "mined")]
    pub cross_encoder: Option<PathBuf>,
    /// The candidates to write.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

/// `wrong_answers=allow` as a map.
pub(super) fn switches(given: &[String]) -> Result<BTreeMap<String, String>> {
    let parted = given.iter().map(|pair| match pair.split_once('=') {
        Some((name, position)) => Ok((name.to_owned(), position.to_owned())),
        None => bail!("--switches: expected NAME=POSITION, found {pair}"),
    });
    parted.collect()
}

/// The texts of mined candidates by query, in the order of the file; none without one.
pub(super) fn neighbours(mined: Option<&Path>, collection: &Collection) -> Result<HashMap<QueryId, Vec<String>>> {
    let mut texts: HashMap<QueryId, Vec<String>> = HashMap::new();
    let Some(path) = mined else { return Ok(texts) };
    for candidate in jsonl::read::<Candidate>(path)? {
        let text = match (&candidate.text, &candidate.passage) {
            (Some(text), _) => text.clone(),
            (None, Passage::Corpus(id)) => {
                crate::data::collection::require_document(&collection.corpus, id.as_str(), path)?.content()
            }
            (None, Passage::Written(id)) => bail!("{}: the written passage {id} has no text", path.display()),
        };
        texts.entry(candidate.query).or_default().push(text);
    }
    Ok(texts)
}

/// The band that `meter` gives the mined negatives of `tasks`.
fn target(
    meter: Arc<dyn Meter>,
    model: Value,
    tasks: &[Task],
    mined: &HashMap<QueryId, Vec<String>>,
) -> Result<Target> {
    let mined = tasks.iter().filter_map(|task| Some((task.query.text.as_str(), mined.get(&task.query.id)?.as_slice())));
    Target::learn(meter, model, mined).context("--mined")
}

fn targets(
    work: &Workplace<'_>,
    arguments: &GenerateNegatives,
    tasks: &[Task],
    mined: &HashMap<QueryId, Vec<String>>,
) -> Result<Arc<[Target]>> {
    let mut targets = Vec::new();
    let computing = Computing { precision: work.precision, ..Computing::of(&work.device) };
    if let Some(name) = &arguments.encoder {
        let folder = find_encoder(name)?;
        let encoder = BiEncoder::open_with(&folder, &work.device, computing).map_err(ExperimentError::from)?;
        let model = json!(BiEncoder::digest(&folder).map_err(ExperimentError::from)?);
        targets.push(target(Arc::new(encoder), model, tasks, mined)?);
    }
    if let Some(name) = &arguments.cross_encoder {
        let folder = find_encoder(name)?;
        let encoder = CrossEncoder::open(&folder, &work.device, computing).map_err(ExperimentError::from)?;
        if encoder.labels().len() > 1 {
            bail!("--cross-encoder: expected one label, found {}", encoder.labels().join(", "));
        }
        let model = json!(CrossEncoder::digest(&folder).map_err(ExperimentError::from)?);
        targets.push(target(Arc::new(encoder), model, tasks, mined)?);
    }
    for target in &targets {
        let (measure, Band { least, most }) = (target.meter.measure(), target.band);
        work.watch.note(&format!("{measure} of mined negatives: {least:.3} to {most:.3}"));
    }
    Ok(targets.into())
}

/// Writes negatives, then the candidates with their provenance.
pub(super) fn run(work: &Workplace<'_>, arguments: &GenerateNegatives) -> Result<()> {
    let collection = work.collection(&arguments.data.data)?;
    let tasks = Task::all(&collection, &collection.qrels(&arguments.data.split)?)?;
    let settings = arguments.writing.settings(&arguments.prompt, arguments.num_negatives)?;
    let prompt = PromptFile::find(&settings.prompt, INPUTS)?;
    if prompt.reply.writes != Writes::Negatives {
        bail!("--prompt {}: it writes queries\n  hint: use `nearmiss generate queries`", prompt.name);
    }
    let mined = neighbours(arguments.mined.as_deref(), &collection)?;
    if mined.is_empty() && prompt.inputs.iter().any(|input| input == "neighbours") {
        bail!("--prompt {}: it shows mined neighbours\n  hint: give candidates with --mined", prompt.name);
    }
    let brief =
        Brief { targets: targets(work, arguments, &tasks, &mined)?, neighbours: mined, ..Brief::new(&settings) };
    let engine = arguments.engine.settings()?;
    let begun = Instant::now();
    let written = generate::write(work, &arguments.generator, &tasks, &brief, &engine)?;
    let took = begun.elapsed().as_secs_f64();
    jsonl::write(&arguments.out, &written.candidates)?;
    let mut provenance =
        Provenance::new("generate", json!({"written": settings, "engine": engine, "split": arguments.data.split}))
            .input("corpus", collection.corpus_digest()?)
            .input("split", collection.split_digest(&arguments.data.split)?)
            .input("generator", Digest::of_file(&arguments.generator)?);
    if let Some(path) = &arguments.mined {
        provenance = provenance.input("mined", Digest::of_file(path)?);
    }
    provenance.counts = serde_json::to_value(&written.summary)?;
    provenance.write_beside(&arguments.out)?;
    tell(work, (&written, &brief), took);
    work.watch.note(&format!("{}: {} candidates", arguments.out.display(), written.candidates.len()));
    Ok(())
}

/// The summary, and how fast this start was.
pub(super) fn tell(work: &Workplace<'_>, (written, brief): (&Written, &Brief<'_>), seconds: f64) {
    work.watch.note(&written.summary.to_string());
    let ThisStart { requests, tokens_out: tokens } = brief.this_start.get();
    if requests > 0 {
        work.watch.note(&format!(
            "this start: {requests} requests in {seconds:.1} s, {:.1} a minute, {:.0} tokens written a second",
            requests as f64 / seconds * 60.0,
            tokens as f64 / seconds
        ));
    }
}
