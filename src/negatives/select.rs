//! From what a source found to what it proposes: filters, the number asked for, and the account of
//! what was dropped and who got too few.

use super::{Sink, SourceError, Task};
use crate::data::{Candidate, QueryId};
use crate::filter::{Case, Filters, Proposed, Waterfall};
use serde::{Deserialize, Serialize};

/// Which ranks of a source are proposed, and how many; keys as in sentence-transformers'
/// `mine_hard_negatives`, except that ranges are raw ranks: what filters drop still takes its rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiningSettings {
    /// Best passages skipped, 0 and up, default 0. Lower lets in more false negatives (relevant but
    /// not judged), higher gives easier negatives. Not used by `random`.
    pub range_min: u32,
    /// Last rank looked at, from 1, above `range_min`, default 100. Lower runs short of passages, higher
    /// gives easier negatives once the best are dropped. Not used by `random`.
    pub range_max: u32,
    /// Negatives per query, 1 and up, default 3. Lower gives a weaker signal per query, higher makes
    /// training dearer and takes worse-ranked passages.
    pub num_negatives: u32,
}

impl Default for MiningSettings {
    fn default() -> Self {
        Self { range_min: 0, range_max: 100, num_negatives: 3 }
    }
}

impl MiningSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SourceError::Setting`] with the first key that is outside.
    pub fn check(&self) -> Result<(), SourceError> {
        let refuse = |key, expected, found: u32| Err(SourceError::Setting { key, expected, found: found.to_string() });
        if self.num_negatives == 0 {
            return refuse("num_negatives", "a number from 1".to_owned(), 0);
        }
        if self.range_max <= self.range_min {
            return refuse("range_max", format!("a rank above range_min = {}", self.range_min), self.range_max);
        }
        Ok(())
    }
}

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
    filters: &'a Filters,
    settings: MiningSettings,
    report: Report,
}

/// A candidate with its text.
pub(super) type WithText = (Candidate, String);

impl<'a> Selector<'a> {
    pub(super) fn new(filters: &'a Filters, settings: MiningSettings) -> Self {
        let report = Report { waterfall: filters.waterfall(), ..Report::default() };
        Self { filters, settings, report }
    }

    pub(super) fn settings(&self) -> &MiningSettings {
        &self.settings
    }

    pub(super) fn report(&self) -> Report {
        self.report.clone()
    }

    /// Those of `found` that no filter drops, in order.
    pub(super) fn judge(&mut self, task: &Task, found: Vec<WithText>) -> Vec<Candidate> {
        let candidates: Vec<Proposed> = found.iter().map(|(candidate, text)| Proposed { candidate, text }).collect();
        let verdicts =
            self.filters.judge(&Case { query: &task.query, positives: &task.positives, candidates: &candidates });
        let mut kept = Vec::with_capacity(found.len());
        for ((candidate, _), verdict) in found.into_iter().zip(verdicts) {
            self.report.waterfall.count(&verdict);
            if verdict.keeps() {
                kept.push(candidate);
            }
        }
        kept
    }

    /// Hands over the first of `kept`, as many as asked for, and notes a shortfall.
    pub(super) fn propose(
        &mut self,
        task: &Task,
        kept: Vec<Candidate>,
        sink: &mut dyn Sink,
    ) -> Result<(), SourceError> {
        let asked = self.settings.num_negatives;
        let mut found = 0;
        for candidate in kept.into_iter().take(asked as usize) {
            sink.accept(candidate)?;
            found += 1;
        }
        self.report.queries += 1;
        self.report.proposed += u64::from(found);
        if found < asked {
            self.report.short.push(Short { query: task.query.id.clone(), asked, found });
        }
        Ok(())
    }
}
