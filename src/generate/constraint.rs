//! Holds replies to a JSON schema while they are written, by llguidance.
//! A token is drawn first and then checked; only when it is refused is the mask of all allowed
//! tokens computed and drawn from, which gives each allowed token its due share. What the schema
//! leaves no choice about follows at once, without being drawn. The reply ends at the closing
//! brace; one whose tokens run out is ended the shortest way ([`super::completion`]), so it always
//! is JSON. Layout is fixed (`", "` and `": "`), because free blanks never need end.

use super::completion::shortest;
use super::conversation::Ending;
use super::engine::Error;
use super::meter::Meter;
use super::sampler::{NotFinite, Sampler};
use super::words::Words;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use std::rc::Rc;
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

/// The tokens a model would write a text as, in the middle of a text.
pub type Tokenize = Box<dyn Fn(&str) -> Vec<u32> + Send + Sync>;

/// The tokens of one model, ready to make constraints.
pub struct Constraints {
    factory: ParserFactory,
    tokens: TokEnv,
    meter: Rc<Meter>,
}

struct Tokens {
    trie: TokTrie,
    tokenize: Tokenize,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        match std::str::from_utf8(bytes) {
            Ok(text) => (self.tokenize)(text),
            Err(_) => self.trie.greedy_tokenize(bytes),
        }
    }
}

impl Constraints {
    /// For a model with this vocabulary, which writes texts as `tokenize` says; `meter` learns what masks take.
    ///
    /// # Errors
    /// [`Error::Schema`] when no token ends a reply.
    pub fn new(words: &Words, tokenize: Tokenize, meter: Rc<Meter>) -> Result<Self, Error> {
        let Words { pieces, ends, .. } = words;
        let size = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let end = ends.first().copied().filter(|_| ends.iter().all(|&end| end < size));
        let end = end.ok_or_else(|| Error::Schema("the vocabulary has no token that ends a text".to_owned()))?;
        let trie = TokTrie::from(&TokRxInfo::new(size, end), pieces).with_eos_tokens(ends);
        let tokens: TokEnv = Arc::new(Tokens { trie, tokenize });
        let slices = llguidance::earley::SlicedBiasComputer::json_slices();
        let mut factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices)
            .map_err(|error| Error::Schema(error.to_string()))?;
        factory.quiet();
        Ok(Self { factory, tokens, meter })
    }

    /// The constraint for one reply.
    ///
    /// # Errors
    /// [`Error::Schema`] for a keyword that would not be enforced, or a schema nothing can meet.
    pub fn begin(&self, schema: &Value) -> Result<Constraint, Error> {
        check_keywords(schema).map_err(Error::Schema)?;
        let mut laid_out = schema.clone();
        if let Some(object) = laid_out.as_object_mut() {
            let layout = json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
            object.insert("x-guidance".to_owned(), layout);
        }
        let parser = self.factory.create_parser(TopLevelGrammar::from_json_schema(laid_out));
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(error) => Err(Error::Schema(error)),
            None => Ok(Constraint {
                matcher,
                schema: schema.clone(),
                text: Vec::new(),
                tokens: self.tokens.clone(),
                meter: Rc::clone(&self.meter),
            }),
        }
    }
}

/// The state of one reply.
pub struct Constraint {
    matcher: Matcher,
    schema: Value,
    text: Vec<u8>,
    tokens: TokEnv,
    meter: Rc<Meter>,
}

/// What a reply goes on with.
#[derive(Debug, Default)]
pub struct Step {
    /// Its next tokens.
    pub tokens: Vec<u32>,
    /// Set when they are its last.
    pub ending: Option<Ending>,
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
    /// The tokens every reply begins with.
    pub fn begin(&mut self, budget: u32) -> Vec<u32> {
        let mut step = Step::default();
        self.follow(&mut step, budget);
        step.tokens
    }

    /// The next tokens, at most `budget`: one that is drawn and allowed, and those that must follow
    /// it; when that would leave too few to end the reply, those that end it.
    ///
    /// # Errors
    /// [`NoToken`].
    pub fn next(&mut self, sampler: &mut Sampler, logits: &[f32], budget: u32) -> Result<Step, NoToken> {
        // What leaves no choice at all was over before anything was drawn.
        if self.matcher.is_stopped() {
            return Ok(Step { tokens: Vec::new(), ending: Some(Ending::Complete) });
        }
        let meter = Rc::clone(&self.meter);
        let mut token = sampler.pick(logits, None)?;
        if meter.masks(|| self.matcher.try_consume_tokens(&[token])).map_err(failed)? == 0 {
            let mask = meter.masks(|| self.matcher.compute_mask()).map_err(failed)?;
            token = sampler.pick(logits, Some(&mask))?;
            self.matcher.consume_token(token).map_err(failed)?;
        }
        Ok(meter.masks(|| self.go_on(token, budget)))
    }

    /// What follows `token`, which was consumed.
    fn go_on(&mut self, token: u32, budget: u32) -> Step {
        let before = self.text.len();
        self.text.extend(self.tokens.tok_trie().token(token));
        let mut step = Step { tokens: vec![token], ending: None };
        if self.matcher.is_stopped() {
            step.ending = Some(Ending::Complete);
            return step;
        }
        if !self.affords(budget.saturating_sub(1)) {
            self.text.truncate(before);
            if let Some(tokens) = self.completion() {
                return Step { tokens, ending: Some(Ending::Closed) };
            }
        }
        self.follow(&mut step, budget);
        step
    }

    /// Adds the tokens that must follow, if `budget` affords them.
    fn follow(&mut self, step: &mut Step, budget: u32) {
        let forced = self.matcher.compute_ff_tokens();
        let before = self.text.len();
        self.text.extend(forced.iter().flat_map(|&token| self.tokens.tok_trie().token(token)));
        let used = u32::try_from(step.tokens.len() + forced.len()).unwrap_or(u32::MAX);
        let affordable = !forced.is_empty() && used <= budget && self.affords(budget - used);
        if !affordable || self.matcher.consume_tokens(&forced).is_err() {
            self.text.truncate(before);
            return;
        }
        step.tokens.extend(forced);
        step.ending = self.matcher.is_stopped().then_some(Ending::Complete);
    }

    /// Tokens of the shortest reply from here; None when it is not known how to end it.
    #[must_use]
    pub fn least(&self) -> Option<u32> {
        Some(u32::try_from(self.completion()?.len()).unwrap_or(u32::MAX))
    }

    /// Whether `budget` tokens are enough to end the reply from here.
    fn affords(&self, budget: u32) -> bool {
        let bytes = shortest(&self.schema, &self.text).map_or(usize::MAX, |bytes| bytes.len());
        // A token writes a byte at least, so the tokens need rarely be counted.
        bytes <= budget as usize || self.least().is_none_or(|least| least <= budget)
    }

    /// The tokens that end the reply the shortest way.
    fn completion(&self) -> Option<Vec<u32>> {
        let bytes = shortest(&self.schema, &self.text)?;
        let trie = self.tokens.tok_trie();
        let known = bytes.iter().all(|&byte| trie.token_id_at_bytes(&[byte]).is_some());
        known.then(|| trie.greedy_tokenize(&bytes))
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
            ("enum", Value::Array(values)) if !values.iter().any(is_compound) => {}
            ("const", value) if !is_compound(value) => {}
            ("enum" | "const", _) => return Err(format!("`{keyword}` of anything but strings, numbers and literals")),
            _ => {}
        }
    }
    Ok(())
}

fn is_compound(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Seed;

    const LONG: u32 = 5000;

    /// One token a byte, some longer ones, and one that ends.
    fn constraints() -> Constraints {
        let long = ["....", "\": \"", "}, {", "the "].map(|text| text.as_bytes().to_vec());
        let pieces: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).chain(long).chain([vec![]]).collect();
        let words = Words { pieces, ends: vec![260], ..Words::default() };
        let trie = TokTrie::from(&TokRxInfo::new(261, 260), &words.pieces);
        Constraints::new(&words, Box::new(move |text| trie.greedy_tokenize(text.as_bytes())), Rc::default()).unwrap()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "why": { "type": "string", "maxLength": 200 },
                "list": { "type": "array", "minItems": 2, "maxItems": 3, "items": {
                    "type": "object", "properties": { "text": { "type": "string", "minLength": 3, "maxLength": 40 } },
                    "required": ["text"], "additionalProperties": false } } },
            "required": ["why", "list"], "additionalProperties": false,
        })
    }

    struct Written {
        text: String,
        tokens: u32,
        draws: usize,
        ending: Ending,
    }

    /// A reply to flat logits, so that the schema alone gives the shape.
    fn write(schema: &Value, seed: u64, most: u32) -> Written {
        let constraints = constraints();
        let mut constraint = constraints.begin(schema).unwrap();
        let sampling = serde_json::from_value(json!({ "temperature": 1.0, "top_k": 0, "top_p": 1.0 })).unwrap();
        let mut sampler = Sampler::new(sampling, Seed(seed));
        let mut tokens = constraint.begin(most);
        let mut draws = 0;
        loop {
            let left = most - u32::try_from(tokens.len()).unwrap();
            let step = constraint.next(&mut sampler, &[0.0; 261], left).unwrap();
            draws += 1;
            tokens.extend(step.tokens);
            let count = u32::try_from(tokens.len()).unwrap();
            assert!(count <= most && !tokens.contains(&260));
            if let Some(ending) = step.ending {
                let bytes = constraints.tokens.tok_trie().decode(&tokens);
                return Written { text: String::from_utf8(bytes).unwrap(), tokens: count, draws, ending };
            }
        }
    }

    fn assert_valid(text: &str) {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
        let list = value["list"].as_array().unwrap();
        assert!((2..=3).contains(&list.len()) && value.as_object().unwrap().len() == 2, "{text}");
        for item in list {
            assert!((3..=40).contains(&item["text"].as_str().unwrap().chars().count()), "{item}");
        }
        // And the constraint agrees to the last byte.
        let constraints = constraints();
        let mut constraint = constraints.begin(&schema()).unwrap();
        let tokens = constraints.tokens.tok_trie().greedy_tokenize(text.as_bytes());
        assert_eq!(constraint.matcher.try_consume_tokens(&tokens).unwrap(), tokens.len(), "{text}");
        assert!(constraint.matcher.is_stopped(), "{text}");
    }

    #[test]
    fn random_bytes_become_json_of_the_schema() {
        for seed in 0..20 {
            let written = write(&schema(), seed, LONG);
            assert_valid(&written.text);
            assert_eq!(written.ending, Ending::Complete);
            // Names, quotes and braces were not drawn.
            assert!(written.draws + 30 < written.tokens as usize, "{} of {}", written.draws, written.tokens);
        }
    }

    #[test]
    fn a_reply_whose_tokens_run_out_is_ended() {
        let least = constraints().begin(&schema()).unwrap().least().unwrap();
        assert!((20..60).contains(&least), "{least}");
        for seed in 0..60 {
            let most = least + u32::try_from(seed).unwrap() * 2;
            let written = write(&schema(), seed, most);
            assert_valid(&written.text);
            assert!(written.tokens <= most);
        }
        assert_eq!(write(&schema(), 1, least).ending, Ending::Closed);
        let fixed = write(&json!({ "const": "so" }), 1, 10);
        assert_eq!((fixed.text.as_str(), fixed.ending), ("\"so\"", Ending::Complete));
    }

    #[test]
    fn what_would_not_be_enforced_is_refused() {
        let refused = |schema: Value| constraints().begin(&schema).err().unwrap().to_string();
        assert!(refused(json!({ "type": "string", "maxLenght": 3 })).contains("`maxLenght`"));
        assert!(refused(json!({ "type": "array", "items": { "uniqueItems": true } })).contains("`uniqueItems`"));
        assert!(refused(json!({ "enum": [[1]] })).contains("`enum`"));
        assert!(refused(json!({ "type": "string", "minLength": 3, "maxLength": 1 })).contains("enforced"));
    }
}
