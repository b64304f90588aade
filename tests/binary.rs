//! The real program on a small collection: what it prints, what it leaves behind, and that it can be killed.

use nearmiss::encode::{Storage, Vectors};
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

mod program;

use program::{Outcome, fail, nearmiss, prepare, read_json, succeed};

#[test]
fn a_recipe_ends_with_a_table_and_runs_again_from_the_store() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let table = succeed(folder, &["run", "recipe.toml"])?;
    let arms: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_whitespace().next()).collect();
    assert_eq!(
        arms,
        ["arm", "---------", "un-tuned", "random", "bm25", "dense"].map(|a| if a.starts_with('-') {
            "--------"
        } else {
            a
        })
    );
    assert!(table.contains("left out: written (no generator was given; give a GGUF file with --generator)"), "{table}");
    assert!(
        table.contains("data (test): 10 test queries; 20 instances of 2 negatives in every arm; seeds 1, 2;"),
        "{table}"
    );

    let out = folder.join("runs/small");
    let outcome = read_json(&out.join("table.json"))?;
    assert_eq!(outcome["arms"].as_array().map(Vec::len), Some(3));
    assert!(fs::read_to_string(out.join("report.html"))?.contains("Which negatives trained the better encoder?"));
    for arm in ["random", "bm25", "dense"] {
        for seed in [1, 2] {
            let run = format!("runs/small/runs/{arm}-seed{seed}.trec");
            let scores = succeed(
                folder,
                &["eval", "--data", "data", "--split", "test", "--run", &run, "--metrics", "ndcg@10", "--json"],
            )?;
            let scores: serde_json::Value = serde_json::from_str(&scores)?;
            let index = usize::from(seed == 2);
            let place = outcome["arms"]
                .as_array()
                .and_then(|arms| arms.iter().position(|a| a["name"] == arm))
                .ok_or("no such arm")?;
            assert_eq!(
                scores["runs"][0]["evaluation"]["mean"]["ndcg@10"],
                outcome["arms"][place]["scores"]["ndcg@10"]["values"][index]
            );
            assert!(out.join(format!("encoders/{arm}-seed{seed}/modules.json")).is_file());
        }
    }

    let before = fs::read_dir(folder.join("runs/store"))?.count();
    assert_eq!(succeed(folder, &["run", "recipe.toml"])?, table);
    assert_eq!(fs::read_dir(folder.join("runs/store"))?.count(), before, "nothing was made anew");
    Ok(())
}

#[test]
fn single_stages_give_what_the_whole_run_gives() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    succeed(folder, &["run", "recipe.toml", "--seeds", "1"])?;
    let data = ["--data", "data", "--split", "train"];
    succeed(
        folder,
        &[&["mine"], &data[..], &["--source", "bm25", "--num-negatives", "3", "--out", "c.jsonl"]].concat(),
    )?;
    succeed(
        folder,
        &[&["mix"], &data[..], &["--candidates", "c.jsonl", "--take", "bm25=2", "--out", "t.jsonl"]].concat(),
    )?;
    let train = [
        "train",
        "--instances",
        "t.jsonl",
        "--encoder",
        "encoder",
        "--out",
        "trained",
        "--epochs",
        "3",
        "--batch-size",
        "4",
        "--learning-rate",
        "1e-3",
    ];
    succeed(folder, &train)?;
    let ours = fs::read(folder.join("trained/model.safetensors"))?;
    assert!(ours == fs::read(folder.join("runs/small/encoders/bm25-seed1/model.safetensors"))?, "other weights");
    succeed(
        folder,
        &[
            "search",
            "--data",
            "data",
            "--split",
            "test",
            "--retriever",
            "dense",
            "--encoder",
            "trained",
            "--out",
            "x.trec",
        ],
    )?;
    assert_eq!(
        fs::read_to_string(folder.join("x.trec"))?,
        fs::read_to_string(folder.join("runs/small/runs/bm25-seed1.trec"))?
    );
    for artefact in ["c.jsonl", "t.jsonl", "trained", "x.trec"] {
        let provenance = read_json(&folder.join(format!("{artefact}.provenance.json")))?;
        assert!(provenance["program"].as_str().is_some_and(|p| p.starts_with("nearmiss ")), "{artefact}");
        assert!(provenance["inputs"].as_object().is_some_and(|inputs| !inputs.is_empty()), "{artefact}");
    }
    Ok(())
}

#[test]
fn encode_writes_a_vector_for_each_text_in_the_precision_asked_for() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let vectors = |name: &str| Vectors::read(&folder.join(name));
    let encode = ["encode", "--data", "data", "--encoder", "encoder", "--out"];
    succeed(folder, &[&encode[..], &["p.bin"]].concat())?;
    succeed(folder, &[&encode[..], &["b.bin", "--precision", "bf16"]].concat())?;
    succeed(folder, &[&encode[..], &["q.bin", "--texts", "queries"]].concat())?;
    let (exact, rounded) = (vectors("p.bin")?, vectors("b.bin")?);
    assert_eq!((exact.len(), vectors("q.bin")?.len(), exact.dimension()), (30, 30, 32));
    for (name, storage) in [("f16", Storage::F16), ("int8", Storage::Int8)] {
        succeed(folder, &[&encode[..], &[name, "--vectors", name]].concat())?;
        assert_eq!(vectors(name)?, exact.stored_as(storage), "{name}");
    }
    assert!(exact != rounded, "bf16 gave the bits of f32");
    for row in 0..30 {
        let cosine: f32 = exact.row(row).iter().zip(&*rounded.row(row)).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.999, "cosine {cosine}");
    }
    assert!(fs::read_to_string(folder.join("p.bin.ids"))?.starts_with("red-stone\nred-bird\n"));
    for (name, precision) in [("p.bin", "f32"), ("b.bin", "bf16")] {
        assert_eq!(read_json(&folder.join(format!("{name}.provenance.json")))?["settings"]["precision"], precision);
    }
    Ok(())
}

#[cfg(feature = "hnsw")]
#[test]
fn searches_by_any_index_and_of_any_storage_find_the_same_and_fuse() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let search = |out: &str, more: &[&str]| -> Result<String, Box<dyn Error>> {
        let all = ["search", "--data", "data", "--split", "test", "--k", "10", "--encoder", "encoder", "--out", out];
        let output = nearmiss(folder, &[&all[..], more].concat()).output()?;
        let told = String::from_utf8(output.stderr)?;
        assert!(output.status.success(), "{told}");
        Ok(told)
    };
    let run = |name: &str| fs::read_to_string(folder.join(name));
    let told = search("exact.trec", &["--retriever", "dense"])?;
    assert!(told.contains("index exact: for ") && told.contains("exact search costs about"), "{told}");
    for storage in ["f32", "bf16", "int8"] {
        let told = search("hnsw.trec", &["--retriever", "hnsw", "--graph-storage", storage, "--target-recall", "1"])?;
        assert!(
            told.contains("index hnsw: as asked for; HNSW finds 1.0000 of what exact search finds (recall@10"),
            "{told}"
        );
        assert_eq!(run("hnsw.trec")?, run("exact.trec")?, "{storage}");
    }
    let counts = &read_json(&folder.join("hnsw.trec.provenance.json"))?["counts"]["hnsw"];
    assert_eq!((&counts["index"], &counts["gauge"]["recall"]), (&"hnsw".into(), &1.0.into()), "{counts}");
    // The graph is there now: it is opened, not built.
    let again = search("hnsw.trec", &["--retriever", "dense", "--index", "hnsw"])?;
    assert!(!again.contains("build the HNSW graph"), "{again}");
    search("half.trec", &["--retriever", "dense", "--vectors", "f16"])?;
    let order =
        |text: &str| text.lines().map(|l| l.split(' ').nth(2).unwrap_or_default().to_owned()).collect::<Vec<_>>();
    let same = order(&run("half.trec")?).iter().zip(order(&run("exact.trec")?)).filter(|(a, b)| *a == b).count();
    assert!(same * 10 >= 9 * order(&run("exact.trec")?).len(), "f16 keeps {same} places");

    search("words.trec", &["--retriever", "bm25"])?;
    search("fused.trec", &["--retriever", "fusion"])?;
    search("given.trec", &["--retriever", "fusion", "--run", "words.trec", "exact.trec"])?;
    assert_eq!(run("fused.trec")?, run("given.trec")?, "retrievers and their runs fuse alike");
    search(
        "weighed.trec",
        &["--retriever", "fusion", "--fuse", "dense", "--run", "words.trec", "--fusion", "0.9,0.1"],
    )?;
    assert_ne!(run("weighed.trec")?, run("given.trec")?);
    let settings = &read_json(&folder.join("weighed.trec.provenance.json"))?["settings"]["fusion"];
    assert_eq!(settings["weights"].as_array().map(Vec::len), Some(2), "{settings}");

    let wrong = ["search", "--data", "data", "--split", "test", "--encoder", "encoder", "--out", "x", "--retriever"];
    let refused = |more: &[&str]| fail(folder, &[&wrong[..], more].concat());
    assert!(refused(&["fusion", "--run", "words.trec"])?.contains("expected at least two rankings"));
    assert!(refused(&["fusion", "--fusion", "1"])?.contains("expected a weight for each of 2 rankings, found 1"));
    assert!(refused(&["hnsw", "--connectivity", "1"])?.contains("`connectivity`: expected a number from 2 to 256"));
    Ok(())
}

#[test]
fn what_is_cut_is_told_stored_and_may_be_an_error() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let short =
        ["new-encoder", "--data", "data", "--out", "short", "--width", "32", "--layers", "1", "--max-length", "9"];
    succeed(folder, &short)?;
    let encode = ["encode", "--data", "data", "--encoder", "short", "--out", "v"];
    let told = String::from_utf8(nearmiss(folder, &encode).output()?.stderr)?;
    assert!(told.contains("corpus: 30 of 30 cut (100.00 %), "), "{told}");
    let counts = &read_json(&folder.join("v.provenance.json"))?["counts"];
    assert_eq!((&counts["texts"], &counts["truncated"]), (&30.into(), &30.into()), "{counts}");
    assert!(counts["lost"].as_u64() > Some(30) && counts["tokens"].as_u64() > counts["lost"].as_u64(), "{counts}");
    // From the store as when it is made.
    let message = fail(folder, &[&encode[..], &["--max-truncated", "99.5%"]].concat())?;
    assert!(message.contains("but at most 99.5 % may be cut\n  hint:"), "{message}");
    succeed(folder, &[&encode[..], &["--max-truncated", "100%"]].concat())?;
    assert!(
        fail(folder, &[&encode[..], &["--max-truncated", "1"]].concat())?.contains("expected a percentage such as 1%")
    );
    Ok(())
}

#[test]
fn a_run_killed_at_any_arm_ends_with_the_same_outcome() -> Outcome {
    let (whole, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    prepare(whole.path())?;
    prepare(killed.path())?;
    let table = succeed(whole.path(), &["run", "recipe.toml"])?;
    for marker in ["un-tuned:", "arm random, seed 2", "arm bm25, seed 1:", "arm dense, seed 2"] {
        let mut child =
            nearmiss(killed.path(), &["run", "recipe.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let reached = BufReader::new(stderr).lines().map_while(Result::ok).any(|line| line.starts_with(marker));
        assert!(reached, "the run never said {marker:?}");
        child.kill()?;
        child.wait()?;
    }
    assert_eq!(succeed(killed.path(), &["run", "recipe.toml"])?, table);
    for arm in ["random-seed2", "dense-seed2"] {
        let file = format!("runs/small/encoders/{arm}/model.safetensors");
        assert!(fs::read(whole.path().join(&file))? == fs::read(killed.path().join(&file))?, "{arm} has other weights");
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_the_input_is_said_with_place_and_remedy() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;

    assert_eq!(
        fail(folder, &["run", "recipe.toml", "--data", "dta"])?,
        "error: dta: expected a BEIR folder (corpus.jsonl, queries.jsonl, qrels/), found no such folder\n  hint: give the folder that holds corpus.jsonl, for example --data data/elements\n"
    );

    let corpus = fs::read_to_string(folder.join("data/corpus.jsonl"))?;
    let broken: Vec<&str> =
        corpus.lines().enumerate().map(|(i, line)| if i == 6 { &line[..20] } else { line }).collect();
    fs::create_dir(folder.join("broken"))?;
    fs::create_dir(folder.join("broken/qrels"))?;
    fs::write(folder.join("broken/corpus.jsonl"), broken.join("\n"))?;
    fs::copy(folder.join("data/queries.jsonl"), folder.join("broken/queries.jsonl"))?;
    fs::copy(folder.join("data/qrels/test.tsv"), folder.join("broken/qrels/test.tsv"))?;
    assert_eq!(
        fail(folder, &["search", "--data", "broken", "--split", "test", "--retriever", "bm25", "--out", "x.trec"])?,
        "error: broken/corpus.jsonl:7: expected one JSON object a line, found \"{\\\"_id\\\": \\\"green-bird\\\"\" (EOF while parsing an object at line 1 column 20)\n  hint: each line must hold one whole object; a line break inside a string is written \\n\n"
    );

    assert_eq!(
        fail(folder, &["run", "nothing.toml"])?,
        "error: nothing.toml: cannot read: No such file or directory (os error 2)\n  hint: check the path; relative paths start at the current folder\n"
    );
    fs::write(folder.join("empty.trec"), "")?;
    assert_eq!(
        fail(folder, &["eval", "--data", "data", "--split", "test", "--run", "empty.trec"])?,
        "error: empty.trec: expected a TREC run, found an empty file\n"
    );
    let search = ["search", "--data", "data", "--split", "test", "--retriever", "bm25", "--out", "x.trec", "--k", "0"];
    assert!(fail(folder, &search)?.contains("expected a whole number from 1"));

    fs::write(
        folder.join("typo.toml"),
        fs::read_to_string(folder.join("recipe.toml"))?.replace("seeds = [1, 2]", "seed = [1, 2]"),
    )?;
    let unknown = fail(folder, &["run", "typo.toml"])?;
    let first_lines = "error: typo.toml:5: `seed`: expected a known key, found no such key\n  hint: did you mean `seeds`? Known here: name, data, encoder, generator, ";
    assert!(unknown.starts_with(first_lines), "{unknown}");

    let mut weights =
        candle_core::safetensors::load(folder.join("encoder/model.safetensors"), &candle_core::Device::Cpu)?;
    weights.remove("embeddings.LayerNorm.weight");
    candle_core::safetensors::save(&weights, folder.join("encoder/model.safetensors"))?;
    assert_eq!(
        fail(folder, &["run", "recipe.toml"])?,
        "error: encoder/model.safetensors: `embeddings.LayerNorm.weight`: expected this tensor, found no such tensor\n  hint: the nearest name in the file is embeddings.LayerNorm.bias; do config.json and the weights belong together?\n"
    );

    fs::write(folder.join("model.gguf"), b"GGUF\x03\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x02")?;
    let corrupt = fail(
        folder,
        &[
            "generate",
            "negatives",
            "--data",
            "data",
            "--split",
            "train",
            "--generator",
            "model.gguf",
            "--out",
            "x.jsonl",
        ],
    )?;
    assert_eq!(corrupt, CORRUPT_GGUF);
    Ok(())
}

const CORRUPT_GGUF: &str = "error: model.gguf: expected 8 more bytes for the number of keys, found 1 at byte 16\n  hint: the file is cut off: download or copy it again\n";

#[test]
fn runs_are_scored_and_compared_and_a_reader_may_go_away() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let (mut first, mut second, mut qrels) = (String::new(), String::new(), String::new());
    for i in 0..8 {
        first += &format!("q{i} Q0 yes 1 2 t\nq{i} Q0 no 2 1 t\n");
        second += &format!("q{i} Q0 no 1 2 t\nq{i} Q0 yes 2 1 t\n");
        qrels += &format!("q{i} 0 yes 1\n");
    }
    fs::write(folder.join("good.trec"), &first)?;
    fs::write(folder.join("fair.trec"), second + "other Q0 no 1 1 t\n")?;
    fs::write(folder.join("qrels"), qrels.clone() + "lost 0 yes 1\nnone 0 yes 0\n")?;
    let both = ["eval", "--qrels", "qrels", "--run", "good.trec", "--run", "fair.trec", "--metrics", "mrr,success@1"];

    let Output { status, stdout, stderr } = nearmiss(folder, &both).output()?;
    assert!(status.success());
    // Eight of eight queries are worse by a half: 2 of 256 sign patterns are as far from 0.
    let table = "   run   mrr       success@1
a  good  0.8889^b  0.8889^b
b  fair  0.4444    0.0000

metric     runs   difference  95% interval        p       Holm    p (t)   Holm    w/t/l  d_z
mrr        b - a  -0.4444     -0.5000 to -0.3333  0.0078  0.0078  <0.0001  <0.0001  0/1/8  -2.667
";
    let stdout = String::from_utf8(stdout)?;
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed(&stdout).starts_with(&squeezed(table)), "{stdout}");
    assert!(
        stdout.contains("\n9 queries; dialect nearmiss: every judged query with a relevant passage counts"),
        "{stdout}"
    );
    let told = "good.trec: 1 of 9 judged queries are not in the run and count 0
good.trec: 1 judged queries have no relevant passage and are left out
fair.trec: 1 of 9 judged queries are not in the run and count 0
fair.trec: 1 judged queries have no relevant passage and are left out
fair.trec: 1 queries of the run are not judged and do not count
";
    assert_eq!(String::from_utf8(stderr)?, told);

    let json = succeed(folder, &[&both[..], &["--json", "--dialect", "trec_eval", "--per-query", "q.tsv"]].concat())?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(json["runs"][0]["evaluation"]["mean"]["mrr"], 1.0);
    assert_eq!(json["comparisons"][1]["losses"], 8);
    let rows = fs::read_to_string(folder.join("q.tsv"))?;
    assert!(rows.starts_with("run\tquery\tmrr\tsuccess@1\ngood.trec\tq0\t1\t1\n"), "{rows}");
    assert_eq!(rows.lines().count(), 1 + 8 + 8);
    assert!(read_json(&folder.join("q.tsv.provenance.json"))?["inputs"]["qrels"].is_string());

    let ending = fail(folder, &[&both[..], &["--per-query", "q.csv"]].concat())?;
    assert!(ending.contains("expected a file that ends in .tsv or .json"), "{ending}");
    fs::write(folder.join("twice.trec"), format!("{first}\nq3 Q0 no 3 0 t\n"))?;
    assert_eq!(
        fail(folder, &["eval", "--qrels", "qrels", "--run", "twice.trec"])?,
        "error: twice.trec:18: `passage`: expected each passage once per query, found no again for q3\n"
    );
    fs::write(folder.join("strange.trec"), "x Q0 yes 1 1 t\n")?;
    let strange = ["eval", "--qrels", "qrels", "--run", "strange.trec", "--dialect", "beir"];
    assert_eq!(
        fail(folder, &strange)?,
        "error: strange.trec: expected queries that are judged, found none\n  hint: were run and judgements made from the same queries and split?\n"
    );

    let mut child = nearmiss(folder, &both).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    drop(child.stdout.take());
    assert!(child.wait()?.success(), "a closed pipe is no error");
    Ok(())
}

#[test]
fn imported_files_are_inspected_and_bad_lines_are_passed_over_only_when_allowed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    fs::write(folder.join("collection.tsv"), "1\tA red stone.\n2\tA grey bird.\n")?;
    fs::write(folder.join("queries.tsv"), "q1\twhich stone is red?\n")?;
    fs::write(folder.join("qrels.txt"), "q1 0 1 1\n")?;
    let from = ["--collection", "collection.tsv", "--queries", "queries.tsv", "--qrels", "test=qrels.txt"];
    succeed(folder, &[&["import", "--out", "beir"], &from[..]].concat())?;
    let page = succeed(folder, &["inspect", "beir"])?;
    assert!(page.contains("| passages | 2 ") && page.contains("nothing is broken"), "{page}");

    let mut corpus = fs::read_to_string(folder.join("beir/corpus.jsonl"))?;
    corpus += "{\"_id\": \"3\"}\n";
    fs::write(folder.join("beir/corpus.jsonl"), corpus)?;
    assert!(fail(folder, &["inspect", "nowhere"])?.contains("nowhere: expected a BEIR folder"));
    let looked = nearmiss(folder, &["inspect", "beir", "--json"]).output()?;
    assert_eq!(looked.status.code(), Some(1));
    let seen: serde_json::Value = serde_json::from_slice(&looked.stdout)?;
    assert_eq!(seen["defects"][0]["what"], "bad lines in corpus.jsonl");
    assert_eq!((&seen["passages"]["count"], &seen["splits"][0]["relevant"]), (&2.into(), &1.into()));

    let search =
        ["search", "--data", "beir", "--split", "test", "--retriever", "bm25", "--k", "1", "--out", "bm25.trec"];
    let message = fail(folder, &search)?;
    assert!(message.contains("corpus.jsonl:3: `text`: expected this key"), "{message}");
    succeed(folder, &[&search[..], &["--skip-bad-lines", "1"]].concat())?;
    let run = fs::read_to_string(folder.join("bm25.trec"))?;
    assert!(run.starts_with("q1 Q0 1 1 "), "{run}");
    let aside = fs::read_to_string(folder.join("beir/corpus.jsonl.rejected.jsonl"))?;
    assert!(aside.contains("\"line\":3"), "{aside}");
    Ok(())
}

#[test]
fn candidates_are_scored_filtered_explained_and_exported() -> Outcome {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    prepare(at)?;
    let data = ["--data", "data", "--split", "train"];
    let run = |parts: &[&[&str]]| succeed(at, &parts.concat());
    let sources = "bm25=4,dense=4,random=2";
    run(&[
        &["mine"],
        &data,
        &["--source", sources, "--encoder", "encoder", "--index", "exact", "--num-negatives", "9"],
        &["--out", "c.jsonl"],
    ])?;
    run(&[&["score"], &data, &["--candidates", "c.jsonl", "--encoder", "encoder", "--out", "s.jsonl"]])?;
    run(&[
        &["filter"],
        &data,
        &["--candidates", "s.jsonl", "--preset", "topk-percpos-0.99", "--test-split", "test", "--out", "k.jsonl"],
    ])?;
    let lines = |name: &str| -> Result<Vec<serde_json::Value>, Box<dyn Error>> {
        Ok(fs::read_to_string(at.join(name))?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    // Nine of ten a query, each passage once; the ledger says the same.
    let mut by_query: HashMap<String, Vec<String>> = HashMap::new();
    for candidate in lines("c.jsonl")? {
        by_query.entry(candidate["query"].to_string()).or_default().push(candidate["passage"].to_string());
    }
    let proposed: Vec<_> = lines("c.ledger.jsonl")?.into_iter().filter(|entry| entry["fate"] == "proposed").collect();
    assert_eq!(proposed.iter().map(|entry| entry["candidate"].clone()).collect::<Vec<_>>(), lines("c.jsonl")?);
    for (query, passages) in &mut by_query {
        passages.sort();
        passages.dedup();
        assert!(passages.len() <= 9 && passages.len() >= 4, "{query}: {passages:?}");
    }
    assert_eq!(by_query.values().map(Vec::len).sum::<usize>(), proposed.len(), "a passage twice");
    let (scored, kept, ledger) = (lines("s.jsonl")?, lines("k.jsonl")?, lines("k.ledger.jsonl")?);
    assert!(scored.iter().all(|c| c["scores"]["bm25"].is_number() && c["scores"]["cosine"].is_number()));
    assert_eq!(ledger.len(), scored.len());
    let dropped = ledger.iter().filter(|entry| entry["fate"] == "dropped").count();
    assert!(dropped > 0 && kept.len() + dropped == scored.len(), "{dropped} of {}", scored.len());
    run(&[
        &["mix"],
        &data,
        &["--candidates", "k.jsonl", "--take", "bm25=2,random=1", "--short", "fill=dense", "--out", "t.jsonl"],
    ])?;
    let told = run(&[
        &["why", "q-red-bird"],
        &data,
        &["--ledger", "c.ledger.jsonl", "k.ledger.jsonl"],
        &["--top", "99", "--instances", "t.jsonl"],
    ])?;
    for part in ["positive red-bird", "dropped by judged_positive", "bm25 █", "BM25 of ", "score "] {
        assert!(told.contains(part), "{part} in {told}");
    }
    for form in ["n-tuple", "flagembedding", "pylate", "beir"] {
        let scores = ["--scores", "s.jsonl", "s.positives.jsonl"];
        let out = format!("out/{form}");
        run(&[&["export", "--data", "data", "--instances", "t.jsonl", "--to", form, "--out", &out], &scores])?;
        assert!(at.join(&out).join("README.md").is_file() && at.join(&out).join("provenance.json").is_file());
    }
    let to = ["--instances", "t.jsonl", "--to", "n-tuple", "--format", "parquet", "--out", "out/packed"];
    run(&[&["export", "--data", "data"], &to])?;
    assert_eq!(fs::read(at.join("out/packed/train.parquet"))?[..4], *b"PAR1");
    run(&[&["import", "--data", "data", "--from", "n-tuple", "--file", "out/packed", "--out", "back.jsonl"]])?;
    let negatives =
        |name: &str, list: fn(&serde_json::Value) -> Vec<String>| -> Result<BTreeSet<String>, Box<dyn Error>> {
            Ok(lines(name)?.iter().flat_map(list).collect())
        };
    let due = negatives("t.jsonl", |instance| {
        let all = instance["negatives"].as_array().into_iter().flatten();
        all.map(|one| format!("{} {}", instance["query_id"], one["passage"])).collect()
    })?;
    let back = negatives("back.jsonl", |one| vec![format!("{} {}", one["query"], one["passage"])])?;
    assert_eq!(back, due);
    let refused =
        fail(at, &["import", "--data", "data", "--from", "pair", "--file", "out/packed", "--out", "b.jsonl"])?;
    assert!(refused.contains("out/packed/train.parquet: expected at least one negative"), "{refused}");
    let margin = ["--candidates", "c.jsonl", "--measure", "relevance", "--max-score", "0.1", "--out", "x.jsonl"];
    let refused = fail(at, &[&["filter"][..], &data, &margin].concat())?;
    assert!(
        refused.contains("expected a relevance score") && refused.contains("hint: run nearmiss score"),
        "{refused}"
    );
    Ok(())
}
