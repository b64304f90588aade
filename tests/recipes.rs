//! Recipes whose arms have filters, a judge of their own, and mixes of every kind.

mod program;

use program::{Outcome, fail, prepare, read_json, succeed};
use std::fs;

const RECIPE: &str = r#"
name = "mixed"
data = "data"
encoder = "encoder"
judge = "train"
judge_negatives = { bm25 = 3, random = 1 }
seeds = [1]

[[arm]]
name = "bm25"
negatives = { bm25 = 2 }

[[arm]]
name = "believed"
negatives = { bm25 = 2 }
filters = { max_relevance = 0.9, near_duplicate = 0.99, range_max = 6 }

[[arm]]
name = "bounded"
negatives = { bm25 = 1, dense = 1 }
filters = { max_score = 0.999, leakage = "mark" }

[[arm]]
name = "reranked"
negatives = { cross-encoder = 2 }

[[arm]]
name = "direct"
mix = "direct"
negatives = { bm25 = 1, random = 1 }

[[arm]]
name = "ratio"
mix = "ratio"
ratio = 0.7
ratio_source = "random"
negatives = { bm25 = 1, random = 1 }

[[arm]]
name = "schedule"
mix = "schedule"
shares = [0.0, 1.0]
ratio_source = "bm25"
negatives = { bm25 = 1, random = 1 }

[[arm]]
name = "easy-to-hard"
mix = "easy-to-hard"
by = "cosine"
negatives = { bm25 = 1, random = 1 }

[mine]
num_negatives = 8

[judge_train]
epochs = 12
batch_size = 4
learning_rate = 2e-3

[train]
epochs = 3
batch_size = 4
learning_rate = 1e-3
"#;

#[test]
fn arms_are_filtered_judged_and_mixed_and_stay_equal() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    fs::write(folder.join("mixed.toml"), RECIPE)?;
    succeed(folder, &["run", "mixed.toml"])?;
    let obeyed = read_json(&folder.join("runs/mixed/table.json"))?;
    let auc = obeyed["provenance"]["settings"]["judges"][0]["auc"].as_f64().ok_or("no AUC")?;
    let weak = auc < 0.8;
    let left_out = obeyed["left_out"].as_array().ok_or("no list")?;
    assert_eq!(left_out.iter().any(|arm| arm["name"] == "believed"), weak, "AUC {auc}: {left_out:?}");
    assert!(left_out.iter().all(|arm| arm["reason"].as_str().is_some_and(|why| why.contains("AUC"))), "{left_out:?}");
    assert!(obeyed["remarks"].to_string().contains("held-out AUC"));

    let table = succeed(folder, &["run", "mixed.toml", "--force"])?;
    let forced = read_json(&folder.join("runs/mixed/table.json"))?;
    let arms = forced["arms"].as_array().ok_or("no arms")?;
    let arm = |name: &str| arms.iter().find(|arm| arm["name"] == name).ok_or_else(|| format!("no {name} in {table}"));
    assert_eq!(arms.len(), 8);
    assert_eq!(arm("believed")?["note"].as_str().is_some_and(|note| note.contains("forced")), weak);
    // The waterfall adds up, and its ledger has as many lines.
    let waterfall = &arm("believed")?["filtered"]["bm25"];
    let dropped: u64 =
        waterfall["dropped"].as_array().ok_or("no rules")?.iter().filter_map(|rule| rule["count"].as_u64()).sum();
    assert!(dropped > 0 && waterfall["judged"].as_u64() == waterfall["kept"].as_u64().map(|kept| kept + dropped));
    let ledger = fs::read_to_string(folder.join("runs/mixed/ledgers/believed.ledger.jsonl"))?;
    assert_eq!(Some(ledger.lines().count() as u64), waterfall["judged"].as_u64());
    assert_eq!(arm("bounded")?["filtered"].as_object().map(serde_json::Map::len), Some(2), "of both sources");
    assert!(arm("bm25")?["filtered"].is_null());
    assert!(fs::read_to_string(folder.join("runs/mixed/report.html"))?.contains("What filters dropped"));
    // Every arm has the same instances, and takes as many steps.
    let instances = forced["instances"].as_u64().ok_or("no count")?;
    let steps = |arm: &serde_json::Value| arm["losses"].as_array().map(Vec::len);
    for one in arms {
        assert_eq!(steps(one), steps(arm("bm25")?), "{}", one["name"]);
        let seen = one["training"][0]["instances"].as_u64().ok_or("no instances")?;
        let passes = if ["schedule", "easy-to-hard"].iter().any(|name| one["name"] == *name) { 3 } else { 1 };
        assert_eq!(seen, instances * passes, "{}", one["name"]);
    }
    // A schedule begins with one source and ends with the other.
    let sources = |line: Option<&str>| -> Option<Vec<String>> {
        let instance: serde_json::Value = serde_json::from_str(line?).ok()?;
        instance["negatives"].as_array()?.iter().map(|one| Some(one["source"].as_str()?.to_owned())).collect()
    };
    let mut found = 0;
    for entry in fs::read_dir(folder.join("runs/store"))? {
        let stage = entry?.path();
        let file = stage.join("train.jsonl");
        if file.is_file() && read_json(&stage.join("provenance.json"))?["settings"]["arm"]["name"] == "schedule" {
            let text = fs::read_to_string(file)?;
            assert_eq!(sources(text.lines().next()), Some(vec!["random".to_owned(); 2]));
            assert_eq!(sources(text.lines().last()), Some(vec!["bm25".to_owned(); 2]));
            found += 1;
        }
    }
    assert_eq!(found, 1);
    assert_eq!(succeed(folder, &["run", "mixed.toml", "--force"])?, table, "from the store it is the same");
    fs::write(folder.join("unjudged.toml"), RECIPE.replace("judge = \"train\"\n", ""))?;
    let message = fail(folder, &["run", "unjudged.toml"])?;
    assert!(message.contains("`judge`: expected \"train\" or a cross-encoder, for the arm believed"), "{message}");
    Ok(())
}
