//! What evaluation costs: cutting a TREC run into lists, scoring it, comparing two runs.
//! `cargo bench --bench eval` prints medians; `benches/peers/eval.py` stands beside other tools.

use divan::counter::BytesCount;
use nearmiss::data::{DocId, Qrels, QueryId, RunFile};
use nearmiss::eval::significance::Settings;
use nearmiss::eval::{Dialect, Metric, Rules, compare, evaluate};
use std::fmt::Write;

const QUERIES: u64 = 1000;
const HITS: u64 = 100;

fn main() {
    divan::main();
}

/// A number without pattern below `below`, the same at each start.
fn scatter(seed: u64, below: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9) % below
}

/// The file of a run: query q's hits are d(q + shift), d(q + shift + 1) ... with falling scores.
fn run(shift: u64) -> (tempfile::TempDir, RunFile) {
    let mut text = String::new();
    for query in 0..QUERIES {
        for rank in 0..HITS {
            let doc = query + rank + shift * scatter(query, 3);
            writeln!(text, "q{query} Q0 d{doc} {} {:.6} bench", rank + 1, 20.0 - rank as f64 / 8.0).expect("memory");
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.trec");
    std::fs::write(&path, text).expect("a file");
    (folder, RunFile::read(&path).expect("the run"))
}

/// Ten judged passages a query.
fn qrels() -> Qrels {
    let mut qrels = Qrels::default();
    for query in 0..QUERIES {
        for place in 0..10 {
            let doc = query + scatter(query * 10 + place, HITS);
            let grade = i32::try_from(place % 3).expect("small");
            let id = QueryId::new(&format!("q{query}")).expect("an id");
            qrels.insert(id, DocId::new(&format!("d{doc}")).expect("an id"), grade);
        }
    }
    qrels
}

fn metrics() -> Vec<Metric> {
    ["ndcg@10", "recall@100", "map", "mrr"].iter().map(|name| name.parse().expect("a metric")).collect()
}

#[divan::bench]
fn cut_100_000_lines(bencher: divan::Bencher<'_, '_>) {
    let (_folder, file) = run(0);
    bencher.counter(BytesCount::new(file.len())).bench(|| file.lists().expect("lists"));
}

#[divan::bench]
fn score_1000_queries_of_100_hits(bencher: divan::Bencher<'_, '_>) {
    let (_folder, file) = run(0);
    let (lists, qrels, metrics) = (file.lists().expect("lists"), qrels(), metrics());
    let rules = Rules::new(Dialect::default());
    bencher.bench(|| evaluate(&lists, &qrels, &metrics, &rules));
}

#[divan::bench(sample_count = 10)]
fn compare_two_runs_on_1000_queries_by_4_metrics(bencher: divan::Bencher<'_, '_>) {
    let (qrels, metrics, rules) = (qrels(), metrics(), Rules::new(Dialect::default()));
    let score = |shift| evaluate(&run(shift).1.lists().expect("lists"), &qrels, &metrics, &rules);
    let evaluations = [score(0), score(1)];
    bencher.bench(|| compare(&evaluations, &[(0, 1)], &metrics, &Settings::default()));
}
