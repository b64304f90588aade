//! The trunk of BERT (Devlin et al. 2019, arXiv 1810.04805) and its [`super::family`], composed of candle operations that all have a backward.
//! This is the reference that faster kernels are tested against, the path for CUDA and Metal, and that of training
//! where there are no kernels of our own; on the CPU the three operations that are not matrix products can be fused ones ([`Kernels`]), and inference runs
//! in `fast_bert.rs`.
//! Simple on purpose: attention is padded to the longest sequence of a batch where lengths differ.

use super::bert_config::BertConfig;
use super::drops::{Site, attention_drops};
use super::family::{Bias, Segments, bucket};
use super::packing::PackedBatch;
use super::trunk::{Dropped, Kernels, Trunk, Weights};
use super::{Result, fused};
use candle_core::{D, Device, Tensor};

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

/// The embeddings and layers, over weights that may or may not be tracked for gradients.
pub struct Bert {
    config: BertConfig,
    words: Tensor,
    positions: Tensor,
    segments: Option<Tensor>,
    distances: Option<Tensor>,
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
        let family = config.family;
        let weights = &|name: &str| weights(&family.weight(name));
        let optional = |wanted: bool, name: &str| wanted.then(|| weights(name)).transpose();
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
            segments: optional(family.segments != Segments::Absent, "embeddings.token_type_embeddings.weight")?,
            distances: optional(family.bias == Bias::Buckets, "encoder.relative_attention_bias.weight")?,
            norm: LayerNorm::new(weights, "embeddings.LayerNorm", eps)?,
            layers,
        })
    }

    fn rows(&self, numbers: Vec<u32>) -> Result<Tensor> {
        let count = numbers.len();
        Ok(Tensor::from_vec(numbers, count, &self.device)?)
    }

    /// `(T, D)` from `(T, D)`: scaled dot-product attention within each sequence.
    fn attend(
        &self,
        (number, layer): (usize, &Layer),
        x: &Tensor,
        blocks: &Blocks,
        masks: &Masks<'_>,
    ) -> Result<Tensor> {
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
        for added in [&blocks.bias, &blocks.mask].into_iter().flatten() {
            scores = scores.broadcast_add(added)?;
        }
        let shares = match self.kernels {
            Kernels::Fused => fused::softmax(&scores)?,
            Kernels::Composed => candle_nn::ops::softmax(&scores, D::Minus1)?,
        };
        let shares = masks.shares(shares, number)?;
        let mixed = shares.matmul(&value)?.transpose(1, 2)?.reshape((blocks.count * blocks.length, heads * width))?;
        Ok(match &blocks.unpad {
            Some(rows) => mixed.index_select(rows, 0)?,
            None => mixed,
        })
    }

    /// What the distances between `length` tokens add to the scores: `(1, heads, length, length)`.
    fn distance_bias(&self, length: usize) -> Result<Option<Tensor>> {
        let Some(distances) = &self.distances else { return Ok(None) };
        let buckets = self.config.relative_attention_num_buckets;
        let pairs = (0..length).flat_map(|from| (0..length).map(move |to| bucket(from, to, buckets))).collect();
        let added = distances.index_select(&self.rows(pairs)?, 0)?.reshape((length, length, ()))?;
        Ok(Some(added.permute((2, 0, 1))?.unsqueeze(0)?.contiguous()?))
    }

    /// The sum of the tokens' embeddings, `(T, D)`.
    fn embed(&self, batch: &PackedBatch) -> Result<Tensor> {
        let words = self.words.index_select(&self.rows(batch.ids().to_vec())?, 0)?;
        let positions = self.positions.index_select(&self.rows(self.config.places(batch))?, 0)?;
        let sum = (words + positions)?;
        Ok(match (&self.segments, self.config.sides(batch)) {
            (None, _) => sum,
            (Some(segments), None) => sum.broadcast_add(&segments.narrow(0, 0, 1)?)?,
            (Some(segments), Some(sides)) => (sum + segments.index_select(&self.rows(sides.to_vec())?, 0)?)?,
        })
    }

    /// How the packed tokens form rectangular blocks for attention.
    fn blocks(&self, batch: &PackedBatch) -> Result<Blocks> {
        let count = batch.lengths().len();
        let length = batch.longest();
        let bias = self.distance_bias(length)?;
        if batch.uniform().is_some() {
            return Ok(Blocks { count, length, pad: None, unpad: None, mask: None, bias });
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
            bias,
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
    bias: Option<Tensor>,
}

/// Dropout's masks as tensors: the numbers of [`super::kernels::Dropout`], which every device then multiplies by.
struct Masks<'m> {
    config: &'m BertConfig,
    batch: &'m PackedBatch,
    dropped: Option<&'m Dropped<'m>>,
    device: &'m Device,
}

impl Masks<'_> {
    /// `(T, D)` with some values dropped.
    fn rows(&self, x: Tensor, site: Site) -> Result<Tensor> {
        let Some(dropped) = self.dropped else { return Ok(x) };
        let dropout = if matches!(site, Site::Attended(_)) { dropped.drops.attended } else { dropped.drops.hidden };
        let Some(dropout) = dropout else { return Ok(x) };
        let width = self.config.hidden_size;
        let mut mask = Vec::with_capacity(x.elem_count());
        for (&length, &place) in self.batch.lengths().iter().zip(dropped.places) {
            for token in 0..length {
                let row = dropout.row([number(place), site.number(), number(token)]);
                mask.extend((0..number(width)).map(|column| row.factor(column)));
            }
        }
        Ok((x * Tensor::from_vec(mask, (self.batch.ids().len(), width), self.device)?)?)
    }

    /// `(B, heads, L, L)` with some values dropped.
    fn shares(&self, shares: Tensor, layer: usize) -> Result<Tensor> {
        let Some(dropped) = self.dropped.filter(|dropped| dropped.drops.attention.is_some()) else {
            return Ok(shares);
        };
        let (heads, length) = (self.config.num_attention_heads, self.batch.longest());
        let mut mask = Vec::with_capacity(shares.elem_count());
        for &place in dropped.places {
            let Some(of) = attention_drops(dropped.drops, layer, place) else { continue };
            for (head, query) in (0..heads).flat_map(|head| (0..length).map(move |query| (head, query))) {
                let row = of.row(head, query);
                mask.extend((0..number(length)).map(|column| row.factor(column)));
            }
        }
        Ok((shares * Tensor::from_vec(mask, (dropped.places.len(), heads, length, length), self.device)?)?)
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Trunk for Bert {
    fn forward(&self, batch: &PackedBatch, dropped: Option<&Dropped<'_>>) -> Result<Tensor> {
        let kernels = self.kernels;
        self.config.admit(batch)?;
        let blocks = self.blocks(batch)?;
        let masks = Masks { config: &self.config, batch, dropped, device: &self.device };
        let mut x = masks.rows(self.norm.forward(&self.embed(batch)?, kernels)?, Site::Embeddings)?;
        for (number, layer) in self.layers.iter().enumerate() {
            let attended = layer.attended.forward(&self.attend((number, layer), &x, &blocks, &masks)?)?;
            let attended = masks.rows(attended, Site::Attended(number))?;
            let y = layer.attention_norm.forward(&(x + attended)?, kernels)?;
            let widened = layer.intermediate.forward(&y)?;
            let widened = match kernels {
                Kernels::Fused => fused::gelu(&widened)?,
                Kernels::Composed => widened.gelu_erf()?,
            };
            let output = masks.rows(layer.output.forward(&widened)?, Site::Output(number))?;
            x = layer.output_norm.forward(&(output + y)?, kernels)?;
        }
        Ok(x)
    }

    fn width(&self) -> usize {
        self.config.hidden_size
    }
}
