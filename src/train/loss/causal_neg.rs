//! `InfoNCE` with an entropy term over written negatives.

use super::logits::{log_sum_exp, logits};
use super::{Batch, Loss, LossSettings, Outcome, info_nce};
use candle_core::{Result, Tensor};

pub(super) const NAME: &str = "causal-neg";

/// `InfoNCE + λ · mean over queries of ( -H + (Σ_w p_w - Nw/(Nm+Nw))² )`, in nats (`CausalNeg`, arXiv 2606.01304): the
/// written negatives are to spread over the similarities, `H = -Σ_w p_w log p_w`, and to get the weight of their number.
/// p is the softmax at `τ_ent` over the query's own negatives, Nm mined and Nw written (w runs over the latter), without those known to answer it.
/// That p runs over mined and written ones together, and H over the written part of it, is our reading of the paper.
struct CausalNeg {
    contrast: Box<dyn Loss>,
    temperature: f64,
    weight: f64,
}

pub(super) fn make(settings: &LossSettings) -> Box<dyn Loss> {
    Box::new(CausalNeg {
        contrast: info_nce::make(settings),
        temperature: settings.entropy_temperature.unwrap_or(0.1),
        weight: settings.entropy_weight.unwrap_or(0.05),
    })
}

impl Loss for CausalNeg {
    fn of(&self, batch: &Batch) -> Result<Outcome> {
        let outcome = self.contrast.of(batch)?;
        let comparisons = batch.comparisons;
        let own = |query: usize, column: usize| {
            comparisons.own_negatives(query).contains(&column) && comparisons.opposes(query, column)
        };
        let written =
            |query: usize, column: usize| own(query, column) && batch.written.get(column).copied().unwrap_or_default();
        let count = |query: u32, which: &dyn Fn(usize, usize) -> bool| {
            comparisons.own_negatives(query as usize).filter(|&column| which(query as usize, column)).count() as f32
        };
        // Where nothing is written, the term is 0 and has no gradient.
        let rows: Vec<u32> = comparisons.all().into_iter().filter(|&query| count(query, &written) > 0.0).collect();
        if rows.is_empty() {
            return Ok(outcome);
        }
        let device = batch.queries.device();
        let places = Tensor::new(rows.as_slice(), device)?;
        let at_own_temperature = Batch { temperature: self.temperature, ..*batch };
        let logits = logits(&at_own_temperature)?.index_select(&places, 0)?;
        let total = log_sum_exp(&(&logits + comparisons.mask(&rows, device, own)?)?)?;
        let log_share = logits.broadcast_sub(&total)?;
        let share = (&log_share + comparisons.mask(&rows, device, written)?)?.exp()?;
        let negative_entropy = (&share * &log_share)?.sum_keepdim(1)?;
        let expected: Vec<f32> = rows.iter().map(|&query| count(query, &written) / count(query, &own)).collect();
        let expected = Tensor::from_vec(expected, (rows.len(), 1), device)?;
        let imbalance = (share.sum_keepdim(1)? - expected)?.sqr()?;
        let term = ((negative_entropy + imbalance)?.sum_all()? * (self.weight / comparisons.queries() as f64))?;
        Ok(Outcome { value: (outcome.value + term)?, weights: outcome.weights })
    }
}
