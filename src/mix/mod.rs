//! From candidates by source to training instances with the same number of negatives each.
//! An arm of an experiment is a [`Mix`] over a [`Pool`]. Comparing arms is fair only on the same
//! queries: [`common_queries`] keeps those that every arm can serve in full, and says which it dropped
//! and for what. Where one mix alone is made, a stated rule ([`Shortfall`]) says what becomes of short queries.

pub mod export;
pub mod import;
pub mod instances;
pub mod pool;
pub mod ratio;
pub mod schedule;

pub use instances::{Positives, instances};
pub use pool::{Pool, Shortage, Shortfall, Supply};
pub use ratio::{Ratio, RatioOf};
pub use schedule::{Course, EasyToHard, Schedule};

use crate::data::{self, QueryId, Seed};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many negatives of which source an instance has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mix {
    /// All negatives from one source.
    Pure(Share),
    /// A fixed number of each source in every instance (the hybrid of arXiv 2412.17250).
    Hybrid {
        /// The parts, in the order in which they stand in an instance.
        shares: Vec<Share>,
    },
    /// Drawn from all sources' candidates together, so that an instance may get one kind only: pooling at data-set
    /// level (the direct mix of arXiv 2412.17250; the concatenation of 2504.21015v3).
    Direct {
        /// The sources that are pooled.
        sources: Vec<String>,
        /// Negatives per instance, from 1.
        count: usize,
        /// Seed of the draws.
        seed: Seed,
    },
    /// Two sources in a proportion (the swept ratio of arXiv 2412.17250, whose definition it does not state).
    Ratio(Ratio),
    /// Two sources whose shares change over training.
    Schedule(Schedule),
    /// From easy negatives to hard ones over training.
    EasyToHard(EasyToHard),
}

/// A part of an instance's negatives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Name of the source, as candidates carry it.
    pub source: String,
    /// Negatives per instance, from 1. Higher gives the source more of the gradient and runs short
    /// of candidates sooner.
    pub count: usize,
}

impl Share {
    /// `count` negatives of `source`.
    #[must_use]
    pub fn new(source: &str, count: usize) -> Self {
        Self { source: source.to_owned(), count }
    }
}

impl Mix {
    /// The parts that are the same in every instance, in the order in which they stand there; none of other mixes.
    #[must_use]
    pub fn shares(&self) -> &[Share] {
        match self {
            Self::Pure(share) => std::slice::from_ref(share),
            Self::Hybrid { shares } => shares,
            Self::Direct { .. } | Self::Ratio(_) | Self::Schedule(_) | Self::EasyToHard(_) => &[],
        }
    }

    /// H, the number of negatives in every instance.
    #[must_use]
    pub fn negatives(&self) -> usize {
        match self {
            Self::Direct { count, .. } => *count,
            Self::Ratio(ratio) => ratio.count,
            Self::Schedule(schedule) => schedule.count,
            Self::EasyToHard(mix) => mix.count,
            Self::Pure(_) | Self::Hybrid { .. } => self.shares().iter().map(|share| share.count).sum(),
        }
    }

    /// The passes of a mix that changes over training; nothing of one that does not.
    #[must_use]
    pub fn course(&self) -> Option<&Course> {
        match self {
            Self::Schedule(schedule) => Some(&schedule.course),
            Self::EasyToHard(mix) => Some(&mix.course),
            Self::Pure(_) | Self::Hybrid { .. } | Self::Direct { .. } | Self::Ratio(_) => None,
        }
    }

    /// Moments of training, from 0 to 1; a query that can be served at these can be at all.
    fn corners(&self) -> Vec<f64> {
        match self {
            Self::Schedule(schedule) => schedule.corners(),
            _ => vec![0.0],
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Direct { sources, count, .. } => {
                let shares = sources.iter().map(|source| Share::new(source, *count)).collect();
                return Self::Hybrid { shares }.check();
            }
            Self::Ratio(ratio) => return ratio.check(),
            Self::Schedule(schedule) => return schedule.check(),
            Self::EasyToHard(mix) => return mix.check(),
            Self::Pure(_) | Self::Hybrid { .. } => {}
        }
        let mut sources = BTreeSet::new();
        for share in self.shares() {
            if share.count == 0 {
                return Err(Error::EmptyShare(share.source.clone()));
            }
            if !sources.insert(&share.source) {
                return Err(Error::RepeatedShare(share.source.clone()));
            }
        }
        if sources.is_empty() { Err(Error::NoShare) } else { Ok(()) }
    }
}

/// Why instances cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading passages failed, or a candidate names one that is gone.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// A mix without parts.
    #[error("expected at least one share in a mix, found none")]
    NoShare,
    /// A part of nothing.
    #[error("`count`: expected a number from 1 for source {0}, found 0\n  hint: leave the share out")]
    EmptyShare(String),
    /// Two parts of one source.
    #[error("expected each source once in a mix, found {0} twice\n  hint: give one share with the sum")]
    RepeatedShare(String),
    /// A proportion that the number of negatives cannot give.
    #[error("`ratio`: expected {expected}, found {found}")]
    Ratio {
        /// Its range.
        expected: String,
        /// What was given.
        found: f64,
    },
    /// A query that was to have an instance has too few candidates.
    #[error("{0}\n  hint: keep only common queries, or mine more")]
    Short(Shortage),
    /// A written candidate without what was written.
    #[error("the written candidate {0} has no text")]
    NoText(data::WrittenId),
}

/// One way of training that is compared with others.
#[derive(Debug, Clone, Copy)]
pub struct Arm<'a> {
    /// Its name in reports.
    pub name: &'a str,
    /// What its instances hold.
    pub mix: &'a Mix,
    /// Its candidates.
    pub pool: &'a Pool,
    /// What is done where they are short.
    pub short: Shortfall<'a>,
}

impl Arm<'_> {
    /// What is short for `query`, at any moment of training.
    fn shortage(&self, query: &QueryId) -> Option<Shortage> {
        self.mix
            .corners()
            .into_iter()
            .find_map(|moment| self.pool.choose_at(query, self.mix, (self.short, moment)).err())
    }
}

/// The queries every arm can serve in full, and those dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// Kept, in all arms.
    pub queries: BTreeSet<QueryId>,
    /// Dropped from all arms, each with every shortage that it had.
    pub dropped: BTreeMap<QueryId, Vec<ArmShortage>>,
}

/// A shortage and the arm it stood in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmShortage {
    /// Name of the arm.
    pub arm: String,
    /// What was short.
    pub shortage: Shortage,
}

/// The equal-count step: of `queries`, those for which each of `arms` has as many negatives as its
/// mix asks for, so that all arms train on the same queries with the same number of instances.
///
/// # Errors
/// When a mix has no shares, an empty one, or a source twice.
pub fn common_queries<'q>(queries: impl IntoIterator<Item = &'q QueryId>, arms: &[Arm]) -> Result<Common, Error> {
    for arm in arms {
        arm.mix.check()?;
    }
    let mut common = Common::default();
    for query in queries {
        let shortages: Vec<ArmShortage> = arms
            .iter()
            .filter_map(|arm| Some((arm, arm.shortage(query)?)))
            .map(|(arm, shortage)| ArmShortage { arm: arm.name.to_owned(), shortage })
            .collect();
        if shortages.is_empty() {
            common.queries.insert(query.clone());
        } else {
            common.dropped.insert(query.clone(), shortages);
        }
    }
    Ok(common)
}

#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod tests;
