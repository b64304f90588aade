//! Negatives from BM25's and the encoder's ranking in one, by [`crate::retrieve::Fusion`].
//! A candidate has the scores of the lists it stands in, and the fused one as `fused` in its provenance. Bounds are
//! for the fused score; positives have none, so margins do not apply.

use super::ranked::{Listed, Lister, Ranked};
use super::searched::queries;
use super::{Inputs, NegativeSource, SourceError, Task};
use crate::data::{DocId, Hit, Scores};
use crate::retrieve::{Fusion, Ranker};
use serde_json::json;
use std::collections::HashMap;

pub(super) const NAME: &str = "fusion";

struct Fused<'a> {
    words: &'a dyn Ranker,
    vectors: &'a dyn Ranker,
    fusion: Fusion,
}

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let (words, vectors) = (inputs.words(NAME)?, inputs.vectors(NAME)?);
    Ok(Box::new(Ranked::new(NAME, Fused { words, vectors, fusion: inputs.settings.fusion }, &inputs)?))
}

impl Lister for Fused<'_> {
    fn lists(&self, tasks: &[Task], depth: usize) -> Result<Vec<Vec<Listed>>, SourceError> {
        let queries = queries(tasks);
        let (words, vectors) = (self.words.search(&queries, depth)?, self.vectors.search(&queries, depth)?);
        let list = |task: &Task| {
            let id = task.query.id.as_str();
            let of = |hits: &[Hit]| hits.iter().map(|hit| (hit.doc.clone(), hit.score)).collect();
            let (bm25, cosine): (HashMap<DocId, f32>, HashMap<DocId, f32>) = (of(words.get(id)), of(vectors.get(id)));
            let listed = |hit: Hit| {
                let (bm25, cosine) = (bm25.get(&hit.doc).copied(), cosine.get(&hit.doc).copied());
                let scores = Scores { bm25, cosine, relevance: None };
                Listed { doc: hit.doc, score: Some(hit.score), scores, note: json!({"fused": hit.score}) }
            };
            self.fusion.fuse(&[words.get(id), vectors.get(id)], depth).into_iter().map(listed).collect()
        };
        Ok(tasks.iter().map(list).collect())
    }

    fn positives(&self, tasks: &[Task]) -> Result<Vec<Vec<f32>>, SourceError> {
        Ok(vec![Vec::new(); tasks.len()])
    }
}
