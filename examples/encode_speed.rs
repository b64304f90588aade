//! Embeds the same texts whenever told to, and says how long it took: our side of `benches/peers/encode.py`.
//! `cargo run --release --example encode_speed -- ENCODER_FOLDER TEXTS.json f32|bf16`, where TEXTS.json is a list of strings.
//! Each line on stdin is one command (`encode`, `tokenize`, `product`); each is answered by one JSON object.
//! Threads: `RAYON_NUM_THREADS`.

use nearmiss::data::Quiet;
use nearmiss::encode::device::{self, DeviceChoice};
use nearmiss::encode::kernels::{Buffer, Instructions, Onto, Packed, Precision, ProductScratch, Rows};
use nearmiss::encode::{BiEncoder, Computing, Role};
use serde_json::json;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// As in the program: pages that are kept are not cleared again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, texts, precision] = arguments.as_slice() else {
        return Err("expected ENCODER_FOLDER TEXTS.json f32|bf16".into());
    };
    let precision: Precision = serde_json::from_value(json!(precision))?;
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(texts)?)?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (device, _) = device::open(DeviceChoice::Cpu)?;
    let computing = Computing { precision, ..Computing::of(&device) };
    let encoder = BiEncoder::open_with(Path::new(encoder), &device, computing)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lines() {
        let begun = Instant::now();
        let mut answer = match line?.as_str() {
            "encode" => {
                let encoded = encoder.encode(&texts, Role::Document, &Quiet)?;
                json!({"sum": encoded.vectors.widened(0..encoded.vectors.len()).iter().map(|v| f64::from(*v)).sum::<f64>()})
            }
            "tokenize" => {
                let tokens: usize = encoder.tokenize(&texts, Role::Document)?.ids.iter().map(Vec::len).sum();
                json!({"tokens": tokens})
            }
            "product" => json!({"gflops": product(computing.instructions, precision)}),
            other => return Err(format!("no such command: {other}").into()),
        };
        answer["seconds"] = begun.elapsed().as_secs_f64().into();
        answer["instructions"] = computing.instructions.name().into();
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

/// Billions of operations a second of the matrix product alone, all threads at once; the best of twenty.
fn product(instructions: Instructions, precision: Precision) -> f64 {
    const SIZE: (usize, usize, usize) = (512, 768, 768);
    let (rows, inputs, outputs) = SIZE;
    let values = |count| -> Vec<f32> { (0..count).map(|i| ((i * 7919 % 1009) as f32 / 1009.0) - 0.5).collect() };
    let weight = Packed::new(instructions, precision, inputs, &[&values(inputs * outputs)]);
    let (x, bias) = (values(rows * inputs), values(outputs));
    let best = rayon::broadcast(|_| {
        let mut out = Buffer::zeros(rows * outputs);
        let mut scratch = ProductScratch::default();
        let times = (0..20).map(|_| {
            let begun = Instant::now();
            let x = Rows::new(&x, (rows, inputs), inputs);
            weight.apply(x, Onto::Bias(&bias), (out.values_mut(), outputs), &mut scratch);
            begun.elapsed().as_secs_f64()
        });
        times.fold(f64::INFINITY, f64::min)
    });
    best.iter().map(|seconds| 2.0 * (rows * inputs * outputs) as f64 / seconds / 1e9).sum()
}
