//! A cross-encoder trained as a judge by the real program, measured, and used.

mod program;

use program::{Outcome, fail, prepare, read_json, succeed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

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
    scored_by_the_judge(folder, &judgement)?;
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
    assert!(message.contains("--validation-split"), "{message}");
    Ok(())
}

/// What `score`, `filter` and `why` make of a judge with `judgement` in `judge/`, over `mined.jsonl`.
fn scored_by_the_judge(folder: &Path, judgement: &Value) -> Outcome {
    let split = ["--data", "data", "--split", "train"];
    let score = |judge: &str, out: &str| {
        let how = ["--candidates", "mined.jsonl", "--cross-encoder", judge, "--out", out];
        succeed(folder, &[&["score"], &split[..], &how].concat())
    };
    for (judge, out) in [("judge", "s.jsonl"), ("judge/fold-0", "s0.jsonl"), ("judge/fold-1", "s1.jsonl")] {
        score(judge, out)?;
    }
    // Each query by the model that has not seen it.
    let seen_by_first: Vec<String> = serde_json::from_value(judgement["folds"][0].clone())?;
    for name in ["s", "s.positives"] {
        let (all, first, second) = (
            lines(folder, &format!("{name}.jsonl"))?,
            lines(folder, &format!("{}.jsonl", name.replacen('s', "s0", 1)))?,
            lines(folder, &format!("{}.jsonl", name.replacen('s', "s1", 1)))?,
        );
        assert!(all.len() == first.len() && all.len() == second.len() && all.len() >= 20);
        for ((own, first), second) in all.iter().zip(&first).zip(&second) {
            let query = own["query"].as_str().unwrap_or_default().to_owned();
            let other = if seen_by_first.contains(&query) { second } else { first };
            assert!(own["scores"]["relevance"].is_number());
            assert_eq!(own["scores"]["relevance"], other["scores"]["relevance"], "{query}");
        }
        assert!(first != second, "the folds say the same");
    }
    // What was scored is not scored again.
    let kept = || -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder.join("runs/store"))? {
            let path = entry?.path();
            let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            if name.starts_with("relevance-") {
                files.insert(name, fs::read(path)?);
            }
        }
        Ok(files)
    };
    let before = kept()?;
    assert_eq!(before.len(), 2, "one file for each fold; no query was new to both");
    score("judge", "again.jsonl")?;
    assert!(kept()? == before && fs::read(folder.join("again.jsonl"))? == fs::read(folder.join("s.jsonl"))?);

    // A threshold is refused below an AUC of 0.8, with the number, and forced with a stamp.
    let relevances = lines(folder, "s.jsonl")?.into_iter().filter_map(|one| one["scores"]["relevance"].as_f64());
    let mut relevances: Vec<f64> = relevances.collect();
    relevances.sort_by(f64::total_cmp);
    let bound = relevances[relevances.len() / 2].to_string();
    let how = ["--candidates", "s.jsonl", "--max-relevance", &bound, "--out", "k.jsonl"];
    let filter = [&["filter"], &split[..], &how].concat();
    let forced = [&filter[..], &["--force"]].concat();
    for (auc, weak) in [(0.62, true), (0.8, false)] {
        let mut changed = judgement.clone();
        changed["auc"] = auc.into();
        fs::write(folder.join("judge/judge.json"), changed.to_string())?;
        score("judge", "s.jsonl")?;
        assert_eq!(read_json(&folder.join("s.jsonl.provenance.json"))?["settings"]["judges"][0]["auc"], auc);
        if weak {
            let message = fail(folder, &filter)?;
            assert!(message.contains("AUC is 0.6200, below 0.8") && message.contains("hint: "), "{message}");
        }
        succeed(folder, if weak { &forced } else { &filter })?;
        let provenance = read_json(&folder.join("k.jsonl.provenance.json"))?;
        assert_eq!(provenance["settings"]["forced"].is_string(), weak);
        let (kept, ledger) = (lines(folder, "k.jsonl")?, lines(folder, "k.ledger.jsonl")?);
        assert!(!kept.is_empty() && kept.len() < ledger.len());
        assert!(kept.iter().all(|one| one["provenance"]["forced"].is_string() == weak));
        let dropped = ledger.iter().filter(|entry| entry["verdict"]["drop"]["rule"] == "relevance").count();
        assert!(dropped + kept.len() == ledger.len() && dropped >= ledger.len() / 2, "{dropped} of {}", ledger.len());
    }
    // What nobody measured may be used; provenance says so.
    score("listwise", "s.jsonl")?;
    let unknown = &read_json(&folder.join("s.jsonl.provenance.json"))?["settings"]["judges"][0];
    assert!(unknown["auc"].is_null() && unknown["folds"] == 0 && unknown["judge"].is_string());
    succeed(folder, &filter)?;
    let how = ["--ledger", "k.ledger.jsonl", "--positives", "s.positives.jsonl"];
    let told = succeed(folder, &[&["why", "q-red-bird"], &split[..], &how].concat())?;
    let bars = |line: &&str| line.contains("relevance █") || line.contains("relevance ·");
    assert_eq!(told.lines().filter(bars).count(), 4, "of the positive and its three candidates: {told}");
    Ok(())
}

fn lines(folder: &Path, name: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    Ok(fs::read_to_string(folder.join(name))?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
