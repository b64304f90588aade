//! Written negatives by the real program, killed at random moments: nothing is lost, nothing done twice.
#![cfg(feature = "llm")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const REQUESTS: usize = 200;
const PROMPT: &str = r#"
name = "short"
version = 1
description = "for the test"
inputs = ["query"]
user = "{query}"
reflection = "{defects}"
"#;

fn stories() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("NEARMISS_SHARED").map_or(beside, PathBuf::from);
    let path = shared.join("models/stories260K/stories260K-f32.gguf");
    if !path.exists() {
        let _ = writeln!(std::io::stderr(), "skipped: killed runs (models/stories260K in ../shared is absent)");
        return None;
    }
    Some(path)
}

/// A folder with a collection of [`REQUESTS`] queries and a prompt.
fn folder() -> Outcome<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("qrels"))?;
    let mut corpus = String::new();
    let mut queries = String::new();
    let mut qrels = "query-id\tcorpus-id\tscore\n".to_owned();
    for n in 0..REQUESTS {
        corpus +=
            &format!("{{\"_id\": \"d{n}\", \"title\": \"\", \"text\": \"Lily has {n} red balls and one big dog.\"}}\n");
        queries += &format!("{{\"_id\": \"q{n}\", \"text\": \"how many balls has Lily on day {n}\"}}\n");
        qrels += &format!("q{n}\td{n}\t1\n");
    }
    fs::write(folder.path().join("corpus.jsonl"), corpus)?;
    fs::write(folder.path().join("queries.jsonl"), queries)?;
    fs::write(folder.path().join("qrels/train.tsv"), qrels)?;
    fs::write(folder.path().join("short.toml"), PROMPT)?;
    Ok(folder)
}

/// The program writing for the collection in `folder`, with a store of its own.
fn start(folder: &Path, model: &Path, (store, slots): (&str, &str)) -> Outcome<Child> {
    let child = Command::new(env!("CARGO_BIN_EXE_nearmiss"))
        .current_dir(folder)
        .args(["generate", "negatives", "--data", ".", "--split", "train", "--prompt", "short.toml"])
        .args(["--chat-template", "plain", "--threads", "1", "--num-negatives", "1", "--attempts", "1"])
        .args(["--max-tokens", "120", "--temperature", "1", "--store", store, "--slots", slots])
        .arg("--generator")
        .arg(model)
        .args(["--out", &format!("{store}.jsonl")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// The record of each key in a finished store, which holds each once.
fn records(folder: &Path, store: &str) -> Outcome<BTreeMap<String, Value>> {
    let stages: Vec<PathBuf> =
        fs::read_dir(folder.join(store))?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    let [stage] = &stages[..] else { return Err(format!("{stages:?}").into()) };
    let mut records = BTreeMap::new();
    for line in fs::read_to_string(stage.join("journal.jsonl"))?.lines() {
        let mut record: Value = serde_json::from_str(line)?;
        let key = record["key"].as_str().ok_or("a key")?.to_owned();
        // What was shared depends on what came before; what was written does not.
        record["usage"]["tokens_reused"] = Value::Null;
        assert!(records.insert(key, record).is_none(), "a record twice");
    }
    Ok(records)
}

/// Random moments within `whole`, the same at each start of the test.
fn moments(whole: Duration, count: u32) -> Vec<Duration> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state >> 40).unwrap_or(0)
    };
    (0..count).map(|_| whole * (next() % 1000) / 1000).collect()
}

/// Kills a run at each moment, then lets it end; how many records the kills found.
fn killed(folder: &Path, model: &Path, how: (&str, &str), moments: &[Duration]) -> Outcome<usize> {
    let mut found = 0;
    for &moment in moments {
        let mut child = start(folder, model, how)?;
        std::thread::sleep(moment);
        child.kill()?;
        child.wait()?;
        let journal = fs::read_dir(folder.join(how.0)).ok().and_then(|entries| {
            entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "jsonl"))
        });
        found = journal.map_or(Ok(String::new()), fs::read_to_string)?.lines().count().max(found);
    }
    let ended = start(folder, model, how)?.wait_with_output()?;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    Ok(found)
}

#[test]
fn a_killed_run_loses_nothing_and_repeats_nothing() -> Outcome {
    let Some(model) = stories() else { return Ok(()) };
    let kills = std::env::var("NEARMISS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let folder = folder()?;
    let begun = Instant::now();
    assert_eq!(killed(folder.path(), &model, ("whole", "1"), &[])?, 0);
    // A kill comes after a share of what is left at most, so that some runs get far and some do not.
    let moments = moments(begun.elapsed() / 2, kills);
    let whole = records(folder.path(), "whole")?;
    assert_eq!(whole.len(), REQUESTS);
    assert!(whole.values().all(|record| record["usage"]["tokens_out"].as_u64() > Some(20)));

    let found = killed(folder.path(), &model, ("one", "1"), &moments)?;
    assert!(found > 0, "no kill came after a record");
    assert_eq!(records(folder.path(), "one")?, whole);
    assert_eq!(fs::read(folder.path().join("one.jsonl"))?, fs::read(folder.path().join("whole.jsonl"))?);

    // With several slots rounding may turn a draw; the requests are the same.
    killed(folder.path(), &model, ("many", "4"), &moments)?;
    assert!(records(folder.path(), "many")?.keys().eq(whole.keys()));
    Ok(())
}
