//! What a user can set about written negatives; how the model is loaded is the engine's.

use super::Error;
use crate::data::Seed;
use crate::generate::Sampling;
use crate::text::prompt::{PromptFile, Suggested};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Settings of written negatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenSettings {
    /// Name of a prompt, or path of a prompt file, default `plain`.
    pub prompt: String,
    /// Which pool of attributes the prompt draws from, default `general`; prompts without attributes need none.
    pub attributes: String,
    /// Positions of the prompt's switches, `{ wrong_answers = "allow" }`; default what the prompt says.
    pub switches: BTreeMap<String, String>,
    /// Mined neighbours shown to prompts that ask for them, 1 to 10, default 3. More: the style is clearer, the prompt longer.
    pub num_neighbours: u32,
    /// Negatives asked for in one request, 1 to 20, default 5. More: cheaper each, and more alike.
    pub num_negatives: u32,
    /// Fewest good ones for which an incomplete request is still accepted, 1 to `num_negatives`, default 1.
    pub least_accepted: u32,
    /// Replies a request may take, 1 to 5: each after the first is told what was wrong with the one before.
    /// Default what the prompt suggests (the papers' ask once), else 2. More: more accepted, more tokens.
    pub attempts: Option<u32>,
    /// Fewest words of a negative, in proportion to the positive's, 0 to 1, default 0.5.
    /// Lower: length gives negatives away. Higher: more are refused.
    pub min_length_ratio: f64,
    /// Most words, in proportion to the positive's, 1 to 10, default 2. Twelve words are always allowed.
    pub max_length_ratio: f64,
    /// Most characters whatever the positive's length, 80 and up, default 4000; the schema ends a longer one there.
    /// Lower: requests are cheaper, and length gives negatives away where positives are longer.
    pub max_characters: u32,
    /// Largest share of a negative's word 5-grams that may stand in a positive or the query, above 0 to 1, default 0.8.
    /// Higher: copies, which are false negatives, pass. Lower: near misses are refused.
    pub max_copied_share: f64,
    /// In a recipe, what tells whether a text answers after all: its value must lie in the band that passages mined by
    /// BM25 have, and below the positive's. `encoder`: cosine by the recipe's own encoder, before training; `teacher`:
    /// relevance by its cross-encoder; default `none`. With it: fewer false negatives, and fewer texts.
    #[serde(skip_serializing_if = "BandChoice::is_none")]
    pub band: BandChoice,
    /// Most tokens of one reply, 16 and up, default 1024. Too few: replies are cut off.
    pub max_tokens: u32,
    /// How tokens are drawn; default what the prompt suggests, else temperature 0.8, top-k 40, top-p 0.95.
    pub sampling: Option<Sampling>,
    /// Whether replies are held to the JSON schema while they are written, default `schema`.
    pub constraint: ConstraintChoice,
    /// Seed of all draws.
    pub seed: Seed,
}

/// The model of a recipe that measures what is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BandChoice {
    /// None.
    #[default]
    None,
    /// The encoder that is to be trained, as it is before.
    Encoder,
    /// The cross-encoder under `teacher`.
    Teacher,
}

impl BandChoice {
    /// Whether nothing is measured by a model.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What holds a reply to its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConstraintChoice {
    /// Only tokens that the schema allows are drawn.
    Schema,
    /// Nothing; the reply is checked afterwards, as the papers do.
    None,
}

impl Default for WrittenSettings {
    fn default() -> Self {
        Self {
            prompt: "plain".to_owned(),
            attributes: "general".to_owned(),
            switches: BTreeMap::new(),
            num_neighbours: 3,
            num_negatives: 5,
            least_accepted: 1,
            attempts: None,
            min_length_ratio: 0.5,
            max_length_ratio: 2.0,
            max_characters: 4000,
            max_copied_share: 0.8,
            band: BandChoice::None,
            max_tokens: 1024,
            sampling: None,
            constraint: ConstraintChoice::Schema,
            seed: Seed(1),
        }
    }
}

impl WrittenSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Settings`] with the first value that is outside.
    pub fn check(&self) -> Result<(), Error> {
        let outside = |setting, expected: &str, found: f64| {
            Err(Error::Settings { setting, expected: expected.to_owned(), found })
        };
        let whole = f64::from;
        if !(1..=20).contains(&self.num_negatives) {
            return outside("num_negatives", "1 to 20", whole(self.num_negatives));
        }
        if !(1..=self.num_negatives).contains(&self.least_accepted) {
            return outside("least_accepted", "1 to num_negatives", whole(self.least_accepted));
        }
        if let Some(attempts) = self.attempts.filter(|attempts| !(1..=5).contains(attempts)) {
            return outside("attempts", "1 to 5", whole(attempts));
        }
        if !(1..=10).contains(&self.num_neighbours) {
            return outside("num_neighbours", "1 to 10", whole(self.num_neighbours));
        }
        if !(0.0..=1.0).contains(&self.min_length_ratio) {
            return outside("min_length_ratio", "0 to 1", self.min_length_ratio);
        }
        if !(1.0..=10.0).contains(&self.max_length_ratio) {
            return outside("max_length_ratio", "1 to 10", self.max_length_ratio);
        }
        if self.max_characters < 80 {
            return outside("max_characters", "80 and up", whole(self.max_characters));
        }
        if !(self.max_copied_share > 0.0 && self.max_copied_share <= 1.0) {
            return outside("max_copied_share", "above 0, at most 1", self.max_copied_share);
        }
        if self.max_tokens < 16 {
            return outside("max_tokens", "16 and up", whole(self.max_tokens));
        }
        Ok(())
    }

    /// The same with what is open taken from what `prompt` suggests, else from the defaults.
    #[must_use]
    pub fn completed(&self, prompt: &PromptFile) -> Self {
        let suggested = &prompt.suggested;
        Self {
            attempts: self.attempts.or(suggested.attempts).or(Some(2)),
            sampling: self.sampling.or_else(|| sampling_of(suggested)).or_else(|| Some(Sampling::default())),
            num_negatives: prompt.reply.count.unwrap_or(self.num_negatives),
            ..self.clone()
        }
    }

    /// Replies a request may take.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts.unwrap_or(2)
    }
}

fn sampling_of(suggested: &Suggested) -> Option<Sampling> {
    let Suggested { temperature, top_k, top_p, .. } = suggested;
    let named = [("temperature", json!(temperature)), ("top_k", json!(top_k)), ("top_p", json!(top_p))];
    let stated: serde_json::Map<_, _> =
        named.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect();
    if stated.is_empty() { None } else { serde_json::from_value(stated.into()).ok() }
}
