//! BM25 alone, timed, for the comparison in `benches/peers/bm25.py`: prints one JSON object.
//! `bm25 index CORPUS.jsonl INDEX STEMMER LENGTH K1 B` reads and indexes; `bm25 search INDEX QUERIES.tsv K RUN ROUNDS`
//! searches all queries `ROUNDS` times and writes the run. Threads by `RAYON_NUM_THREADS`.

use nearmiss::data::{Corpus, Query, QueryId, Quiet};
use nearmiss::retrieve::{Bm25, Bm25Settings, Searcher};
use serde_json::json;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["index", corpus, index, stemmer, length, k1, b] => {
            let mut settings = Bm25Settings { k1: k1.parse()?, b: b.parse()?, ..Bm25Settings::default() };
            settings.length = serde_json::from_value(json!(length))?;
            settings.analyser.stemmer = stemmer.parse()?;
            let begin = Instant::now();
            let corpus = Corpus::open(Path::new(corpus))?;
            let open = begin.elapsed();
            let built = Bm25::of_corpus(&corpus, &settings, &Quiet)?;
            built.write(Path::new(index))?;
            json!({
                "passages": built.len(), "terms": built.vocabulary(),
                "open_s": open.as_secs_f64(), "index_s": begin.elapsed().as_secs_f64(),
            })
        }
        ["search", index, queries, k, run, rounds] => {
            let begin = Instant::now();
            let index = Bm25::open(Path::new(index))?;
            let open = begin.elapsed();
            let mut all = Vec::new();
            for line in std::fs::read_to_string(queries)?.lines() {
                let (id, text) = line.split_once('\t').ok_or("a query without a tab")?;
                all.push(Query { id: QueryId::new(id)?, text: text.to_owned() });
            }
            let k = k.parse()?;
            let mut seconds = Vec::new();
            for _ in 0..rounds.parse::<usize>()? {
                let begin = Instant::now();
                let found = index.search(&all, k)?;
                seconds.push(begin.elapsed().as_secs_f64());
                if seconds.len() == 1 {
                    found.write_trec(Path::new(run), "nearmiss")?;
                }
            }
            json!({"queries": all.len(), "open_s": open.as_secs_f64(), "search_s": seconds})
        }
        _ => return Err("expected index CORPUS INDEX STEMMER LENGTH K1 B, or search INDEX QUERIES K RUN ROUNDS".into()),
    };
    Ok(writeln!(std::io::stdout(), "{}", json!({"result": result, "peak_mb": peak_mb()}))?)
}

/// Largest resident size so far, where the system tells.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
