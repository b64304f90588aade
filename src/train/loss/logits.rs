//! What losses share: similarities over τ, sums of exponentials in log space, softmax weights.

use super::{Batch, Comparisons};
use candle_core::{D, Result, Tensor};

/// Similarity of each query and passage over τ, `(B, C)`.
pub(super) fn logits(batch: &Batch) -> Result<Tensor> {
    batch.queries.matmul(&batch.passages.t()?)? / batch.temperature
}

/// Logits of each query's own positive, `(B, 1)`.
pub(super) fn positives(logits: &Tensor) -> Result<Tensor> {
    let own = Tensor::arange(0u32, u32::try_from(logits.dim(0)?)?, logits.device())?.unsqueeze(1)?;
    logits.gather(&own, 1)
}

/// Logits of each query's own positive and negatives, `(B, 1 + H)`, the positive first.
pub(super) fn own(logits: &Tensor, comparisons: &Comparisons) -> Result<Tensor> {
    let columns =
        (0..comparisons.queries()).flat_map(|query| std::iter::once(query).chain(comparisons.own_negatives(query)));
    let columns = columns.map(|column| Ok(u32::try_from(column)?)).collect::<Result<Vec<u32>>>()?;
    let shape = (comparisons.queries(), 1 + comparisons.negatives());
    logits.gather(&Tensor::from_vec(columns, shape, logits.device())?, 1)
}

/// `log Σ exp` over each row, `(rows, 1)`. Every row must hold a finite number.
pub(super) fn log_sum_exp(rows: &Tensor) -> Result<Tensor> {
    // The largest is taken out so that exp does not overflow; it is a constant for the gradient.
    let largest = rows.max_keepdim(D::Minus1)?.detach();
    rows.broadcast_sub(&largest)?.exp()?.sum_keepdim(D::Minus1)?.log()? + largest
}

/// `log(1 + exp(x))`, for any x, in the shape of `x`, which is `(rows, 1)`.
pub(super) fn softplus(x: &Tensor) -> Result<Tensor> {
    log_sum_exp(&Tensor::cat(&[&x.zeros_like()?, x], 1)?)
}

/// Softmax of each row of `logits` over the passages that stand against its query, `(B, C)` row-major.
pub(super) fn weights(logits: &Tensor, comparisons: &Comparisons) -> Result<Vec<f32>> {
    let mut rows: Vec<Vec<f32>> = logits.detach().to_vec2()?;
    for (query, row) in rows.iter_mut().enumerate() {
        let largest = row.iter().enumerate().filter(|&(column, _)| comparisons.compares(query, column));
        let largest = largest.fold(f32::NEG_INFINITY, |largest, (_, &logit)| largest.max(logit));
        let mut sum = 0.0;
        for (column, logit) in row.iter_mut().enumerate() {
            *logit = if comparisons.compares(query, column) { (*logit - largest).exp() } else { 0.0 };
            sum += *logit;
        }
        for weight in row {
            *weight /= sum;
        }
    }
    Ok(rows.concat())
}
