//! One request for negatives: the opening, what follows each reply, and the record it leaves.
//! A reply with defects is answered with them while attempts are left; then the best reply's good
//! negatives are taken if they are enough, else the request is given up with its reasons.

use super::checks::{self, Accepted, Ask, Checked, portion};
use super::defect::Defect;
use super::journal::{GivenUp, Noted, Record};
use super::measured::Target;
use super::settings::{ConstraintChoice, WrittenSettings};
use crate::data::{Digest, QueryId, Seed};
use crate::generate::{Conversation, Finished, Message, Prompt, Reply, Role, Turn};
use crate::text::prompt::{Pool, PromptFile, Values};
use serde_json::{Value, json};
use std::sync::Arc;

/// Inputs a prompt can ask for.
pub const INPUTS: &[&str] = &[
    "query",
    "positive",
    "passage",
    "neighbours",
    "definition",
    "num_negatives",
    "num_queries",
    "min_words",
    "max_words",
];

/// Slack of the schema's character bounds beyond the word bounds, which are what counts.
const SLACK: f64 = 1.25;
/// Characters that are always allowed.
const ALWAYS_ALLOWED: usize = 80;
/// Characters a word may have on average, its blank included, where the words are counted beforehand.
const CHARACTERS_PER_WORD: usize = 9;

/// What all requests of a run share.
#[derive(Clone)]
pub(super) struct Frame<'p> {
    pub(super) settings: Arc<WrittenSettings>,
    pub(super) prompt: Arc<PromptFile>,
    pub(super) pool: Pool<'p>,
    pub(super) switches: Values,
    pub(super) definition: String,
    pub(super) targets: Arc<[Target]>,
}

/// One request under way.
pub struct Writing {
    settings: Arc<WrittenSettings>,
    prompt: Arc<PromptFile>,
    key: Digest,
    query: QueryId,
    seed: Seed,
    ask: Ask,
    attributes: Values,
    values: Values,
    targets: Arc<[Target]>,
    attempts: u32,
    best: Vec<Accepted>,
    noted: Vec<Noted>,
    last: Checked,
    replies: Vec<String>,
    /// The whole conversation is this question, answered in free text.
    question: Option<String>,
}

impl Writing {
    pub(super) fn new(frame: &Frame<'_>, key: Digest, query: QueryId, (ask, neighbours): (Ask, &[String])) -> Self {
        let seed = seed_of(&key);
        let attributes = frame.pool.draw(seed);
        let mut values = attributes.clone();
        values.extend(frame.switches.clone());
        let positive = ask.positives.first().cloned().unwrap_or_default();
        let inputs = [
            ("query", ask.query.clone()),
            ("passage", positive.clone()),
            ("positive", positive),
            ("neighbours", neighbours.iter().map(|text| format!("- {text}")).collect::<Vec<_>>().join("\n")),
            ("definition", frame.definition.clone()),
            ("num_negatives", ask.count.to_string()),
            ("num_queries", ask.count.to_string()),
            ("min_words", ask.words.start().to_string()),
            ("max_words", ask.words.end().to_string()),
        ];
        values.extend(inputs.map(|(name, value)| (name.to_owned(), value)));
        Self {
            settings: frame.settings.clone(),
            prompt: frame.prompt.clone(),
            key,
            query,
            seed,
            ask,
            attributes,
            values,
            targets: frame.targets.clone(),
            attempts: 0,
            best: Vec::new(),
            noted: Vec::new(),
            last: Checked::default(),
            replies: Vec::new(),
            question: None,
        }
    }

    /// The conversation that asks the first question of `prompt` and nothing else.
    pub(super) fn asking(prompt: &Arc<PromptFile>, settings: &WrittenSettings, key: &Digest, query: QueryId) -> Self {
        let frame = Frame {
            settings: Arc::new(settings.clone()),
            prompt: prompt.clone(),
            pool: Pool::default(),
            switches: Values::new(),
            definition: String::new(),
            targets: Arc::default(),
        };
        let ask = Ask::new("", Vec::new(), prompt, settings);
        Self { question: Some(prompt.first.clone()), ..Self::new(&frame, key.clone(), query, (ask, &[])) }
    }

    /// What the model said first.
    pub(super) fn into_first_reply(self) -> Option<String> {
        self.replies.into_iter().next()
    }

    /// The record of a conversation that has ended.
    pub(super) fn record(finished: Finished<Self>) -> Record {
        let Finished { conversation: writing, usage, refused } = finished;
        let enough = writing.best.len() >= writing.settings.least_accepted as usize;
        let given_up = (!enough).then(|| {
            let defects = &writing.last.defects;
            match &refused {
                Some(refusal) => GivenUp { kind: "refused".to_owned(), reasons: vec![refusal.to_string()] },
                None => GivenUp {
                    kind: defects.first().map_or("too-few", Defect::kind).to_owned(),
                    reasons: defects.iter().map(ToString::to_string).collect(),
                },
            }
        });
        Record {
            key: writing.key,
            query: writing.query,
            texts: if enough { writing.best } else { Vec::new() },
            given_up,
            attempts: writing.attempts,
            defects: writing.noted,
            replies: writing.replies,
            attributes: writing.attributes,
            seed: writing.seed,
            usage,
        }
    }

    /// The JSON of a reply: as many objects with a `text` as asked for, every string bounded, so
    /// that writing always ends.
    fn schema(&self) -> Value {
        let characters = self.ask.positives.first().map_or(0, |text| text.chars().count());
        let cap = self.settings.max_characters as usize;
        let in_proportion = portion(characters, self.settings.max_length_ratio * SLACK).max(ALWAYS_ALLOWED);
        // Where the prompt fixes the words: no word of a text is longer than this on average.
        let fixed = self.ask.words.end() * CHARACTERS_PER_WORD;
        let most = if self.ask.positive_words.is_some() { in_proportion } else { fixed }.min(cap);
        let least = if self.ask.positive_words.is_some() { self.settings.min_length_ratio / SLACK } else { 0.0 };
        let least = portion(characters, least).clamp(1, most);
        let text = json!({ "type": "string", "minLength": least, "maxLength": most });
        let negative = json!({
            "type": "object", "properties": { "text": text }, "required": ["text"], "additionalProperties": false,
        });
        let list =
            json!({ "type": "array", "minItems": self.ask.count, "maxItems": self.ask.count, "items": negative });
        let mut properties = serde_json::Map::new();
        if self.prompt.reply.reasoning_characters > 0 {
            let most = self.prompt.reply.reasoning_characters;
            let reasoning = json!({ "type": "string", "minLength": 1, "maxLength": most });
            properties.insert("reasoning".to_owned(), reasoning);
        }
        properties.insert(self.ask.list.clone(), list);
        let required: Vec<&String> = properties.keys().collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }
}

/// The seed of a request is part of its key, so it never depends on order.
fn seed_of(key: &Digest) -> Seed {
    Seed(u64::from_str_radix(key.short(16), 16).unwrap_or_default())
}

impl Conversation for Writing {
    fn opening(&self) -> Prompt {
        if let Some(question) = &self.question {
            return Prompt {
                messages: vec![Message::new(Role::User, question)],
                schema: None,
                max_tokens: self.settings.max_tokens,
                sampling: self.settings.sampling.unwrap_or_default(),
                seed: self.seed,
            };
        }
        let system = self.prompt.system(&self.values);
        let user = self.prompt.user(&self.values);
        let system = (!system.is_empty()).then(|| Message::new(Role::System, &system));
        Prompt {
            messages: system.into_iter().chain([Message::new(Role::User, &user)]).collect(),
            schema: (self.settings.constraint == ConstraintChoice::Schema).then(|| self.schema()),
            max_tokens: self.settings.max_tokens,
            sampling: self.settings.sampling.unwrap_or_default(),
            seed: self.seed,
        }
    }

    fn reply(&mut self, reply: &Reply) -> Turn {
        self.attempts += 1;
        if self.question.is_some() {
            self.replies.push(reply.text.clone());
            return Turn::Done;
        }
        self.last = checks::check(reply, &self.ask);
        for target in self.targets.iter() {
            target.judge(&self.ask, &mut self.last);
        }
        self.replies.push(reply.text.clone());
        let note = |defect: &Defect| Noted {
            attempt: self.attempts,
            kind: defect.kind().to_owned(),
            text: defect.to_string(),
        };
        self.noted.extend(self.last.defects.iter().map(note));
        if self.last.good.len() >= self.best.len() {
            self.best.clone_from(&self.last.good);
        }
        if self.best.len() == self.ask.count {
            return Turn::Done;
        }
        if self.attempts >= self.settings.attempts() {
            return Turn::GiveUp;
        }
        let defects: Vec<String> = self.last.defects.iter().map(|defect| format!("- {defect}")).collect();
        Turn::Say(self.prompt.reflection(&self.values, &defects.join("\n")))
    }
}
