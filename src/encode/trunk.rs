//! What every encoder architecture offers, and the table of those that there are.

use super::bert::{self, Bert, BertConfig};
use super::fast_bert::FastBert;
use super::kernels::{Instructions, Precision};
use super::packing::PackedBatch;
use super::{EncodeError, Result};
use crate::data::{self, Fault};
use candle_core::{Device, Shape, Tensor};
use std::path::Path;

/// What the forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only the numbers are wanted: nothing is kept for a backward pass.
    Inference,
    /// A backward pass will follow.
    Training,
}

/// What the forward pass is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// candle's elementary operations: any device; the reference.
    Composed,
    /// The CPU's own: in training the operations between candle's matrix products, each with its own backward;
    /// in inference everything.
    Fused,
}

/// How an encoder computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computing {
    /// What the forward pass is made of.
    pub kernels: Kernels,
    /// What inference multiplies; training multiplies f32.
    pub precision: Precision,
    /// What fused kernels run on.
    pub instructions: Instructions,
}

impl Computing {
    /// The fastest that `device` can run, in f32.
    #[must_use]
    pub fn of(device: &Device) -> Self {
        let kernels = if matches!(device, Device::Cpu) { Kernels::Fused } else { Kernels::Composed };
        Self { kernels, precision: Precision::F32, instructions: Instructions::best() }
    }
}

/// Gives a weight tensor by name.
pub type Weights<'w> = dyn Fn(&str) -> Result<Tensor> + 'w;

/// Token vectors from token ids.
pub trait Trunk: Send + Sync {
    /// Vectors `(T, D)` of the packed tokens.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], [`EncodeError::UnknownToken`], [`EncodeError::Candle`].
    fn forward(&self, batch: &PackedBatch, mode: &mut Mode) -> Result<Tensor>;

    /// D, the width of the token vectors.
    fn width(&self) -> usize;
}

/// An architecture with its configuration; one row per `model_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum Architecture {
    /// BERT and what shares its layout: BGE, E5, GTE, MiniLM, contriever.
    Bert(BertConfig),
}

impl Architecture {
    /// Names that `config.json` may give as `model_type`.
    pub const SUPPORTED: &'static [&'static str] = &["bert"];

    /// The architecture that a `config.json` describes.
    ///
    /// # Errors
    /// [`EncodeError::Data`] when `model_type` is not supported or a key is missing or wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let value = super::settings::read_object(path)?;
        match value.get("model_type").and_then(serde_json::Value::as_str) {
            Some("bert") => Ok(Self::Bert(bert::read_config(&value, path)?)),
            other => {
                let supported = format!("one of: {}", Self::SUPPORTED.join(", "));
                let found = other.map_or_else(|| "no such key".to_owned(), |name| format!("{name:?}"));
                Err(data::Error::from(Fault::new(path, supported, found).key("model_type")).into())
            }
        }
    }

    /// Names and shapes of its weights.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Shape)> {
        match self {
            Self::Bert(config) => config.weights(),
        }
    }

    /// Longest sequence in tokens.
    #[must_use]
    pub fn positions(&self) -> usize {
        match self {
            Self::Bert(config) => config.max_position_embeddings,
        }
    }

    /// The trunk for inference by the CPU's own kernels, over packed copies of given weights.
    ///
    /// # Errors
    /// What `weights` returns.
    pub(super) fn build_fast(&self, computing: Computing, weights: &Weights<'_>) -> Result<FastBert> {
        match self {
            Self::Bert(config) => FastBert::new(config, (computing.instructions, computing.precision), weights),
        }
    }

    /// The trunk over given weights.
    ///
    /// # Errors
    /// What `weights` returns.
    pub fn build(&self, kernels: Kernels, weights: &Weights<'_>) -> Result<Box<dyn Trunk>> {
        match self {
            Self::Bert(config) => Ok(Box::new(Bert::new(config, kernels, weights)?)),
        }
    }
}

/// For callers that ask a map for weights by name.
pub(super) fn absent(name: &str) -> EncodeError {
    EncodeError::NoSuchWeight(name.to_owned())
}
