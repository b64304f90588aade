//! The ranking of one searcher for the queries themselves, as `bm25`, `dense`, `simans` and `star` list it.

use super::ranked::{Listed, Lister};
use super::{SourceError, Task};
use crate::data::{Query, Scores};
use crate::retrieve::Ranker;
use rayon::prelude::*;
use serde_json::Value;

/// A ranking by one searcher.
pub(super) struct Searched<'a> {
    pub(super) ranker: &'a dyn Ranker,
    /// Puts the searcher's score in its place.
    pub(super) scores: fn(f32) -> Scores,
}

/// A score of BM25.
pub(super) fn words(score: f32) -> Scores {
    Scores { bm25: Some(score), ..Scores::default() }
}

/// A score of an encoder.
pub(super) fn vectors(score: f32) -> Scores {
    Scores { cosine: Some(score), ..Scores::default() }
}

/// The tasks' queries.
pub(super) fn queries(tasks: &[Task]) -> Vec<Query> {
    tasks.iter().map(|task| task.query.clone()).collect()
}

impl Lister for Searched<'_> {
    fn lists(&self, tasks: &[Task], depth: usize) -> Result<Vec<Vec<Listed>>, SourceError> {
        let run = self.ranker.search(&queries(tasks), depth)?;
        let list = |task: &Task| {
            let listed = |hit: &crate::data::Hit| Listed {
                doc: hit.doc.clone(),
                score: Some(hit.score),
                scores: (self.scores)(hit.score),
                note: Value::Null,
            };
            run.get(task.query.id.as_str()).iter().map(listed).collect()
        };
        Ok(tasks.iter().map(list).collect())
    }

    fn positives(&self, tasks: &[Task]) -> Result<Vec<Vec<f32>>, SourceError> {
        tasks.par_iter().map(|task| Ok(self.ranker.scores(&task.query, &task.positives)?)).collect()
    }
}
