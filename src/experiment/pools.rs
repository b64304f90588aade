//! What each arm may take from: the candidates of its sources, scored where its filters or its mix measure them, after
//! its filters. What a rule drops is counted by arm and source, and stands in the arm's ledger.

use super::arm::ArmRecipe;
use super::chain::GaugeChoice;
use super::judge::{JudgeSettings, train_judge};
use super::recipe::{Recipe, TRAIN};
use super::relevance::{Judge, Standing, admit, stamp};
use super::scoring::{Embedded, Measures, score};
use super::stages::{OpenEncoder, Workplace, bm25};
use super::{ExperimentError, Result, mining, writing};
use crate::data::{Candidate, Collection, Document, Passage, Provenance, jsonl};
use crate::filter::{FilterSettings, Filters, Measure, TestData, Waterfall};
use crate::mix::{Arm, Pool, Positives, Shortfall, common_queries, instances};
use crate::negatives::screen::{Evidence, screen};
use crate::negatives::{Entry, Fate, Task};
use crate::train::PairLoss;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What an arm may take from.
pub(super) struct ArmPool {
    pub(super) pool: Pool,
    /// What each rule dropped, by source; empty for an arm without filters.
    pub(super) waterfalls: BTreeMap<String, Waterfall>,
    /// All its candidates with what became of them; empty for an arm without filters.
    pub(super) ledger: Vec<Entry>,
}

/// The judge that the recipe names, opened or trained; none where it names none.
///
/// # Errors
/// [`ExperimentError`] of mining, training or opening.
pub(super) fn judge<'w>(
    work: &'w Workplace<'w>,
    recipe: &Recipe,
    (collection, encoder): (&Collection, &OpenEncoder),
    (base, given): (&Path, Option<&Path>),
    tasks: &[Task],
) -> Result<Option<Judge<'w>>> {
    let judge = match (&recipe.judge, given) {
        (None, _) => return Ok(None),
        (Some(_), Some(folder)) => Judge::open(work, folder, None)?,
        (Some(_), None) => {
            let instances = judge_instances(work, recipe, (collection, encoder), tasks)?;
            let training = recipe.judge_train.as_ref().unwrap_or(&recipe.train);
            let how = JudgeSettings { training, loss: PairLoss::Binary, seed: recipe.seeds[0] };
            let trained = train_judge(work, (base, &instances), how, Some((collection, &recipe.train_split)))?;
            Judge::open(work, &trained.folder, None)?
        }
    };
    Ok(Some(judge))
}

/// What a judge is trained on: the training queries with the negatives that the recipe says.
fn judge_instances(
    work: &Workplace<'_>,
    recipe: &Recipe,
    (collection, encoder): (&Collection, &OpenEncoder),
    tasks: &[Task],
) -> Result<std::path::PathBuf> {
    let arm = ArmRecipe { name: TRAIN.to_owned(), negatives: recipe.judge_negatives.clone(), ..ArmRecipe::default() };
    let models = mining::Models { encoder: Some(encoder), judge: None, choice: GaugeChoice::Obey };
    let mut candidates = Vec::new();
    for source in arm.negatives.keys() {
        candidates.extend(writing::mine(work, recipe, collection, models, (tasks, source))?.candidates()?);
    }
    let pool: Pool = candidates.into_iter().collect();
    let mix = arm.mix(recipe.seeds[0], 1).map_err(ExperimentError::arm)?;
    let arm = Arm { name: TRAIN, mix: &mix, pool: &pool, short: Shortfall::Drop };
    let common = common_queries(tasks.iter().map(|task| &task.query.id), &[arm])?;
    let records = instances(tasks, &arm, &common.queries, Positives::All, &collection.corpus)?;
    let text: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap_or_default()).collect();
    let digest = crate::data::Digest::of_bytes(text.join("\n").as_bytes());
    let stage = Provenance::new("mix", json!({"for": "judge"})).input("instances", digest);
    let stored = work.store.get_or_make(stage, |folder, _| jsonl::write(&folder.join("train.jsonl"), &records))?;
    Ok(stored.file("train.jsonl"))
}

/// Why an arm should not run with this judge; nothing where it can.
pub(super) fn too_weak(recipe: &Recipe, arm: &ArmRecipe, judge: Option<&Standing>) -> Option<String> {
    let ranks = arm.is_judged(&recipe.mine) && recipe.mine.filters().measures();
    let trusts = ranks || recipe.filters_of(arm).is_some_and(FilterSettings::trusts_relevance);
    judge?.weakness().filter(|_| trusts)
}

/// A pool for each of `arms`, in their order, from `candidates` of all sources.
///
/// # Errors
/// [`ExperimentError`] of scoring.
pub(super) fn pools(
    work: &Workplace<'_>,
    recipe: &Recipe,
    (collection, models): (&Collection, mining::Models<'_>),
    (tasks, arms): (&[Task], &[&ArmRecipe]),
    candidates: Vec<Candidate>,
) -> Result<Vec<ArmPool>> {
    let (candidates, mut evidence) = measured(work, recipe, (collection, models), (tasks, arms), candidates)?;
    let mut pools = Vec::with_capacity(arms.len());
    for arm in arms {
        let own = candidates.iter().filter(|candidate| arm.negatives.contains_key(&candidate.source)).cloned();
        let Some(settings) = recipe.filters_of(arm) else {
            pools.push(ArmPool { pool: own.collect(), waterfalls: BTreeMap::new(), ledger: Vec::new() });
            continue;
        };
        let forced = match models.judge {
            Some(judge) if settings.trusts_relevance() => admit(std::slice::from_ref(&judge.standing), models.choice)?,
            _ => None,
        };
        evidence.measure = settings.measure;
        let mut screened = screen(tasks, own.collect(), &collection.corpus, &Filters::new(settings), &evidence)?;
        if let Some(reason) = &forced {
            screened.entries.iter_mut().for_each(|entry| stamp(&mut entry.candidate, reason));
        }
        for (source, waterfall) in &screened.waterfalls {
            work.watch.note(&format!("arm {}, {source}:\n{waterfall}", arm.name));
        }
        let kept = screened.entries.iter().filter(|entry| entry.fate != Fate::Dropped);
        pools.push(ArmPool {
            pool: kept.map(|entry| entry.candidate.clone()).collect(),
            waterfalls: screened.waterfalls,
            ledger: screened.entries,
        });
    }
    Ok(pools)
}

/// The candidates with the scores that filters and mixes of `arms` look at, and what else the filters look at.
fn measured(
    work: &Workplace<'_>,
    recipe: &Recipe,
    (collection, models): (&Collection, mining::Models<'_>),
    (tasks, arms): (&[Task], &[&ArmRecipe]),
    candidates: Vec<Candidate>,
) -> Result<(Vec<Candidate>, Evidence)> {
    let settings = || arms.iter().filter_map(|arm| recipe.filters_of(arm));
    let by = |measure| {
        let filtered = settings().any(|one| one.measures() && one.measure == measure);
        filtered || arms.iter().any(|arm| arm.by == Some(measure))
    };
    let relevance = by(Measure::Relevance) || settings().any(FilterSettings::trusts_relevance);
    let near = settings().any(|one| one.near_cosine.is_some());
    let words = by(Measure::Bm25).then(|| bm25(work, collection, &recipe.bm25)).transpose()?;
    let embedded = match models.encoder.filter(|_| near || by(Measure::Cosine)) {
        Some(encoder) => Some(Embedded::new(work, encoder, collection, (tasks, &candidates))?),
        None => None,
    };
    let measures = Measures {
        words: words.as_ref(),
        vectors: embedded.as_ref().filter(|_| by(Measure::Cosine)),
        judge: models.judge.filter(|_| relevance),
    };
    let mut evidence = Evidence::default();
    let (candidates, positives) = if measures.words.is_some() || measures.vectors.is_some() || measures.judge.is_some()
    {
        score(collection, tasks, candidates, measures)?
    } else {
        (candidates, Vec::new())
    };
    for one in positives {
        if let Passage::Corpus(id) = one.passage {
            evidence.positives.insert((one.query, id), one.scores);
        }
    }
    if let Some(embedded) = embedded.filter(|_| near) {
        evidence.vectors = embedded.unit_vectors(collection, tasks, &candidates);
    }
    if settings().any(|one| one.leakage.is_some()) {
        let test = Task::all(collection, &collection.qrels(&recipe.test_split)?)?;
        let texts = |task: &Task| task.positives.iter().map(Document::content).collect();
        evidence.test = Some(TestData::new(test.iter().map(|task| (task.query.text.as_str(), texts(task)))));
    }
    Ok((candidates, evidence))
}

/// The sources of `arms`.
pub(super) fn sources<'a>(arms: &[&'a ArmRecipe]) -> BTreeSet<&'a String> {
    arms.iter().flat_map(|arm| arm.negatives.keys()).collect()
}
