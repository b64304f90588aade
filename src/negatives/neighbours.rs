//! Negatives near the positive instead of the query: what is found with the positive's text as the query, by BM25 or
//! by the encoder. With several positives each lists its neighbours; a passage has the best of its ranks' scores. That
//! score stands as `nearness` in the provenance: it says nothing of the query, so margins do not apply.

use super::ranked::{Listed, Lister, Ranked};
use super::{Inputs, NegativeSource, SourceError, Task};
use crate::data::{DocId, Hit, Query, Scores};
use crate::retrieve::{Ranker, passage_as_query};
use serde_json::json;
use std::collections::HashMap;

pub(super) const BY_WORDS: &str = "neighbours-bm25";
pub(super) const BY_VECTORS: &str = "neighbours-dense";

struct Neighbours<'a>(&'a dyn Ranker);

pub(super) fn make_by_words(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    Ok(Box::new(Ranked::new(BY_WORDS, Neighbours(inputs.words(BY_WORDS)?), &inputs)?))
}

pub(super) fn make_by_vectors(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    Ok(Box::new(Ranked::new(BY_VECTORS, Neighbours(inputs.vectors(BY_VECTORS)?), &inputs)?))
}

impl Lister for Neighbours<'_> {
    fn lists(&self, tasks: &[Task], depth: usize) -> Result<Vec<Vec<Listed>>, SourceError> {
        let positives = tasks.iter().flat_map(|task| &task.positives);
        let as_query = |positive: &crate::data::Document| {
            let id = passage_as_query(&positive.id);
            (id.clone(), Query { id, text: positive.content() })
        };
        // One search for a positive of several queries.
        let queries: std::collections::BTreeMap<_, _> = positives.map(as_query).collect();
        let queries: Vec<Query> = queries.into_values().collect();
        let run = self.0.search(&queries, depth)?;
        let list = |task: &Task| {
            let mut best: HashMap<&DocId, f32> = HashMap::new();
            for positive in &task.positives {
                for hit in run.get(passage_as_query(&positive.id).as_str()) {
                    let score = best.entry(&hit.doc).or_insert(hit.score);
                    *score = score.max(hit.score);
                }
            }
            let mut hits: Vec<Hit> = best.into_iter().map(|(doc, score)| Hit { doc: doc.clone(), score }).collect();
            hits.sort_by(Hit::rank_order);
            hits.truncate(depth);
            let listed = |hit: Hit| Listed {
                doc: hit.doc,
                score: Some(hit.score),
                scores: Scores::default(),
                note: json!({"nearness": hit.score}),
            };
            hits.into_iter().map(listed).collect()
        };
        Ok(tasks.iter().map(list).collect())
    }

    fn positives(&self, tasks: &[Task]) -> Result<Vec<Vec<f32>>, SourceError> {
        Ok(vec![Vec::new(); tasks.len()])
    }
}
