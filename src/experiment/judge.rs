//! A cross-encoder trained as a judge, and what it is worth: two folds of the queries, each judged by a model that was
//! trained on the other, their positives against BM25's best passages. What is kept is the model trained on all queries,
//! the two of the folds (a query is then judged by the one that has not seen it), and the measurement.

use super::chain::copy_folder;
use super::stages::{Workplace, bm25, judged_queries, read_json, write_json};
use super::training::set_aside;
use super::{ExperimentError, Result};
use crate::data::{Collection, Digest, DocId, Error, Fault, Instance, Provenance, QueryId, Seed, atomic, jsonl};
use crate::encode::cross_encoder::{self, CrossEncoder, Scale};
use crate::encode::{Computing, Precision};
use crate::eval::probability::{CalibrationClass, auc, calibration, calibration_error};
use crate::retrieve::{Bm25Settings, Searcher};
use crate::train::card::TrainingSummary;
use crate::train::{Alongside, PairLoss, Pairs, TrainSettings, Trainer, validation};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Best passages of BM25 that a query's positives are held against.
pub const OPPONENTS: usize = 20;

/// Held-out AUC below which a threshold on the probability means nothing.
pub const LEAST_AUC: f64 = 0.8;

/// How a judge is trained.
#[derive(Debug, Clone, Copy)]
pub struct JudgeSettings<'s> {
    /// Batches, rate and all else that training has; the losses of bi-encoders do not count.
    pub training: &'s TrainSettings,
    /// What is made small.
    pub loss: PairLoss,
    /// Decides head, order, dropout and folds.
    pub seed: Seed,
}

/// What a judge is worth on queries that it was not trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Probability that a positive has a higher score than one of BM25's best passages that is not judged relevant.
    pub auc: f64,
    /// Pairs with a positive, and other pairs.
    pub pairs: (usize, usize),
    /// Mean distance of the probability said and the share found, 0 to 1.
    pub calibration_error: f64,
    /// The same in classes.
    pub calibration: Vec<CalibrationClass>,
    /// The queries that each fold's model was trained on.
    pub folds: Vec<Vec<QueryId>>,
}

impl Judgement {
    /// Lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let (answers, others) = self.pairs;
        let mut lines = vec![format!(
            "held-out AUC {:.4}: {answers} positives against {others} passages of BM25's best {OPPONENTS}; calibration error {:.3}",
            self.auc, self.calibration_error
        )];
        for class in &self.calibration {
            lines.push(format!(
                "  probability from {:.1}: {} pairs, said {:.3}, found {:.3}",
                class.from, class.pairs, class.said, class.found
            ));
        }
        if self.auc < LEAST_AUC {
            lines.push(format!("below {LEAST_AUC}: a threshold on its probability means nothing"));
        }
        lines
    }
}

/// A trained judge in the store.
pub struct TrainedJudge {
    /// Its folder, as transformers and sentence-transformers read it; folds in `fold-0` and `fold-1`.
    pub folder: PathBuf,
    /// What the last run came to.
    pub summary: TrainingSummary,
    /// What it is worth, where there was a collection to measure it on.
    pub judgement: Option<Judgement>,
}

/// Trains a cross-encoder from the encoder in `base` on `instances`; with a collection and its split, measures it.
///
/// # Errors
/// [`ExperimentError::Train`], [`ExperimentError::Encode`], or a stop.
pub fn train_judge(
    work: &Workplace<'_>,
    (base, instances): (&Path, &Path),
    how: JudgeSettings<'_>,
    held: Option<(&Collection, &str)>,
) -> Result<TrainedJudge> {
    let mut stage = stage("judge", work, (base, instances), how, &json!({"opponents": OPPONENTS}))?;
    if let Some((collection, split)) = held {
        stage = stage.input("corpus", collection.corpus_digest()?).input("split", collection.split_digest(split)?);
    }
    let stored = work.store.get_or_make(stage, |folder, provenance| {
        let all: Vec<Instance> = jsonl::read(instances)?;
        let place = folder.join("judge");
        let whole = train_one(work, (base, instances, &all), how, "all")?;
        copy_folder(&whole.folder, &place)?;
        write_json(&folder.join("training.json"), &whole.summary)?;
        if let Some((collection, split)) = held {
            let (first, second) = validation::split(&all, 0.5, how.seed);
            let mut models = Vec::new();
            for (fold, part) in [first, second].into_iter().enumerate() {
                let model = train_one(work, (base, instances, &part), how, &format!("fold {fold}"))?;
                copy_folder(&model.folder, &place.join(format!("fold-{fold}")))?;
                let queries: BTreeSet<QueryId> = part.into_iter().map(|instance| instance.query_id).collect();
                models.push((model.folder, queries));
            }
            let judgement = measure(work, &models, collection, split)?;
            provenance.counts = json!({"auc": judgement.auc, "pairs": judgement.pairs});
            write_json(&place.join("judge.json"), &judgement)?;
        }
        Ok::<(), ExperimentError>(())
    })?;
    let measured = stored.file("judge/judge.json");
    Ok(TrainedJudge {
        folder: stored.file("judge"),
        summary: read_json(&stored.file("training.json"))?,
        judgement: measured.is_file().then(|| read_json(&measured)).transpose()?,
    })
}

/// One model.
struct Model {
    folder: PathBuf,
    summary: TrainingSummary,
}

fn stage(
    name: &str,
    work: &Workplace<'_>,
    (base, instances): (&Path, &Path),
    how: JudgeSettings<'_>,
    more: &serde_json::Value,
) -> Result<Provenance> {
    let settings =
        json!({"train": how.training, "loss": how.loss, "seed": how.seed, "device": work.device_name, "more": more});
    Ok(Provenance::new(name, settings)
        .input("encoder", CrossEncoder::digest(base)?)
        .input("instances", Digest::of_file(instances)?))
}

/// Trains on `part` of the instances; goes on at the last checkpoint after an interruption.
fn train_one(
    work: &Workplace<'_>,
    (base, instances, part): (&Path, &Path, &[Instance]),
    how: JudgeSettings<'_>,
    name: &str,
) -> Result<Model> {
    let stage = stage("cross-encoder", work, (base, instances), how, &json!({"part": name}))?;
    let checkpoint = work.store.place(&stage).with_extension("checkpoint");
    let stored = work.store.get_or_make(stage, |folder, _| {
        work.watch.note(&format!("cross-encoder, {name}: {} instances", part.len()));
        let start = folder.join("start");
        let begin = if cross_encoder::has_head(base)? {
            base
        } else {
            cross_encoder::fresh(base, &start, how.seed)?;
            start.as_path()
        };
        // Gradients are f32's whatever inference multiplies.
        let computing = Computing { precision: Precision::F32, ..Computing::of(&work.device) };
        let mut encoder = CrossEncoder::open(begin, &work.device, computing)?;
        if how.training.max_length > 0 {
            encoder = encoder.shortened(how.training.max_length)?;
        }
        let trainer = Trainer { settings: how.training, seed: how.seed, checkpoint: checkpoint.clone() };
        let mut pairs = Pairs::new(&encoder, part, (how.training, how.loss), how.seed)?;
        let trained = trainer
            .teach(&mut pairs, Alongside::default(), work.watch)
            .map_err(|error| set_aside(error, part, &checkpoint, work.watch))?;
        let summary = TrainingSummary::new(part, 0, &trained);
        write_json(&folder.join("training.json"), &summary)?;
        let place = folder.join("encoder");
        std::fs::create_dir_all(&place).map_err(Error::io("create", &place))?;
        encoder.save(&place, &card(&summary))?;
        if start.is_dir() {
            std::fs::remove_dir_all(&start).map_err(Error::io("remove", &start))?;
        }
        Ok::<(), ExperimentError>(())
    })?;
    if checkpoint.is_dir() {
        let _ = atomic::remove_folder(&checkpoint);
    }
    Ok(Model { folder: stored.file("encoder"), summary: read_json(&stored.file("training.json"))? })
}

fn card(summary: &TrainingSummary) -> String {
    let mut text = "---\nlibrary_name: sentence-transformers\ntags:\n- cross-encoder\n---\n# A cross-encoder trained by nearmiss\n\n".to_owned();
    text += &format!("{} instances of {} queries.\n\n", summary.instances, summary.queries);
    summary.lines().iter().for_each(|line| text += &format!("- {line}\n"));
    text
}

/// Every query of the split judged by the models that were not trained on it.
fn measure(
    work: &Workplace<'_>,
    models: &[(PathBuf, BTreeSet<QueryId>)],
    collection: &Collection,
    split: &str,
) -> Result<Judgement> {
    let (queries, qrels) = judged_queries(collection, split)?;
    let found = bm25(work, collection, &Bm25Settings::default())?.search(&queries, OPPONENTS)?;
    let (mut answers, mut others) = (Vec::new(), Vec::new());
    for (folder, seen) in models {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let mut are_answers = Vec::new();
        for query in queries.iter().filter(|query| !seen.contains(&query.id)) {
            let relevant: BTreeSet<&str> = qrels.relevant(query.id.as_str()).map(DocId::as_str).collect();
            let opponents = found.get(query.id.as_str()).iter().map(|hit| hit.doc.as_str());
            let opponents = opponents.filter(|id| !relevant.contains(id)).map(|id| (id, false));
            for (id, answer) in relevant.iter().map(|&id| (id, true)).chain(opponents) {
                let Some(document) = collection.corpus.get(id)? else { continue };
                pairs.push((query.text.as_str(), document.content()));
                are_answers.push(answer);
            }
        }
        let encoder = CrossEncoder::open(folder, &work.device, Computing::of(&work.device))?;
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(query, text)| (*query, text.as_str())).collect();
        work.watch.begin("judge", pairs.len() as u64, "pairs");
        let scored = encoder.score(&pairs, Scale::Relevance, work.watch)?;
        work.watch.end();
        for (scores, answer) in scored.scores.iter().zip(are_answers) {
            if answer { &mut answers } else { &mut others }.push(scores[0]);
        }
    }
    if answers.is_empty() || others.is_empty() {
        let fault = Fault::new(collection.corpus.path(), "held-out positives and other passages", "none of one kind");
        return Err(Error::from(fault.hint("instances and split must be of one collection")).into());
    }
    let classes = calibration(&answers, &others);
    Ok(Judgement {
        auc: auc(&answers, &others),
        pairs: (answers.len(), others.len()),
        calibration_error: calibration_error(&classes),
        calibration: classes,
        folds: models.iter().map(|(_, queries)| queries.iter().cloned().collect()).collect(),
    })
}
