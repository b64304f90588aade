//! A cross-encoder trained as a judge by the real program, measured, and used.

mod program;

use program::{Outcome, fail, prepare, read_json, succeed};
use std::fs;

#[test]
fn a_judge_is_trained_measured_on_queries_it_has_not_seen_and_used() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let split = ["--data", "data", "--split", "train"];
    let mine =
        [&["mine"], &split[..], &["--source", "random", "--num-negatives", "3", "--out", "mined.jsonl"]].concat();
    succeed(folder, &mine)?;
    let mix =
        [&["mix"], &split[..], &["--candidates", "mined.jsonl", "--take", "random=3", "--out", "train.jsonl"]].concat();
    succeed(folder, &mix)?;
    let judge =
        ["train", "--task", "cross-encoder", "--instances", "train.jsonl", "--encoder", "encoder", "--epochs", "8"];
    let how = ["--batch-size", "4", "--learning-rate", "2e-3"];
    let measured = [&judge[..], &how, &split, &["--out", "judge"]].concat();
    succeed(folder, &measured)?;
    let judgement = read_json(&folder.join("judge/judge.json"))?;
    let auc = judgement["auc"].as_f64().ok_or("no AUC")?;
    assert!((0.0..=1.0).contains(&auc), "{auc}");
    let folds: Vec<Vec<String>> = serde_json::from_value(judgement["folds"].clone())?;
    let all: std::collections::BTreeSet<&String> = folds.iter().flatten().collect();
    assert_eq!(folds.len(), 2);
    assert_eq!(all.len(), folds[0].len() + folds[1].len(), "a query is in both folds");
    assert_eq!(all.len(), 20);
    // Positives and others are counted once a query: one positive each, and what BM25 finds beside it.
    assert_eq!(judgement["pairs"][0], 20);

    // Not measured, it is the same judge; a listwise one is another; both are used as any cross-encoder.
    succeed(folder, &[&judge[..], &how, &["--out", "again"]].concat())?;
    succeed(folder, &[&judge[..], &how, &["--pair-loss", "listwise", "--out", "listwise"]].concat())?;
    let weights = |name: &str| fs::read(folder.join(name).join("model.safetensors"));
    assert!(weights("judge")? == weights("again")?);
    assert!(weights("judge")? != weights("listwise")?);
    assert!(weights("judge")? != weights("judge/fold-0")?);
    let test = ["--data", "data", "--split", "test"];
    succeed(folder, &[&["search"], &test[..], &["--retriever", "bm25", "--out", "bm25.trec"]].concat())?;
    for judge in ["judge", "judge/fold-1", "listwise"] {
        let rerank = [&["rerank"], &test[..], &["--cross-encoder", judge, "--run", "bm25.trec", "--out", "r.trec"]];
        succeed(folder, &rerank.concat())?;
        assert!(fs::read_to_string(folder.join("r.trec"))?.lines().count() >= 10);
    }
    // A bi-encoder is not measured on a collection that way.
    let wrong = [
        "train",
        "--instances",
        "train.jsonl",
        "--encoder",
        "encoder",
        "--data",
        "data",
        "--split",
        "train",
        "--out",
        "x",
    ];
    let message = fail(folder, &wrong)?;
    assert!(message.contains("--validation-share"), "{message}");
    Ok(())
}
