//! From what a source found to what it proposes: filters, the draw, the number asked for, and the account of what
//! was dropped and who got too few.

use super::draws::{Draws, weighted};
use super::ledger::Taken;
use super::{Compat, Entry, Inputs, MiningSettings, Sampling, Sink, SourceError, Task};
use crate::data::{Candidate, QueryId, Seed};
use crate::filter::{Case, Filters, Proposed, Verdict, Waterfall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a source did besides proposing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Queries it was asked about.
    pub queries: u64,
    /// Candidates it proposed.
    pub proposed: u64,
    /// Candidates judged, by the rule that dropped them; kept ones beyond the number asked for are
    /// not proposed.
    pub waterfall: Waterfall,
    /// Queries that got fewer than asked for.
    pub short: Vec<Short>,
}

impl Report {
    /// Adds what `other` counted.
    pub fn add(&mut self, other: Self) {
        self.queries += other.queries;
        self.proposed += other.proposed;
        self.waterfall.add(other.waterfall);
        self.short.extend(other.short);
    }

    /// What was counted since it stood at `before`.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        self.queries -= before.queries;
        self.proposed -= before.proposed;
        self.waterfall.subtract(&before.waterfall);
        self.short.drain(..before.short.len());
        self
    }
}

/// A query that got fewer candidates than asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Short {
    /// The query.
    pub query: QueryId,
    /// Asked for.
    pub asked: u32,
    /// Proposed.
    pub found: u32,
}

/// Judges and counts for a source.
pub(super) struct Selector<'a> {
    name: &'static str,
    filters: &'a Filters,
    settings: MiningSettings,
    seed: Seed,
    report: Report,
}

/// A passage that a source found.
pub(super) struct Found {
    pub(super) candidate: Candidate,
    pub(super) text: String,
    /// The source's own score.
    pub(super) score: Option<f32>,
}

/// The same after the filters.
pub(super) struct Judged {
    pub(super) candidate: Candidate,
    pub(super) score: Option<f32>,
    pub(super) verdict: Verdict,
}

/// How those that are kept are drawn.
pub(super) enum Draw<'d> {
    /// As the settings say.
    Settings,
    /// In proportion to weights, whose logarithms these are by the source's score.
    Weights(&'d dyn Fn(f32) -> f64),
}

impl<'a> Selector<'a> {
    pub(super) fn new(name: &'static str, inputs: &Inputs<'a>) -> Self {
        let report = Report { waterfall: inputs.filters.waterfall(), ..Report::default() };
        Self { name, filters: inputs.filters, settings: inputs.settings, seed: inputs.seed, report }
    }

    pub(super) fn settings(&self) -> &MiningSettings {
        &self.settings
    }

    pub(super) fn report(&self) -> Report {
        self.report.clone()
    }

    /// What the filters say of `found`; `positives` are the scores of the task's, where margins need them.
    pub(super) fn judge(&self, task: &Task, found: Vec<Found>, positives: &[f32]) -> Vec<Judged> {
        let candidates: Vec<Proposed> = found
            .iter()
            .map(|found| Proposed { score: found.score, ..Proposed::new(&found.candidate, &found.text) })
            .collect();
        let case = Case { positive_scores: positives, ..Case::new(&task.query, &task.positives, &candidates) };
        let verdicts = self.filters.judge(&case);
        found
            .into_iter()
            .zip(verdicts)
            .map(|(Found { candidate, score, .. }, verdict)| Judged { candidate, score, verdict })
            .collect()
    }

    /// Hands over all of `judged`, as many of the kept ones as asked for as proposed, and notes a shortfall.
    pub(super) fn propose(
        &mut self,
        task: &Task,
        judged: Vec<Judged>,
        draw: &Draw<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), SourceError> {
        let taken = self.take(task, &judged, draw);
        self.hand_over(task, judged, &taken, sink)
    }

    /// As [`Selector::propose`], of candidates whose draw was made: `taken` are their places.
    pub(super) fn hand_over(
        &mut self,
        task: &Task,
        judged: Vec<Judged>,
        taken: &BTreeSet<usize>,
        sink: &mut dyn Sink,
    ) -> Result<(), SourceError> {
        let (asked, mut found) = (self.settings.num_negatives, 0);
        for (place, Judged { candidate, verdict, .. }) in judged.into_iter().enumerate() {
            self.report.waterfall.count(&verdict);
            let is_taken = taken.contains(&place);
            found += u32::from(is_taken);
            let fate = Entry::fate_of(&verdict, if is_taken { Taken::Yes } else { Taken::No });
            sink.accept(Entry { candidate, verdict, fate })?;
        }
        self.report.queries += 1;
        self.report.proposed += u64::from(found);
        if found < asked {
            self.report.short.push(Short { query: task.query.id.clone(), asked, found });
        }
        Ok(())
    }

    /// Places of those that are proposed.
    fn take(&self, task: &Task, judged: &[Judged], draw: &Draw<'_>) -> BTreeSet<usize> {
        let settings = &self.settings;
        let kept = (0..judged.len()).filter(|&place| judged[place].verdict.keeps());
        let kept: Vec<usize> = match settings.compat {
            Compat::SentenceTransformers => {
                kept.take(settings.range_max as usize).skip(settings.range_min as usize).collect()
            }
            _ => kept.collect(),
        };
        let asked = settings.num_negatives as usize;
        let stream = || self.seed.stream(&format!("negatives/{}/draw/{}", self.name, task.query.id));
        let score = |place: &usize| judged[*place].score.unwrap_or(0.0);
        let sampling = match settings.compat {
            Compat::FlagEmbedding => Sampling::Random,
            _ => settings.sampling,
        };
        match (draw, sampling) {
            (Draw::Weights(weight), _) => {
                let weights: Vec<f64> = kept.iter().map(|place| weight(score(place))).collect();
                weighted(&weights, asked, &mut stream()).into_iter().map(|place| kept[place]).collect()
            }
            (Draw::Settings, Sampling::Top) => kept.into_iter().take(asked).collect(),
            (Draw::Settings, Sampling::Random) => {
                Draws::new(kept.len(), stream()).take(asked).map(|place| kept[place]).collect()
            }
            (Draw::Settings, Sampling::Softmax) => {
                let temperature = f64::from(settings.temperature);
                let weights: Vec<f64> = kept.iter().map(|place| f64::from(score(place)) / temperature).collect();
                weighted(&weights, asked, &mut stream()).into_iter().map(|place| kept[place]).collect()
            }
        }
    }
}
