//! Distillation of a teacher's distribution over a query's passages.

use super::logits::{log_sum_exp, logits, own, weights};
use super::{Batch, Loss, LossSettings, Outcome};
use candle_core::{Result, Tensor};

pub(super) const NAME: &str = "listwise-kl";

/// Mean over the B queries, in nats, of `Σ_c t_c (log t_c - log s_c)`, c over the query's own positive and negatives:
/// s is the softmax of `q·c/τ`, t that of the teacher's scores over their own temperature (Lin et al. 2020,
/// arXiv 2010.11386, section 3.2). sentence-transformers multiplies by τ², which we do not. Which passages count: as in
/// margin-mse.
struct ListwiseKl {
    teacher_temperature: f64,
}

pub(super) fn make(settings: &LossSettings) -> Box<dyn Loss> {
    Box::new(ListwiseKl { teacher_temperature: settings.teacher_temperature.unwrap_or(1.0) })
}

impl Loss for ListwiseKl {
    fn of(&self, batch: &Batch) -> Result<Outcome> {
        let logits = logits(batch)?;
        let student = log_softmax(&own(&logits, batch.comparisons)?)?;
        let shape = (batch.comparisons.queries(), 1 + batch.comparisons.negatives());
        let scores = (Tensor::from_slice(batch.teacher, shape, logits.device())? / self.teacher_temperature)?;
        let teacher = log_softmax(&scores)?;
        let value = (teacher.exp()? * (teacher - student)?)?.sum(1)?.mean_all()?;
        Ok(Outcome { value, weights: weights(&logits, &batch.comparisons.own())? })
    }
}

fn log_softmax(scores: &Tensor) -> Result<Tensor> {
    scores.broadcast_sub(&log_sum_exp(scores)?)
}
