//! The real program on a small collection of its own, for tests of what it prints and leaves behind.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

pub type Outcome = Result<(), Box<dyn Error>>;

pub fn nearmiss(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearmiss"));
    command.current_dir(folder).args(arguments).env_remove("HF_HOME").env_remove("HF_HUB_CACHE").env("HOME", folder);
    command
}

pub fn succeed(folder: &Path, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let Output { status, stdout, stderr } = nearmiss(folder, arguments).output()?;
    assert!(status.success(), "{arguments:?} ended with {status}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}

/// The message of a command that must fail with exit code 2, and print no data.
pub fn fail(folder: &Path, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let Output { status, stdout, stderr } = nearmiss(folder, arguments).output()?;
    assert_eq!(status.code(), Some(2), "{arguments:?}");
    assert!(stdout.is_empty(), "an error printed data");
    Ok(String::from_utf8(stderr)?)
}

const COLOURS: [&str; 6] = ["red", "green", "blue", "grey", "white", "black"];
const THINGS: [&str; 5] = ["stone", "bird", "river", "door", "shirt"];

/// 30 passages, one query each about half of them; `data/`, `encoder/` and `recipe.toml` in `folder`.
pub fn prepare(folder: &Path) -> Outcome {
    let data = folder.join("data");
    fs::create_dir_all(data.join("qrels"))?;
    let (mut corpus, mut queries) = (String::new(), String::new());
    let (mut train, mut test) = ("query-id\tcorpus-id\tscore\n".to_owned(), "query-id\tcorpus-id\tscore\n".to_owned());
    for (i, colour) in COLOURS.iter().enumerate() {
        for (j, thing) in THINGS.iter().enumerate() {
            corpus += &format!(
                "{{\"_id\": \"{colour}-{thing}\", \"title\": \"{thing}\", \"text\": \"A {colour} {thing} was seen by the old mill, and nobody knew whose it was.\"}}\n"
            );
            queries += &format!("{{\"_id\": \"q-{colour}-{thing}\", \"text\": \"where was the {colour} {thing}\"}}\n");
            let split = if (i + j) % 3 == 0 { &mut test } else { &mut train };
            *split += &format!("q-{colour}-{thing}\t{colour}-{thing}\t1\n");
        }
    }
    fs::write(data.join("corpus.jsonl"), corpus)?;
    fs::write(data.join("queries.jsonl"), queries)?;
    fs::write(data.join("qrels/train.tsv"), train)?;
    fs::write(data.join("qrels/test.tsv"), test)?;
    fs::write(folder.join("recipe.toml"), RECIPE)?;
    succeed(
        folder,
        &["new-encoder", "--data", "data", "--out", "encoder", "--width", "32", "--layers", "1", "--max-length", "32"],
    )?;
    Ok(())
}

const RECIPE: &str = r#"
name = "small"
data = "data"
encoder = "encoder"
seeds = [1, 2]

[[arm]]
name = "random"
negatives = { random = 2 }

[[arm]]
name = "bm25"
negatives = { bm25 = 2 }

[[arm]]
name = "dense"
negatives = { dense = 2 }

[[arm]]
name = "written"
negatives = { written = 2 }

[train]
epochs = 3
batch_size = 4
learning_rate = 1e-3
checkpoint_every = 2
"#;

pub fn read_json(path: &Path) -> Result<serde_json::Value, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}
