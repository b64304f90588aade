//! Dropout in the network: where values are dropped, how many, and how a place's mask is found. The same places and
//! masks for our kernels and for candle's operations.

use super::family::Attended;
use super::kernels::{Dropout, Instructions, SequenceDropout};
use super::packing::PackedBatch;

/// Shares that are dropped, and the key of their masks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Drops {
    pub(super) hidden: Option<Dropout>,
    pub(super) attended: Option<Dropout>,
    pub(super) attention: Option<Dropout>,
}

impl Drops {
    /// Dropout of `hidden` of the values after embeddings and blocks, and `attention` of the attention's weights.
    #[must_use]
    pub fn new((hidden, attention): (f64, f64), attended: Attended, key: u64) -> Self {
        let hidden = Dropout::new(hidden, key);
        let attended = if attended == Attended::Dropped { hidden } else { None };
        Self { hidden, attended, attention: Dropout::new(attention, key) }
    }
}

/// Where in the network values are dropped.
#[derive(Debug, Clone, Copy)]
pub enum Site {
    /// After the embeddings' norm.
    Embeddings,
    /// In the attention's weights of a layer.
    Attention(usize),
    /// After the product that ends attention.
    Attended(usize),
    /// After the product that ends the layer.
    Output(usize),
    /// Before a cross-encoder's last product.
    Head,
}

impl Site {
    /// Its number in the network.
    #[must_use]
    pub fn number(self) -> u32 {
        let (layer, part) = match self {
            Self::Embeddings => return 0,
            Self::Head => return u32::MAX,
            Self::Attention(layer) => (layer, 1),
            Self::Attended(layer) => (layer, 2),
            Self::Output(layer) => (layer, 3),
        };
        u32::try_from(3 * layer + part).unwrap_or(u32::MAX)
    }
}

/// Drops values of the rows of a batch's tokens, each `stride` after the one before.
pub fn drop_rows(
    instructions: Instructions,
    (dropout, site): (Option<Dropout>, Site),
    (batch, places): (&PackedBatch, &[usize]),
    rows: &mut [f32],
    (width, stride): (usize, usize),
) {
    let Some(dropout) = dropout else { return };
    let mut rows = rows.chunks_mut(stride);
    for (&length, &place) in batch.lengths().iter().zip(places) {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        for (token, row) in (0..).zip(rows.by_ref().take(length)) {
            dropout.row([place, site.number(), token]).apply(instructions, &mut row[..width]);
        }
    }
}

/// Dropout of the attention's weights of the sequence at `place`.
#[must_use]
pub fn attention_drops(drops: &Drops, layer: usize, place: usize) -> Option<SequenceDropout> {
    let place = [u32::try_from(place).unwrap_or(u32::MAX), Site::Attention(layer).number()];
    drops.attention.map(|dropout| SequenceDropout { dropout, place })
}
