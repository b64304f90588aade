//! What the forward pass keeps for the way back, a group of sequences at a time: the results of products, and rows
//! before they are normed. What is cheap to compute again (norms, GELU, the attention's weights) is not kept.

use super::super::fast_bert::{FastBert, GAP};
use super::super::kernels::{AttentionScratch, AttentionSlopesScratch, Buffer, OuterScratch, ProductScratch, Rows};
use super::super::packing::PackedBatch;

/// Widths of a network's rows, and the distance from one to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) heads: (usize, usize),
}

impl Widths {
    pub(super) fn of(fast: &FastBert) -> Self {
        let config = &fast.config;
        let heads = config.num_attention_heads;
        Self { hidden: config.hidden_size, inner: config.intermediate_size, heads: (heads, config.hidden_size / heads) }
    }

    /// From a row of D values to the next.
    pub(super) fn narrow(self) -> usize {
        self.hidden + GAP
    }

    /// From a row of the feed-forward layer to the next.
    pub(super) fn wide(self) -> usize {
        self.inner + GAP
    }

    /// From a row of queries, keys and values to the next.
    pub(super) fn triple(self) -> usize {
        3 * self.hidden + GAP
    }

    /// Values that a group keeps for each token of `layers` layers, and needs on the way back.
    pub(super) fn per_token(self, layers: usize) -> usize {
        let kept = self.triple() + 3 * self.narrow() + self.wide();
        layers * kept + 7 * self.narrow() + self.wide() + self.triple()
    }
}

/// What a layer keeps: `(T, ..)` each.
#[derive(Debug, Default)]
pub(super) struct LayerTape {
    /// Queries, keys and values.
    pub(super) qkv: Buffer,
    /// Values mixed by attention.
    pub(super) mixed: Buffer,
    /// Attention's result with the residual, before its norm.
    pub(super) attended: Buffer,
    /// The feed-forward layer before GELU; on the way back, after it.
    pub(super) wide: Buffer,
    /// The layer's result with the residual, before its norm.
    pub(super) summed: Buffer,
}

/// Slopes of the loss in one layer: along the results of its products, and along its input.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// Along the layer's result, then its sums, then its input: `(T, D)`.
    pub(super) slope: Buffer,
    /// Along the second product of the feed-forward layer.
    pub(super) output: Buffer,
    /// Along its first product.
    pub(super) wide: Buffer,
    /// Along the attention's last product.
    pub(super) attended: Buffer,
    /// Along the mixed values.
    pub(super) mixed: Buffer,
    /// Along queries, keys and values.
    pub(super) qkv: Buffer,
    /// The layer's input, and that of its feed-forward half, computed again.
    pub(super) input: Buffer,
    pub(super) middle: Buffer,
    /// Along weight and bias of the norm after attention, and of that after the layer: 2 D each.
    pub(super) attention_norm: Vec<f32>,
    pub(super) output_norm: Vec<f32>,
}

/// Sequences that go through the network together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) batch: PackedBatch,
    /// The place of each sequence among all of the step.
    pub(super) places: Vec<usize>,
    /// The pooled row of each.
    pub(super) rows: Vec<usize>,
    /// Sums of the embeddings, before their norm.
    pub(super) embedded: Buffer,
    /// The layers' rows as they go through; at the end the last layer's result.
    pub(super) x: Buffer,
    pub(super) layers: Vec<LayerTape>,
    pub(super) back: Back,
}

/// Room that a thread takes from group to group.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) wide: Buffer,
    pub(super) product: ProductScratch,
    pub(super) attention: AttentionScratch,
    pub(super) attention_slopes: AttentionSlopesScratch,
    pub(super) outer: OuterScratch,
    pub(super) sums: Buffer,
}

impl Group {
    /// Number of tokens.
    pub(super) fn tokens(&self) -> usize {
        self.batch.ids().len()
    }

    /// The sequences of a group, in the memory of an older one.
    pub(super) fn renewed(
        older: Option<Self>,
        batch: PackedBatch,
        (places, rows): (Vec<usize>, Vec<usize>),
        layers: usize,
    ) -> Self {
        let mut group = older.unwrap_or_else(|| Self {
            batch: PackedBatch::new(&[&[0]]),
            places: Vec::new(),
            rows: Vec::new(),
            embedded: Buffer::default(),
            x: Buffer::default(),
            layers: Vec::new(),
            back: Back::default(),
        });
        group.layers.resize_with(layers, LayerTape::default);
        Self { batch, places, rows, ..group }
    }
}

/// Rows of `count` tokens, `width` values each.
pub(super) fn rows(values: &Buffer, count: usize, width: usize) -> Rows<'_> {
    Rows::new(values.values(), (count, width), width + GAP)
}
