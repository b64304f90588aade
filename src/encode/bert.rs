//! The BERT trunk (Devlin et al. 2019, arXiv 1810.04805) composed of candle operations that all have a backward.
//! This is the reference that faster kernels are tested against, the path for CUDA and Metal, and that of training;
//! on the CPU the three operations that are not matrix products can be fused ones ([`Kernels`]), and inference runs
//! in `fast_bert.rs`.
//! Simple on purpose: no dropout; attention is padded to the longest sequence of a batch where lengths differ.

use super::packing::PackedBatch;
use super::trunk::{Kernels, Mode, Trunk, Weights};
use super::{EncodeError, Result, fused};
use crate::data::{self, Fault};
use candle_core::{D, Device, Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The numbers of a BERT `config.json` that decide its mathematics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// D, width of the token vectors.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides D.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Activation: only "gelu" (with erf, as Hugging Face has it).
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Rows of the segment embedding; only row 0 is used.
    pub type_vocab_size: usize,
    /// Added to the variance in layer norms.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn layer_norm_eps() -> f64 {
    1e-12
}

impl BertConfig {
    /// Checks what the trunk relies on; `path` is named in the message.
    ///
    /// # Errors
    /// [`Fault`] for another activation, heads that do not divide the width, or a size of 0.
    pub fn check(&self, path: &Path) -> Result<(), Fault> {
        let fault = |key: &str, expected: &str, found: String| Err(Fault::new(path, expected, found).key(key));
        if self.hidden_act != "gelu" {
            return fault("hidden_act", "\"gelu\"", format!("{:?}", self.hidden_act));
        }
        let sizes = [self.vocab_size, self.num_hidden_layers, self.intermediate_size, self.type_vocab_size];
        if self.num_attention_heads == 0 || self.hidden_size == 0 || sizes.contains(&0) {
            return fault("hidden_size", "sizes above 0", format!("{self:?}"));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let found = format!("{} heads for width {}", self.num_attention_heads, self.hidden_size);
            return fault("num_attention_heads", "a divisor of hidden_size", found);
        }
        if self.max_position_embeddings < 3 {
            return fault("max_position_embeddings", "at least 3", self.max_position_embeddings.to_string());
        }
        Ok(())
    }

    /// Checks that every sequence fits the position embeddings and every token id the token embeddings.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], [`EncodeError::UnknownToken`].
    pub fn admit(&self, batch: &PackedBatch) -> Result<()> {
        if batch.longest() > self.max_position_embeddings {
            return Err(EncodeError::TooLong { length: batch.longest(), most: self.max_position_embeddings });
        }
        match batch.ids().iter().find(|&&id| id as usize >= self.vocab_size) {
            Some(&id) => Err(EncodeError::UnknownToken { id, size: self.vocab_size }),
            None => Ok(()),
        }
    }

    /// Names and shapes of all weights that take part in the forward pass.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Shape)> {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let mut list: Vec<(String, Shape)> = vec![
            ("embeddings.word_embeddings.weight".into(), (self.vocab_size, d).into()),
            ("embeddings.position_embeddings.weight".into(), (self.max_position_embeddings, d).into()),
            ("embeddings.token_type_embeddings.weight".into(), (self.type_vocab_size, d).into()),
            ("embeddings.LayerNorm.weight".into(), d.into()),
            ("embeddings.LayerNorm.bias".into(), d.into()),
        ];
        for layer in 0..self.num_hidden_layers {
            for (part, output, input) in [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", f, d),
                ("output.dense", d, f),
            ] {
                list.push((format!("encoder.layer.{layer}.{part}.weight"), (output, input).into()));
                list.push((format!("encoder.layer.{layer}.{part}.bias"), output.into()));
            }
            for part in ["attention.output.LayerNorm", "output.LayerNorm"] {
                list.push((format!("encoder.layer.{layer}.{part}.weight"), d.into()));
                list.push((format!("encoder.layer.{layer}.{part}.bias"), d.into()));
            }
        }
        list
    }
}

struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(weights: &Weights<'_>, name: &str) -> Result<Self> {
        Ok(Self { weight: weights(&format!("{name}.weight"))?, bias: weights(&format!("{name}.bias"))? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?)
    }
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    fn new(weights: &Weights<'_>, name: &str, eps: f64) -> Result<Self> {
        Ok(Self { weight: weights(&format!("{name}.weight"))?, bias: weights(&format!("{name}.bias"))?, eps })
    }

    fn forward(&self, x: &Tensor, kernels: Kernels) -> Result<Tensor> {
        if kernels == Kernels::Fused {
            return Ok(fused::layer_norm(x, &self.weight, &self.bias, self.eps)?);
        }
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        Ok(centred.broadcast_div(&deviation)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

/// BERT's embeddings and layers, over weights that may or may not be tracked for gradients.
pub struct Bert {
    config: BertConfig,
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    device: Device,
    kernels: Kernels,
}

impl Bert {
    /// The trunk over the tensors that `weights` gives by name.
    ///
    /// # Errors
    /// What `weights` returns.
    pub fn new(config: &BertConfig, kernels: Kernels, weights: &Weights<'_>) -> Result<Self> {
        let eps = config.layer_norm_eps;
        let layers = (0..config.num_hidden_layers)
            .map(|index| {
                let name = |part: &str| format!("encoder.layer.{index}.{part}");
                Ok(Layer {
                    query: Linear::new(weights, &name("attention.self.query"))?,
                    key: Linear::new(weights, &name("attention.self.key"))?,
                    value: Linear::new(weights, &name("attention.self.value"))?,
                    attended: Linear::new(weights, &name("attention.output.dense"))?,
                    attention_norm: LayerNorm::new(weights, &name("attention.output.LayerNorm"), eps)?,
                    intermediate: Linear::new(weights, &name("intermediate.dense"))?,
                    output: Linear::new(weights, &name("output.dense"))?,
                    output_norm: LayerNorm::new(weights, &name("output.LayerNorm"), eps)?,
                })
            })
            .collect::<Result<_>>()?;
        let words = weights("embeddings.word_embeddings.weight")?;
        Ok(Self {
            config: config.clone(),
            device: words.device().clone(),
            kernels,
            words,
            positions: weights("embeddings.position_embeddings.weight")?,
            segments: weights("embeddings.token_type_embeddings.weight")?,
            norm: LayerNorm::new(weights, "embeddings.LayerNorm", eps)?,
            layers,
        })
    }

    fn rows(&self, numbers: Vec<u32>) -> Result<Tensor> {
        let count = numbers.len();
        Ok(Tensor::from_vec(numbers, count, &self.device)?)
    }

    /// `(T, D)` from `(T, D)`: scaled dot-product attention within each sequence.
    fn attend(&self, layer: &Layer, x: &Tensor, blocks: &Blocks) -> Result<Tensor> {
        let heads = self.config.num_attention_heads;
        let width = self.config.hidden_size / heads;
        // (T, D) -> (B, heads, L, width)
        let split = |tensor: Tensor| -> Result<Tensor> {
            let padded = match &blocks.pad {
                Some(rows) => tensor.index_select(rows, 0)?,
                None => tensor,
            };
            Ok(padded.reshape((blocks.count, blocks.length, heads, width))?.transpose(1, 2)?.contiguous()?)
        };
        #[expect(clippy::cast_precision_loss, reason = "a head is at most a few hundred wide")]
        let scale = 1.0 / (width as f64).sqrt();
        let query = (split(layer.query.forward(x)?)? * scale)?;
        let key = split(layer.key.forward(x)?)?;
        let value = split(layer.value.forward(x)?)?;
        let mut scores = query.matmul(&key.transpose(2, 3)?)?;
        if let Some(mask) = &blocks.mask {
            scores = scores.broadcast_add(mask)?;
        }
        let shares = match self.kernels {
            Kernels::Fused => fused::softmax(&scores)?,
            Kernels::Composed => candle_nn::ops::softmax(&scores, D::Minus1)?,
        };
        let mixed = shares.matmul(&value)?.transpose(1, 2)?.reshape((blocks.count * blocks.length, heads * width))?;
        Ok(match &blocks.unpad {
            Some(rows) => mixed.index_select(rows, 0)?,
            None => mixed,
        })
    }

    /// How the packed tokens form rectangular blocks for attention.
    fn blocks(&self, batch: &PackedBatch) -> Result<Blocks> {
        let count = batch.lengths().len();
        let length = batch.longest();
        if batch.uniform().is_some() {
            return Ok(Blocks { count, length, pad: None, unpad: None, mask: None });
        }
        let mut pad = Vec::with_capacity(count * length);
        let mut unpad = Vec::with_capacity(batch.ids().len());
        let mut mask = Vec::with_capacity(count * length);
        for (block, (start, &own)) in batch.starts().into_iter().zip(batch.lengths()).enumerate() {
            for place in 0..length {
                let inside = place < own;
                // A padding row repeats the sequence's first token; the mask takes its weight away.
                pad.push(if inside { start + u32::try_from(place).unwrap_or(u32::MAX) } else { start });
                mask.push(if inside { 0.0 } else { f32::NEG_INFINITY });
                if inside {
                    unpad.push(u32::try_from(block * length + place).unwrap_or(u32::MAX));
                }
            }
        }
        Ok(Blocks {
            count,
            length,
            pad: Some(self.rows(pad)?),
            unpad: Some(self.rows(unpad)?),
            mask: Some(Tensor::from_vec(mask, (count, 1, 1, length), &self.device)?),
        })
    }
}

/// The rectangles attention runs over: `count` sequences of `length`, padded where lengths differ.
struct Blocks {
    count: usize,
    length: usize,
    pad: Option<Tensor>,
    unpad: Option<Tensor>,
    mask: Option<Tensor>,
}

impl Trunk for Bert {
    fn forward(&self, batch: &PackedBatch, _: &mut Mode) -> Result<Tensor> {
        let kernels = self.kernels;
        self.config.admit(batch)?;
        let blocks = self.blocks(batch)?;
        let words = self.words.index_select(&self.rows(batch.ids().to_vec())?, 0)?;
        let positions = self.positions.index_select(&self.rows(batch.positions())?, 0)?;
        let segment = self.segments.narrow(0, 0, 1)?;
        let mut x = self.norm.forward(&(words + positions)?.broadcast_add(&segment)?, kernels)?;
        for layer in &self.layers {
            let attended = layer.attended.forward(&self.attend(layer, &x, &blocks)?)?;
            let y = layer.attention_norm.forward(&(x + attended)?, kernels)?;
            let widened = layer.intermediate.forward(&y)?;
            let widened = match kernels {
                Kernels::Fused => fused::gelu(&widened)?,
                Kernels::Composed => widened.gelu_erf()?,
            };
            x = layer.output_norm.forward(&(layer.output.forward(&widened)? + y)?, kernels)?;
        }
        Ok(x)
    }

    fn width(&self) -> usize {
        self.config.hidden_size
    }
}

/// The config of a BERT `config.json`.
///
/// # Errors
/// [`Fault`] naming the key that is missing or wrong.
pub fn read_config(value: &serde_json::Value, path: &Path) -> Result<BertConfig> {
    let config: BertConfig = serde_json::from_value(value.clone())
        .map_err(|error| data::Error::from(Fault::new(path, "a BERT configuration", error.to_string())))?;
    config.check(path).map_err(data::Error::from)?;
    Ok(config)
}
