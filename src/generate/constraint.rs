//! Holds replies to a JSON schema while they are written, by llguidance.
//! A token is drawn first and then checked; only when it is refused is the mask of all allowed
//! tokens computed and drawn from, which gives each allowed token its due share. The reply ends
//! at the closing brace. Layout is fixed (`", "` and `": "`), because free blanks never need end.
//! Simple on purpose: tokens the schema forces are decoded one by one like any other.

use super::engine::Error;
use super::sampler::{NotFinite, Sampler};
use super::words::Words;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use std::sync::Arc;

/// Keywords that are enforced, and those that only describe. llguidance skips keywords it does not know.
const KEYWORDS: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "enum",
    "const",
    "minimum",
    "maximum",
    "anyOf",
    "title",
    "description",
];

/// The tokens of one model, ready to make constraints.
pub struct Constraints {
    factory: ParserFactory,
}

impl Constraints {
    /// For a model with this vocabulary.
    ///
    /// # Errors
    /// [`Error::Schema`] when no token ends a reply.
    pub fn new(words: &Words) -> Result<Self, Error> {
        let Words { pieces, ends } = words;
        let size = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let end = ends.first().copied().filter(|_| ends.iter().all(|&end| end < size));
        let end = end.ok_or_else(|| Error::Schema("the vocabulary has no token that ends a text".to_owned()))?;
        let trie = TokTrie::from(&TokRxInfo::new(size, end), pieces).with_eos_tokens(ends);
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = llguidance::earley::SlicedBiasComputer::json_slices();
        let mut factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices)
            .map_err(|error| Error::Schema(error.to_string()))?;
        factory.quiet();
        Ok(Self { factory })
    }

    /// The constraint for one reply.
    ///
    /// # Errors
    /// [`Error::Schema`] for a keyword that would not be enforced, or a schema nothing can meet.
    pub fn begin(&self, schema: &Value) -> Result<Constraint, Error> {
        check_keywords(schema).map_err(Error::Schema)?;
        let mut schema = schema.clone();
        if let Some(object) = schema.as_object_mut() {
            let layout = json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
            object.insert("x-guidance".to_owned(), layout);
        }
        let parser = self.factory.create_parser(TopLevelGrammar::from_json_schema(schema));
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(error) => Err(Error::Schema(error)),
            None => Ok(Constraint { matcher }),
        }
    }
}

/// The state of one reply.
pub struct Constraint {
    matcher: Matcher,
}

/// Why no token could be chosen.
#[derive(Debug)]
pub enum NoToken {
    /// The logits are no numbers.
    NotFinite,
    /// The constraint failed; never seen with checked schemas.
    Constraint(String),
}

impl From<NotFinite> for NoToken {
    fn from(_: NotFinite) -> Self {
        Self::NotFinite
    }
}

impl Constraint {
    /// The next token: one the schema allows here, taken into account.
    ///
    /// # Errors
    /// [`NoToken`].
    pub fn next(&mut self, sampler: &mut Sampler, logits: &[f32]) -> Result<u32, NoToken> {
        let token = sampler.pick(logits, None)?;
        if self.matcher.try_consume_tokens(&[token]).map_err(failed)? == 1 {
            return Ok(token);
        }
        let mask = self.matcher.compute_mask().map_err(failed)?;
        let token = sampler.pick(logits, Some(&mask))?;
        self.matcher.consume_token(token).map_err(failed)?;
        Ok(token)
    }

    /// True once the reply is whole and nothing can follow.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}

fn failed(error: impl std::fmt::Display) -> NoToken {
    NoToken::Constraint(error.to_string())
}

fn check_keywords(schema: &Value) -> Result<(), String> {
    let Some(object) = schema.as_object() else {
        return if schema.is_boolean() { Ok(()) } else { Err("a schema is an object, true or false".to_owned()) };
    };
    for (keyword, value) in object {
        if !KEYWORDS.contains(&keyword.as_str()) {
            return Err(format!("the keyword `{keyword}` is not among: {}", KEYWORDS.join(", ")));
        }
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values().try_for_each(check_keywords)?,
            ("anyOf", Value::Array(options)) => options.iter().try_for_each(check_keywords)?,
            ("items" | "additionalProperties", inner) => check_keywords(inner)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Seed;

    /// One token a byte, and one that ends.
    fn bytes() -> Constraints {
        let pieces = (0..=255_u8).map(|byte| vec![byte]).chain([vec![]]).collect();
        Constraints::new(&Words { pieces, ends: vec![256] }).unwrap()
    }

    fn write(schema: &Value, seed: u64) -> String {
        let constraints = bytes();
        let mut constraint = constraints.begin(schema).unwrap();
        let sampling = serde_json::from_value(json!({ "temperature": 1.0, "top_k": 0, "top_p": 1.0 })).unwrap();
        let mut sampler = Sampler::new(sampling, Seed(seed));
        let mut text = Vec::new();
        while !constraint.is_complete() {
            // Flat logits, so that the schema alone gives the shape.
            let token = constraint.next(&mut sampler, &[0.0; 257]).unwrap();
            assert!(token < 256, "the end token inside the text");
            text.push(u8::try_from(token).unwrap());
            assert!(text.len() < 4000, "no end");
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn random_bytes_become_json_of_the_schema() {
        let schema = json!({
            "type": "object",
            "properties": { "list": { "type": "array", "minItems": 2, "maxItems": 2, "items": {
                "type": "string", "minLength": 3, "maxLength": 40 } } },
            "required": ["list"], "additionalProperties": false,
        });
        for seed in 0..20 {
            let text = write(&schema, seed);
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
            let list = value["list"].as_array().unwrap();
            assert_eq!(list.len(), 2);
            for item in list {
                assert!((3..=40).contains(&item.as_str().unwrap().chars().count()), "{item}");
            }
        }
    }

    #[test]
    fn what_would_not_be_enforced_is_refused() {
        let refused = |schema: Value| bytes().begin(&schema).err().unwrap().to_string();
        assert!(refused(json!({ "type": "string", "maxLenght": 3 })).contains("`maxLenght`"));
        assert!(refused(json!({ "type": "array", "items": { "uniqueItems": true } })).contains("`uniqueItems`"));
        assert!(refused(json!({ "type": "string", "minLength": 3, "maxLength": 1 })).contains("enforced"));
    }
}
