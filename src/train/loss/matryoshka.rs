//! A wrapper that takes a loss over the first dimensions of the vectors too.

use super::{Batch, Loss, Outcome};
use candle_core::{D, Result, Tensor};

/// `Σ_i w_i L(first d_i dimensions)` (Kusupati et al. 2022, arXiv 2205.13147, equation 1): vectors cut to `d_i` stay good.
/// Cut vectors are brought to length 1, as in sentence-transformers; `d_i = D` takes them as they are.
pub(super) struct Matryoshka {
    pub(super) inner: Box<dyn Loss>,
    /// `d_i` from the widest to the narrowest, and `w_i`; at least one.
    pub(super) widths: Vec<(usize, f64)>,
}

impl Loss for Matryoshka {
    /// The sum, with the softmax weights at the widest.
    fn of(&self, batch: &Batch) -> Result<Outcome> {
        let mut sum: Option<Outcome> = None;
        for &(width, weight) in &self.widths {
            let outcome = self.inner.of(&batch.with(&cut(batch.queries, width)?, &cut(batch.passages, width)?))?;
            let value = (outcome.value * weight)?;
            sum = Some(match sum {
                Some(sum) => Outcome { value: (sum.value + value)?, ..sum },
                None => Outcome { value, weights: outcome.weights },
            });
        }
        sum.ok_or_else(|| candle_core::Error::msg("a Matryoshka loss over no width"))
    }
}

fn cut(vectors: &Tensor, width: usize) -> Result<Tensor> {
    if vectors.dim(D::Minus1)? == width {
        return Ok(vectors.clone());
    }
    let cut = vectors.narrow(1, 0, width)?.contiguous()?;
    let length = cut.sqr()?.sum_keepdim(1)?.sqrt()?;
    cut.broadcast_div(&length)
}
