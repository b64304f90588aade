//! Replies of a local model to requests from a file: the generation engine by itself, without negatives.
//! `cargo run --release --example replies -- MODEL.gguf REQUESTS.jsonl [--slots N] [--threads N] ...`
//! A request is `{"messages": [{"role": "user", "content": "..."}], "schema": {...}, "max_tokens": 150,
//! "temperature": 0.8, "seed": 1}`; replies go to stdout, in the order they are finished, and where the
//! time went to stderr as one line of JSON. benches/peers/generate.py measures with it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output")]

use nearmiss::data::{Quiet, Result, Seed};
use nearmiss::generate::{
    Conversation, Engine, EngineSettings, Finished, FlashAttention, LlamaEngine, Message, Prompt, Reply, Role,
    Sampling, Turn,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Deserialize)]
struct Said {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Request {
    messages: Vec<Said>,
    schema: Option<Value>,
    max_tokens: u32,
    temperature: f32,
    seed: u64,
}

/// One request and its reply.
struct Asked {
    place: usize,
    request: Request,
    reply: Option<Reply>,
}

impl Conversation for Asked {
    fn opening(&self) -> Prompt {
        let role = |name: &str| match name {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        };
        Prompt {
            messages: self.request.messages.iter().map(|said| Message::new(role(&said.role), &said.content)).collect(),
            schema: self.request.schema.clone(),
            max_tokens: self.request.max_tokens,
            sampling: Sampling::with_temperature(self.request.temperature).expect("a temperature from 0 to 5"),
            seed: Seed(self.request.seed),
        }
    }

    fn reply(&mut self, reply: &Reply) -> Turn {
        self.reply = Some(reply.clone());
        Turn::Done
    }
}

fn settings(arguments: &[String]) -> EngineSettings {
    let value = |name: &str| arguments.iter().position(|word| word == name).and_then(|place| arguments.get(place + 1));
    let number = |name: &str| value(name).map(|word| word.parse().expect("a number"));
    let flash = value("--flash").map(|word| if word == "on" { FlashAttention::On } else { FlashAttention::Off });
    EngineSettings {
        context: number("--context"),
        slots: number("--slots"),
        threads: number("--threads"),
        draft: number("--draft"),
        draft_cost: value("--draft-cost").map(|word| word.parse().expect("a number")),
        flash_attention: flash,
        batch: number("--batch"),
        cache_type: value("--cache").map(|name| serde_json::from_value(json!(name)).expect("a cache type")),
        ..EngineSettings::default()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, requests, rest @ ..] = &arguments[..] else {
        eprintln!(
            "usage: replies MODEL.gguf REQUESTS.jsonl [--slots N] [--threads N] [--flash on] [--cache q8_0] [--batch N] [--draft N] [--draft-cost X] [--context N] [--naive]"
        );
        std::process::exit(2);
    };
    let text = std::fs::read_to_string(requests).expect("the requests can be read");
    let mut engine = LlamaEngine::open(Path::new(model), settings(rest)).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    if rest.iter().any(|word| word == "--tune") {
        let tuned = engine.tune(|| BEGUN.elapsed(), &Quiet).expect("the model runs");
        eprintln!("{}", json!({"tuned": tuned}));
        return;
    }
    engine.measure(|| BEGUN.elapsed());
    let begun = BEGUN.elapsed();
    let mut asked = text.lines().enumerate().map(|(place, line)| {
        let request = serde_json::from_str(line).unwrap_or_else(|error| panic!("request {}: {error}", place + 1));
        Asked { place, request, reply: None }
    });
    let (mut written, mut read, mut reused) = (0, 0, 0);
    let mut finished = |one: Finished<Asked>| -> Result<()> {
        written += one.usage.tokens_out;
        read += one.usage.tokens_in;
        reused += one.usage.tokens_reused;
        let refused = one.refused.map(|refusal| refusal.to_string());
        let text = one.conversation.reply.map(|reply| reply.text);
        println!("{}", json!({"request": one.conversation.place, "text": text, "refused": refused}));
        Ok(())
    };
    if rest.iter().any(|word| word == "--naive") {
        // One at a time, each over a fresh cache: what a loop without an engine does.
        for one in asked {
            engine.run(&mut std::iter::once(one), &mut finished, &Quiet).expect("the model runs");
        }
    } else {
        engine.run(&mut asked, &mut finished, &Quiet).expect("the model runs");
    }
    let spent = engine.spent();
    let seconds = |time: Duration| time.as_secs_f64();
    let total = seconds(BEGUN.elapsed().saturating_sub(begun));
    eprintln!(
        "{}",
        json!({
            "seconds": total, "decode": seconds(spent.decode), "sampling": seconds(spent.draw.saturating_sub(spent.masks)),
            "masks": seconds(spent.masks), "prepare": seconds(spent.prepare), "batches": spent.batches, "draws": spent.draws,
            "guessed": spent.guessed, "right": spent.right, "tokens_in": read, "tokens_reused": reused, "tokens_out": written,
        })
    );
}
