//! What every encoder architecture offers, and the table of those that there are.

use super::bert::Bert;
use super::bert_config::{BertConfig, read_config};
use super::drops::Drops;
use super::family::{Bias, FAMILIES, HeadNames};
use super::fast_bert::FastBert;
use super::frozen::{FROZEN, Frozen};
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
    /// The CPU's own, forward and back; where the architecture has none, they stand between candle's matrix products.
    Fused,
}

/// How an encoder computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computing {
    /// What the forward pass is made of.
    pub kernels: Kernels,
    /// What is multiplied.
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

/// What is dropped of a batch.
pub struct Dropped<'d> {
    pub(super) drops: &'d Drops,
    /// The place of each sequence among those of the step.
    pub(super) places: &'d [usize],
}

/// Token vectors from token ids.
pub trait Trunk: Send + Sync {
    /// Vectors `(T, D)` of the packed tokens, some values dropped on the way where training says so.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], [`EncodeError::UnknownToken`], [`EncodeError::Candle`].
    fn forward(&self, batch: &PackedBatch, dropped: Option<&Dropped<'_>>) -> Result<Tensor>;

    /// D, the width of the token vectors.
    fn width(&self) -> usize;
}

/// An architecture with its configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Architecture {
    /// BERT and what differs from it in names and embeddings: a row of [`FAMILIES`] each.
    Bert(BertConfig),
    /// What candle-transformers computes: a row of [`FROZEN`] each. It is not trained.
    Frozen(Frozen),
}

impl Architecture {
    /// Names that `config.json` may give as `model_type`.
    pub fn supported() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|family| family.name).chain(FROZEN.iter().map(|row| row.name))
    }

    /// The architecture that a `config.json` describes.
    ///
    /// # Errors
    /// [`EncodeError::Data`] when `model_type` is not supported or a key is missing or wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let value = super::settings::read_object(path)?;
        let named = value.get("model_type").and_then(serde_json::Value::as_str);
        if let Some(family) = FAMILIES.iter().find(|family| named == Some(family.name)) {
            return Ok(Self::Bert(read_config(family, &value, path)?));
        }
        if let Some(frozen) = named.map(|name| Frozen::read(name, &value, path)).transpose()?.flatten() {
            return Ok(Self::Frozen(frozen));
        }
        let supported = format!("one of: {}", Self::supported().collect::<Vec<_>>().join(", "));
        let found = named.map_or_else(|| "no such key".to_owned(), |name| format!("{name:?}"));
        Err(data::Error::from(Fault::new(path, supported, found).key("model_type")).into())
    }

    /// The numbers of an architecture that can be trained.
    ///
    /// # Errors
    /// [`EncodeError::Frozen`] for the others.
    pub fn trained(&self) -> Result<&BertConfig> {
        match self {
            Self::Bert(config) => Ok(config),
            Self::Frozen(frozen) => Err(EncodeError::Frozen(frozen.row.name)),
        }
    }

    /// Names and shapes of its weights.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Shape)> {
        match self {
            Self::Bert(config) => config.weights(),
            Self::Frozen(frozen) => frozen.weights(),
        }
    }

    /// What names of its weights may begin with, the dot included.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        match self {
            Self::Bert(config) => config.family.prefix,
            Self::Frozen(frozen) => frozen.prefix(),
        }
    }

    /// Names of a cross-encoder's head over it.
    ///
    /// # Errors
    /// [`EncodeError::NoHead`] when there is none that we compute.
    pub fn head(&self) -> Result<HeadNames> {
        match self {
            Self::Bert(config) => Ok(config.family.head),
            Self::Frozen(frozen) => frozen.head(),
        }
    }

    /// D, the width of the token vectors.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Bert(config) => config.hidden_size,
            Self::Frozen(frozen) => frozen.width(),
        }
    }

    /// Longest sequence in tokens.
    #[must_use]
    pub fn positions(&self) -> usize {
        match self {
            Self::Bert(config) => config.longest(),
            Self::Frozen(frozen) => frozen.positions(),
        }
    }

    /// `computing` as far as this architecture has it: without kernels of the CPU's own, inference is composed.
    ///
    /// # Errors
    /// [`EncodeError::Precision`], [`EncodeError::ArchitecturePrecision`] when bf16 is not to be had.
    pub(super) fn inference(&self, computing: Computing) -> Result<Kernels> {
        let (name, own) = match self {
            Self::Bert(config) => (config.family.name, config.family.bias == Bias::Absent),
            Self::Frozen(frozen) => (frozen.row.name, false),
        };
        let kernels = if own { computing.kernels } else { Kernels::Composed };
        match (computing.precision, kernels) {
            (Precision::Bf16, Kernels::Composed) if kernels == computing.kernels => Err(EncodeError::Precision),
            (Precision::Bf16, Kernels::Composed) => Err(EncodeError::ArchitecturePrecision(name)),
            _ => Ok(kernels),
        }
    }

    /// The trunk for inference by the CPU's own kernels, over packed copies of given weights.
    ///
    /// # Errors
    /// What `weights` returns.
    pub(super) fn build_fast(&self, computing: Computing, weights: &Weights<'_>) -> Result<FastBert> {
        match self {
            Self::Bert(config) => FastBert::new(config, (computing.instructions, computing.precision), weights),
            Self::Frozen(frozen) => Err(EncodeError::Frozen(frozen.row.name)),
        }
    }

    /// The trunk over given weights.
    ///
    /// # Errors
    /// What `weights` returns.
    pub fn build(&self, kernels: Kernels, weights: &Weights<'_>) -> Result<Box<dyn Trunk>> {
        match self {
            Self::Bert(config) => Ok(Box::new(Bert::new(config, kernels, weights)?)),
            Self::Frozen(frozen) => frozen.build(weights),
        }
    }
}

/// For callers that ask a map for weights by name.
pub(super) fn absent(name: &str) -> EncodeError {
    EncodeError::NoSuchWeight(name.to_owned())
}
