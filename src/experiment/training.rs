//! The stages around training: a teacher's scores for the losses that distil, the run itself with what goes alongside,
//! and what is kept of it.

use super::looks::HeldOut;
use super::renewal::Miner;
use super::stages::{Workplace, read_json, to_json, write_json};
use super::{ExperimentError, Result};
use crate::data::{Collection, Digest, Instance, Provenance, Seed, Watch, atomic, jsonl};
use crate::encode::cross_encoder::{CrossEncoder, Scale};
use crate::encode::{BiEncoder, Computing};
use crate::train::card::{Card, TrainingSummary, card};
use crate::train::{
    Alongside, Renewal, StepRecord, TrainError, TrainSettings, Trainer, Validation, statistics, validation,
};
use serde_json::json;
use std::path::{Path, PathBuf};

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

/// How an encoder is trained, and what is looked up on the way.
#[derive(Clone, Copy)]
pub struct Training<'t> {
    /// The settings.
    pub settings: &'t TrainSettings,
    /// Decides the order of the instances, what is dropped, what is held out and drawn.
    pub seed: Seed,
    /// The collection of the instances and their split; a validation split and a renewal need it.
    pub collection: Option<(&'t Collection, &'t str)>,
    /// Folder of an encoder whose likely answers are no negatives.
    pub guide: Option<&'t Path>,
}

impl<'t> Training<'t> {
    /// The collection and split, where `key` of the settings needs them.
    fn needed(&self, key: &str) -> Result<(&'t Collection, &'t str)> {
        self.collection.ok_or_else(|| ExperimentError::NeedsCollection(key.to_owned()))
    }
}

/// Trains the encoder in `base` on `instances`; goes on at the last checkpoint after an interruption.
///
/// # Errors
/// [`ExperimentError::Train`], [`ExperimentError::NeedsCollection`], or a stop.
pub fn train(work: &Workplace<'_>, base: &Path, instances: &Path, how: Training<'_>) -> Result<TrainedEncoder> {
    let Training { settings, seed, .. } = how;
    let mut stage = Provenance::new("train", json!({"train": settings, "seed": seed, "device": work.device_name}))
        .input("encoder", BiEncoder::digest(base)?)
        .input("instances", Digest::of_file(instances)?);
    let validated = settings.validation_split.as_deref();
    let validated =
        validated.map(|split| Ok::<_, ExperimentError>((how.needed("validation_split")?.0, split))).transpose()?;
    if let Some((collection, split)) = validated {
        stage = stage.input("validation", digest(collection, split)?);
    }
    let renewal = settings.renewal.as_ref();
    let renewal = renewal.map(|settings| Ok::<_, ExperimentError>((how.needed("renewal")?, settings))).transpose()?;
    if let Some(((collection, split), _)) = renewal {
        stage = stage.input("mined", digest(collection, split)?);
    }
    if let Some(guide) = how.guide {
        stage = stage.input("guide", BiEncoder::digest(guide)?);
    }
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
        let looks = match validated {
            Some((collection, split)) => Some(HeldOut::of_split(collection, split, settings)?),
            None => (!held.is_empty()).then(|| HeldOut::of_instances(&all, &held, settings)),
        };
        let value = || looks.as_ref().map_or(Ok(0.0), |looks| looks.value(&encoder, work.watch)).map_err(wrapped);
        let validation =
            looks.as_ref().map(|looks| Validation { measure: looks.measure(), better: looks.better(), value: &value });
        let miner = renewal
            .map(|((collection, split), settings)| Miner::new(collection, split, (&used, settings), seed))
            .transpose()?;
        let renew =
            |step| miner.as_ref().map_or(Ok(used.clone()), |miner| miner.renew(&encoder, step, work)).map_err(wrapped);
        let renewal = renewal.map(|(_, settings)| Renewal { every: settings.every, renew: &renew });
        let guide = how.guide.map(|folder| BiEncoder::open(folder, &work.device)).transpose()?;
        let alongside = Alongside { validation: validation.as_ref(), renewal: renewal.as_ref(), guide: guide.as_ref() };
        let trained = trainer
            .train_with(&encoder, &used, alongside, work.watch)
            .map_err(|error| set_aside(error, &used, &checkpoint, work.watch))?;

        let summary = TrainingSummary::new(&used, looks.as_ref().map_or(0, HeldOut::len), &trained);
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

/// Digest of a corpus and of what a split asks of it.
fn digest(collection: &Collection, split: &str) -> Result<Digest> {
    let (corpus, split) = (collection.corpus_digest()?, collection.split_digest(split)?);
    Ok(Digest::of_bytes(format!("{corpus}{split}").as_bytes()))
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
