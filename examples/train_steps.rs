//! Training steps on the same batches whenever told to: our side of `benches/peers/train.py` and `tests/peers/train.py`.
//! `cargo run --release --example train_steps -- ENCODER_FOLDER BATCHES.json SETTINGS.json`: batches are lists of
//! `[query, positive, negative, ..]`, settings those of training ([`TrainSettings`]).
//!
//! Each line on stdin is one command, each is answered by one JSON object: `step` takes the next batch (from the first
//! again after the last), `order SEED` says which instances each step of a run over all of them would take, `gradients FILE` writes the gradients of the first batch as safetensors and changes nothing,
//! `weights FILE` writes the weights. Threads: `RAYON_NUM_THREADS`.

use candle_core::Tensor;
use nearmiss::data::{DocId, Instance, Passage, QueryId, Seed, TrainingPassage};
use nearmiss::encode::device::{self, DeviceChoice};
use nearmiss::encode::{BiEncoder, Gradients};
use nearmiss::train::batches::members;
use nearmiss::train::optimiser::{AdamW, Step, clipping};
use nearmiss::train::trainer::{Pupil, Turn};
use nearmiss::train::{Contrast, TrainSettings};
use serde_json::json;
use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// As in the program: pages that are kept are not cleared again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn instance(number: usize, texts: &[String]) -> Result<Instance, Box<dyn Error>> {
    let passage = |place: usize, text: &String| -> Result<TrainingPassage, Box<dyn Error>> {
        let id = DocId::new(&format!("d{number}-{place}"))?;
        Ok(TrainingPassage { passage: Passage::Corpus(id), source: "given".into(), text: text.clone(), teacher: None })
    };
    let [query, positive, negatives @ ..] = texts else { return Err("a query and its positive".into()) };
    Ok(Instance {
        query_id: QueryId::new(&format!("q{number}"))?,
        query: query.clone(),
        positive: passage(0, positive)?,
        negatives: negatives.iter().enumerate().map(|(i, text)| passage(i + 1, text)).collect::<Result<_, _>>()?,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, batches, settings] = arguments.as_slice() else {
        return Err("expected ENCODER_FOLDER BATCHES.json SETTINGS.json".into());
    };
    let settings: TrainSettings = serde_json::from_slice(&std::fs::read(settings)?)?;
    let batches: Vec<Vec<Vec<String>>> = serde_json::from_slice(&std::fs::read(batches)?)?;
    let (device, _) = device::open(DeviceChoice::Cpu)?;
    let mut encoder = BiEncoder::open(Path::new(encoder), &device)?;
    if settings.max_length > 0 {
        encoder = encoder.shortened(settings.max_length)?;
    }
    let mut places = Vec::new();
    let mut instances = Vec::new();
    for batch in &batches {
        places.push((instances.len()..instances.len() + batch.len()).collect::<Vec<_>>());
        for texts in batch {
            instances.push(instance(instances.len(), texts)?);
        }
    }
    let mut pupil = Contrast::new(&encoder, &instances, &settings, Seed(1))?;
    let turn = |members, number| Turn { members, number, temperature: settings.temperature };
    let mut gradients = Gradients::new(encoder.parameters(), &device);
    let mut optimiser = AdamW::new(encoder.parameters(), &device)?;
    let mut out = std::io::stdout().lock();
    let mut steps = 0;
    for line in std::io::stdin().lines() {
        let line = line?;
        let begun = Instant::now();
        let mut answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("step", "") => {
                gradients.clear();
                let batch = &places[steps % places.len()];
                let loss = pupil.learn(turn(batch, steps), &mut gradients)?.loss;
                let back = begun.elapsed().as_secs_f64();
                let norm = gradients.norms()?.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
                let step = Step {
                    learning_rate: settings.learning_rate,
                    weight_decay: settings.weight_decay,
                    factor: clipping(norm, settings.max_gradient_norm),
                };
                optimiser.step(encoder.parameters(), &gradients, step)?;
                steps += 1;
                let tokens = pupil.tokens(batch);
                json!({"loss": loss, "norm": norm, "tokens": tokens, "gradients": back})
            }
            ("gradients", file) => {
                gradients.clear();
                let loss = pupil.learn(turn(&places[0], 0), &mut gradients)?.loss;
                let Gradients::Host(values) = &gradients else { return Err("gradients on the CPU are values".into()) };
                let named = encoder.parameters().iter().zip(values);
                let tensors: HashMap<String, Tensor> = named
                    .map(|((name, weight), values)| {
                        Ok((name.to_owned(), Tensor::from_slice(values, weight.shape(), &device)?))
                    })
                    .collect::<candle_core::Result<_>>()?;
                candle_core::safetensors::save(&tensors, file)?;
                json!({"loss": loss})
            }
            ("order", seed) => {
                let (seed, size) = (Seed(seed.parse()?), settings.batch_size);
                let steps = 0..instances.len().div_ceil(size) * settings.epochs;
                let order: Vec<Vec<usize>> = steps.map(|step| members(instances.len(), size, step, seed)).collect();
                json!({"order": order})
            }
            ("weights", file) => {
                encoder.parameters().write(Path::new(file))?;
                json!({})
            }
            _ => return Err(format!("no such command: {line}").into()),
        };
        answer["seconds"] = begun.elapsed().as_secs_f64().into();
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
