//! The way back through a group of sequences, layer by layer: slopes of the loss along the results of every product,
//! by hand. What they make of the weights is in [`super::slopes`].

use super::super::Result;
use super::super::drops::{Drops, Site, attention_drops, drop_rows};
use super::super::fast_bert::{FastBert, GAP, ROWS, with_values};
use super::super::kernels::{
    AttentionSlopes, Onto, Packed, ProductScratch, Rows, attend_slopes, gelu, gelu_slope, norm, norm_parameter_slopes,
    norm_slope,
};
use super::super::pooling::{Pooling, spread_rows};
use super::super::trunk::Weights;
use super::record::restore_input;
use super::tape::{Group, Scratch, Widths};

/// A layer's weights, packed for the way back.
pub(super) struct BackLayer {
    qkv: Packed,
    attended: Packed,
    intermediate: Packed,
    output: Packed,
}

impl BackLayer {
    /// The weights of layer `number`.
    ///
    /// # Errors
    /// What `weights` returns.
    pub(super) fn new(fast: &FastBert, number: usize, weights: &Weights<'_>) -> Result<Self> {
        let pack = |parts: &[&str]| -> Result<Packed> {
            let tensors = parts
                .iter()
                .map(|part| weights(&fast.config.family.weight(&format!("encoder.layer.{number}.{part}.weight"))))
                .collect::<Result<Vec<_>>>()?;
            let columns = tensors[0].dim(1)?;
            let parts = tensors.iter().map(|t| with_values(t, <[f32]>::to_vec)).collect::<Result<Vec<_>>>()?;
            let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
            Ok(Packed::transposed(fast.instructions, fast.precision, columns, &parts))
        };
        Ok(Self {
            qkv: pack(&["attention.self.query", "attention.self.key", "attention.self.value"])?,
            attended: pack(&["attention.output.dense"])?,
            intermediate: pack(&["intermediate.dense"])?,
            output: pack(&["output.dense"])?,
        })
    }
}

/// Puts into `group.back.slope` what `slopes`, along all pooled rows, are along the rows of the group's tokens.
pub(super) fn spread(group: &mut Group, width: usize, pooling: Pooling, slopes: &[f32]) {
    let stride = width + GAP;
    let slope = group.back.slope.room(group.batch.ids().len() * stride);
    slope.fill(0.0);
    let mut to = slope.chunks_exact_mut(stride);
    let mut from = group.x.values().chunks_exact(stride);
    for (&length, &row) in group.batch.lengths().iter().zip(&group.rows) {
        let rows: Vec<&mut [f32]> = to.by_ref().take(length).map(|row| &mut row[..width]).collect();
        let tokens: Vec<&[f32]> = from.by_ref().take(length).collect();
        spread_rows(&tokens, rows, pooling, &slopes[row * width..][..width]);
    }
}

/// Takes `group.back.slope` from the result of layer `number` to its input, and leaves on the way what the weights'
/// slopes are made of.
pub(super) fn through_layer(
    (fast, packed): (&FastBert, &BackLayer),
    number: usize,
    group: &mut Group,
    drops: &Drops,
    scratch: &mut Scratch,
) {
    let (widths, tokens) = (Widths::of(fast), group.tokens());
    let (instructions, layer) = (fast.instructions, &fast.layers[number]);
    let (width, stride) = (widths.hidden, widths.narrow());
    restore_input(fast, group, drops, number);
    let rows = (&group.batch, &group.places[..]);
    let (tape, back) = (&mut group.layers[number], &mut group.back);
    let slope = back.slope.values_mut();

    // Through the last norm, and with what was dropped after the feed-forward layer.
    for parts in [&mut back.output_norm, &mut back.attention_norm] {
        parts.clear();
        parts.resize(2 * width, 0.0);
    }
    let by = layer.output_norm.by();
    norm_parameter_slopes(instructions, (tape.summed.values(), slope), stride, &mut back.output_norm, by.eps);
    norm_slope(instructions, tape.summed.values(), slope, stride, by);
    let output = back.output.room(slope.len());
    output.copy_from_slice(slope);
    drop_rows(instructions, (drops.hidden, Site::Output(number)), rows, output, (width, stride));

    // Through the feed-forward layer, a few rows at a time; the residual's slope is there already.
    let middle = back.middle.room(slope.len());
    middle.copy_from_slice(tape.attended.values());
    norm(instructions, middle, stride, layer.attention_norm.by());
    let wide_stride = widths.wide();
    let wide = back.wide.room(tokens * wide_stride);
    let blocks = wide.chunks_mut(ROWS * wide_stride).zip(tape.wide.values_mut().chunks_mut(ROWS * wide_stride));
    for ((wide, before), (output, slope)) in
        blocks.zip(output.chunks(ROWS * stride).zip(slope.chunks_mut(ROWS * stride)))
    {
        let count = output.len() / stride;
        through(&packed.output, output, (count, width), (wide, Onto::Nothing), &mut scratch.product);
        gelu_slope(instructions, before, wide);
        gelu(instructions, before);
        through(&packed.intermediate, wide, (count, widths.inner), (slope, Onto::Sums), &mut scratch.product);
    }

    // Through the norm after attention, and its last product.
    let by = layer.attention_norm.by();
    norm_parameter_slopes(instructions, (tape.attended.values(), slope), stride, &mut back.attention_norm, by.eps);
    norm_slope(instructions, tape.attended.values(), slope, stride, by);
    let attended = back.attended.room(slope.len());
    attended.copy_from_slice(slope);
    drop_rows(instructions, (drops.attended, Site::Attended(number)), rows, attended, (width, stride));
    let mixed = back.mixed.room(slope.len());
    through(&packed.attended, attended, (tokens, width), (mixed, Onto::Nothing), &mut scratch.product);

    // Through attention, a sequence at a time, and the product that made queries, keys and values.
    let triple = widths.triple();
    let qkv = back.qkv.room(tokens * triple);
    let mut row = 0;
    for (&length, &place) in group.batch.lengths().iter().zip(&group.places) {
        let mut of = AttentionSlopes {
            qkv: &tape.qkv.values()[row * triple..],
            mixed: (&tape.mixed.values()[row * stride..], &mixed[row * stride..]),
            out: &mut qkv[row * triple..],
            strides: (triple, stride),
            heads: widths.heads,
            dropout: attention_drops(drops, number, place),
        };
        attend_slopes(instructions, length, &mut of, &mut scratch.attention_slopes);
        row += length;
    }
    through(&packed.qkv, qkv, (tokens, 3 * width), (slope, Onto::Sums), &mut scratch.product);
}

/// Takes `group.back.slope` from the first layer's input to the sums of the embeddings; the slopes of their norm are
/// then in `group.back.output_norm`.
pub(super) fn through_embeddings(fast: &FastBert, group: &mut Group, drops: &Drops) {
    let widths = Widths::of(fast);
    let (width, stride) = (widths.hidden, widths.narrow());
    let slope = group.back.slope.values_mut();
    let rows = (&group.batch, &group.places[..]);
    drop_rows(fast.instructions, (drops.hidden, Site::Embeddings), rows, slope, (width, stride));
    let (embedded, by) = (group.embedded.values(), fast.norm.by());
    group.back.output_norm.clear();
    group.back.output_norm.resize(2 * width, 0.0);
    norm_parameter_slopes(fast.instructions, (embedded, slope), stride, &mut group.back.output_norm, by.eps);
    norm_slope(fast.instructions, embedded, slope, stride, by);
}

/// `count` rows of `x`, of `width` values, times the matrix, into rows of `out`; rows of both stand [`GAP`] apart.
fn through(
    packed: &Packed,
    x: &[f32],
    (count, width): (usize, usize),
    (out, onto): (&mut [f32], Onto<'_>),
    scratch: &mut ProductScratch,
) {
    let stride = packed.outputs() + GAP;
    packed.apply(Rows::new(x, (count, width), width + GAP), onto, (out, stride), scratch);
}
