//! Training of the encoder: losses, optimiser, loop, checkpoint.

mod annotations;
pub mod batches;
pub mod card;
mod checkpoint;
mod contrast;
mod guide;
pub mod loss;
pub mod material;
pub mod optimiser;
mod pairs;
mod passing;
pub mod renewal;
mod schedule;
pub mod settings;
pub mod statistics;
pub mod trainer;
pub mod validation;

pub use contrast::Contrast;
pub use loss::LossSettings;
pub use material::Material;
pub use pairs::{PairLoss, Pairs};
pub use renewal::{Alongside, Renewal, RenewalSettings};
pub use schedule::Curve;
pub use settings::{InBatch, InvalidSetting, Order, TrainSettings};
pub use statistics::RunStatistics;
pub use trainer::{StepRecord, Trained, Trainer};
pub use validation::Validation;

use crate::{data, encode::EncodeError};

/// Result of the train layer.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// Failure of training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Files, or a stop.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// The encoder.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Tensor arithmetic, device or memory.
    #[error("tensor operation failed: {0}\n  hint: if memory ran out, lower batch_size or max_length")]
    Candle(#[from] candle_core::Error),
    /// Nothing to train on.
    #[error("no training instances\n  hint: an earlier stage kept nothing; look at its report of drops")]
    NoInstances,
    /// Instances with different numbers of negatives.
    #[error(
        "query {query} has {found} negatives where the first instance has {expected}\n  hint: make the instances with `nearmiss mix`, which gives every one the same number"
    )]
    Uneven {
        /// The query.
        query: String,
        /// Negatives of the first instance.
        expected: usize,
        /// Negatives of this one.
        found: usize,
    },
    /// A cross-encoder of the wrong kind.
    #[error(
        "a cross-encoder with {0} labels; expected one label\n  hint: begin with an encoder that has no head, or with a cross-encoder of one label"
    )]
    Labels(usize),
    /// Part of the encoder would not be trained.
    #[error("{} of {of} variables received no finite gradient in the first step: {}", without.len(), without.join(", "))]
    Gradient {
        /// Names of those variables.
        without: Vec<String>,
        /// Number of all variables.
        of: usize,
    },
    /// Instances that lack what the loss needs.
    #[error("loss {loss}: query {query}: expected {expected}, found {found}\n  hint: {hint}")]
    Unfit {
        /// Name of the loss.
        loss: &'static str,
        /// The first query that lacks something.
        query: String,
        /// What the loss needs.
        expected: &'static str,
        /// What there is.
        found: &'static str,
        /// What the user can do.
        hint: &'static str,
    },
    /// A setting that cannot be.
    #[error("train: {0}")]
    Setting(#[from] InvalidSetting),
    /// The loss does not depend on the vectors.
    #[error("the loss gave no gradient for the vectors")]
    Detached,
    /// A look at held-out queries failed.
    #[error(transparent)]
    Validation(Box<dyn std::error::Error + Send + Sync>),
    /// A look at held-out queries gave no number.
    #[error(
        "after step {step}: {measure} is {value}\n  hint: lower learning_rate or raise temperature; the last checkpoint is kept"
    )]
    Look {
        /// Steps taken.
        step: usize,
        /// What was measured.
        measure: String,
        /// What came out.
        value: f64,
    },
    /// Training diverged.
    #[error(
        "step {step}: loss {loss}, gradient norm {gradient_norm}\n  hint: lower learning_rate or raise temperature; the last checkpoint is kept"
    )]
    NotFinite {
        /// Step, from 1.
        step: usize,
        /// Its loss.
        loss: f32,
        /// Its gradient norm.
        gradient_norm: f64,
        /// Places of the instances of its batches.
        members: Vec<usize>,
    },
}
