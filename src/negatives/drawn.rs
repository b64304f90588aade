//! Negatives drawn uniformly, without replacement, from passages that a [`Draft`] names for each query.
//! Each query draws from a stream of its own name, so that its negatives do not depend on which
//! other queries are asked. The rank is the place in the draw; no score is known.

use super::draws::Draws;
use super::select::{Draw, Found, Judged, Selector};
use super::{Inputs, NegativeSource, Report, Sink, SourceError, Task};
use crate::data::{Candidate, Corpus, Passage, Scores, Seed};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::ops::Range;

/// Queries drawn for at once; bounds the memory for their texts.
const BATCH: usize = 256;

/// Which passages are drawn from.
pub(super) trait Draft: Sync {
    /// Places of the passages for `task`, as [`Draft::row`] knows them.
    fn places(&self, task: &Task) -> Range<usize>;

    /// Row of the corpus at a place.
    fn row(&self, place: usize) -> usize;
}

/// So many passages: all of a corpus.
pub(super) struct Everything(pub(super) usize);

impl Draft for Everything {
    fn places(&self, _: &Task) -> Range<usize> {
        0..self.0
    }

    fn row(&self, place: usize) -> usize {
        place
    }
}

/// A source that draws.
pub(super) struct Drawn<'a, D> {
    name: &'static str,
    draft: D,
    corpus: &'a Corpus,
    seed: Seed,
    selector: Selector<'a>,
}

impl<'a, D: Draft> Drawn<'a, D> {
    pub(super) fn new(name: &'static str, draft: D, inputs: &Inputs<'a>) -> Self {
        Self { name, draft, corpus: inputs.corpus, seed: inputs.seed, selector: Selector::new(name, inputs) }
    }

    /// Draws for `task`, judged, until `asked` are kept or nothing is left; passages of `without` are passed over.
    pub(super) fn judged(
        &self,
        task: &Task,
        asked: usize,
        without: &HashSet<Passage>,
    ) -> Result<Vec<Judged>, SourceError> {
        let places = self.draft.places(task);
        let stream = self.seed.stream(&format!("negatives/{}/{}", self.name, task.query.id));
        let mut draws = (1..).zip(Draws::new(places.len(), stream));
        let (mut judged, mut kept): (Vec<Judged>, usize) = (Vec::with_capacity(asked), 0);
        while kept < asked.min(places.len()) {
            let mut fresh = Vec::with_capacity(asked - kept);
            for (rank, place) in draws.by_ref().take(asked - kept) {
                let document = self.corpus.document(self.draft.row(places.start + place))?;
                let text = document.content();
                let candidate = Candidate {
                    query: task.query.id.clone(),
                    passage: Passage::Corpus(document.id),
                    text: None,
                    source: self.name.to_owned(),
                    rank,
                    scores: Scores::default(),
                    provenance: Value::Null,
                };
                fresh.push(Found { candidate, text, score: None });
            }
            if fresh.is_empty() {
                break;
            }
            fresh.retain(|found| !without.contains(&found.candidate.passage));
            judged.extend(self.selector.judge(task, fresh, &[]));
            kept = judged.iter().filter(|one| one.verdict.keeps()).count();
        }
        Ok(judged)
    }

    /// Fills the kept ones of `judged` up to the number asked for, with ranks after `depth`.
    pub(super) fn fill_up(
        &self,
        task: &Task,
        judged: &mut Vec<Judged>,
        (selector, depth): (&Selector<'_>, usize),
    ) -> Result<(), SourceError> {
        let kept = judged.iter().filter(|one| one.verdict.keeps()).count();
        let missing = (selector.settings().num_negatives as usize).saturating_sub(kept);
        let there = judged.iter().map(|one| one.candidate.passage.clone()).collect();
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        judged.extend(self.judged(task, missing, &there)?.into_iter().map(|mut one| {
            one.candidate.rank = one.candidate.rank.saturating_add(depth);
            one.candidate.provenance = json!({"filled": "random"});
            one
        }));
        Ok(())
    }
}

impl<D: Draft> NegativeSource for Drawn<'_, D> {
    fn propose(&mut self, tasks: &[Task], sink: &mut dyn Sink) -> Result<(), SourceError> {
        let asked = self.selector.settings().num_negatives as usize;
        for tasks in tasks.chunks(BATCH) {
            let all: Vec<Vec<Judged>> = tasks
                .par_iter()
                .map(|task| self.judged(task, asked, &HashSet::new()))
                .collect::<Result<_, SourceError>>()?;
            for (task, judged) in tasks.iter().zip(all) {
                self.selector.propose(task, judged, &Draw::Settings, sink)?;
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        self.selector.report()
    }
}
