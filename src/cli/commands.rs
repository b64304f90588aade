//! What each command does: opens what it names, calls the stage, writes or prints the result.

use super::arguments::{self, Arguments, Command, Generate, PromptArguments};
use super::bm25;
use super::progress::Terminal;
use super::{Verdict, import, inspect};
use crate::data::{Provenance, Store};
use crate::encode::{FreshEncoder, device};
use crate::experiment::recipe::TRAIN;
use crate::experiment::stages::{OpenEncoder, Workplace};
use crate::experiment::{ExperimentError, Recipe, chain};
use crate::model::ModelPlaces;
use crate::report::table::table;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The user asked to stop; what is finished is kept.
#[derive(Debug, thiserror::Error)]
#[error("stopped; run the same command again to go on")]
pub(super) struct Stopped;

/// Carries out a command line.
pub(super) fn dispatch(arguments: Arguments) -> Result<Verdict> {
    let watch = Terminal::new().context("cannot watch for Ctrl-C")?;
    let (device, device_name) = device::open(arguments.device.into()).context("cannot open the device")?;
    let work = Workplace {
        store: Store::new(&arguments.store),
        device,
        device_name,
        precision: arguments.precision.into(),
        watch: &watch,
        skip_bad_lines: arguments.skip_bad_lines,
        storage: arguments.vectors.into(),
        max_truncated: arguments.max_truncated,
    };
    // Commands that only read, or write one named file, need no store.
    let uses_store = !matches!(
        arguments.command,
        Command::Inspect(_)
            | Command::Import(_)
            | Command::Eval(_)
            | Command::Mix(_)
            | Command::Export(_)
            | Command::Prompt(_)
            | Command::NewEncoder(_)
    );
    #[cfg(feature = "pull")]
    let uses_store = uses_store && !matches!(arguments.command, Command::Pull(_));
    let _lock = uses_store.then(|| work.store.lock()).transpose()?;
    let mut verdict = Verdict::Passed;
    let result = match arguments.command {
        Command::Inspect(look) => inspect::run(&work, &look).map(|found| verdict = found),
        Command::Import(forms) => import::run(&work, &forms),
        Command::Run(run) => run_recipe(&work, run),
        Command::Search(search) => super::search::run(&work, &search),
        Command::Index(index) => bm25::index(&work, &index),
        Command::Explain(explain) => bm25::explain(&work, &explain),
        Command::Mine(mine) => super::mine::run(&work, &mine),
        Command::Score(score) => super::score::run(&work, &score),
        Command::Filter(filter) => super::filter::run(&work, &filter),
        Command::Why(why) => super::why::run(&work, &why),
        Command::Generate(Generate::Negatives(generate)) => super::generate::run(&work, &generate),
        Command::Generate(Generate::Queries(generate)) => super::queries::run(&work, &generate),
        Command::Prompt(prompt) => super::prompt::run(&work, &prompt),
        Command::Tune(tune) => super::tune::run(&work, &tune),
        Command::Mix(mix) => super::mix::run(&work, &mix),
        Command::Export(export) => super::export::run(&work, &export),
        Command::Train(train) => super::train::run(&work, &train),
        Command::Eval(eval) => super::eval::run(&work, &eval),
        Command::Rerank(rerank) => super::rerank::rerank(&work, &rerank),
        Command::Encode(arguments) => super::encode::encode(&work, &arguments),
        Command::NewEncoder(new) => new_encoder(&work, &new),
        #[cfg(feature = "pull")]
        Command::Pull(pull) => super::pull::run(&watch, &pull),
    };
    crate::data::Watch::end(&watch);
    let stopped = |error: &anyhow::Error| {
        error.downcast_ref::<ExperimentError>().is_some_and(ExperimentError::is_stop)
            || matches!(error.downcast_ref(), Some(crate::data::Error::Stopped))
    };
    result.map(|()| verdict).map_err(|error| if stopped(&error) { Stopped.into() } else { error })
}

/// Bundled models stand beside the current folder; the cache is where the Hugging Face tools keep it.
pub(super) fn model_places() -> ModelPlaces {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let home = variable("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
    let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    let hub_cache = named.or_else(|| Some(home?.join("hub")));
    ModelPlaces { bundled: Some(PathBuf::from("models")), hub_cache }
}

pub(super) fn find_encoder(name: &Path) -> Result<PathBuf, ExperimentError> {
    Ok(model_places().encoder(name).map_err(crate::data::Error::from)?)
}

pub(super) fn open_encoder(
    work: &Workplace<'_>,
    name: Option<&Path>,
    prompts: &PromptArguments,
) -> Result<Option<OpenEncoder>, ExperimentError> {
    let open = |name| {
        let encoder = OpenEncoder::open(&find_encoder(name)?, work)?;
        Ok(encoder.pooled(prompts.pooling, work).prompted(&prompts.prompts()))
    };
    name.map(open).transpose()
}

fn run_recipe(work: &Workplace<'_>, arguments: arguments::Run) -> Result<()> {
    let mut recipe = Recipe::read(&arguments.recipe)?;
    if let Some(data) = arguments.data {
        recipe.data = data;
    }
    if let Some(encoder) = arguments.encoder {
        recipe.encoder = encoder;
    }
    if let Some(generator) = arguments.generator {
        recipe.generator = Some(generator);
    }
    if let Some(seeds) = arguments.seeds {
        recipe.seeds = seeds;
    }
    recipe.check(&arguments.recipe)?;
    let gauge = if arguments.force { chain::GaugeChoice::Force } else { chain::GaugeChoice::Obey };
    let out = arguments.out.unwrap_or_else(|| Path::new("runs").join(&recipe.name));
    let encoder = find_encoder(&recipe.encoder)?;
    let guide = recipe.guide.as_deref().map(find_encoder).transpose()?;
    let teacher = recipe.teacher.as_deref().map(find_encoder).transpose()?;
    let judge = recipe.judge.as_deref().filter(|name| *name != Path::new(TRAIN)).map(find_encoder).transpose()?;
    let places = chain::Places {
        encoder: &encoder,
        teacher: teacher.as_deref(),
        guide: guide.as_deref(),
        judge: judge.as_deref(),
        out: &out,
        gauge,
    };
    let outcome = chain::run(work, &recipe, &places)?;
    let text = table(&outcome);
    print(&text)?;
    work.watch.note(&format!(
        "written: {}",
        ["table.json", "report.html", "runs/", "encoders/"].map(|name| out.join(name).display().to_string()).join(", ")
    ));
    Ok(())
}

fn new_encoder(work: &Workplace<'_>, arguments: &arguments::NewEncoder) -> Result<()> {
    let collection = work.collection(&arguments.data)?;
    if !arguments.width.is_multiple_of(32) || arguments.width == 0 {
        bail!("--width: expected a multiple of 32, found {}", arguments.width);
    }
    let mut texts = collection.corpus.contents()?;
    // Only training queries: the vocabulary must not see the test queries.
    if collection.splits().iter().any(|split| split == "train") {
        let qrels = collection.qrels("train")?;
        texts.extend(qrels.iter().filter_map(|(id, _)| Some(collection.queries.get(id.as_str())?.text.clone())));
    }
    let fresh = FreshEncoder {
        vocabulary: arguments.vocabulary,
        width: arguments.width,
        layers: arguments.layers,
        max_length: arguments.max_length,
        seed: arguments.seed,
    };
    fresh.write(&texts, &arguments.out).map_err(ExperimentError::from)?;
    Provenance::new("new-encoder", serde_json::to_value(&fresh)?)
        .input("corpus", collection.corpus_digest()?)
        .write_beside(&arguments.out)?;
    work.watch.note(&format!(
        "{}: an untrained encoder of width {} and {} layers",
        arguments.out.display(),
        fresh.width,
        fresh.layers
    ));
    Ok(())
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Data on stdout; a reader that has gone away (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to stdout"),
    }
}
