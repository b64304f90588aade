//! Qwen3, Llama 3 and Phi 3 as their real architectures: candle-transformers, written apart from llama.cpp, gives the
//! same logits; random weights write JSON of the schema; chain models write their document through every path.

use super::model::{DOCUMENT, Kind, Recipe, Weights};
use super::*;
use crate::generate::{CacheType, Ending};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_phi3, quantized_qwen3};
use serde_json::json;
use std::fs::File;

/// Largest difference between the two implementations, in units of the spread of the logits: sums run in another
/// order, in 32 bits.
const TOLERANCE: f32 = 1e-4;

/// Logits after `tokens` by candle-transformers, fed in two parts.
fn oracle(kind: Kind, path: &Path, tokens: &[u32]) -> candle_core::Result<Vec<f32>> {
    let device = Device::Cpu;
    let mut file = File::open(path)?;
    let content = Content::read(&mut file)?;
    let (first, second) = tokens.split_at(tokens.len() / 2);
    let part = |tokens: &[u32]| Tensor::new(tokens, &device)?.unsqueeze(0);
    let (first, second, place) = (part(first)?, part(second)?, first.len());
    let logits = match kind {
        Kind::Qwen3 => {
            let mut model = quantized_qwen3::ModelWeights::from_gguf(content, &mut file, &device)?;
            model.forward(&first, 0)?;
            model.forward(&second, place)?
        }
        Kind::Llama3 => {
            let mut model = quantized_llama::ModelWeights::from_gguf(content, &mut file, &device)?;
            model.forward(&first, 0)?;
            model.forward(&second, place)?
        }
        Kind::Phi3 => {
            let mut model = quantized_phi3::ModelWeights::from_gguf(false, content, &mut file, &device)?;
            model.forward(&first, 0)?;
            model.forward(&second, place)?
        }
    };
    logits.flatten_all()?.to_vec1()
}

#[test]
fn logits_are_those_of_candle_transformers() {
    for kind in Kind::ALL {
        let (_folder, path) = Recipe::random(kind).write();
        let engine = open(&path, |settings| {
            settings.chat_template = ChatChoice::Own;
            settings.cache_type = Some(CacheType::F32);
            settings.slots = Some(2);
        });
        let opening = engine.chat.opening(&[Message::new(Role::User, "Why is the sky over Lisbon blue?")]).unwrap();
        let tokens = engine.tokens(&opening, Place::Start).unwrap();
        let mut cache = engine.cache().unwrap();
        // The second half goes on behind a copy.
        feed(&mut cache, 0, &tokens[..tokens.len() / 2]);
        cache.copy(0, 1).unwrap();
        let ours = feed(&mut cache, 1, &tokens[tokens.len() / 2..]);
        let theirs = oracle(kind, &path, &tokens).unwrap();
        assert_eq!(ours.len(), theirs.len());
        let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
        let apart = largest(&mut ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()));
        let spread = largest(&mut theirs.iter().map(|value| value.abs()));
        assert!(spread > 1.0 && apart < TOLERANCE * spread, "{kind:?}: {apart} apart of {spread}");
    }
}

/// The form a reply to negatives has: every string bounded.
fn negatives(most: u32) -> Value {
    let text = json!({ "type": "string", "minLength": 5, "maxLength": most });
    let item = json!({ "type": "object", "properties": { "text": text }, "required": ["text"], "additionalProperties": false });
    json!({
        "type": "object", "required": ["reasoning", "negatives"], "additionalProperties": false,
        "properties": {
            "reasoning": { "type": "string", "minLength": 1, "maxLength": most },
            "negatives": { "type": "array", "minItems": 2, "maxItems": 2, "items": item },
        },
    })
}

fn asked(count: usize, schema: &Value, (max_tokens, temperature): (u32, f32)) -> Vec<Script> {
    let script = |n: usize| Script {
        schema: Some(schema.clone()),
        sampling: Sampling::with_temperature(temperature).unwrap(),
        ..Script::new(&[&format!("What came of the {n} ferries of Lisbon?"), "Once more."], max_tokens)
    };
    (0..count).map(script).collect()
}

#[test]
fn random_weights_write_json_of_the_schema_on_all_requests() {
    for kind in Kind::ALL {
        let (_folder, path) = Recipe::random(kind).write();
        for (slots, draft) in [(1, 0), (4, 4)] {
            let mut engine = open(&path, |settings| {
                settings.chat_template = ChatChoice::Own;
                settings.slots = Some(slots);
                settings.draft = Some(draft);
            });
            // Half as many tokens as the longest reply would take: some are ended.
            let finished = run(&mut engine, asked(16, &negatives(60), (160, 1.0)));
            let replies: Vec<&Reply> = finished.iter().flat_map(|one| &one.conversation.replies).collect();
            assert_eq!(replies.len(), 32);
            for reply in replies {
                let value: Value = serde_json::from_str(&reply.text)
                    .unwrap_or_else(|error| panic!("{kind:?}: {error}: {}", reply.text));
                let items = value["negatives"].as_array().unwrap();
                let texts = items.iter().map(|item| item["text"].as_str().unwrap().chars().count());
                assert!(items.len() == 2 && texts.into_iter().all(|length| (5..=60).contains(&length)), "{value}");
                assert!(matches!(reply.ending, Ending::Complete | Ending::Closed) && reply.tokens <= 160, "{reply:?}");
            }
        }
    }
}

#[test]
fn chain_models_write_their_document_on_all_requests() {
    let text = json!({ "type": "string", "minLength": 5, "maxLength": 400 });
    let schema = json!({
        "type": "object", "properties": { "text": text }, "required": ["text"], "additionalProperties": false,
    });
    let document = json!({ "text": DOCUMENT.concat() });
    for kind in [Kind::Qwen3, Kind::Llama3] {
        let (_folder, path) = Recipe { weights: Weights::Chain, ..Recipe::random(kind) }.write();
        for (slots, draft) in [(1, 0), (1, 5), (4, 0), (4, 5)] {
            let mut engine = open(&path, |settings| {
                settings.chat_template = ChatChoice::Own;
                settings.slots = Some(slots);
                settings.draft = Some(draft);
            });
            let finished = run(&mut engine, asked(24, &schema, (60, 0.8)));
            let replies: Vec<&Reply> = finished.iter().flat_map(|one| &one.conversation.replies).collect();
            assert_eq!(replies.len(), 48);
            for reply in replies {
                let value: Value = serde_json::from_str(&reply.text).unwrap();
                assert_eq!((value, reply.ending), (document.clone(), Ending::Complete), "{kind:?}, {slots} slots");
            }
        }
    }
}
