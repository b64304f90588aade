//! How relevant passages are for queries, by a cross-encoder: one alone, or a judge with two folds, of which each judges
//! the queries it was not trained on. A pair is scored once: its probability is kept in the store under the content of
//! both texts, so that another source, another start or a run that was killed costs only what is new.

use super::chain::GaugeChoice;
use super::judge::{Judgement, LEAST_AUC};
use super::stages::{Workplace, read_json};
use super::{ExperimentError, Result};
use crate::data::atomic::Journal;
use crate::data::{Candidate, Corpus, Digest, Error, Fault, Provenance, Query, QueryId, Watch};
use crate::encode::cross_encoder::Scale;
use crate::encode::{Computing, CrossEncoder};
use crate::negatives::screen::text_of;
use crate::negatives::{Relevance, SourceError, Task};
use crate::text::tokenizer::Truncation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Pairs that are scored between two looks at progress.
const BLOCK: usize = 1024;

/// What is known of how well a cross-encoder judges; it stands in the provenance of all that it scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Digest of its weights, folds included, and of the label that counts.
    pub judge: Digest,
    /// Held-out AUC, 0 to 1; nothing where nobody measured it.
    pub auc: Option<f64>,
    /// Models that judge the queries they have not seen: 2, or 0 for a cross-encoder alone.
    pub folds: usize,
}

impl Standing {
    /// A line for people.
    #[must_use]
    pub fn line(&self) -> String {
        match self.auc {
            Some(auc) => format!("judge: held-out AUC {auc:.4}, {} folds", self.folds),
            None => "judge: a cross-encoder whose held-out AUC nobody measured".to_owned(),
        }
    }

    /// Why a threshold on its probability means nothing; nothing where it does, or nobody knows.
    #[must_use]
    pub fn weakness(&self) -> Option<String> {
        let auc = self.auc.filter(|&auc| auc < LEAST_AUC)?;
        Some(format!("the judge's held-out AUC is {auc:.4}, below {LEAST_AUC}"))
    }
}

/// Lets thresholds on the probabilities of these judges pass: nothing to say, or what was overruled.
///
/// # Errors
/// [`ExperimentError::WeakJudge`] where one is too weak and nobody forces it.
pub fn admit(judges: &[Standing], choice: GaugeChoice) -> Result<Option<String>> {
    match (judges.iter().find_map(Standing::weakness), choice) {
        (Some(reason), GaugeChoice::Obey) => Err(ExperimentError::WeakJudge(reason)),
        (reason, _) => Ok(reason),
    }
}

/// The judges that the provenance beside `artefact` names; none where there is no provenance or it names none.
///
/// # Errors
/// [`ExperimentError::Data`] when the provenance is damaged.
pub fn judges_of(artefact: &Path) -> Result<Vec<Standing>> {
    let path = Provenance::place_beside(artefact);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let provenance: Provenance = read_json(&path)?;
    let told = provenance.settings.get("judges").cloned().unwrap_or(Value::Null);
    let read = |error: serde_json::Error| Fault::new(&path, "a list of judges", error.to_string()).key("judges");
    Ok(serde_json::from_value::<Option<Vec<Standing>>>(told)
        .map_err(|error| Error::from(read(error)))?
        .unwrap_or_default())
}

/// Writes into a candidate why its judge should not have been believed.
pub fn stamp(candidate: &mut Candidate, reason: &str) {
    if !candidate.provenance.is_object() {
        candidate.provenance = json!({});
    }
    candidate.provenance["forced"] = reason.into();
}

/// A cross-encoder with what it has scored before.
pub struct Judge<'w> {
    work: &'w Workplace<'w>,
    /// What is known of it.
    pub standing: Standing,
    /// The whole one, then those of the folds.
    models: Vec<Model>,
    /// Which of them judges a query that a fold was trained on.
    folds: HashMap<QueryId, usize>,
    label: Option<usize>,
    /// What was cut off of the pairs of [`Relevance`] since it was last taken.
    truncation: Mutex<Truncation>,
}

/// One of a judge's models.
struct Model {
    folder: PathBuf,
    journal: PathBuf,
    state: Mutex<State>,
}

/// What is opened when it is first needed.
#[derive(Default)]
struct State {
    encoder: Option<CrossEncoder>,
    journal: Option<Journal>,
    known: HashMap<Digest, Pair>,
}

/// A pair in the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    key: Digest,
    relevance: f32,
    tokens: u64,
    lost: u64,
}

impl Pair {
    fn truncation(&self) -> Truncation {
        Truncation { texts: 1, truncated: u64::from(self.lost > 0), tokens: self.tokens, lost: self.lost }
    }
}

impl<'w> Judge<'w> {
    /// The judge in `folder`: a cross-encoder's, or one that `nearmiss train --task cross-encoder` wrote. Of several
    /// labels `label` is the number of the one whose probability counts.
    ///
    /// # Errors
    /// [`ExperimentError::Data`] naming what is missing or wrong.
    pub fn open(work: &'w Workplace<'w>, folder: &Path, label: Option<usize>) -> Result<Self> {
        let measured = folder.join("judge.json");
        let judgement: Option<Judgement> = measured.is_file().then(|| read_json(&measured)).transpose()?;
        let trained: Vec<Vec<QueryId>> = judgement.as_ref().map(|all| all.folds.clone()).unwrap_or_default();
        let mut folders = vec![folder.to_owned()];
        folders.extend((0..trained.len()).map(|fold| folder.join(format!("fold-{fold}"))));
        let digests = folders.iter().map(|folder| CrossEncoder::digest(folder)).collect::<Result<Vec<_>, _>>()?;
        let model = |(folder, digest): (PathBuf, &Digest)| {
            let key = json!({"model": digest, "label": label, "device": work.device_name, "precision": work.precision});
            let journal = work.store.file(&format!("relevance-{}.jsonl", Digest::of_json(&key).short(16)));
            Model { folder, journal, state: Mutex::default() }
        };
        let standing = Standing {
            judge: Digest::of_json(&json!([digests, label])),
            auc: judgement.map(|all| all.auc),
            folds: trained.len(),
        };
        // Two folds: what one was trained on the other judges.
        let other = |(fold, queries): (usize, Vec<QueryId>)| {
            let place = 1 + (fold + 1) % standing.folds;
            queries.into_iter().map(move |query| (query, place))
        };
        let folds = trained.into_iter().enumerate().flat_map(other).collect();
        let models = folders.into_iter().zip(&digests).map(model).collect();
        Ok(Self { work, standing, models, folds, label, truncation: Mutex::default() })
    }

    /// What was cut off of the pairs that sources asked for since the last call.
    #[must_use]
    pub fn take_truncation(&self) -> Truncation {
        std::mem::take(&mut *self.truncation.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fills in the relevance of `candidates`, whose queries are those of `tasks`; what was cut off of the pairs.
    ///
    /// # Errors
    /// [`ExperimentError::Data`] for a candidate without task or text; [`ExperimentError::Source`], or a stop.
    pub fn fill(&self, (tasks, corpus): (&[Task], &Corpus), candidates: &mut [Candidate]) -> Result<Truncation> {
        let queries: HashMap<&QueryId, &Query> = tasks.iter().map(|task| (&task.query.id, &task.query)).collect();
        let mut truncation = Truncation::default();
        self.work.watch.begin("judge", candidates.len() as u64, "pairs");
        for block in candidates.chunks_mut(BLOCK) {
            let texts = block.iter().map(|one| text_of(one, corpus)).collect::<crate::data::Result<Vec<_>>>()?;
            let mut pairs = Vec::with_capacity(block.len());
            for (one, text) in block.iter().zip(&texts) {
                let unknown = || Fault::new(Path::new(&one.source), "queries of this split", one.query.to_string());
                let query = queries.get(&one.query).copied().ok_or_else(|| Error::from(unknown()))?;
                pairs.push((query, text.as_str()));
            }
            for (one, pair) in block.iter_mut().zip(self.pairs(&pairs)?) {
                one.scores.relevance = Some(pair.relevance);
                truncation = truncation.and(pair.truncation());
            }
            self.work.watch.advance(block.len() as u64);
        }
        self.work.watch.end();
        self.work.check_truncation("pairs", truncation)?;
        Ok(truncation)
    }

    /// Every pair by the model that has not seen its query, known ones from the journal.
    fn pairs(&self, pairs: &[(&Query, &str)]) -> Result<Vec<Pair>, SourceError> {
        let mut of_model: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, (query, _)) in pairs.iter().enumerate() {
            of_model.entry(self.folds.get(&query.id).copied().unwrap_or(0)).or_default().push(place);
        }
        let mut found: Vec<Option<Pair>> = vec![None; pairs.len()];
        for (model, places) in of_model {
            let own: Vec<(&str, &str)> =
                places.iter().map(|&place| (pairs[place].0.text.as_str(), pairs[place].1)).collect();
            for (place, pair) in places.into_iter().zip(self.of_model(&self.models[model], &own)?) {
                found[place] = Some(pair);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn of_model(&self, model: &Model, pairs: &[(&str, &str)]) -> Result<Vec<Pair>, SourceError> {
        let mut state = model.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { encoder, journal, known } = &mut *state;
        let journal = if let Some(journal) = journal {
            journal
        } else {
            let (opened, records) = Journal::open::<Pair>(&model.journal)?;
            known.extend(records.into_iter().map(|one| (one.key.clone(), one)));
            journal.insert(opened)
        };
        let keys: Vec<Digest> = pairs.iter().map(|(query, text)| Digest::of_json(&json!([query, text]))).collect();
        let fresh: BTreeMap<&Digest, (&str, &str)> = keys
            .iter()
            .zip(pairs)
            .filter(|(key, _)| !known.contains_key(key))
            .map(|(key, pair)| (key, *pair))
            .collect();
        if !fresh.is_empty() {
            let encoder = match encoder {
                Some(encoder) => encoder,
                None => encoder.insert(self.encoder(&model.folder)?),
            };
            let texts: Vec<(&str, &str)> = fresh.values().copied().collect();
            let scored = encoder.score(&texts, Scale::Relevance, &OnlyStops(self.work.watch))?;
            for ((key, row), cut) in fresh.into_keys().zip(scored.scores).zip(scored.each) {
                let relevance = row[self.label.unwrap_or(0)];
                let pair = Pair { key: key.clone(), relevance, tokens: cut.tokens, lost: cut.lost };
                journal.append(&pair)?;
                known.insert(key.clone(), pair);
            }
        }
        Ok(keys.iter().filter_map(|key| known.get(key).cloned()).collect())
    }

    /// The model, with a label to take.
    fn encoder(&self, folder: &Path) -> Result<CrossEncoder, SourceError> {
        let computing = Computing { precision: self.work.precision, ..Computing::of(&self.work.device) };
        let encoder = CrossEncoder::open(folder, &self.work.device, computing)?;
        let count = encoder.labels().len();
        match self.label {
            None if count == 1 => Ok(encoder),
            Some(label) if label < count => Ok(encoder),
            label => {
                let names = encoder.labels().iter().enumerate().map(|(label, name)| format!("{label} ({name})"));
                let names: Vec<String> = names.collect();
                let found = label.map_or_else(|| "none".to_owned(), |label| label.to_string());
                let fault = Fault::new(folder, format!("a label of: {}", names.join(", ")), found);
                Err(Error::from(fault.hint("give the one that stands for relevance with --label")).into())
            }
        }
    }
}

impl Relevance for Judge<'_> {
    fn relevance(&self, pairs: &[(&Query, &str)]) -> Result<Vec<f32>, SourceError> {
        let mut all = Vec::with_capacity(pairs.len());
        for block in pairs.chunks(BLOCK) {
            let pairs = self.pairs(block)?;
            let mut truncation = self.truncation.lock().unwrap_or_else(PoisonError::into_inner);
            *truncation = pairs.iter().fold(*truncation, |sum, pair| sum.and(pair.truncation()));
            all.extend(pairs.into_iter().map(|pair| pair.relevance));
        }
        Ok(all)
    }
}

/// Carries the wish to stop and no progress: that is told by whoever knows of what.
struct OnlyStops<'w>(&'w dyn Watch);

impl Watch for OnlyStops<'_> {
    fn begin(&self, _task: &str, _total: u64, _unit: &str) {}
    fn advance(&self, _count: u64) {}
    fn end(&self) {}
    fn note(&self, line: &str) {
        self.0.note(line);
    }
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}
