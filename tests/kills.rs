//! Long work killed with SIGKILL at random moments and started again: it ends with the bytes of work left alone.

use nearmiss::data::Seed;
use rand::RngExt;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

type Outcome = Result<(), Box<dyn Error>>;

/// The program in `folder`, with a store of that name.
fn nearmiss(folder: &Path, store: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearmiss"));
    command.current_dir(folder).args(["--store", store]).args(arguments);
    command.env("HOME", folder).env_remove("HF_HOME").env_remove("HF_HUB_CACHE");
    command.stdout(Stdio::null());
    command
}

fn succeed(folder: &Path, store: &str, arguments: &[&str]) -> Outcome {
    let Output { status, stderr, .. } = nearmiss(folder, store, arguments).output()?;
    assert!(status.success(), "{arguments:?} ended with {status}: {}", String::from_utf8_lossy(&stderr));
    Ok(())
}

/// Runs `arguments` to the end once; then with a new store each, killed on the way and started again, until `times` of them
/// were still running when they were killed.
/// `{out}` in them stands for what is written; `file` within it must have the same bytes every time.
fn killed_and_started_again_ends_alike(folder: &Path, times: u32, arguments: &[&str], file: &str) -> Outcome {
    let named = |out: &str| -> Vec<String> { arguments.iter().map(|a| a.replace("{out}", out)).collect() };
    let run =
        |store: &str, out: &str| succeed(folder, store, &named(out).iter().map(String::as_str).collect::<Vec<_>>());
    let begun = Instant::now();
    run("whole-store", "whole")?;
    let mut took = begun.elapsed();
    let expected = fs::read(folder.join("whole").join(file))?;
    assert!(!expected.is_empty());
    // Other moments every time; a failure says which one it was.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let mut random = Seed(now.as_secs()).stream("tests/kills");
    let (mut caught, mut tries) = (0, 0);
    while caught < times && tries < 8 * times {
        let (store, out) = (format!("store-{caught}"), format!("out-{caught}"));
        let wait = took.mul_f64(random.random_range(0.05..0.95));
        let arguments = named(&out);
        let mut child = nearmiss(folder, &store, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = child.stderr(Stdio::null()).spawn()?;
        std::thread::sleep(wait);
        let running = child.try_wait()?.is_none();
        child.kill()?;
        child.wait()?;
        run(&store, &out)?;
        assert!(fs::read(folder.join(&out).join(file))? == expected, "killed after {wait:?} of {took:?}: other bytes");
        fs::remove_dir_all(folder.join(store))?;
        tries += 1;
        caught += u32::from(running);
        if !running {
            // It had ended before: the machine is freer than it was, and the next one is killed sooner.
            took = wait;
        }
    }
    assert!(caught > 0, "all {tries} had ended before they were killed");
    Ok(())
}

/// Training instances and an untrained encoder for the bundled collection.
fn prepare(folder: &Path) -> Result<String, Box<dyn Error>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/elements");
    let data = data.to_str().ok_or("the path is UTF-8")?;
    let split = ["--data", data, "--split", "train"];
    succeed(folder, "store", &["new-encoder", "--data", data, "--out", "encoder", "--width", "32", "--layers", "1"])?;
    let mine =
        [&["mine"], &split[..], &["--source", "random", "--num-negatives", "1", "--out", "random.jsonl"]].concat();
    succeed(folder, "store", &mine)?;
    let mix = [&["mix"], &split[..], &["--candidates", "random.jsonl", "--take", "random=1", "--out", "train.jsonl"]]
        .concat();
    succeed(folder, "store", &mix)?;
    Ok(data.to_owned())
}

#[test]
fn training_killed_at_ten_moments_ends_with_the_same_weights() -> Outcome {
    let folder = tempfile::tempdir()?;
    prepare(folder.path())?;
    let train = ["train", "--instances", "train.jsonl", "--encoder", "encoder", "--epochs", "2", "--out", "{out}"];
    killed_and_started_again_ends_alike(folder.path(), 10, &train, "model.safetensors")?;
    Ok(())
}

#[test]
fn mining_killed_at_five_moments_ends_with_the_same_candidates() -> Outcome {
    let folder = tempfile::tempdir()?;
    let data = prepare(folder.path())?;
    let judge = ["train", "--task", "cross-encoder", "--instances", "train.jsonl", "--encoder", "encoder"];
    succeed(folder.path(), "store", &[&judge[..], &["--max-length", "48", "--out", "judge"]].concat())?;
    let mine = ["mine", "--data", &data, "--split", "train", "--source", "bm25,dense=2,random,cross-encoder"];
    let how = ["--encoder", "encoder", "--index", "exact", "--cross-encoder", "judge", "--pool-depth", "20"];
    let mine = [&mine[..], &how, &["--out", "{out}/mined.jsonl"]].concat();
    killed_and_started_again_ends_alike(folder.path(), 5, &mine, "mined.jsonl")?;
    let ledger = |out: &str| fs::read(folder.path().join(out).join("mined.ledger.jsonl"));
    for time in 0..5 {
        assert!(ledger(&format!("out-{time}"))? == ledger("whole")?, "another ledger after the kill {time}");
    }
    Ok(())
}
