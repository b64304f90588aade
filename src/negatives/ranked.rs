//! Negatives from a ranking: the passages of a range of ranks that no filter drops.
//! What the ranking is, a [`Lister`] says; it is all that the ranked sources differ in.

use super::compat::Windows;
use super::drawn::{Drawn, Everything};
use super::select::{Draw, Found, Judged, Selector};
use super::{Compat, Inputs, NegativeSource, Report, Sink, SourceError, Task};
use crate::data::{Candidate, Corpus, DocId, Fault, Passage, Scores};
use rayon::prelude::*;
use serde_json::Value;
use std::path::Path;

/// Queries searched at once; bounds the memory for their hits.
const BATCH: usize = 256;

/// A passage in a ranking.
pub(super) struct Listed {
    pub(super) doc: DocId,
    /// The source's own score, which bounds and margins are for.
    pub(super) score: Option<f32>,
    /// What goes into the candidate.
    pub(super) scores: Scores,
    /// What else is to be told of it; null for nothing.
    pub(super) note: Value,
}

/// Makes the rankings of a source.
pub(super) trait Lister: Sync {
    /// The best `depth` passages of each task, best first.
    fn lists(&self, tasks: &[Task], depth: usize) -> Result<Vec<Vec<Listed>>, SourceError>;

    /// Scores of each task's positives by the measure of [`Listed::score`]; empty for a ranking that cannot score them.
    fn positives(&self, tasks: &[Task]) -> Result<Vec<Vec<f32>>, SourceError>;

    /// Log weight of a candidate's score beside the positives', for sources that draw by weights.
    fn weight(&self, _score: f32, _positives: &[f32]) -> Option<f64> {
        None
    }

    /// Whether [`Lister::weight`] needs the positives' scores.
    fn weighs(&self) -> bool {
        false
    }
}

/// A source over rankings.
pub(super) struct Ranked<'a, L> {
    name: &'static str,
    lister: L,
    corpus: &'a Corpus,
    selector: Selector<'a>,
    windows: Windows,
    /// What is filled in where a compatible tool fills in.
    fill: Option<Drawn<'a, Everything>>,
}

/// A task's candidates, judged, and the scores of its positives.
pub(super) type OfTask = (Vec<Judged>, Vec<f32>);

impl<'a, L: Lister> Ranked<'a, L> {
    pub(super) fn new(name: &'static str, lister: L, inputs: &Inputs<'a>) -> Result<Self, SourceError> {
        let fill = (inputs.settings.compat == Compat::FlagEmbedding)
            .then(|| Drawn::new(name, Everything(inputs.corpus.len()), inputs));
        let (corpus, selector) = (inputs.corpus, Selector::new(name, inputs));
        Ok(Self { name, lister, corpus, selector, windows: Windows::of(inputs)?, fill })
    }

    /// Last rank looked at.
    pub(super) fn depth(&self) -> usize {
        self.windows.depth()
    }

    /// What the filters say of each task's candidates.
    pub(super) fn judged(&self, tasks: &[Task]) -> Result<Vec<OfTask>, SourceError> {
        let lists = self.lister.lists(tasks, self.depth())?;
        let scored = self.selector.settings().has_margin() || self.lister.weighs();
        let positives = if scored { self.lister.positives(tasks)? } else { vec![Vec::new(); tasks.len()] };
        tasks
            .par_iter()
            .zip(lists)
            .zip(positives)
            .map(|((task, list), positives)| {
                let judged = self.selector.judge(task, self.found(task, list)?, &positives);
                Ok((judged, positives))
            })
            .collect()
    }

    /// The passages of the window, with texts.
    fn found(&self, task: &Task, list: Vec<Listed>) -> Result<Vec<Found>, SourceError> {
        self.windows
            .cut(list, |listed| &listed.doc)
            .map(|(rank, listed)| {
                let document = self.corpus.get(listed.doc.as_str())?.ok_or_else(|| {
                    let found = format!("unknown passage {}", listed.doc);
                    let fault = Fault::new(Path::new(self.name), "passages of this corpus", found);
                    crate::data::Error::from(fault.hint("was the ranking made from another collection?"))
                })?;
                let candidate = Candidate {
                    query: task.query.id.clone(),
                    passage: Passage::Corpus(listed.doc),
                    text: None,
                    source: self.name.to_owned(),
                    rank,
                    scores: listed.scores,
                    provenance: listed.note,
                };
                Ok(Found { candidate, text: document.content(), score: listed.score })
            })
            .collect()
    }
}

impl<L: Lister> NegativeSource for Ranked<'_, L> {
    fn propose(&mut self, tasks: &[Task], sink: &mut dyn Sink) -> Result<(), SourceError> {
        for tasks in tasks.chunks(BATCH) {
            for (task, (mut judged, positives)) in tasks.iter().zip(self.judged(tasks)?) {
                if let Some(fill) = &self.fill {
                    fill.fill_up(task, &mut judged, (&self.selector, self.windows.depth()))?;
                }
                let weight = |score| self.lister.weight(score, &positives).unwrap_or(0.0);
                let draw = if self.lister.weighs() { Draw::Weights(&weight) } else { Draw::Settings };
                self.selector.propose(task, judged, &draw, sink)?;
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        self.selector.report()
    }
}
