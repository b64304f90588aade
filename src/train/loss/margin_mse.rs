//! Distillation of a teacher's margins.

use super::logits::{logits, own, weights};
use super::{Batch, Loss, LossSettings, Outcome};
use candle_core::{Result, Tensor};

pub(super) const NAME: &str = "margin-mse";

/// Mean over the B·H own negatives of `( (q·p - q·n)/τ - (t_p - t_n) )²`, t the teacher's scores, in their unit squared
/// (Hofstätter et al. 2020, arXiv 2010.02666, equation 2, where τ is 1 and vectors are of any length; with vectors of
/// length 1, 2/τ is the widest margin that can be learned). Other queries' passages have no score and do not count;
/// own ones count even where they are known to answer the query: the teacher's score says so too.
struct MarginMse;

pub(super) fn make(_: &LossSettings) -> Box<dyn Loss> {
    Box::new(MarginMse)
}

impl Loss for MarginMse {
    fn of(&self, batch: &Batch) -> Result<Outcome> {
        let logits = logits(batch)?;
        let student = margins(&own(&logits, batch.comparisons)?)?;
        let shape = (batch.comparisons.queries(), 1 + batch.comparisons.negatives());
        let teacher = margins(&Tensor::from_slice(batch.teacher, shape, logits.device())?)?;
        let value = (student - teacher)?.sqr()?.mean_all()?;
        Ok(Outcome { value, weights: weights(&logits, &batch.comparisons.own())? })
    }
}

/// The first column minus each of the others, `(B, H)`.
fn margins(scores: &Tensor) -> Result<Tensor> {
    let negatives = scores.narrow(1, 1, scores.dim(1)? - 1)?;
    scores.narrow(1, 0, 1)?.broadcast_sub(&negatives)
}
