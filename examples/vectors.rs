//! Prints the vectors of a collection's first passages, one JSON array a line, so that another program's vectors can
//! be laid beside them (`tests/peers/`): `cargo run --release --example vectors -- ENCODER_FOLDER BEIR_FOLDER COUNT`.

use nearmiss::data::{Collection, Quiet};
use nearmiss::encode::device::{self, DeviceChoice};
use nearmiss::encode::{BiEncoder, Role};
use std::error::Error;
use std::io::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, data, count] = arguments.as_slice() else {
        return Err("expected ENCODER_FOLDER BEIR_FOLDER COUNT".into());
    };
    let (device, _) = device::open(DeviceChoice::Cpu)?;
    let encoder = BiEncoder::open(Path::new(encoder), &device)?;
    let passages = Collection::open(Path::new(data))?.corpus.contents()?;
    let texts: Vec<&str> = passages.iter().take(count.parse()?).map(String::as_str).collect();
    let vectors = encoder.encode(&texts, Role::Document, &Quiet)?.vectors;
    let mut out = std::io::stdout().lock();
    for row in 0..vectors.len() {
        writeln!(out, "{}", serde_json::to_string(&vectors.row(row))?)?;
    }
    Ok(())
}
