//! On stories260K, a real Llama of 512 tokens whose greedy text is published, and on a random Qwen3.

mod architectures;
#[path = "cache.rs"]
mod cache_tests;
mod hostile;
mod model;
#[path = "scheduler.rs"]
mod scheduler_tests;

use super::cache::Output;
use super::*;
use crate::data::{Quiet, Seed};
use crate::generate::sampler::Sampler;
use crate::generate::{ChatChoice, Message, Prompt, Reply, Role, Sampling, Turn};
use serde_json::Value;

/// stories260K with one slot, unless changed.
fn stories(change: impl FnOnce(&mut EngineSettings)) -> Option<LlamaEngine> {
    let path = crate::shared::path("models/stories260K/stories260K-f32.gguf")?;
    Some(open(&path, change))
}

fn open(path: &Path, change: impl FnOnce(&mut EngineSettings)) -> LlamaEngine {
    let mut settings =
        EngineSettings { chat_template: ChatChoice::Plain, threads: Some(1), slots: Some(1), ..Default::default() };
    change(&mut settings);
    LlamaEngine::open(path, settings).unwrap()
}

/// Both models, with the same settings.
fn both(change: impl Fn(&mut EngineSettings)) -> Vec<LlamaEngine> {
    let (_folder, path) = model::random_qwen3(3);
    stories(&change).into_iter().chain([open(&path, &change)]).collect()
}

/// Says the first of its messages, then the others in turn; keeps the replies.
struct Script {
    messages: Vec<String>,
    schema: Option<Value>,
    max_tokens: u32,
    sampling: Sampling,
    replies: Vec<Reply>,
    thoughts: Vec<String>,
}

impl Script {
    fn new(messages: &[&str], max_tokens: u32) -> Self {
        let messages = messages.iter().map(|&text| text.to_owned()).collect();
        Self {
            messages,
            schema: None,
            max_tokens,
            sampling: Sampling::GREEDY,
            replies: Vec::new(),
            thoughts: Vec::new(),
        }
    }
}

impl Conversation for Script {
    fn opening(&self) -> Prompt {
        Prompt {
            messages: vec![Message::new(Role::User, &self.messages[0])],
            schema: self.schema.clone(),
            max_tokens: self.max_tokens,
            sampling: self.sampling,
            seed: Seed(7),
        }
    }

    fn thought(&mut self, text: &str) {
        self.thoughts.push(text.to_owned());
    }

    fn reply(&mut self, reply: &Reply) -> Turn {
        self.replies.push(reply.clone());
        self.messages.get(self.replies.len()).map_or(Turn::Done, |message| Turn::Say(message.clone()))
    }
}

/// What came of the scripts, in the order of their first messages.
fn run(engine: &mut LlamaEngine, scripts: Vec<Script>) -> Vec<Finished<Script>> {
    let order: Vec<String> = scripts.iter().map(|script| script.messages[0].clone()).collect();
    let mut all = Vec::new();
    let mut keep = |finished| {
        all.push(finished);
        Ok(())
    };
    engine.run(&mut scripts.into_iter(), &mut keep, &Quiet).unwrap();
    let place = |finished: &Finished<Script>| {
        order.iter().position(|first| *first == finished.conversation.messages[0]).unwrap()
    };
    all.sort_by_key(place);
    all
}

/// The tokens of `text` where a text begins.
fn tokens(engine: &LlamaEngine, text: &str) -> Vec<u32> {
    engine.tokens(&[Segment::Content(text.to_owned())], Place::Start).unwrap()
}

/// Adds `tokens` to a sequence, a batch after the other; the logits after the last.
fn feed(cache: &mut Cache<'_>, sequence: usize, tokens: &[u32]) -> Vec<f32> {
    let mut row = 0;
    for (place, &token) in (1..).zip(tokens) {
        let output = if place == tokens.len() { Output::Logits } else { Output::Nothing };
        row = cache.add(sequence, token, output).unwrap();
        if cache.room() == 0 || place == tokens.len() {
            cache.decode().unwrap();
        }
    }
    cache.logits(row).unwrap().to_vec()
}

/// The greedy tokens after those of `sequence`, whose last logits are `logits`.
fn greedy(cache: &mut Cache<'_>, sequence: usize, mut logits: Vec<f32>, count: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(Sampling::GREEDY, Seed(0));
    let mut written = Vec::new();
    while written.len() < count {
        let token = sampler.pick(&logits, None).unwrap();
        written.push(token);
        logits = feed(cache, sequence, &[token]);
    }
    written
}

fn text(engine: &LlamaEngine, tokens: &[u32]) -> String {
    String::from_utf8_lossy(&tokens.iter().flat_map(|&token| engine.words.piece(token)).copied().collect::<Vec<_>>())
        .into_owned()
}
