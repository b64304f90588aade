//! How an encoder is trained: every key with its unit, range, default and what it trades.

use crate::encode::Precision;
use serde::{Deserialize, Serialize};

/// Whose passages stand against a query beside its own negatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InBatch {
    /// Nobody's: only the instance's own negatives (SyNeg's formula, arXiv 2412.17250).
    None,
    /// The other queries' positives.
    Positives,
    /// The other queries' positives and negatives (multiple negatives ranking loss of sentence-transformers).
    All,
}

/// Settings of contrastive training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Passes over the instances, 1 and up. Default 1. More fits the training queries better and forgets more.
    pub epochs: usize,
    /// Instances a step, 1 and up. Default 16. More gives more in-batch negatives and takes more memory.
    pub batch_size: usize,
    /// Largest step of `AdamW`, above 0. Default 2e-5. Higher learns faster and can wreck a good encoder.
    pub learning_rate: f64,
    /// Share of the steps over which the learning rate rises from 0, 0 to 1. Default 0.1.
    pub warmup_share: f64,
    /// Decoupled weight decay, 0 and up, not on biases and norms. Default 0.01.
    pub weight_decay: f64,
    /// Gradients with a larger global L2 norm are scaled down to it, above 0. Default 1.
    pub max_gradient_norm: f64,
    /// τ of `InfoNCE`: similarities are divided by it, above 0. Default 0.05. Lower looks at the hardest negatives only.
    pub temperature: f64,
    /// Other queries' passages as negatives: none, positives or all. Default all.
    pub in_batch: InBatch,
    /// Texts are cut to so many tokens in training, 3 and up; 0 stands for the encoder's own limit. Default 0.
    pub max_length: usize,
    /// Share of values that a step drops after embeddings, blocks and attention's weights, 0 to below 1; absent: what the
    /// encoder's `config.json` says, mostly 0.1. More keeps a small set from being learned by heart, and learns slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// What products are computed from, f32 or bf16; weights, sums and the optimiser are f32 always. Default f32. bf16 is
    /// faster where the processor multiplies it, and its gradients are less exact.
    pub precision: Precision,
    /// Most memory that a step's activations may take, MiB, 64 and up. Default 4096. A batch that needs more goes in
    /// parts, forward twice (`GradCache`, arXiv 2101.06983): the same gradient to the last bit, a third slower.
    pub activation_memory: usize,
    /// Steps between checkpoints that an interrupted run goes on from, 1 and up. Default 20.
    pub checkpoint_every: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 16,
            learning_rate: 2e-5,
            warmup_share: 0.1,
            weight_decay: 0.01,
            max_gradient_norm: 1.0,
            temperature: 0.05,
            in_batch: InBatch::All,
            max_length: 0,
            dropout: None,
            precision: Precision::F32,
            activation_memory: 4096,
            checkpoint_every: 20,
        }
    }
}

impl TrainSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The key, what was expected and what was given.
    pub fn check(&self) -> Result<(), (&'static str, &'static str, String)> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let checks: [(&'static str, bool, &'static str, String); 11] = [
            ("epochs", self.epochs > 0, "1 or more", self.epochs.to_string()),
            ("batch_size", self.batch_size > 0, "1 or more", self.batch_size.to_string()),
            ("learning_rate", positive(self.learning_rate), "a number above 0", self.learning_rate.to_string()),
            (
                "warmup_share",
                (0.0..=1.0).contains(&self.warmup_share),
                "a share from 0 to 1",
                self.warmup_share.to_string(),
            ),
            (
                "weight_decay",
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "0 or more",
                self.weight_decay.to_string(),
            ),
            (
                "max_gradient_norm",
                positive(self.max_gradient_norm),
                "a number above 0",
                self.max_gradient_norm.to_string(),
            ),
            ("temperature", positive(self.temperature), "a number above 0", self.temperature.to_string()),
            (
                "max_length",
                self.max_length == 0 || self.max_length >= 3,
                "0 or at least 3 tokens",
                self.max_length.to_string(),
            ),
            (
                "dropout",
                self.dropout.is_none_or(|share| (0.0..1.0).contains(&share)),
                "a share from 0 to below 1",
                self.dropout.unwrap_or_default().to_string(),
            ),
            ("activation_memory", self.activation_memory >= 64, "64 MiB or more", self.activation_memory.to_string()),
            ("checkpoint_every", self.checkpoint_every > 0, "1 or more", self.checkpoint_every.to_string()),
        ];
        checks
            .into_iter()
            .find(|(_, holds, ..)| !holds)
            .map_or(Ok(()), |(key, _, expected, found)| Err((key, expected, found)))
    }

    /// Learning rate of `step` (from 0) of `total`: linear warm-up, then linear decay to 0 after the last step.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
    pub fn learning_rate_at(&self, step: usize, total: usize) -> f64 {
        let warmup = (self.warmup_share * total as f64).ceil();
        let step = step as f64 + 1.0;
        let share =
            if step <= warmup { step / warmup } else { (total as f64 + 1.0 - step) / (total as f64 + 1.0 - warmup) };
        self.learning_rate * share.clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_then_falls_and_is_never_zero() {
        let settings = TrainSettings { learning_rate: 1.0, warmup_share: 0.2, ..TrainSettings::default() };
        let rates: Vec<f64> = (0..10).map(|step| settings.learning_rate_at(step, 10)).collect();
        assert!((rates[0] - 0.5).abs() < 1e-12 && (rates[1] - 1.0).abs() < 1e-12, "{rates:?}");
        assert!(rates[1..].windows(2).all(|pair| pair[0] > pair[1]), "{rates:?}");
        assert!(rates.iter().all(|&rate| rate > 0.0), "{rates:?}");
    }
}
