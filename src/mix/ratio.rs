//! Two sources in a proportion R, under both readings of it: R is swept to 2.7 in arXiv 2412.17250, so that it is no
//! share of the list, and the paper does not say what it is.

use super::{Error, Share};
use crate::data::{QueryId, Seed};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// A number of negatives from two sources in a proportion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The source whose part R is; written negatives there.
    pub source: String,
    /// The source of the rest.
    pub rest: String,
    /// H, negatives per instance, from 1.
    pub count: usize,
    /// R, above 0. Higher gives `source` more of the gradient.
    pub ratio: f64,
    /// What R is of.
    pub of: RatioOf,
    /// Seed of the rounding: a part of 1.4 is 1 or 2 by the query's own draw, 1.4 in the mean.
    pub seed: Seed,
}

impl Eq for Ratio {}

/// What a proportion is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RatioOf {
    /// Negatives of `source` for each of `rest`.
    Rest,
    /// Negatives of `source` for each instance: size of the synthetic set / size of the training set.
    Instances,
}

impl Ratio {
    /// Mean negatives of `source` in an instance.
    fn mean(&self) -> f64 {
        match self.of {
            RatioOf::Rest => self.count as f64 * self.ratio / (1.0 + self.ratio),
            RatioOf::Instances => self.ratio,
        }
    }

    /// The parts of `query`, those of none left out.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the count")]
    pub(super) fn shares(&self, query: &QueryId) -> Vec<Share> {
        let mean = self.mean();
        let part = (mean + uniform(self.seed, query)).floor().min(self.count as f64) as usize;
        let shares = [Share::new(&self.source, part), Share::new(&self.rest, self.count - part)];
        shares.into_iter().filter(|share| share.count > 0).collect()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.count == 0 {
            return Err(Error::EmptyShare(self.source.clone()));
        }
        if self.source == self.rest {
            return Err(Error::RepeatedShare(self.source.clone()));
        }
        if !(self.ratio > 0.0 && self.ratio.is_finite() && self.mean() <= self.count as f64) {
            let expected = match self.of {
                RatioOf::Rest => "a number above 0".to_owned(),
                RatioOf::Instances => format!("a number above 0, at most the {} negatives of an instance", self.count),
            };
            return Err(Error::Ratio { expected, found: self.ratio });
        }
        Ok(())
    }
}

/// A query's own draw from 0 to below 1, by which a part of 1.4 is 1 or 2.
pub(super) fn uniform(seed: Seed, query: &QueryId) -> f64 {
    (seed.stream(&format!("mix/ratio/{query}")).next_u64() >> 11) as f64 / 2.0_f64.powi(53)
}
