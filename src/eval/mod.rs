//! How good a run is against judgements, and whether two runs differ.
//!
//! The metrics are `trec_eval`'s. Which queries count, and what else the field's tools do differently, is a
//! [`Dialect`]; the default scores every judged query that has a relevant passage, and one that the run lacks
//! counts 0 (without that, silence is rewarded). [`significance`] compares runs query by query.

pub mod dialect;
pub mod evaluate;
pub mod metrics;
pub mod significance;

pub use dialect::{Dialect, DialectError, Rules};
pub use evaluate::{Evaluation, evaluate};
pub use metrics::{Metric, MetricError};
pub use significance::{Comparison, compare};

#[cfg(test)]
mod tests;
