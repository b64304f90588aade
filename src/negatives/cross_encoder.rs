//! The best passages by a cross-encoder, of those that BM25 or the encoder's vectors rank best: negatives that a careful
//! reader takes for answers, and the unjudged answers among them. A candidate keeps the pool's score beside its relevance.

use super::ranked::{Listed, Lister, Ranked};
use super::searched::{Searched, queries, vectors, words};
use super::{Inputs, NegativeSource, Pool, Relevance, SourceError, Task};
use crate::data::{Corpus, Document, Fault, Hit, Query, Scores};
use serde_json::Value;
use std::path::Path;

pub(super) const NAME: &str = "cross-encoder";

struct Reranked<'a> {
    pool: Searched<'a>,
    depth: usize,
    corpus: &'a Corpus,
    judge: &'a dyn Relevance,
}

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let pool = match inputs.settings.pool {
        Pool::Bm25 => Searched { ranker: inputs.words(NAME)?, scores: words },
        Pool::Dense => Searched { ranker: inputs.vectors(NAME)?, scores: vectors },
    };
    let judge = inputs.judge.ok_or(SourceError::Missing(NAME, "a cross-encoder"))?;
    let lister = Reranked { pool, depth: inputs.settings.pool_depth as usize, corpus: inputs.corpus, judge };
    Ok(Box::new(Ranked::new(NAME, lister, &inputs)?))
}

impl Reranked<'_> {
    /// The relevance of each task's documents, in one call.
    fn relevance(&self, tasks: &[Task], documents: &[Vec<Document>]) -> Result<Vec<Vec<f32>>, SourceError> {
        let texts: Vec<Vec<String>> = documents.iter().map(|of| of.iter().map(Document::content).collect()).collect();
        let of_task = tasks.iter().zip(&texts);
        let pairs: Vec<(&Query, &str)> =
            of_task.flat_map(|(task, texts)| texts.iter().map(|text| (&task.query, text.as_str()))).collect();
        let mut scores = self.judge.relevance(&pairs)?.into_iter();
        Ok(documents.iter().map(|of| scores.by_ref().take(of.len()).collect()).collect())
    }
}

impl Lister for Reranked<'_> {
    fn lists(&self, tasks: &[Task], depth: usize) -> Result<Vec<Vec<Listed>>, SourceError> {
        let run = self.pool.ranker.search(&queries(tasks), self.depth)?;
        let document = |hit: &Hit| {
            self.corpus.get(hit.doc.as_str())?.ok_or_else(|| {
                let fault =
                    Fault::new(Path::new(NAME), "passages of this corpus", format!("unknown passage {}", hit.doc));
                crate::data::Error::from(fault)
            })
        };
        let of_task = |task: &Task| run.get(task.query.id.as_str()).iter().map(document).collect();
        let documents: Vec<Vec<Document>> = tasks.iter().map(of_task).collect::<crate::data::Result<_>>()?;
        let relevances = self.relevance(tasks, &documents)?;
        let list = |(task, relevances): (&Task, Vec<f32>)| {
            let hits = run.get(task.query.id.as_str());
            let mut judged: Vec<(Hit, f32)> = hits
                .iter()
                .zip(relevances)
                .map(|(hit, score)| (Hit { doc: hit.doc.clone(), score }, hit.score))
                .collect();
            judged.sort_by(|(a, _), (b, _)| a.rank_order(b));
            judged.truncate(depth);
            let listed = |(hit, score): (Hit, f32)| Listed {
                doc: hit.doc,
                score: Some(hit.score),
                scores: Scores { relevance: Some(hit.score), ..(self.pool.scores)(score) },
                note: Value::Null,
            };
            judged.into_iter().map(listed).collect()
        };
        Ok(tasks.iter().zip(relevances).map(list).collect())
    }

    fn positives(&self, tasks: &[Task]) -> Result<Vec<Vec<f32>>, SourceError> {
        let documents: Vec<Vec<Document>> = tasks.iter().map(|task| task.positives.clone()).collect();
        self.relevance(tasks, &documents)
    }
}
