//! Filters over candidates that stand in files, from one source or many: by query, all sources of a query in one case,
//! so that copies are seen across sources; the account by source.

use super::ledger::Taken;
use super::{Entry, Task};
use crate::data::{Candidate, Corpus, DocId, Fault, Passage, QueryId, Result, Scores};
pub use crate::filter::Measure;
use crate::filter::{Case, Filters, Proposed, TestData, Waterfall};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Vectors of length 1 by passage.
pub type PassageVectors = HashMap<Passage, Vec<f32>>;

/// What is known beside the candidates.
#[derive(Default)]
pub struct Evidence {
    /// Which score bounds and margins are for.
    pub measure: Measure,
    /// Scores of judged positives, by query and passage.
    pub positives: HashMap<(QueryId, DocId), Scores>,
    /// Vectors of candidates and positives, where near ones are to be found.
    pub vectors: PassageVectors,
    /// Strings that answer a query.
    pub answers: HashMap<QueryId, Vec<String>>,
    /// What must not get into training.
    pub test: Option<TestData>,
}

/// Candidates after the filters.
pub struct Screened {
    /// All of them, with verdicts: by task, in the order they came in.
    pub entries: Vec<Entry>,
    /// What each rule dropped, by source.
    pub waterfalls: BTreeMap<String, Waterfall>,
}

/// The text of a candidate's passage.
///
/// # Errors
/// [`crate::data::Error::Input`] when the corpus lacks it, or a written one has no text.
pub fn text_of(candidate: &Candidate, corpus: &Corpus) -> Result<String> {
    let absent = |found: String| {
        Fault::new(Path::new(&candidate.source), "passages of this corpus, or written ones with a text", found)
    };
    match &candidate.passage {
        Passage::Corpus(id) => match corpus.get(id.as_str())? {
            Some(document) => Ok(document.content()),
            None => Err(absent(format!("unknown passage {id}"))
                .hint("were the candidates made from another collection?")
                .into()),
        },
        Passage::Written(id) => candidate.text.clone().ok_or_else(|| absent(format!("{id} without text")).into()),
    }
}

/// The candidates of each task, by query, in the order they came in.
///
/// # Errors
/// [`crate::data::Error::Input`] for a candidate of no task.
pub fn by_task(tasks: &[Task], candidates: Vec<Candidate>) -> Result<Vec<Vec<Candidate>>> {
    let places: HashMap<&QueryId, usize> = tasks.iter().map(|task| &task.query.id).zip(0..).collect();
    let mut groups = vec![Vec::new(); tasks.len()];
    for candidate in candidates {
        let place = places.get(&candidate.query).copied().ok_or_else(|| {
            Fault::new(
                Path::new(&candidate.source),
                "queries of this split",
                format!("unknown query {}", candidate.query),
            )
            .hint("were the candidates made for another split?")
        })?;
        groups[place].push(candidate);
    }
    Ok(groups)
}

/// What `filters` say of `candidates`.
///
/// # Errors
/// As [`by_task`] and [`text_of`].
pub fn screen(
    tasks: &[Task],
    candidates: Vec<Candidate>,
    corpus: &Corpus,
    filters: &Filters,
    evidence: &Evidence,
) -> Result<Screened> {
    let groups = by_task(tasks, candidates)?;
    let judged: Vec<Vec<Entry>> = tasks
        .par_iter()
        .zip(groups)
        .map(|(task, group)| judge(task, group, corpus, filters, evidence))
        .collect::<Result<_>>()?;
    let mut waterfalls: BTreeMap<String, Waterfall> = BTreeMap::new();
    for entry in judged.iter().flatten() {
        let of_source = waterfalls.entry(entry.candidate.source.clone()).or_insert_with(|| filters.waterfall());
        of_source.count(&entry.verdict);
    }
    Ok(Screened { entries: judged.into_iter().flatten().collect(), waterfalls })
}

fn judge(
    task: &Task,
    group: Vec<Candidate>,
    corpus: &Corpus,
    filters: &Filters,
    evidence: &Evidence,
) -> Result<Vec<Entry>> {
    let texts = group.iter().map(|candidate| text_of(candidate, corpus)).collect::<Result<Vec<_>>>()?;
    let vector = |passage: &Passage| evidence.vectors.get(passage).map(Vec::as_slice);
    let candidates: Vec<Proposed> = group
        .iter()
        .zip(&texts)
        .map(|(candidate, text)| Proposed {
            score: evidence.measure.of(&candidate.scores),
            vector: vector(&candidate.passage),
            ..Proposed::new(candidate, text)
        })
        .collect();
    let of_positive = |id: &DocId| evidence.positives.get(&(task.query.id.clone(), id.clone()));
    let scores: Vec<f32> =
        task.positives.iter().filter_map(|positive| evidence.measure.of(of_positive(&positive.id)?)).collect();
    let positives: Vec<Passage> = task.positives.iter().map(|positive| Passage::Corpus(positive.id.clone())).collect();
    let vectors: Vec<&[f32]> = positives.iter().filter_map(vector).collect();
    let case = Case {
        positive_scores: &scores,
        positive_vectors: &vectors,
        answers: evidence.answers.get(&task.query.id).map_or(&[], Vec::as_slice),
        test: evidence.test.as_ref(),
        ..Case::new(&task.query, &task.positives, &candidates)
    };
    let verdicts = filters.judge(&case);
    let entry = |(candidate, verdict)| Entry { fate: Entry::fate_of(&verdict, Taken::Yes), candidate, verdict };
    Ok(group.into_iter().zip(verdicts).map(entry).collect())
}
