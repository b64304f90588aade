//! How fast passages are found by their vectors, for benches/peers/search.py: one measurement a process, told on stdout.
//!
//! - `search_speed exact VECTORS QUERIES K ROUNDS STORAGE`
//! - `search_speed build VECTORS GRAPH STORAGE`
//! - `search_speed hnsw VECTORS QUERIES K ROUNDS STORAGE GRAPH EXPANSION`
//!
//! VECTORS and QUERIES are files of `nearmiss encode`. `RAYON_NUM_THREADS` sets the threads.

#![expect(clippy::print_stdout, reason = "its answer")]

use nearmiss::data::{Hit, IdTable, Quiet};
use nearmiss::encode::{Storage, Vectors};
use nearmiss::retrieve::{Exact, GraphStorage, Hnsw, HnswSettings, Similarity};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn named<T: DeserializeOwned>(name: &str) -> Outcome<T> {
    Ok(serde_json::from_value(name.into())?)
}

/// The peak resident size in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    line.unwrap_or(0.0) / 1024.0
}

fn tell(seconds: &[f64], hits: &[Vec<Hit>]) {
    let rows: Vec<Vec<usize>> =
        hits.iter().map(|list| list.iter().filter_map(|hit| hit.doc.as_str().parse().ok()).collect()).collect();
    println!("{}", serde_json::json!({"seconds": seconds, "rows": rows, "peak": peak()}));
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let open = |path: &str| -> Outcome<(Arc<IdTable>, Arc<Vectors>)> {
        let vectors = Vectors::read(Path::new(path))?;
        let ids: Vec<String> = (0..vectors.len()).map(|row| row.to_string()).collect();
        Ok((Arc::new(IdTable::new(ids.iter().map(String::as_str))), Arc::new(vectors)))
    };
    match arguments[..] {
        ["exact", vectors, queries, k, rounds, storage] => {
            let (ids, vectors) = open(vectors)?;
            let index = Exact::new(ids, Arc::new(vectors.stored_as(named::<Storage>(storage)?)), Similarity::Cosine)?;
            run(queries, k.parse()?, rounds.parse()?, |asked, k| Ok(index.best(asked, k)))
        }
        ["build", vectors, graph, storage] => {
            let over = open(vectors)?;
            let settings = HnswSettings { storage: named::<GraphStorage>(storage)?, ..HnswSettings::default() };
            let begin = Instant::now();
            let built = Hnsw::build(over, Similarity::Cosine, &settings, &Quiet)?;
            let seconds = begin.elapsed().as_secs_f64();
            built.save(Path::new(graph))?;
            tell(&[seconds], &[]);
            Ok(())
        }
        ["hnsw", vectors, queries, k, rounds, storage, graph, expansion] => {
            let settings = HnswSettings { storage: named::<GraphStorage>(storage)?, ..HnswSettings::default() };
            let index = Hnsw::view(Path::new(graph), open(vectors)?, Similarity::Cosine, &settings)?;
            index.expand(expansion.parse()?);
            run(queries, k.parse()?, rounds.parse()?, |asked, k| Ok(index.best(asked, k)?))
        }
        _ => Err("see the head of examples/search_speed.rs".into()),
    }
}

/// Times `rounds` searches for all queries, after one that is not counted.
fn run(
    queries: &str,
    k: usize,
    rounds: usize,
    search: impl Fn(&[&[f32]], usize) -> Outcome<Vec<Vec<Hit>>>,
) -> Outcome<()> {
    let queries = Vectors::read(Path::new(queries))?;
    let asked: Vec<_> = (0..queries.len()).map(|row| queries.row(row)).collect();
    let asked: Vec<&[f32]> = asked.iter().map(AsRef::as_ref).collect();
    let mut hits = search(&asked, k)?;
    let mut seconds = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        hits = search(&asked, k)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    tell(&seconds, &hits);
    Ok(())
}
