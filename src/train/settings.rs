//! How an encoder is trained: every key with its unit, range, default and what it trades.

use super::loss::{Directions, GuideMargin, LossSettings};
use super::renewal::RenewalSettings;
use super::schedule::{Curve, rate};
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

/// In which order instances are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Another one in each epoch, by the seed.
    #[default]
    Shuffled,
    /// That of the file, shuffled by the seed within each twentieth of it: for mixes that change over training.
    File,
}

/// What a look at held-out queries measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// nDCG@k of the positives among all passages of the instances; higher is better.
    Ndcg,
    /// The loss; lower is better. It cannot be compared between losses or temperatures.
    Loss,
}

/// A setting that is not what it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: expected {expected}, found {found}{}", hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}")))]
pub struct InvalidSetting {
    /// Its key, below `train`.
    pub key: String,
    /// What it may be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// What the user can do.
    pub hint: Option<String>,
}

impl InvalidSetting {
    pub(super) fn new(key: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { key: key.to_owned(), expected: expected.into(), found: found.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn under(mut self, table: &str) -> Self {
        self.key = format!("{table}.{}", self.key);
        self
    }
}

/// Settings of contrastive training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Passes over the instances, 1 and up. Default 1. More fits the training queries better and forgets more.
    pub epochs: usize,
    /// Instances a step, 1 and up. Default 16. More gives more in-batch negatives and takes more memory.
    pub batch_size: usize,
    /// Order of the instances, default shuffled. `file` follows the schedule that a mix laid into it.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Order,
    /// Batches whose gradients a step takes the mean of, 1 and up. Default 1. More steadies the step as a larger batch
    /// does, without its in-batch negatives and its memory.
    pub accumulate: usize,
    /// Lowest layers that stay as they are, with the embeddings; 0: the embeddings alone. Default none. More forgets less,
    /// learns less, and saves the way back through what is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_layers: Option<usize>,
    /// Largest step of `AdamW`, above 0. Default 2e-5. Higher learns faster and can wreck a good encoder.
    pub learning_rate: f64,
    /// How the learning rate falls after its rise: linear, cosine or constant. Default linear. Cosine stays high longer;
    /// constant does not settle.
    pub schedule: Curve,
    /// Share of the steps over which the learning rate rises from 0, 0 to 1. Default 0.1.
    pub warmup_share: f64,
    /// Decoupled weight decay, 0 and up, not on biases and norms. Default 0.01.
    pub weight_decay: f64,
    /// Gradients with a larger global L2 norm are scaled down to it, above 0. Default 1.
    pub max_gradient_norm: f64,
    /// What is made small, default InfoNCE.
    pub loss: LossSettings,
    /// τ: similarities are divided by it, above 0. Default 0.05. Lower looks at the hardest negatives only.
    pub temperature: f64,
    /// τ of the last step, above 0. Default none: it does not change. Below the first, training goes from all negatives
    /// to the hardest; above, the other way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_end: Option<f64>,
    /// How τ gets there: linear or cosine. Default linear. Cosine stays longer near both ends.
    pub temperature_schedule: Curve,
    /// Other queries' passages as negatives: none, positives or all. Default all.
    pub in_batch: InBatch,
    /// With a guide encoder: how far below the positive a passage must stay to count as a negative, `{ absolute = m }` in
    /// cosine or `{ relative = m }` of the positive's. Default `{ absolute = 0.0 }`. More takes out more answers, and more
    /// of the hardest negatives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guide_margin: Option<GuideMargin>,
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
    /// Share of the queries that are held out to look at the encoder with, 0 to below 1. Default 0: no looks. More makes
    /// the looks surer, and leaves less to train on.
    pub validation_share: f64,
    /// Split of the collection whose queries are looked at, over all its passages; default none. With it `validation_share`
    /// is 0. Truer than a share of the training queries over the instances' passages, and each look embeds the corpus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_split: Option<String>,
    /// What a look measures: `ndcg` over the passages of all instances, or `loss`. Default ndcg.
    pub validation: Measure,
    /// Hits that nDCG looks at, 1 and up. Default 10.
    pub validation_depth: usize,
    /// Steps between two looks; 0: after each epoch. Default 0. The last step is looked at always.
    pub validate_every: usize,
    /// Looks without gain after which training ends, 0: never. Default 3. Fewer can end in a dip, more takes longer.
    pub patience: usize,
    /// Mines negatives again on the way, with the encoder as it is then. Default none: they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<RenewalSettings>,
    /// Steps between checkpoints that an interrupted run goes on from, 1 and up. Default 20.
    pub checkpoint_every: usize,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 16,
            order: Order::Shuffled,
            accumulate: 1,
            freeze_layers: None,
            learning_rate: 2e-5,
            schedule: Curve::Linear,
            warmup_share: 0.1,
            weight_decay: 0.01,
            max_gradient_norm: 1.0,
            loss: LossSettings::default(),
            temperature: 0.05,
            temperature_end: None,
            temperature_schedule: Curve::Linear,
            in_batch: InBatch::All,
            guide_margin: None,
            max_length: 0,
            dropout: None,
            precision: Precision::F32,
            activation_memory: 4096,
            validation_share: 0.0,
            validation_split: None,
            validation: Measure::Ndcg,
            validation_depth: 10,
            validate_every: 0,
            patience: 3,
            renewal: None,
            checkpoint_every: 20,
        }
    }
}

impl TrainSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first key that is out of range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let from_one = |value: usize| (value > 0, "1 or more", value.to_string());
        let above = |value: f64| (value > 0.0 && value.is_finite(), "a number above 0", value.to_string());
        let from = |value: f64| (value >= 0.0 && value.is_finite(), "0 or more", value.to_string());
        let share = |value: f64| ((0.0..=1.0).contains(&value), "a share from 0 to 1", value.to_string());
        let max_length =
            (self.max_length == 0 || self.max_length >= 3, "0 or at least 3 tokens", self.max_length.to_string());
        let below_one = |value: f64| ((0.0..1.0).contains(&value), "a share from 0 to below 1", value.to_string());
        let memory = (self.activation_memory >= 64, "64 MiB or more", self.activation_memory.to_string());
        let checks = [
            ("epochs", from_one(self.epochs)),
            ("batch_size", from_one(self.batch_size)),
            ("accumulate", from_one(self.accumulate)),
            ("learning_rate", above(self.learning_rate)),
            ("warmup_share", share(self.warmup_share)),
            ("weight_decay", from(self.weight_decay)),
            ("max_gradient_norm", above(self.max_gradient_norm)),
            ("temperature", above(self.temperature)),
            ("temperature_end", above(self.temperature_end.unwrap_or(1.0))),
            ("max_length", max_length),
            ("dropout", below_one(self.dropout.unwrap_or_default())),
            ("activation_memory", memory),
            ("validation_share", below_one(self.validation_share)),
            ("validation_depth", from_one(self.validation_depth)),
            ("checkpoint_every", from_one(self.checkpoint_every)),
        ];
        for (key, (holds, expected, found)) in checks {
            if !holds {
                return Err(InvalidSetting::new(key, expected, found));
            }
        }
        if self.validation_split.is_some() && (self.validation_share > 0.0 || self.validation == Measure::Loss) {
            let expected = "one kind of validation: a share of the queries, or nDCG on a split";
            let found = format!("validation_share {} and validation_split", self.validation_share);
            return Err(InvalidSetting::new("validation_split", expected, found));
        }
        self.loss.check().map_err(|wrong| wrong.under("loss"))?;
        let (margin, most) = match self.guide_margin {
            Some(GuideMargin::Absolute(margin)) => (margin, 2.0),
            Some(GuideMargin::Relative(share)) => (share, 1.0),
            None => (0.0, 1.0),
        };
        if !(0.0..=most).contains(&margin) {
            return Err(InvalidSetting::new("guide_margin", format!("a number from 0 to {most}"), margin.to_string()));
        }
        if let Some(renewal) = &self.renewal {
            renewal.check().map_err(|wrong| wrong.under("renewal"))?;
        }
        if self.loss.directions == Some(Directions::Both) && self.in_batch == InBatch::None {
            let expected = "query-to-passage where in_batch is none";
            return Err(InvalidSetting::new("loss.directions", expected, "both")
                .hint("a positive can only be told from other queries that stand in its batch"));
        }
        Ok(())
    }

    /// True for the variable `name` when it is below the layers that are trained.
    pub(super) fn freezes(&self, name: &str) -> bool {
        let Some(layers) = self.freeze_layers else { return false };
        let number = name.split_once("layer.").and_then(|(_, rest)| rest.split('.').next()?.parse::<usize>().ok());
        // Biases by relative place are shared by all layers; they belong to the embeddings.
        number.map_or(name.starts_with("embeddings.") || name.contains("relative_attention_bias"), |n| n < layers)
    }

    /// Learning rate of `step` (from 0) of `total`: the rise, then the schedule. It is never 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the steps")]
    pub fn learning_rate_at(&self, step: usize, total: usize) -> f64 {
        let warmup = (self.warmup_share * total as f64).ceil() as usize;
        self.learning_rate * rate(self.schedule, step, warmup, total)
    }

    /// τ at `step` (from 0) of `total`.
    #[must_use]
    pub fn temperature_at(&self, step: usize, total: usize) -> f64 {
        let Some(end) = self.temperature_end else { return self.temperature };
        let share = step as f64 / total.saturating_sub(1).max(1) as f64;
        end + (self.temperature - end) * self.temperature_schedule.left(share)
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

    #[test]
    fn embeddings_and_the_lowest_layers_are_frozen() {
        let frozen =
            |freeze_layers, name: &str| TrainSettings { freeze_layers, ..TrainSettings::default() }.freezes(name);
        let (embeddings, layer) = ("embeddings.word_embeddings.weight", "encoder.layer.1.attention.self.query.weight");
        assert!(!frozen(None, embeddings));
        assert!(frozen(Some(0), embeddings) && !frozen(Some(1), layer) && frozen(Some(2), layer));
        assert!(!frozen(Some(1), "encoder.layer.10.output.dense.bias"));
        assert!(frozen(Some(1), "transformer.layer.0.ffn.lin1.weight") && !frozen(Some(9), "2_Dense.linear.weight"));
    }

    #[test]
    fn the_temperature_goes_from_one_end_to_the_other() {
        for temperature_schedule in [Curve::Linear, Curve::Cosine] {
            let settings = TrainSettings {
                temperature: 0.1,
                temperature_end: Some(0.02),
                temperature_schedule,
                ..TrainSettings::default()
            };
            let all: Vec<f64> = (0..9).map(|step| settings.temperature_at(step, 9)).collect();
            assert!(
                (all[0] - 0.1).abs() < 1e-12 && (all[4] - 0.06).abs() < 1e-12 && (all[8] - 0.02).abs() < 1e-12,
                "{all:?}"
            );
            assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
        }
        let fixed = TrainSettings::default();
        assert!((0..9).all(|step| (fixed.temperature_at(step, 9) - 0.05).abs() < 1e-12));
        assert!((fixed.temperature_at(0, 1) - 0.05).abs() < 1e-12);
    }
}
