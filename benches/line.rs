//! What the parts of the line cost on the bundled collection: BM25, embedding, exact search, one training step.
//! `cargo bench` prints medians; compare two versions on one quiet machine, in turn.

use candle_core::Device;
use nearmiss::data::{Collection, Instance, Passage, Quiet, Seed, TrainingPassage};
use nearmiss::encode::{BiEncoder, FreshEncoder, Role};
use nearmiss::negatives::Task;
use nearmiss::retrieve::{Bm25, Bm25Settings, Exact, Searcher, Similarity};
use nearmiss::train::{TrainSettings, Trainer};
use std::path::Path;
use std::sync::Arc;

fn main() {
    divan::main();
}

fn elements() -> Collection {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/elements");
    Collection::open(&folder).expect("the bundled collection opens")
}

/// An untrained encoder of the demo's size, in a folder that goes away with the benchmark.
fn encoder(collection: &Collection) -> (tempfile::TempDir, BiEncoder) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("encoder");
    let texts = collection.corpus.contents().expect("texts");
    let fresh = FreshEncoder { vocabulary: 8000, width: 128, layers: 2, max_length: 128, seed: Seed(1) };
    fresh.write(&texts, &path).expect("an encoder");
    let encoder = BiEncoder::open(&path, &Device::Cpu).expect("the encoder opens");
    (folder, encoder)
}

#[divan::bench]
fn bm25_index(bencher: divan::Bencher<'_, '_>) {
    let collection = elements();
    bencher.bench(|| Bm25::of_corpus(&collection.corpus, &Bm25Settings::default(), &Quiet));
}

#[divan::bench]
fn bm25_search_all_queries_top_100(bencher: divan::Bencher<'_, '_>) {
    let collection = elements();
    let index = Bm25::of_corpus(&collection.corpus, &Bm25Settings::default(), &Quiet).expect("an index");
    let queries: Vec<_> = collection.queries.iter().cloned().collect();
    bencher.bench(|| index.search(&queries, 100));
}

#[divan::bench(sample_count = 10)]
fn embed_corpus(bencher: divan::Bencher<'_, '_>) {
    let collection = elements();
    let (_folder, encoder) = encoder(&collection);
    let texts = collection.corpus.contents().expect("texts");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    bencher.bench(|| encoder.encode(&texts, Role::Document, &Quiet));
}

#[divan::bench]
fn exact_search_all_queries_top_100(bencher: divan::Bencher<'_, '_>) {
    let collection = elements();
    let (_folder, encoder) = encoder(&collection);
    let encode = |texts: Vec<String>, role| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        encoder.encode(&texts, role, &Quiet).expect("vectors").vectors
    };
    let passages = Arc::new(encode(collection.corpus.contents().expect("texts"), Role::Document));
    let queries = encode(collection.queries.iter().map(|q| q.text.clone()).collect(), Role::Query);
    let rows: Vec<_> = (0..queries.len()).map(|row| queries.row(row)).collect();
    let rows: Vec<&[f32]> = rows.iter().map(AsRef::as_ref).collect();
    let index = Exact::new(collection.corpus.ids().clone(), passages, Similarity::Cosine).expect("an index");
    bencher.bench(|| index.best(&rows, 100));
}

#[divan::bench(sample_count = 10)]
fn train_four_steps_of_16_instances(bencher: divan::Bencher<'_, '_>) {
    let collection = elements();
    let (folder, encoder) = encoder(&collection);
    let qrels = collection.qrels("train").expect("judgements");
    let tasks = Task::all(&collection, &qrels).expect("tasks");
    let passage = |document: &nearmiss::data::Document, source: &str| TrainingPassage {
        passage: Passage::Corpus(document.id.clone()),
        source: source.to_owned(),
        text: document.content(),
        teacher: None,
    };
    let instances: Vec<Instance> = (0..64)
        .map(|i| Instance {
            query_id: tasks[i].query.id.clone(),
            query: tasks[i].query.text.clone(),
            positive: passage(&tasks[i].positives[0], "judged"),
            negatives: (1..3).map(|j| passage(&tasks[(i + 64 * j) % tasks.len()].positives[0], "other")).collect(),
        })
        .collect();
    let settings = TrainSettings::default();
    let trainer = Trainer { settings: &settings, seed: Seed(1), checkpoint: folder.path().join("checkpoint") };
    bencher.bench_local(|| trainer.train(&encoder, &instances, &Quiet));
}
