//! The stages around training: a teacher's scores for the losses that distil, queries held out to look at the encoder
//! with, the run itself, and what is kept of it.

use super::stages::{Workplace, read_json, similarity, to_json, write_json};
use super::{ExperimentError, Result};
use crate::data::id_table::IdTable;
use crate::data::{Digest, Instance, Provenance, Qrels, QueryId, Run, Seed, Watch, atomic, jsonl};
use crate::encode::cross_encoder::{CrossEncoder, Scale};
use crate::encode::{BiEncoder, Computing, Role};
use crate::eval::{Dialect, Metric, Rules, evaluate};
use crate::retrieve::Exact;
use crate::train::card::{Card, TrainingSummary, card};
use crate::train::settings::Measure;
use crate::train::validation::{self, Better};
use crate::train::{StepRecord, TrainError, TrainSettings, Trainer, Validation, statistics};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A trained encoder in the store.
pub struct TrainedEncoder {
    /// Its sentence-transformers folder.
    pub folder: PathBuf,
    /// Loss, gradient norm, rate and weights of the sources, of every step.
    pub steps: Vec<StepRecord>,
    /// The same as an array file.
    pub statistics: PathBuf,
    /// What the run came to.
    pub summary: TrainingSummary,
}

/// Trains the encoder in `base` on `instances`; goes on at the last checkpoint after an interruption.
///
/// # Errors
/// [`ExperimentError::Train`], or a stop.
pub fn train(
    work: &Workplace<'_>,
    base: &Path,
    instances: &Path,
    settings: &TrainSettings,
    seed: Seed,
) -> Result<TrainedEncoder> {
    let stage = Provenance::new("train", json!({"train": settings, "seed": seed, "device": work.device_name}))
        .input("encoder", BiEncoder::digest(base)?)
        .input("instances", Digest::of_file(instances)?);
    let checkpoint = work.store.place(&stage).with_extension("checkpoint");
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        let all: Vec<Instance> = jsonl::read(instances)?;
        let mut encoder = BiEncoder::open(base, &work.device)?;
        let own = encoder.settings().max_length;
        if settings.max_length > 0 {
            encoder = encoder.shortened(settings.max_length)?;
        }
        let (used, held) = if settings.validation_share > 0.0 {
            validation::split(&all, settings.validation_share, seed)
        } else {
            (all.clone(), Vec::new())
        };
        let trainer = Trainer { settings, seed, checkpoint: checkpoint.clone() };
        let looks = HeldOut::new(&all, &held, settings);
        let value = || looks.value(&encoder, work.watch).map_err(wrapped);
        let better = if settings.validation == Measure::Loss { Better::Lower } else { Better::Higher };
        let validation = Validation { measure: looks.measure(), better, value: &value };
        let validation = (!held.is_empty()).then_some(&validation);
        let trained = trainer
            .train_validated(&encoder, &used, validation, work.watch)
            .map_err(|error| set_aside(error, &used, &checkpoint, work.watch))?;

        let summary = TrainingSummary::new(&used, looks.queries.len(), &trained);
        jsonl::write(&folder.join("steps.jsonl"), &trained.steps)?;
        statistics::write(&folder.join("statistics.safetensors"), &trained.steps)?;
        write_json(&folder.join("training.json"), &summary)?;
        provenance.counts = to_json(&summary)?;
        let place = folder.join("encoder");
        std::fs::create_dir_all(&place).map_err(crate::data::Error::io("create", &place))?;
        let base = base.file_name().map_or_else(|| "encoder".into(), |name| name.to_string_lossy());
        let text = card(&Card { base: &base, settings, summary: &summary, provenance })
            .map_err(|error| crate::data::Error::io("encode", Path::new("card"))(error.into()))?;
        // Training may cut texts shorter than the encoder does; the saved one keeps its own length.
        encoder.restored_length(own)?.save(&place, &text)?;
        Ok::<(), ExperimentError>(())
    })?;
    if checkpoint.is_dir() {
        let _ = atomic::remove_folder(&checkpoint);
    }
    Ok(TrainedEncoder {
        folder: stored.file("encoder"),
        steps: jsonl::read(&stored.file("steps.jsonl"))?,
        statistics: stored.file("statistics.safetensors"),
        summary: read_json(&stored.file("training.json"))?,
    })
}

/// Where training stopped being finite, the instances of that step are written beside the checkpoint, to be looked at.
pub(super) fn set_aside(error: TrainError, instances: &[Instance], checkpoint: &Path, watch: &dyn Watch) -> TrainError {
    if let TrainError::NotFinite { step, members, .. } = &error {
        let place = checkpoint.with_extension(format!("step-{step}.jsonl"));
        let batch: Vec<&Instance> = members.iter().map(|&member| &instances[member]).collect();
        match jsonl::write(&place, &batch) {
            Ok(()) => watch.note(&format!("the instances of step {step} are in {}", place.display())),
            Err(error) => watch.note(&format!("the instances of step {step} could not be written: {error}")),
        }
    }
    error
}

/// A stop stays what it is; other failures are the look's.
fn wrapped(error: ExperimentError) -> TrainError {
    match error {
        ExperimentError::Data(error) => error.into(),
        ExperimentError::Encode(error) => error.into(),
        ExperimentError::Train(error) => error,
        other => TrainError::Validation(Box::new(other)),
    }
}

/// Queries that are not trained on, and the pool of passages their positives are looked for in.
struct HeldOut<'h> {
    instances: &'h [Instance],
    settings: &'h TrainSettings,
    queries: Vec<(&'h QueryId, &'h str)>,
    ids: Arc<IdTable>,
    texts: Vec<&'h str>,
    qrels: Qrels,
}

impl<'h> HeldOut<'h> {
    /// The pool are the passages of `all` instances, each once; `held` are those of the held-out queries.
    fn new(all: &'h [Instance], held: &'h [Instance], settings: &'h TrainSettings) -> Self {
        let mut pool: BTreeMap<String, &str> = BTreeMap::new();
        for passage in all.iter().flat_map(|instance| std::iter::once(&instance.positive).chain(&instance.negatives)) {
            pool.insert(passage.passage.to_string(), &passage.text);
        }
        let ids = Arc::new(IdTable::new(pool.keys().map(String::as_str)));
        let mut qrels = Qrels::default();
        let mut queries: BTreeMap<&QueryId, &str> = BTreeMap::new();
        for instance in held {
            queries.insert(&instance.query_id, &instance.query);
            if let Some(row) = ids.row(&instance.positive.passage.to_string()) {
                qrels.insert(instance.query_id.clone(), ids.id(row), 1);
            }
        }
        let texts = pool.into_values().collect();
        Self { instances: held, settings, queries: queries.into_iter().collect(), ids, texts, qrels }
    }

    /// What a look measures, over what.
    fn measure(&self) -> String {
        let queries = self.queries.len();
        match self.settings.validation {
            Measure::Ndcg => {
                format!(
                    "nDCG@{} of {queries} held-out queries over {} passages",
                    self.settings.validation_depth,
                    self.texts.len()
                )
            }
            Measure::Loss => format!("loss of {queries} held-out queries"),
        }
    }

    fn value(&self, encoder: &BiEncoder, watch: &dyn Watch) -> Result<f64> {
        if self.settings.validation == Measure::Loss {
            return Ok(validation::loss(encoder, self.instances, self.settings, watch)?);
        }
        let depth = self.settings.validation_depth;
        let texts: Vec<&str> = self.queries.iter().map(|&(_, text)| text).collect();
        let queries = encoder.encode(&texts, Role::Query, watch)?.vectors;
        let passages = encoder.encode(&self.texts, Role::Document, watch)?.vectors;
        let index = Exact::new(self.ids.clone(), Arc::new(passages), similarity(encoder))?;
        let rows: Vec<_> = (0..queries.len()).map(|row| queries.row(row)).collect();
        let rows: Vec<&[f32]> = rows.iter().map(AsRef::as_ref).collect();
        let mut run = Run::default();
        for ((query, _), hits) in self.queries.iter().zip(index.best(&rows, depth)) {
            run.insert((*query).clone(), hits);
        }
        let metric: Metric =
            format!("ndcg@{depth}").parse().map_err(|error| TrainError::Validation(Box::new(error)))?;
        let rules = Rules::new(Dialect::default());
        Ok(evaluate(&run.lists(), &self.qrels, &[metric], &rules).mean[&metric])
    }
}

/// `instances` with the logits of the cross-encoder in `teacher` for every passage that has no score yet, in the store.
///
/// # Errors
/// [`ExperimentError::Encode`]; [`ExperimentError::Data`] when it has several labels; or a stop.
pub fn teach(work: &Workplace<'_>, instances: &Path, teacher: &Path) -> Result<PathBuf> {
    let settings = json!({"device": work.device_name, "precision": work.precision});
    let stage = Provenance::new("teach", settings)
        .input("instances", Digest::of_file(instances)?)
        .input("cross_encoder", CrossEncoder::digest(teacher)?);
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        let mut all: Vec<Instance> = jsonl::read(instances)?;
        let computing = Computing { precision: work.precision, ..Computing::of(&work.device) };
        let encoder = CrossEncoder::open(teacher, &work.device, computing)?;
        if encoder.labels().len() != 1 {
            let found = format!("{}: {}", encoder.labels().len(), encoder.labels().join(", "));
            let fault = crate::data::Fault::new(teacher, "a cross-encoder with one label", found);
            return Err(crate::data::Error::from(fault).into());
        }
        let pairs: Vec<(&str, &str)> = all
            .iter()
            .flat_map(|instance| {
                let passages = std::iter::once(&instance.positive).chain(&instance.negatives);
                passages.map(|passage| (instance.query.as_str(), passage.text.as_str()))
            })
            .collect();
        work.watch.begin("teach", pairs.len() as u64, "pairs");
        let scored = encoder.score(&pairs, Scale::Logits, work.watch)?;
        work.watch.end();
        provenance.counts = json!({"pairs": pairs.len(), "truncated": scored.truncation.truncated});
        let mut scores = scored.scores.into_iter().map(|row| row[0]);
        for instance in &mut all {
            for passage in std::iter::once(&mut instance.positive).chain(&mut instance.negatives) {
                let score = scores.next();
                passage.teacher = passage.teacher.or(score);
            }
        }
        Ok::<(), ExperimentError>(jsonl::write(&folder.join("train.jsonl"), &all)?)
    })?;
    Ok(stored.file("train.jsonl"))
}
