//! `InfoNCE`, called multiple negatives ranking loss in sentence-transformers.

use super::logits::{log_sum_exp, logits, positives, weights};
use super::{Batch, Directions, Loss, LossSettings, Outcome};
use candle_core::{Result, Tensor};

pub(super) const NAME: &str = "info-nce";

/// Mean over the B queries, in nats (van den Oord et al. 2018, arXiv 1807.03748, equation 4):
/// `-log( exp(q·p/τ) / Σ_c exp(q·c/τ) )`, c over the query's own positive and every passage it is compared with.
///
/// With both directions, the mean of that and of the same for each positive over the queries it is compared with
/// (arXiv 2310.19923, equation 3; sentence-transformers' `per_direction`).
/// With a hardness strength α, a negative's term is multiplied by `exp(α·q·c)`, a constant for the gradient (`LLaVE`,
/// arXiv 2503.04812, equation 5; sentence-transformers' `all_negatives`).
struct InfoNce {
    directions: Directions,
    hardness_strength: f64,
}

pub(super) fn make(settings: &LossSettings) -> Box<dyn Loss> {
    Box::new(InfoNce {
        directions: settings.directions.unwrap_or_default(),
        hardness_strength: settings.hardness_strength.unwrap_or(0.0),
    })
}

impl Loss for InfoNce {
    fn of(&self, batch: &Batch) -> Result<Outcome> {
        let comparisons = batch.comparisons;
        let all = comparisons.all();
        let similarities = logits(batch)?;
        let positive = positives(&similarities)?;
        let weighted = if self.hardness_strength > 0.0 {
            let negative = all.iter().flat_map(|&query| {
                (0..comparisons.columns()).map(move |column| f32::from(u8::from(column != query as usize)))
            });
            let negative = Tensor::from_vec(negative.collect::<Vec<_>>(), similarities.shape(), similarities.device())?;
            let strength = self.hardness_strength * batch.temperature;
            (&similarities + (similarities.detach() * negative)? * strength)?
        } else {
            similarities.clone()
        };
        let mask =
            comparisons.mask(&all, similarities.device(), |query, column| comparisons.compares(query, column))?;
        let forth = (log_sum_exp(&(&weighted + &mask)?)? - &positive)?.mean_all()?;
        let value = match self.directions {
            Directions::QueryToPassage => forth,
            Directions::Both => {
                // Row i holds the queries that stand against positive i.
                let queries = (&similarities + &mask)?.narrow(1, 0, comparisons.queries())?.t()?;
                let back = (log_sum_exp(&queries)? - positive)?.mean_all()?;
                ((forth + back)? * 0.5)?
            }
        };
        Ok(Outcome { value, weights: weights(&weighted, comparisons)? })
    }
}
