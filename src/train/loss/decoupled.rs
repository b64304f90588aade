//! The decoupled contrastive loss.

use super::logits::{log_sum_exp, logits, positives, weights};
use super::{Batch, Loss, LossSettings, Outcome};
use candle_core::{Result, Tensor};

pub(super) const NAME: &str = "decoupled";

/// Mean over the B queries, in nats, of `-q·p/τ + log Σ_c exp(q·c/τ)`, c over the negatives compared with the query
/// (Yeh et al. 2022, arXiv 2110.06848, equation 6): the positive stands not in the sum, so that an easy negative does not
/// lose its gradient to it. It has no lower bound. A query without negatives counts 0.
struct Decoupled;

pub(super) fn make(_: &LossSettings) -> Box<dyn Loss> {
    Box::new(Decoupled)
}

impl Loss for Decoupled {
    fn of(&self, batch: &Batch) -> Result<Outcome> {
        let comparisons = batch.comparisons;
        let similarities = logits(batch)?;
        let weights = weights(&similarities, comparisons)?;
        let (rows, _) = comparisons.opposed();
        if rows.is_empty() {
            return Ok(Outcome { value: (similarities.sum_all()? * 0.0)?, weights });
        }
        let mask =
            comparisons.mask(&rows, similarities.device(), |query, column| comparisons.opposes(query, column))?;
        let places = Tensor::new(rows.as_slice(), similarities.device())?;
        let negatives = log_sum_exp(&(similarities.index_select(&places, 0)? + mask)?)?;
        let positive = positives(&similarities)?.index_select(&places, 0)?;
        let value = ((negatives - positive)?.sum_all()? / comparisons.queries() as f64)?;
        Ok(Outcome { value, weights })
    }
}
