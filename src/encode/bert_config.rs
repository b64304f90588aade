//! The numbers of BERT's family that `config.json` gives: what they must be, and what follows from them: the weights'
//! names and shapes, the longest text, each token's place.

use super::family::{BERT, Bias, Family, Places, Segments};
use super::packing::PackedBatch;
use super::{EncodeError, Result};
use crate::data::{self, Fault};
use candle_core::Shape;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The numbers of a BERT `config.json` that decide its mathematics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// D, width of the token vectors.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides D.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Activation: only "gelu" (with erf, as Hugging Face has it).
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Rows of the segment embedding; a text alone uses row 0.
    #[serde(default)]
    pub type_vocab_size: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Share of the values that training drops after the embeddings and after each block, 0 to 1. Default 0.1.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Share of the attention's weights that training drops, 0 to 1. Default 0.1.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// The padding token's id, where positions begin after it. Default 1.
    #[serde(default, skip_serializing)]
    pub pad_token_id: Option<usize>,
    /// Buckets of distances, where attention has a bias for them. Default 32.
    #[serde(default = "buckets", skip_serializing)]
    pub relative_attention_num_buckets: usize,
    /// Which of the architectures that are BERT but for names and embeddings.
    #[serde(skip, default = "bert")]
    pub family: &'static Family,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn tenth() -> f64 {
    0.1
}

fn buckets() -> usize {
    32
}

fn bert() -> &'static Family {
    &BERT
}

impl BertConfig {
    /// Checks what the trunk relies on; `path` is named in the message.
    ///
    /// # Errors
    /// [`Fault`] for another activation, heads that do not divide the width, or a size of 0.
    pub fn check(&self, path: &Path) -> Result<(), Fault> {
        let fault =
            |key: &str, expected: &str, found: String| Err(Fault::new(path, expected, found).key(self.family.key(key)));
        if self.hidden_act != "gelu" {
            return fault("hidden_act", "\"gelu\"", format!("{:?}", self.hidden_act));
        }
        let segments = if self.family.segments == Segments::Absent { 1 } else { self.type_vocab_size };
        let sizes = [self.vocab_size, self.num_hidden_layers, self.intermediate_size, segments];
        if self.num_attention_heads == 0 || self.hidden_size == 0 || sizes.contains(&0) {
            return fault("hidden_size", "sizes above 0", format!("{self:?}"));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let found = format!("{} heads for width {}", self.num_attention_heads, self.hidden_size);
            return fault("num_attention_heads", "a divisor of hidden_size", found);
        }
        for (key, share) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&share) {
                return fault(key, "a share from 0 to below 1", share.to_string());
            }
        }
        if self.longest() < 3 {
            return fault("max_position_embeddings", "room for 3 tokens", self.max_position_embeddings.to_string());
        }
        let buckets = self.relative_attention_num_buckets;
        if self.family.bias == Bias::Buckets && (buckets < 4 || !buckets.is_multiple_of(2)) {
            return fault("relative_attention_num_buckets", "an even number from 4", buckets.to_string());
        }
        Ok(())
    }

    /// The padding token's id.
    fn padding(&self) -> usize {
        self.pad_token_id.unwrap_or(1)
    }

    /// Longest sequence in tokens.
    #[must_use]
    pub fn longest(&self) -> usize {
        match self.family.places {
            Places::FromZero => self.max_position_embeddings,
            Places::AfterPadding => self.max_position_embeddings.saturating_sub(self.padding() + 1),
        }
    }

    /// Row of the position embeddings for each token: `(T,)`.
    #[must_use]
    pub fn places(&self, batch: &PackedBatch) -> Vec<u32> {
        if self.family.places == Places::FromZero {
            return batch.positions();
        }
        let padding = u32::try_from(self.padding()).unwrap_or(u32::MAX);
        let mut last = padding;
        let mut places = batch.positions();
        for (place, &id) in places.iter_mut().zip(batch.ids()) {
            if *place == 0 {
                last = padding;
            }
            // A padding token written in a text keeps its own place.
            last += u32::from(id != padding);
            *place = if id == padding { padding } else { last };
        }
        places
    }

    /// Which text of its pair each token is of, where the embeddings tell them apart: `(T,)`.
    #[must_use]
    pub fn sides<'b>(&self, batch: &'b PackedBatch) -> Option<&'b [u32]> {
        batch.sides().filter(|_| self.family.segments == Segments::Sides)
    }

    /// Checks that every sequence fits the position embeddings and every token id the token embeddings.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], [`EncodeError::UnknownToken`].
    pub fn admit(&self, batch: &PackedBatch) -> Result<()> {
        if batch.longest() > self.longest() {
            return Err(EncodeError::TooLong { length: batch.longest(), most: self.longest() });
        }
        let side =
            self.sides(batch).and_then(|sides| sides.iter().find(|&&side| side as usize >= self.type_vocab_size));
        if let Some(&id) = side {
            return Err(EncodeError::UnknownSide { id, size: self.type_vocab_size });
        }
        match batch.ids().iter().find(|&&id| id as usize >= self.vocab_size) {
            Some(&id) => Err(EncodeError::UnknownToken { id, size: self.vocab_size }),
            None => Ok(()),
        }
    }

    /// Names, as the family has them, and shapes of all weights that take part in the forward pass.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Shape)> {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let mut list: Vec<(String, Shape)> = vec![
            ("embeddings.word_embeddings.weight".into(), (self.vocab_size, d).into()),
            ("embeddings.position_embeddings.weight".into(), (self.max_position_embeddings, d).into()),
            ("embeddings.LayerNorm.weight".into(), d.into()),
            ("embeddings.LayerNorm.bias".into(), d.into()),
        ];
        if self.family.segments != Segments::Absent {
            list.push(("embeddings.token_type_embeddings.weight".into(), (self.type_vocab_size, d).into()));
        }
        if self.family.bias == Bias::Buckets {
            let shape = (self.relative_attention_num_buckets, self.num_attention_heads);
            list.push(("encoder.relative_attention_bias.weight".into(), shape.into()));
        }
        for layer in 0..self.num_hidden_layers {
            for (part, output, input) in [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", f, d),
                ("output.dense", d, f),
            ] {
                list.push((format!("encoder.layer.{layer}.{part}.weight"), (output, input).into()));
                list.push((format!("encoder.layer.{layer}.{part}.bias"), output.into()));
            }
            for part in ["attention.output.LayerNorm", "output.LayerNorm"] {
                list.push((format!("encoder.layer.{layer}.{part}.weight"), d.into()));
                list.push((format!("encoder.layer.{layer}.{part}.bias"), d.into()));
            }
        }
        list.into_iter().map(|(name, shape)| (self.family.weight(&name), shape)).collect()
    }
}

/// The configuration of `family` in a `config.json`.
///
/// # Errors
/// [`Fault`] naming the key that is missing or wrong.
pub fn read_config(family: &'static Family, value: &Value, path: &Path) -> Result<BertConfig> {
    let mut value = value.clone();
    for (bert, own) in family.keys {
        value[*bert] = value.get(*own).cloned().ok_or_else(|| {
            data::Error::from(Fault::new(path, format!("a key of {}", family.name), "no such key").key(*own))
        })?;
    }
    for (bert, own) in family.optional_keys {
        if let Some(given) = value.get(*own).cloned() {
            value[*bert] = given;
        }
    }
    if value.get("layer_norm_eps").is_none() {
        value["layer_norm_eps"] = family.layer_norm_eps.into();
    }
    let config: BertConfig = serde_json::from_value(value)
        .map_err(|error| data::Error::from(Fault::new(path, "a BERT configuration", error.to_string())))?;
    let config = BertConfig { family, ..config };
    config.check(path).map_err(data::Error::from)?;
    Ok(config)
}
