//! The forward pass that keeps what the way back needs.

use super::super::Result;
use super::super::drops::{Drops, Site, attention_drops, drop_rows};
use super::super::fast_bert::{FastBert, GAP, Layer, ROWS};
use super::super::kernels::{Attention, attend, gelu, norm};
use super::super::pooling::{Pooling, pool_rows};
use super::tape::{Group, Scratch, Widths};

/// Sends a group through the network; its last layer's rows are then in `group.x`.
///
/// # Errors
/// As [`FastBert::vectors`].
pub(super) fn record(fast: &FastBert, group: &mut Group, drops: &Drops, scratch: &mut Scratch) -> Result<()> {
    fast.config.admit(&group.batch)?;
    let (widths, tokens) = (Widths::of(fast), group.tokens());
    let stride = widths.narrow();
    fast.embed(&group.batch, group.embedded.room(tokens * stride))?;
    restore_input(fast, group, drops, 0);
    std::mem::swap(&mut group.x, &mut group.back.input);
    for (number, layer) in fast.layers.iter().enumerate() {
        attend_recorded(fast, (number, layer), group, drops, scratch);
        feed_forward_recorded(fast, (number, layer), group, drops, scratch);
    }
    Ok(())
}

/// The input of layer `number`, as it was, in `group.back.input`.
pub(super) fn restore_input(fast: &FastBert, group: &mut Group, drops: &Drops, number: usize) {
    let widths = Widths::of(fast);
    let stride = widths.narrow();
    let input = group.back.input.room(group.batch.ids().len() * stride);
    let (before, by) = match number.checked_sub(1) {
        Some(last) => (&group.layers[last].summed, fast.layers[last].output_norm.by()),
        None => (&group.embedded, fast.norm.by()),
    };
    input.copy_from_slice(before.values());
    norm(fast.instructions, input, stride, by);
    if number == 0 {
        let rows = (&group.batch, &group.places[..]);
        drop_rows(fast.instructions, (drops.hidden, Site::Embeddings), rows, input, (widths.hidden, stride));
    }
}

fn attend_recorded(
    fast: &FastBert,
    (number, layer): (usize, &Layer),
    group: &mut Group,
    drops: &Drops,
    scratch: &mut Scratch,
) {
    let (widths, tokens) = (Widths::of(fast), group.batch.ids().len());
    let (width, stride, triple) = (widths.hidden, widths.narrow(), widths.triple());
    let tape = &mut group.layers[number];
    let x = group.x.values_mut();
    let qkv = tape.qkv.room(tokens * triple);
    layer.qkv.apply(x, (tokens, width), qkv, &mut scratch.product);
    let mixed = tape.mixed.room(tokens * stride);
    let mut row = 0;
    for (&length, &place) in group.batch.lengths().iter().zip(&group.places) {
        let mut of = Attention {
            qkv: &qkv[row * triple..],
            qkv_stride: triple,
            out: &mut mixed[row * stride..],
            out_stride: stride,
            heads: widths.heads,
            precision: fast.precision,
            dropout: attention_drops(drops, number, place),
        };
        attend(fast.instructions, length, &mut of, &mut scratch.attention);
        row += length;
    }
    let attended = tape.attended.room(tokens * stride);
    layer.attended.apply(mixed, (tokens, width), attended, &mut scratch.product);
    let rows = (&group.batch, &group.places[..]);
    drop_rows(fast.instructions, (drops.attended, Site::Attended(number)), rows, attended, (width, stride));
    add(attended, x);
    x.copy_from_slice(attended);
    norm(fast.instructions, x, stride, layer.attention_norm.by());
}

fn feed_forward_recorded(
    fast: &FastBert,
    (number, layer): (usize, &Layer),
    group: &mut Group,
    drops: &Drops,
    scratch: &mut Scratch,
) {
    let (widths, tokens) = (Widths::of(fast), group.batch.ids().len());
    let (width, inner, stride, wide_stride) = (widths.hidden, widths.inner, widths.narrow(), widths.wide());
    let tape = &mut group.layers[number];
    let x = group.x.values_mut();
    let summed = tape.summed.room(tokens * stride);
    let blocks = summed.chunks_mut(ROWS * stride).zip(x.chunks(ROWS * stride));
    for ((summed, x), wide) in blocks.zip(tape.wide.room(tokens * wide_stride).chunks_mut(ROWS * wide_stride)) {
        let count = x.len() / stride;
        layer.intermediate.apply(x, (count, width), wide, &mut scratch.product);
        let active = scratch.wide.room(wide.len());
        active.copy_from_slice(wide);
        gelu(fast.instructions, active);
        layer.output.apply(active, (count, inner), summed, &mut scratch.product);
    }
    let rows = (&group.batch, &group.places[..]);
    drop_rows(fast.instructions, (drops.hidden, Site::Output(number)), rows, summed, (width, stride));
    add(summed, x);
    x.copy_from_slice(summed);
    norm(fast.instructions, x, stride, layer.output_norm.by());
}

/// Adds `more` to `rows`.
pub(super) fn add(rows: &mut [f32], more: &[f32]) {
    rows.iter_mut().zip(more).for_each(|(value, more)| *value += more);
}

/// The vector of each sequence of a group that went through: `(B, D)` row-major.
pub(super) fn pooled(group: &Group, width: usize, pooling: Pooling) -> Vec<f32> {
    let mut vectors = vec![0.0f32; group.places.len() * width];
    let mut rows = group.x.values().chunks_exact(width + GAP);
    for (vector, &length) in vectors.chunks_exact_mut(width).zip(group.batch.lengths()) {
        let mut tokens = rows.by_ref().take(length);
        pool_rows(&mut tokens, length, pooling, vector);
        tokens.for_each(drop);
    }
    vectors
}
