//! The bundled encoder is what models/README.md says: found by its name, and as good as stated on the test queries.

use std::error::Error;
use std::path::Path;
use std::process::Command;

fn succeed(root: &Path, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearmiss"));
    let output = command.current_dir(root).args(arguments).output()?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// nDCG@10 of `run` on the test queries of the bundled collection.
fn ndcg(root: &Path, run: &str) -> Result<f64, Box<dyn Error>> {
    let eval = ["eval", "--data", "data/elements", "--split", "test", "--metrics", "ndcg@10", "--json", "--run", run];
    let scores: serde_json::Value = serde_json::from_str(&succeed(root, &eval)?)?;
    scores["runs"][0]["evaluation"]["mean"]["ndcg@10"].as_f64().ok_or_else(|| "no value".into())
}

#[test]
fn the_bundled_encoder_is_as_good_as_stated() -> Result<(), Box<dyn Error>> {
    let (root, folder) = (Path::new(env!("CARGO_MANIFEST_DIR")), tempfile::tempdir()?);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let search = |how: &[&str], out: &str| {
        let search = ["search", "--data", "data/elements", "--split", "test", "--out", out];
        succeed(root, &[&["--store", &at("store")], &search[..], how].concat())
    };
    search(&["--retriever", "dense", "--encoder", "elements-encoder"], &at("dense.trec"))?;
    search(&["--retriever", "bm25"], &at("bm25.trec"))?;
    let (dense, bm25) = (ndcg(root, &at("dense.trec"))?, ndcg(root, &at("bm25.trec"))?);
    assert!((0.70..0.85).contains(&dense) && dense > bm25, "dense {dense}, BM25 {bm25}");
    Ok(())
}
