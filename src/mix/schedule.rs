//! Mixes that change over training: the shares of two sources, or from easy to hard. They are laid into the order of the
//! instances, which training then follows without knowing of sources: an instance is made for its moment, a number from
//! 0 (first) to 1 (last). Each pass takes the queries in an order of its own, so that every moment sees all kinds of them.

use super::{Error, Share};
use crate::data::{QueryId, Seed};
use crate::filter::Measure;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Two sources whose shares change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The source whose shares are told.
    pub source: String,
    /// The source of the rest.
    pub rest: String,
    /// H, negatives per instance, from 1.
    pub count: usize,
    /// Share of `source` in the negatives, 0 to 1, at moments of equal distance with straight lines between: one number
    /// is fixed, two are linear; a longer list can be anything, as what looks at held-out queries ask for.
    pub shares: Vec<f64>,
    /// The passes.
    pub course: Course,
}

/// From easy negatives to hard ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EasyToHard {
    /// The sources whose candidates are one list.
    pub sources: Vec<String>,
    /// H, negatives per instance, from 1.
    pub count: usize,
    /// The score that says how hard one is, which all candidates must have; none: the rank in its source.
    pub by: Option<Measure>,
    /// The passes.
    pub course: Course,
}

/// How often the queries are passed through on the way from the first moment to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// Instances of each query and positive, from 1; training then takes one epoch.
    pub passes: usize,
    /// Seed of the order in each pass and of rounding.
    pub seed: Seed,
}

impl Course {
    /// The queries in the order of training, each with its moment.
    #[must_use]
    pub(super) fn moments<'q>(&self, queries: &'q BTreeSet<QueryId>) -> Vec<(&'q QueryId, f64)> {
        let all = (queries.len() * self.passes).saturating_sub(1).max(1) as f64;
        let pass = |pass: usize| {
            let mut order: Vec<&QueryId> = queries.iter().collect();
            order.shuffle(&mut self.seed.stream(&format!("mix/schedule/pass {pass}")));
            order
        };
        (0..self.passes).flat_map(pass).enumerate().map(|(place, query)| (query, place as f64 / all)).collect()
    }

    fn check(self, count: usize, source: &str) -> Result<(), Error> {
        if count == 0 || self.passes == 0 {
            return Err(Error::EmptyShare(source.to_owned()));
        }
        Ok(())
    }
}

impl Schedule {
    /// Moments between which shares run straight: what holds at all of them holds always.
    pub(super) fn corners(&self) -> Vec<f64> {
        let last = self.shares.len().saturating_sub(1).max(1) as f64;
        (0..self.shares.len()).map(|place| place as f64 / last).collect()
    }

    /// The share of `source` at `moment`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    fn share(&self, moment: f64) -> f64 {
        let along = moment.clamp(0.0, 1.0) * self.shares.len().saturating_sub(1) as f64;
        let before = (along.floor() as usize).min(self.shares.len().saturating_sub(1));
        let after = (before + 1).min(self.shares.len().saturating_sub(1));
        self.shares[before] + (self.shares[after] - self.shares[before]) * (along - before as f64)
    }

    /// The parts of `query` at `moment`, those of none left out; a part of 1.4 is 1 or 2 by the query's own draw.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the count")]
    pub(super) fn parts(&self, query: &QueryId, moment: f64) -> Vec<Share> {
        let draw = super::ratio::uniform(self.course.seed, query);
        let part = ((self.share(moment) * self.count as f64 + draw).floor() as usize).min(self.count);
        let parts = [Share::new(&self.source, part), Share::new(&self.rest, self.count - part)];
        parts.into_iter().filter(|part| part.count > 0).collect()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.course.check(self.count, &self.source)?;
        if self.source == self.rest {
            return Err(Error::RepeatedShare(self.source.clone()));
        }
        if self.shares.is_empty() {
            return Err(Error::NoShare);
        }
        match self.shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
            Some(&found) => Err(Error::Ratio { expected: "shares from 0 to 1".to_owned(), found }),
            None => Ok(()),
        }
    }
}

impl EasyToHard {
    /// Where of `found` candidates, the easiest first, the ones for `moment` begin.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    pub(super) fn start(&self, found: usize, moment: f64) -> usize {
        (moment.clamp(0.0, 1.0) * found.saturating_sub(self.count) as f64).round() as usize
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.course.check(self.count, &self.sources.join("+"))?;
        if self.sources.is_empty() { Err(Error::NoShare) } else { Ok(()) }
    }
}
