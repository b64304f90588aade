//! The debiased contrastive loss, with hard negatives weighted up, in log space.

use super::logits::{log_sum_exp, logits, positives, softplus, weights};
use super::{Batch, Loss, LossSettings, Outcome};
use candle_core::{Result, Tensor};

pub(super) const NAME: &str = "debiased";

/// Mean over the B queries, in nats, of `-log( pos / (pos + Ng) )` with `pos = exp(q·p/τ)` and
/// `Ng = max( (-τ⁺ N pos + S) / (1 - τ⁺), N exp(-1/τ) )` over the N negatives compared with the query
/// (Chuang et al. 2020, arXiv 2007.00224, equation 8, with one positive): τ⁺ is the share of them that are answers.
/// S is the sum of their `neg = exp(q·c/τ)`, or with β above 0 (Robinson et al. 2021, arXiv 2010.04592, equation 5)
/// `Σ neg^(1+β) / mean(neg^β)`, as in the authors' code.
///
/// All of it stands in log space: at τ = 0.02 `exp(1/τ)` does not fit into f32. The floor supposes vectors of length 1.
/// A query without negatives counts 0.
struct Debiased {
    positive_prior: f64,
    beta: f64,
}

pub(super) fn make(settings: &LossSettings) -> Box<dyn Loss> {
    Box::new(Debiased { positive_prior: settings.positive_prior.unwrap_or(0.1), beta: settings.beta.unwrap_or(0.0) })
}

impl Loss for Debiased {
    fn of(&self, batch: &Batch) -> Result<Outcome> {
        let comparisons = batch.comparisons;
        let similarities = logits(batch)?;
        let weights = weights(&similarities, comparisons)?;
        let (rows, counts) = comparisons.opposed();
        if rows.is_empty() {
            return Ok(Outcome { value: (similarities.sum_all()? * 0.0)?, weights });
        }
        let device = similarities.device();
        let mask = comparisons.mask(&rows, device, |query, column| comparisons.opposes(query, column))?;
        let places = Tensor::new(rows.as_slice(), device)?;
        let negatives = similarities.index_select(&places, 0)?;
        let positive = positives(&similarities)?.index_select(&places, 0)?;
        let log_count = Tensor::from_vec(counts, (rows.len(), 1), device)?.log()?;

        let mut sum = log_sum_exp(&((&negatives * (1.0 + self.beta))? + &mask)?)?;
        if self.beta > 0.0 {
            sum = (sum - (log_sum_exp(&((&negatives * self.beta)? + &mask)?)? - &log_count)?)?;
        }
        let floor = (&log_count - 1.0 / batch.temperature)?;
        let log_negative = if self.positive_prior > 0.0 {
            let answers = ((&positive + &log_count)? + self.positive_prior.ln())?;
            // log(exp(sum) - exp(answers)); where the difference is not positive, any number does: the floor is taken.
            let ratio = (answers - &sum)?;
            let below = ratio.lt(0.0)?;
            let ratio = below.where_cond(&ratio, &(ratio.zeros_like()? - 1.0)?)?;
            let rest = (ratio.exp()?.neg()? + 1.0)?.log()?;
            let difference = ((sum + rest)? - (1.0 - self.positive_prior).ln())?;
            let above = difference.gt(&floor)?.mul(&below)?;
            above.where_cond(&difference, &floor)?
        } else {
            sum.gt(&floor)?.where_cond(&sum, &floor)?
        };
        let value = (softplus(&(log_negative - positive)?)?.sum_all()? / comparisons.queries() as f64)?;
        Ok(Outcome { value, weights })
    }
}
