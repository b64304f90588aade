//! Negatives from the ranking of a searcher: the passages of a range of ranks that no filter drops.

use super::select::{Selector, WithText};
use super::{NegativeSource, Report, Sink, SourceError, Task};
use crate::data::{Candidate, Corpus, Fault, Hit, Passage, Query, QueryId, Scores};
use crate::retrieve::Searcher;
use std::path::Path;

/// Queries searched at once; bounds the memory for their hits.
const BATCH: usize = 256;

/// A source over a searcher.
pub(super) struct Ranked<'a> {
    pub(super) name: &'static str,
    pub(super) searcher: Box<dyn Searcher + 'a>,
    /// Puts the searcher's score in its place.
    pub(super) score: fn(f32) -> Scores,
    pub(super) corpus: &'a Corpus,
    pub(super) selector: Selector<'a>,
}

impl Ranked<'_> {
    /// Candidates for the hits of the range, with texts.
    fn candidates(&self, query: &QueryId, hits: &[Hit]) -> Result<Vec<WithText>, SourceError> {
        let first = self.selector.settings().range_min;
        (first + 1..)
            .zip(hits.iter().skip(first as usize))
            .map(|(rank, hit)| {
                let document = self.corpus.get(hit.doc.as_str())?.ok_or_else(|| {
                    Fault::new(Path::new(self.name), "passages of this corpus", format!("unknown passage {}", hit.doc))
                        .hint("was the index made from another collection?")
                });
                let candidate = Candidate {
                    query: query.clone(),
                    passage: Passage::Corpus(hit.doc.clone()),
                    text: None,
                    source: self.name.to_owned(),
                    rank,
                    scores: (self.score)(hit.score),
                    provenance: serde_json::Value::Null,
                };
                Ok((candidate, document.map_err(crate::data::Error::from)?.content()))
            })
            .collect()
    }
}

impl NegativeSource for Ranked<'_> {
    fn propose(&mut self, tasks: &[Task], sink: &mut dyn Sink) -> Result<(), SourceError> {
        let depth = self.selector.settings().range_max as usize;
        for tasks in tasks.chunks(BATCH) {
            let queries: Vec<Query> = tasks.iter().map(|task| task.query.clone()).collect();
            let run = self.searcher.search(&queries, depth)?;
            for task in tasks {
                let found = self.candidates(&task.query.id, run.get(task.query.id.as_str()))?;
                let kept = self.selector.judge(task, found);
                self.selector.propose(task, kept, sink)?;
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        self.selector.report()
    }
}
