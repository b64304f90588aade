//! Negatives that follow the encoder while it trains, and looks at it over a split of the collection: through the program.

mod program;

use nearmiss::data::jsonl;
use program::{Outcome, fail, prepare, read_json, succeed};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

/// Instances with one dense and one random negative each.
fn mixed(at: &Path) -> Outcome {
    prepare(at)?;
    let split = ["--data", "data", "--split", "train"];
    let mine = ["--source", "dense,random", "--num-negatives", "2", "--encoder", "encoder", "--out", "mined.jsonl"];
    succeed(at, &[&["mine"], &split[..], &mine].concat())?;
    let mix = ["--candidates", "mined.jsonl", "--take", "dense=1,random=1", "--out", "train.jsonl"];
    succeed(at, &[&["mix"], &split[..], &mix].concat())?;
    Ok(())
}

const TRAIN: [&str; 11] = [
    "train",
    "--instances",
    "train.jsonl",
    "--encoder",
    "encoder",
    "--batch-size",
    "5",
    "--learning-rate",
    "1e-3",
    "--epochs",
    "3",
];

/// The names of all sources that some step weighed.
fn sources(steps: &Path) -> Result<Vec<BTreeSet<String>>, Box<dyn Error>> {
    let steps: Vec<serde_json::Value> = jsonl::read(steps)?;
    let names = |step: &serde_json::Value| step["sources"].as_object().map(|sources| sources.keys().cloned().collect());
    steps.iter().map(|step| names(step).ok_or_else(|| "no sources".into())).collect()
}

#[test]
fn negatives_are_mined_again_with_the_encoder_as_it_is() -> Outcome {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    mixed(at)?;
    let data = ["--data", "data", "--split", "train"];
    let renewed = ["--renew-every", "4", "--out", "renewed"];
    succeed(at, &[&TRAIN[..], &data, &renewed].concat())?;
    let steps = sources(&at.join("renewed.steps.jsonl"))?;
    assert_eq!(steps.len(), 12, "20 instances, 5 a step, 3 epochs");
    for (step, sources) in steps.iter().enumerate() {
        let expected = if step < 4 { ["dense", "random"] } else { ["random", "renewed"] };
        assert!(expected.iter().all(|source| sources.contains(*source)), "step {step}: {sources:?}");
        assert!(!sources.contains("renewed") || !sources.contains("dense"), "step {step}: {sources:?}");
    }
    // The first steps are those of a run without; the later ones are not.
    succeed(at, &[&TRAIN[..], &["--out", "plain"]].concat())?;
    let losses = |name: &str| -> Result<Vec<f64>, Box<dyn Error>> {
        let steps: Vec<serde_json::Value> = jsonl::read(&at.join(name))?;
        steps.iter().map(|step| step["loss"].as_f64().ok_or_else(|| "no loss".into())).collect()
    };
    let (with, without) = (losses("renewed.steps.jsonl")?, losses("plain.steps.jsonl")?);
    assert_eq!(with[..4], without[..4]);
    assert_ne!(with[4..], without[4..]);

    // What cannot be is said.
    std::fs::write(at.join("s.toml"), "[renewal]\nevery = 4\nreplace = [\"bm25\"]\n")?;
    let error = fail(at, &[&TRAIN[..], &data, &["--settings", "s.toml", "--out", "x"]].concat())?;
    assert!(error.contains("no negative of the source bm25") && error.contains("hint"), "{error}");
    let error = fail(at, &[&TRAIN[..], &["--settings", "s.toml", "--out", "x"]].concat())?;
    assert!(error.contains("`renewal`: expected the collection") && error.contains("--data"), "{error}");
    std::fs::write(at.join("s.toml"), "[renewal]\nevery = 0\n")?;
    let error = fail(at, &[&TRAIN[..], &data, &["--settings", "s.toml", "--out", "x"]].concat())?;
    assert!(error.contains("`renewal.every`: expected 1 or more, found 0"), "{error}");
    Ok(())
}

#[test]
fn a_split_of_the_collection_is_looked_at_over_the_whole_corpus() -> Outcome {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    mixed(at)?;
    let data = ["--data", "data", "--split", "train", "--validation-split", "test", "--out", "looked"];
    succeed(at, &[&TRAIN[..], &data].concat())?;
    let curve = read_json(&at.join("looked.provenance.json"))?["counts"]["curve"].clone();
    assert_eq!(curve["measure"], "nDCG@10 of 10 held-out queries over 30 passages");
    let looks = curve["checks"].as_array().ok_or("no looks")?;
    assert_eq!(looks.len(), 4, "un-tuned and after each epoch: {curve}");
    // What was looked at is what `search` and `eval` find with the encoder that was kept.
    let best = looks[1..].iter().filter_map(|look| look["value"].as_f64()).fold(0.0, f64::max);
    let search = ["--data", "data", "--split", "test"];
    let dense = ["--retriever", "dense", "--encoder", "looked", "--out", "looked.trec"];
    succeed(at, &[&["search"], &search[..], &dense].concat())?;
    let eval = ["--run", "looked.trec", "--metrics", "ndcg@10", "--json"];
    let scores: serde_json::Value = serde_json::from_str(&succeed(at, &[&["eval"], &search[..], &eval].concat())?)?;
    let found = scores["runs"][0]["evaluation"]["mean"]["ndcg@10"].as_f64().ok_or("no value")?;
    assert!((found - best).abs() < 1e-6, "{found} {best}");
    let both = [&TRAIN[..], &data, &["--validation-share", "0.2"]].concat();
    assert!(fail(at, &both)?.contains("one kind of validation"));
    Ok(())
}
