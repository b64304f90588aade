//! The whole line for one recipe: candidates of every source, instances of every arm, an encoder for every arm
//! and seed, its scores beside the un-tuned encoder's, and the outcome as table, JSON and page.

use super::mining::Models;
use super::pools::{self, ArmPool};
use super::recipe::{ArmRecipe, Recipe};
use super::relevance::Standing;
use super::stages::{self, EvalStage, OpenEncoder, Workplace};
use super::training::{self, Training};
use super::{ExperimentError, Result, generate, writing};
use crate::analyse::Summary;
use crate::data::{Candidate, Collection, Error, Instance, Provenance, atomic, jsonl};
use crate::eval::Evaluation;
use crate::filter::Waterfall;
use crate::mix::{Arm, Mix, Shortfall, common_queries, instances};
use crate::negatives::written::Brief;
use crate::negatives::{Entry, Task, written};
use crate::report::{ArmOutcome, Example, LeftOut, Outcome, page};
use crate::train::{Order, TrainSettings};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a recipe needs from outside: where the encoder was found, and where results go.
pub struct Places<'p> {
    /// Folder of the encoder.
    pub encoder: &'p Path,
    /// Folder of the teacher, where the recipe names one.
    pub teacher: Option<&'p Path>,
    /// Folder of the guide, where the recipe names one.
    pub guide: Option<&'p Path>,
    /// Folder of the judge, where the recipe names one that is not trained.
    pub judge: Option<&'p Path>,
    /// Folder of the outcome.
    pub out: &'p Path,
    /// What a gauge that speaks against the generator, or a low AUC of the judge, means.
    pub gauge: GaugeChoice,
}

/// What follows when a generator is measured to be unable to write, or a judge to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaugeChoice {
    /// Its arms are left out.
    Obey,
    /// They run, and everything that comes of them says so.
    Force,
}

/// Runs `recipe` and writes `table.json`, `report.html`, `runs/` and `encoders/` into the outcome's folder.
///
/// # Errors
/// [`ExperimentError`]; what stages finished stays in the store, and the same call goes on from there.
pub fn run(work: &Workplace<'_>, recipe: &Recipe, places: &Places<'_>) -> Result<Outcome> {
    let collection = work.collection(&recipe.data)?;
    let tasks = Task::all(&collection, &collection.qrels(&recipe.train_split)?)?;
    if let (Some(generator), true) = (&recipe.generator, generate::available()) {
        // A file that will be refused is refused before hours of work.
        crate::model::Gguf::open(generator)?;
    }
    let encoder = OpenEncoder::open(places.encoder, work)?;
    let mut remarks = Vec::new();
    let brief = writing::brief(work, recipe, places, (&collection, &encoder), &tasks)?;
    let judge = pools::judge(work, recipe, (&collection, &encoder), (places.encoder, places.judge), &tasks)?;
    if let Some(judge) = &judge {
        tell(work, &mut remarks, judge.standing.line());
    }
    let judged = writing::judge(work, (recipe, places.gauge), &collection, (&tasks, brief), &mut remarks)?;
    let (arms, left_out) = arms_that_run((recipe, places.gauge), &judged, judge.as_ref().map(|judge| &judge.standing));
    for left in &left_out {
        work.watch.note(&format!("left out: {} ({})", left.name, left.reason));
    }

    let evaluation = EvalStage { depth: recipe.depth, metrics: recipe.metrics.clone() };
    let untuned = stages::score(work, &encoder, &collection, &recipe.test_split, &evaluation)?;
    work.watch.note(&format!("un-tuned: {}", means(&untuned.evaluation)));

    let brief = judged.unwrap_or_default();
    let models = Models { encoder: Some(&encoder), judge: judge.as_ref(), choice: places.gauge };
    let candidates = propose(work, (recipe, &brief), (&collection, models), (&tasks, &arms), &mut remarks)?;
    let pools = pools::pools(work, recipe, (&collection, models), (&tasks, &arms), candidates)?;
    let prepared =
        prepare(work, recipe, (&collection, &tasks), arms.iter().copied().zip(pools).collect(), &mut remarks)?;
    let standing = judge.map(|judge| judge.standing);
    drop(encoder);

    let mut outcomes = Vec::new();
    for arm in &prepared.arms {
        outcomes.push(train_arm(
            work,
            (recipe, &note(recipe, &arm.arm, brief.forced.as_deref(), standing.as_ref())),
            (&collection, places),
            arm,
            (&evaluation, &untuned.evaluation),
        )?);
    }
    let outcome = Outcome {
        name: recipe.name.clone(),
        collection: format!("{} ({})", collection_name(&recipe.data), recipe.test_split),
        test_queries: untuned.evaluation.queries,
        instances: prepared.instances,
        negatives: arms.first().map_or(0, |arm| arm.count()),
        seeds: recipe.seeds.iter().map(|seed| seed.0).collect(),
        metrics: recipe.metrics.iter().map(ToString::to_string).collect(),
        untuned: recipe.metrics.iter().map(|m| (m.to_string(), untuned.evaluation.mean[m])).collect(),
        arms: outcomes,
        left_out,
        remarks,
        examples: prepared.examples,
        provenance: provenance(work, recipe, (&collection, places), standing.as_ref())?,
    };
    publish_run(&untuned.run, &places.out.join("runs/un-tuned.trec"))?;
    stages::write_json(&places.out.join("table.json"), &outcome)?;
    outcome.provenance.write_beside(&places.out.join("table.json"))?;
    let html = page::page(&outcome);
    let path = places.out.join("report.html");
    atomic::write_file(&path, |out| out.write_all(html.as_bytes()).map_err(Error::io("write", &path)))?;
    Ok(outcome)
}

fn arms_that_run<'r>(
    (recipe, choice): (&'r Recipe, GaugeChoice),
    judged: &Result<Brief<'_>, String>,
    judge: Option<&Standing>,
) -> (Vec<&'r ArmRecipe>, Vec<LeftOut>) {
    let reason = |arm: &ArmRecipe| {
        let unwritten = judged.as_ref().err().filter(|_| arm.is_written()).cloned();
        unwritten.or_else(|| {
            let weak = pools::too_weak(recipe, arm, judge).filter(|_| choice == GaugeChoice::Obey)?;
            Some(format!("not run: {weak}; --force runs it all the same"))
        })
    };
    let (mut run, mut left) = (Vec::new(), Vec::new());
    for arm in &recipe.arms {
        match reason(arm) {
            Some(reason) => left.push(LeftOut { name: arm.name.clone(), reason }),
            None => run.push(arm),
        }
    }
    (run, left)
}

/// What was overruled for `arm`, and what else its reader must know.
fn note(recipe: &Recipe, arm: &ArmRecipe, generator: Option<&str>, judge: Option<&Standing>) -> String {
    let weak = pools::too_weak(recipe, arm, judge).map(|reason| format!("forced: {reason}"));
    let written = arm.is_written().then(|| writing::note(recipe, generator)).filter(|note| !note.is_empty());
    weak.into_iter().chain(written).collect::<Vec<_>>().join("; ")
}

/// Candidates of every source that the arms use.
fn propose(
    work: &Workplace<'_>,
    (recipe, brief): (&Recipe, &Brief<'_>),
    (collection, models): (&Collection, Models<'_>),
    (tasks, arms): (&[Task], &[&ArmRecipe]),
    remarks: &mut Vec<String>,
) -> Result<Vec<Candidate>> {
    let mut all = Vec::new();
    for source in pools::sources(arms) {
        if source == written::SOURCE {
            let Some(generator) = &recipe.generator else { continue };
            let written = generate::write(work, generator, tasks, brief, &recipe.engine)?;
            tell(work, remarks, format!("written: {}", written.summary));
            all.extend(written.candidates);
            continue;
        }
        let mined = writing::mine(work, recipe, collection, models, (tasks, source))?;
        let report = &mined.counts.report;
        let drops: Vec<String> = report
            .waterfall
            .dropped
            .iter()
            .filter(|d| d.count > 0)
            .map(|d| format!("{} {}", d.count, d.rule))
            .collect();
        let mut line = format!("{source}: {} candidates for {} queries", report.proposed, report.queries);
        if !drops.is_empty() {
            line += &format!("; dropped: {}", drops.join(", "));
        }
        if !report.short.is_empty() {
            line += &format!("; {} queries got fewer than asked", report.short.len());
        }
        if let Some(recall) = mined.counts.recall {
            line += &format!("; {recall}");
        }
        tell(work, remarks, line);
        all.extend(mined.candidates()?);
    }
    Ok(all)
}

/// The arms with their instances on disk.
struct Prepared {
    arms: Vec<PreparedArm>,
    instances: usize,
    examples: Vec<Example>,
}

struct PreparedArm {
    arm: ArmRecipe,
    file: PathBuf,
    /// How it is trained: a mix that changes over training takes one epoch in its own order.
    train: TrainSettings,
    /// What each rule dropped, by source.
    filtered: BTreeMap<String, Waterfall>,
    /// All candidates that its filters saw.
    ledger: Vec<Entry>,
}

fn prepare(
    work: &Workplace<'_>,
    recipe: &Recipe,
    (collection, tasks): (&Collection, &[Task]),
    own: Vec<(&ArmRecipe, ArmPool)>,
    remarks: &mut Vec<String>,
) -> Result<Prepared> {
    // The seeds of an arm share its negatives.
    let mix = |arm: &ArmRecipe| arm.mix(recipe.seeds[0], recipe.train.epochs).map_err(ExperimentError::arm);
    let mixes: Vec<Mix> = own.iter().map(|(arm, _)| mix(arm)).collect::<Result<_>>()?;
    let of_mixes = own.iter().zip(&mixes);
    let arms: Vec<Arm<'_>> = of_mixes
        .map(|((arm, own), mix)| Arm { name: &arm.name, mix, pool: &own.pool, short: Shortfall::Drop })
        .collect();
    let common = common_queries(tasks.iter().map(|task| &task.query.id), &arms)?;
    let mut short: BTreeMap<&str, usize> = BTreeMap::new();
    for shortage in common.dropped.values().flatten() {
        *short.entry(shortage.arm.as_str()).or_default() += 1;
    }
    let reasons: Vec<String> = short.iter().map(|(arm, count)| format!("{count} short in {arm}")).collect();
    if common.queries.is_empty() {
        return Err(ExperimentError::NoCommonQuery(reasons.join(", ")));
    }
    if !common.dropped.is_empty() {
        let line = format!(
            "{} of {} training queries are left out of every arm: {}",
            common.dropped.len(),
            tasks.len(),
            reasons.join(", ")
        );
        tell(work, remarks, line);
    }
    let mut prepared = Prepared { arms: Vec::new(), instances: 0, examples: Vec::new() };
    let mut files = Vec::new();
    for (arm, (told, _)) in arms.iter().zip(&own) {
        let records = instances(tasks, arm, &common.queries, recipe.positives, &collection.corpus)?;
        let text: Vec<String> =
            records.iter().map(|record| serde_json::to_string(record).unwrap_or_default()).collect();
        let digest = crate::data::Digest::of_bytes(text.join("\n").as_bytes());
        let stage =
            Provenance::new("mix", json!({"arm": told, "positives": recipe.positives})).input("instances", digest);
        let stored = work.store.get_or_make(stage, |folder, _| jsonl::write(&folder.join("train.jsonl"), &records))?;
        prepared.instances = records.len() / arm.mix.course().map_or(1, |course| course.passes);
        add_examples(&mut prepared.examples, &records);
        files.push(stored.file("train.jsonl"));
    }
    for (((arm, own), mix), file) in own.into_iter().zip(&mixes).zip(files) {
        let train = match mix.course() {
            Some(_) => TrainSettings { epochs: 1, order: Order::File, ..recipe.train.clone() },
            None => recipe.train.clone(),
        };
        let (filtered, ledger) = (own.waterfalls, own.ledger);
        prepared.arms.push(PreparedArm { arm: arm.clone(), file, train, filtered, ledger });
    }
    Ok(prepared)
}

/// The first three queries, with one negative of each source seen so far.
fn add_examples(examples: &mut Vec<Example>, records: &[Instance]) {
    for record in records {
        let place = examples.iter().position(|example| example.query == record.query).unwrap_or_else(|| {
            let positive = record.positive.text.clone();
            examples.push(Example { query: record.query.clone(), positive, negatives: Vec::new() });
            examples.len() - 1
        });
        if place == 3 {
            examples.pop();
            return;
        }
        for negative in &record.negatives {
            let offered = &mut examples[place].negatives;
            if !offered.iter().any(|(source, _)| *source == negative.source) {
                offered.push((negative.source.clone(), negative.text.clone()));
            }
        }
    }
}

fn train_arm(
    work: &Workplace<'_>,
    (recipe, note): (&Recipe, &str),
    (collection, places): (&Collection, &Places<'_>),
    prepared: &PreparedArm,
    (evaluation, untuned): (&EvalStage, &Evaluation),
) -> Result<ArmOutcome> {
    let arm = &prepared.arm;
    let mut outcome = ArmOutcome {
        name: arm.name.clone(),
        negatives: arm.describe(),
        scores: BTreeMap::new(),
        note: note.to_owned(),
        filtered: prepared.filtered.clone(),
        losses: Vec::new(),
        encoders: Vec::new(),
        runs: Vec::new(),
        training: Vec::new(),
    };
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    if !prepared.ledger.is_empty() {
        jsonl::write(&places.out.join(format!("ledgers/{}.ledger.jsonl", arm.name)), &prepared.ledger)?;
    }
    let taught = places.teacher.map(|teacher| training::teach(work, &prepared.file, teacher)).transpose()?;
    let file = taught.as_ref().unwrap_or(&prepared.file);
    for &seed in &recipe.seeds {
        work.watch.note(&format!("arm {}, seed {seed}", arm.name));
        let how = Training {
            settings: &prepared.train,
            seed,
            collection: Some((collection, &recipe.train_split)),
            guide: places.guide,
        };
        let trained = training::train(work, places.encoder, file, how)?;
        for line in trained.summary.lines() {
            work.watch.note(&format!("arm {}, seed {seed}: {line}", arm.name));
        }
        if trained.summary.curve.as_ref().is_some_and(|curve| !curve.improved()) {
            let end = if outcome.note.is_empty() { "" } else { "; " };
            outcome.note += &format!("{end}seed {seed}: no better than its base on held-out queries");
        }
        if outcome.losses.is_empty() {
            outcome.losses = trained.steps.iter().map(|step| step.loss).collect();
        }
        outcome.training.push(trained.summary);
        let encoder = OpenEncoder::open(&trained.folder, work)?;
        let scored = stages::score(work, &encoder, collection, &recipe.test_split, evaluation)?;
        work.watch.note(&format!("arm {}, seed {seed}: {}", arm.name, means(&scored.evaluation)));
        for metric in &recipe.metrics {
            values.entry(metric.to_string()).or_default().push(scored.evaluation.mean[metric]);
        }
        let name = format!("{}-seed{seed}", arm.name);
        let run = format!("runs/{name}.trec");
        publish_run(&scored.run, &places.out.join(&run))?;
        outcome.runs.push(run);
        let place = format!("encoders/{name}");
        publish_folder(&trained.folder, &places.out.join(&place))?;
        outcome.encoders.push(place);
    }
    for metric in &recipe.metrics {
        let name = metric.to_string();
        if let Some(of_seeds) = values.remove(&name) {
            outcome.scores.insert(name, Summary::new(of_seeds, untuned.mean[metric]));
        }
    }
    Ok(outcome)
}

fn means(evaluation: &Evaluation) -> String {
    evaluation.mean.iter().map(|(metric, value)| format!("{metric} {value:.4}")).collect::<Vec<_>>().join(", ")
}

fn tell(work: &Workplace<'_>, remarks: &mut Vec<String>, line: String) {
    work.watch.note(&line);
    remarks.push(line);
}

fn collection_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn provenance(
    work: &Workplace<'_>,
    recipe: &Recipe,
    (collection, places): (&Collection, &Places<'_>),
    judge: Option<&Standing>,
) -> Result<Provenance> {
    let mut settings = stages::to_json(recipe)?;
    if let Some(judge) = judge {
        settings["judges"] = json!([judge]);
    }
    settings["precision"] = stages::to_json(&work.precision)?;
    let mut provenance = Provenance::new("run", settings)
        .input("corpus", collection.corpus_digest()?)
        .input("train", collection.split_digest(&recipe.train_split)?)
        .input("test", collection.split_digest(&recipe.test_split)?)
        .input("encoder", crate::encode::BiEncoder::digest(places.encoder)?);
    if let Some(guide) = places.guide {
        provenance = provenance.input("guide", crate::encode::BiEncoder::digest(guide)?);
    }
    if let Some(teacher) = places.teacher {
        provenance = provenance.input("teacher", crate::encode::CrossEncoder::digest(teacher)?);
    }
    if let Some(generator) = &recipe.generator {
        provenance = provenance.input("generator", crate::data::Digest::of_file(generator)?);
    }
    Ok(provenance)
}

fn publish_run(from: &Path, to: &Path) -> Result<()> {
    let text = std::fs::read(from).map_err(Error::io("read", from))?;
    atomic::write_file(to, |out| out.write_all(&text).map_err(Error::io("write", to)))?;
    Ok(())
}

/// Puts a copy of a folder at `to`.
///
/// # Errors
/// [`ExperimentError::Data`].
pub fn publish_folder(from: &Path, to: &Path) -> Result<()> {
    atomic::write_folder(to, |folder| copy_folder(from, folder))?;
    Ok(())
}

/// Copies a folder's files and folders into the folder `to`, which is made when it is not there.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in std::fs::read_dir(from).map_err(Error::io("read", from))? {
        let path = entry.map_err(Error::io("read", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(Error::io("copy", &path))?;
        }
    }
    Ok(())
}
