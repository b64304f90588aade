//! The scores of candidates and positives by every measure at hand, in one pass: vectors come from the store, where
//! they are kept by content, so that each text is encoded once.

use super::Result;
use super::relevance::Judge;
use super::stages::{OpenEncoder, Texts, Workplace, embed, embed_corpus};
use crate::data::{Candidate, Collection, Document, Passage, Scores, WrittenId};
use crate::encode::{Role, Vectors};
use crate::negatives::Task;
use crate::negatives::screen::{PassageVectors, by_task, text_of};
use crate::retrieve::{Bm25, Ranker, Similarity};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the source of positives.
pub const JUDGED: &str = "judged";

/// Vectors of queries, passages and what was written.
pub struct Embedded {
    similarity: Similarity,
    queries: Arc<Vectors>,
    passages: Arc<Vectors>,
    written: (BTreeMap<WrittenId, usize>, Option<Arc<Vectors>>),
}

impl Embedded {
    /// Those of the tasks' queries, the corpus, and the written ones of `candidates`.
    ///
    /// # Errors
    /// [`super::ExperimentError::Encode`], or a stop.
    pub fn new(
        work: &Workplace<'_>,
        encoder: &OpenEncoder,
        collection: &Collection,
        (tasks, candidates): (&[Task], &[Candidate]),
    ) -> Result<Self> {
        let passages = embed_corpus(work, encoder, collection)?.vectors;
        let texts = tasks.iter().map(|task| task.query.text.clone()).collect();
        let queries = embed(work, encoder, &Texts::listed("training queries", Role::Query, &texts))?.vectors;
        let own: BTreeMap<WrittenId, String> = candidates
            .iter()
            .filter_map(|candidate| match &candidate.passage {
                Passage::Written(id) => Some((id.clone(), candidate.text.clone()?)),
                Passage::Corpus(_) => None,
            })
            .collect();
        let rows = own.keys().cloned().zip(0..).collect();
        let texts: Vec<String> = own.into_values().collect();
        let written = Texts::listed("written passages", Role::Document, &texts);
        let vectors = if texts.is_empty() { None } else { Some(embed(work, encoder, &written)?.vectors) };
        Ok(Self { similarity: encoder.similarity(), queries, passages, written: (rows, vectors) })
    }

    /// The vector of a passage, where it is known.
    fn passage(&self, collection: &Collection, passage: &Passage) -> Option<Cow<'_, [f32]>> {
        match passage {
            Passage::Corpus(id) => Some(self.passages.row(collection.corpus.row(id.as_str())?)),
            Passage::Written(id) => Some(self.written.1.as_ref()?.row(*self.written.0.get(id)?)),
        }
    }

    /// Vectors of length 1 of the candidates and of the tasks' positives.
    #[must_use]
    pub fn unit_vectors(&self, collection: &Collection, tasks: &[Task], candidates: &[Candidate]) -> PassageVectors {
        let positives =
            tasks.iter().flat_map(|task| &task.positives).map(|document| Passage::Corpus(document.id.clone()));
        let all = candidates.iter().map(|candidate| candidate.passage.clone()).chain(positives);
        all.filter_map(|passage| {
            Some((passage.clone(), Similarity::Cosine.ready(&self.passage(collection, &passage)?)))
        })
        .collect()
    }
}

/// What scores are made by; what is not given leaves what was there.
#[derive(Clone, Copy, Default)]
pub struct Measures<'m> {
    /// BM25.
    pub words: Option<&'m Bm25>,
    /// The cosine of an encoder's vectors.
    pub vectors: Option<&'m Embedded>,
    /// The relevance, by a cross-encoder.
    pub judge: Option<&'m Judge<'m>>,
}

/// The same candidates with their scores, and the tasks' positives as candidates of the source [`JUDGED`].
///
/// # Errors
/// [`super::ExperimentError::Data`] for a candidate of no task or passage; [`super::ExperimentError::Source`], or a stop.
pub fn score(
    collection: &Collection,
    tasks: &[Task],
    candidates: Vec<Candidate>,
    measures: Measures<'_>,
) -> Result<(Vec<Candidate>, Vec<Candidate>)> {
    let Measures { words, vectors, judge } = measures;
    let groups = by_task(tasks, candidates)?;
    let scored: Vec<(Vec<Candidate>, Vec<Candidate>)> = tasks
        .par_iter()
        .zip(groups)
        .enumerate()
        .map(|(row, (task, group))| {
            let fill = |mut candidate: Candidate| {
                if let Some(index) = words {
                    candidate.scores.bm25 = Some(by_words(index, task, &candidate, collection)?);
                }
                if let Some(all) = vectors
                    && let Some(passage) = all.passage(collection, &candidate.passage)
                {
                    candidate.scores.cosine = Some(all.similarity.of(&all.queries.row(row), &passage));
                }
                Ok(candidate)
            };
            let candidates = group.into_iter().map(fill).collect::<Result<_>>()?;
            let positives = judged(task).map(fill).collect::<Result<_>>()?;
            Ok((candidates, positives))
        })
        .collect::<Result<_>>()?;
    let (candidates, positives): (Vec<_>, Vec<_>) = scored.into_iter().unzip();
    let mut candidates: Vec<Candidate> = candidates.into_iter().flatten().collect();
    let mut positives: Vec<Candidate> = positives.into_iter().flatten().collect();
    if let Some(judge) = judge {
        for all in [&mut candidates, &mut positives] {
            judge.fill((tasks, &collection.corpus), all)?;
        }
    }
    Ok((candidates, positives))
}

/// The task's positives as candidates.
fn judged(task: &Task) -> impl Iterator<Item = Candidate> {
    (1..).zip(&task.positives).map(|(rank, document)| Candidate {
        query: task.query.id.clone(),
        passage: Passage::Corpus(document.id.clone()),
        text: None,
        source: JUDGED.to_owned(),
        rank,
        scores: Scores::default(),
        provenance: serde_json::Value::Null,
    })
}

fn by_words(index: &Bm25, task: &Task, candidate: &Candidate, collection: &Collection) -> Result<f32> {
    let document = match &candidate.passage {
        Passage::Corpus(id) => collection.corpus.get(id.as_str())?,
        Passage::Written(_) => None,
    };
    // A written passage is scored by the statistics of the corpus, which it is no part of.
    let document = match document {
        Some(document) => document,
        None => Document {
            text: text_of(candidate, &collection.corpus)?,
            title: String::new(),
            id: task.positives[0].id.clone(),
        },
    };
    Ok(index.scores(&task.query, std::slice::from_ref(&document))?[0])
}
