//! Losses over the numbers that a cross-encoder gives to pairs of a query and a passage.

use super::logits::{log_sum_exp, softplus};
use candle_core::{Result, Tensor};

/// Mean over N pairs, in nats, of `-(w y log σ(z) + (1 - y) log(1 - σ(z)))`: z are the logits `(N, 1)`, y the labels from
/// 0 to 1, w the weight of positives, above 0 (the loss of passage re-ranking, Nogueira and Cho 2019, arXiv 1901.04085,
/// equation 1; `BCEWithLogitsLoss` of `PyTorch`).
///
/// # Errors
/// candle's, when shapes do not fit or memory runs out.
pub fn binary_cross_entropy(logits: &Tensor, labels: &[f32], positive_weight: f64) -> Result<Tensor> {
    let labels = Tensor::from_slice(labels, logits.shape(), logits.device())?;
    let positive = (softplus(&logits.neg()?)? * (&labels * positive_weight)?)?;
    let negative = (softplus(logits)? * (1.0 - labels)?)?;
    (positive + negative)?.mean_all()
}

/// Mean over G groups, in nats, of `-log( exp(z_p) / Σ_k exp(z_k) )`: logits `(G, K)` of one query's passages a row, the
/// positive p first (localised contrastive estimation, Gao et al. 2021, arXiv 2101.08751, equation 4).
///
/// # Errors
/// candle's, when memory runs out.
pub fn listwise_cross_entropy(logits: &Tensor) -> Result<Tensor> {
    (log_sum_exp(logits)? - logits.narrow(1, 0, 1)?)?.mean_all()
}
