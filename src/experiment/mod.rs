//! Experiments: a recipe's arms over its seeds, every stage made once and found again by its content.

pub mod arm;
pub mod chain;
pub mod generate;
pub mod indexes;
pub mod judge;
mod looks;
pub mod mining;
mod parts;
mod pools;
pub mod recipe;
pub mod relevance;
mod renewal;
pub mod scoring;
pub mod stages;
pub mod training;
mod writing;

pub use recipe::Recipe;
pub use stages::Workplace;

use crate::{data, encode, mix, negatives, retrieve, train};

/// Result of the experiment layer.
pub type Result<T, E = ExperimentError> = std::result::Result<T, E>;

/// Failure of a stage.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// Files, or a stop.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// Encoding.
    #[error(transparent)]
    Encode(#[from] encode::EncodeError),
    /// Searching.
    #[error(transparent)]
    Retrieve(#[from] retrieve::Error),
    /// Mining.
    #[error(transparent)]
    Source(#[from] negatives::SourceError),
    /// Writing negatives.
    #[error(transparent)]
    Written(#[from] negatives::written::Error),
    /// Learning what values written negatives may have.
    #[error("written.band: {0}")]
    Band(#[from] negatives::written::measured::NoBand),
    /// Loading the generator.
    #[error(transparent)]
    Generate(#[from] crate::generate::Error),
    /// Mixing.
    #[error(transparent)]
    Mix(#[from] mix::Error),
    /// Training.
    #[error(transparent)]
    Train(#[from] train::TrainError),
    /// A source over vectors without an encoder.
    #[error("the source {0} needs an encoder\n  hint: give one with --encoder")]
    NeedsEncoder(&'static str),
    /// Training that looks something up in a collection that was not given.
    #[error("`{0}`: expected the collection of the instances\n  hint: give it with --data and --split")]
    NeedsCollection(String),
    /// A source over relevance without a cross-encoder.
    #[error("the source {0} needs a cross-encoder\n  hint: give one with --cross-encoder, or as `judge` in a recipe")]
    NeedsJudge(&'static str),
    /// A threshold on a probability that says little.
    #[error(
        "{0}: a threshold on its probability means nothing\n  hint: train it on more instances or with harder negatives, leave the threshold out, or --force it; what comes of it is stamped"
    )]
    WeakJudge(String),
    /// More was cut off than may be.
    #[error(
        "{name}: {truncation}, but at most {most} % may be cut\n  hint: raise --max-truncated, cut the passages into shorter ones, or take an encoder with a longer maximal length"
    )]
    Truncated {
        /// Which texts.
        name: String,
        /// What was cut off.
        truncation: crate::text::tokenizer::Truncation,
        /// What may be, in percent.
        most: f64,
    },
    /// A build without llama.cpp.
    #[error("this build cannot run a generator\n  hint: build with the feature llm, which is on by default")]
    NoGenerator,
    /// An arm whose keys do not fit its mix.
    #[error("`arm.{key}`: expected {expected}, found {found}")]
    Arm {
        /// The key.
        key: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// No query is left that every arm can serve.
    #[error(
        "no query has enough negatives in every arm: {0}\n  hint: lower the arms' counts, raise mine.num_negatives or mine.range_max, loosen filters, or leave the short arm out"
    )]
    NoCommonQuery(String),
}

impl ExperimentError {
    /// What is wrong with an arm.
    #[must_use]
    pub fn arm((key, expected, found): arm::Wrong) -> Self {
        Self::Arm { key, expected, found }
    }

    /// True when the user asked to stop.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        if let Self::Train(train::TrainError::Validation(error)) = self {
            return error.downcast_ref::<Self>().is_some_and(Self::is_stop);
        }
        matches!(
            self,
            Self::Data(data::Error::Stopped)
                | Self::Encode(encode::EncodeError::Data(data::Error::Stopped))
                | Self::Train(
                    train::TrainError::Data(data::Error::Stopped)
                        | train::TrainError::Encode(encode::EncodeError::Data(data::Error::Stopped))
                )
                | Self::Written(negatives::written::Error::Data(data::Error::Stopped))
                | Self::Generate(crate::generate::Error::Data(data::Error::Stopped))
                | Self::Source(
                    negatives::SourceError::Data(data::Error::Stopped)
                        | negatives::SourceError::Encode(encode::EncodeError::Data(data::Error::Stopped))
                )
                | Self::Retrieve(retrieve::Error::Data(data::Error::Stopped))
        )
    }
}
