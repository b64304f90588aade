//! The forward pass of BERT and its family on the CPU's own kernels: what [`super::bert`] composes, for inference. Training
//! goes through the same weights and keeps what its way back needs ([`super::learn`]).
//!
//! A group of sequences, packed without padding, goes through all layers on one thread and in one [`Scratch`]; threads
//! take groups and never wait for each other. Weights are packed for the products once; the embeddings are read
//! where candle keeps them. A sequence's vector does not depend on its group (see [`super::kernels`]).

use super::Result;
use super::bert_config::BertConfig;
use super::family::Segments;
use super::kernels::{
    Attention, AttentionScratch, Buffer, Instructions, Norm, Onto, Packed, Precision, ProductScratch, Rows, add_norm,
    attend, gelu, norm,
};
use super::packing::PackedBatch;
use super::pooling::{Pooling, pool_rows, unit_row};
use super::settings::Length;
use super::trunk::Weights;
use candle_core::{CpuStorage, Storage, Tensor};

/// Rows that go through the feed-forward layer together: its wide rows stay in the second cache.
pub(super) const ROWS: usize = 128;

/// Added to the width of rows of activations, in values: rows of a power of two would share places in the first cache.
pub(super) const GAP: usize = 16;

/// How the vectors of a group are made from its tokens' vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    /// Which tokens count.
    pub pooling: Pooling,
    /// Whether vectors are brought to length 1.
    pub length: Length,
}

/// What the layers of a group work in; kept by a thread from group to group.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    x: Buffer,
    y: Buffer,
    qkv: Buffer,
    mixed: Buffer,
    wide: Buffer,
    product: ProductScratch,
    attention: AttentionScratch,
}

pub(super) struct Linear {
    pub(super) weight: Packed,
    pub(super) bias: Vec<f32>,
}

pub(super) struct NormWeights {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) eps: f32,
}

pub(super) struct Layer {
    pub(super) qkv: Linear,
    pub(super) attended: Linear,
    pub(super) attention_norm: NormWeights,
    pub(super) intermediate: Linear,
    pub(super) output: Linear,
    pub(super) output_norm: NormWeights,
}

/// BERT over packed weights.
pub(super) struct FastBert {
    pub(super) config: BertConfig,
    pub(super) instructions: Instructions,
    pub(super) precision: Precision,
    words: Tensor,
    positions: Tensor,
    segments: Vec<f32>,
    pub(super) norm: NormWeights,
    pub(super) layers: Vec<Layer>,
}

/// Values of a contiguous f32 tensor on the CPU, where they lie.
pub(super) fn with_values<R>(tensor: &Tensor, use_them: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(use_them(&values[start..end])),
        _ => Err(candle_core::Error::Msg("the fast kernels take contiguous f32 on the CPU".into()).into()),
    }
}

struct Reader<'r> {
    weights: &'r Weights<'r>,
    instructions: Instructions,
    precision: Precision,
    eps: f32,
}

impl Reader<'_> {
    fn values(&self, name: &str) -> Result<Vec<f32>> {
        with_values(&(self.weights)(name)?, <[f32]>::to_vec)
    }

    /// Linear layers with the same input, side by side.
    fn linear(&self, names: &[String]) -> Result<Linear> {
        let tensors = names.iter().map(|name| (self.weights)(&format!("{name}.weight"))).collect::<Result<Vec<_>>>()?;
        let inputs = tensors[0].dim(1)?;
        let parts = tensors.iter().map(|tensor| with_values(tensor, <[f32]>::to_vec)).collect::<Result<Vec<_>>>()?;
        let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
        let mut bias = Vec::new();
        for name in names {
            bias.extend(self.values(&format!("{name}.bias"))?);
        }
        Ok(Linear { weight: Packed::new(self.instructions, self.precision, inputs, &parts), bias })
    }

    fn norm(&self, name: &str) -> Result<NormWeights> {
        let weight = self.values(&format!("{name}.weight"))?;
        Ok(NormWeights { weight, bias: self.values(&format!("{name}.bias"))?, eps: self.eps })
    }
}

impl Linear {
    /// Rows of `out`, [`GAP`] apart, from rows of `x`, [`GAP`] apart.
    pub(super) fn apply(
        &self,
        x: &[f32],
        (count, width): (usize, usize),
        out: &mut [f32],
        scratch: &mut ProductScratch,
    ) {
        let stride = self.weight.outputs() + GAP;
        self.weight.apply(Rows::new(x, (count, width), width + GAP), Onto::Bias(&self.bias), (out, stride), scratch);
    }
}

impl NormWeights {
    pub(super) fn by(&self) -> Norm<'_> {
        Norm { weight: &self.weight, bias: &self.bias, eps: self.eps }
    }
}

impl FastBert {
    /// The trunk over packed copies of what `weights` gives by name.
    ///
    /// # Errors
    /// What `weights` returns; [`super::EncodeError::Candle`] when a weight is not f32 on the CPU.
    pub(super) fn new(
        config: &BertConfig,
        (instructions, precision): (Instructions, Precision),
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let family = config.family;
        let weights = &|name: &str| weights(&family.weight(name));
        #[expect(clippy::cast_possible_truncation, reason = "an epsilon")]
        let eps = config.layer_norm_eps as f32;
        let reader = Reader { weights, instructions, precision, eps };
        let layers = (0..config.num_hidden_layers)
            .map(|index| {
                let name = |part: &str| format!("encoder.layer.{index}.{part}");
                let qkv = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
                Ok(Layer {
                    qkv: reader.linear(&qkv)?,
                    attended: reader.linear(&[name("attention.output.dense")])?,
                    attention_norm: reader.norm(&name("attention.output.LayerNorm"))?,
                    intermediate: reader.linear(&[name("intermediate.dense")])?,
                    output: reader.linear(&[name("output.dense")])?,
                    output_norm: reader.norm(&name("output.LayerNorm"))?,
                })
            })
            .collect::<Result<_>>()?;
        let segments = match family.segments {
            Segments::Absent => vec![0.0; config.hidden_size],
            _ => reader.values("embeddings.token_type_embeddings.weight")?,
        };
        Ok(Self {
            config: config.clone(),
            instructions,
            precision,
            words: weights("embeddings.word_embeddings.weight")?,
            positions: weights("embeddings.position_embeddings.weight")?,
            segments,
            norm: reader.norm("embeddings.LayerNorm")?,
            layers,
        })
    }

    /// One vector a sequence, `(B, D)` row-major.
    ///
    /// # Errors
    /// [`super::EncodeError::TooLong`], [`super::EncodeError::UnknownToken`].
    pub(super) fn vectors(&self, batch: &PackedBatch, finish: Finish, scratch: &mut Scratch) -> Result<Vec<f32>> {
        self.config.admit(batch)?;
        let x = scratch.x.room(batch.ids().len() * (self.config.hidden_size + GAP));
        self.embed(batch, x)?;
        norm(self.instructions, x, self.config.hidden_size + GAP, self.norm.by());
        for layer in &self.layers {
            self.attend(layer, batch, scratch);
            self.feed_forward(layer, batch.ids().len(), scratch);
        }
        Ok(self.pool(batch, finish, scratch.x.values()))
    }

    /// Sums of the tokens' embeddings into rows of `x`, [`GAP`] apart.
    pub(super) fn embed(&self, batch: &PackedBatch, x: &mut [f32]) -> Result<()> {
        let width = self.config.hidden_size;
        let sides = self.config.sides(batch).unwrap_or_default().iter().copied().chain(std::iter::repeat(0));
        with_values(&self.words, |words| {
            with_values(&self.positions, |positions| {
                let places = self.config.places(batch).into_iter().zip(sides);
                for ((row, &id), (place, side)) in x.chunks_exact_mut(width + GAP).zip(batch.ids()).zip(places) {
                    let segment = &self.segments[side as usize * width..][..width];
                    let word = &words[id as usize * width..][..width];
                    let position = &positions[place as usize * width..][..width];
                    for (((value, word), position), segment) in row.iter_mut().zip(word).zip(position).zip(segment) {
                        *value = word + position + segment;
                    }
                }
            })
        })?
    }

    /// `scratch.x` after attention, residual and norm.
    fn attend(&self, layer: &Layer, batch: &PackedBatch, scratch: &mut Scratch) {
        let (width, tokens) = (self.config.hidden_size, batch.ids().len());
        let (stride, qkv_stride) = (width + GAP, 3 * width + GAP);
        let heads = self.config.num_attention_heads;
        let x = scratch.x.values_mut();
        let qkv = scratch.qkv.room(tokens * qkv_stride);
        layer.qkv.apply(x, (tokens, width), qkv, &mut scratch.product);
        let mixed = scratch.mixed.room(tokens * stride);
        let mut row = 0;
        for &length in batch.lengths() {
            let mut of = Attention {
                qkv: &qkv[row * qkv_stride..],
                qkv_stride,
                out: &mut mixed[row * stride..],
                out_stride: stride,
                heads: (heads, width / heads),
                precision: self.precision,
                dropout: None,
            };
            attend(self.instructions, length, &mut of, &mut scratch.attention);
            row += length;
        }
        let y = scratch.y.room(tokens * stride);
        layer.attended.apply(mixed, (tokens, width), y, &mut scratch.product);
        add_norm(self.instructions, x, y, stride, layer.attention_norm.by());
    }

    /// `scratch.x` after the feed-forward layer, residual and norm.
    fn feed_forward(&self, layer: &Layer, tokens: usize, scratch: &mut Scratch) {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let stride = width + GAP;
        let wide = scratch.wide.room(ROWS * (inner + GAP));
        let y = scratch.y.room(ROWS * stride);
        for x in scratch.x.values_mut().chunks_mut(ROWS * stride) {
            let count = x.len() / stride;
            let (wide, y) = (&mut wide[..count * (inner + GAP)], &mut y[..count * stride]);
            layer.intermediate.apply(x, (count, width), wide, &mut scratch.product);
            gelu(self.instructions, wide);
            layer.output.apply(wide, (count, inner), y, &mut scratch.product);
            add_norm(self.instructions, x, y, stride, layer.output_norm.by());
        }
        debug_assert_eq!(scratch.x.values().len(), tokens * stride, "a row a token");
    }

    fn pool(&self, batch: &PackedBatch, finish: Finish, x: &[f32]) -> Vec<f32> {
        let width = self.config.hidden_size;
        let mut vectors = vec![0.0f32; batch.lengths().len() * width];
        let mut rows = x.chunks_exact(width + GAP);
        for (vector, &length) in vectors.chunks_exact_mut(width).zip(batch.lengths()) {
            let mut tokens = rows.by_ref().take(length);
            pool_rows(&mut tokens, length, finish.pooling, vector);
            // Not every kind of pooling looks at all rows; the next text begins after them.
            tokens.for_each(drop);
            if finish.length == Length::Unit {
                unit_row(vector);
            }
        }
        vectors
    }
}
