//! What is exported in any form comes back as candidates, whatever the texts hold; what is wrong is named.

use super::*;
use crate::data::reading::Gate;
use crate::data::{Instance, TrainingPassage, jsonl};
use crate::mix::export::{Export, Format, TABLE, named};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::fs;

type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Texts of pieces that break formats, now and then a very long one.
fn texts() -> impl Strategy<Value = String> {
    let pieces = [
        "iron",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\"",
        "'",
        "\\",
        "\\n",
        ",",
        "{",
        "}",
        "\u{1f600}",
        "é",
        "\u{2028}",
        "\u{85}",
        "\u{feff}",
        "\0",
        "<b>",
        "negative_1",
        "1",
        "PAR1",
    ];
    let long = (1_usize..4).prop_map(|times| "a very long passage \u{1f9ea}\n".repeat(2000 * times));
    prop_oneof![
        12 => prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|parts| parts.concat()),
        1 => long,
    ]
}

/// A collection (title and body of passages, texts of queries), and what is written about it.
#[derive(Debug, Clone)]
struct World {
    passages: Vec<(String, String)>,
    queries: Vec<String>,
    written: Vec<String>,
    /// Query, positive, and two negatives: places of passages, those from their number on of written ones.
    instances: Vec<(usize, usize, [usize; 2])>,
}

fn worlds() -> impl Strategy<Value = World> {
    let titled = prop::collection::vec((texts(), texts()), 2..6);
    let lists = (titled, prop::collection::vec(texts(), 1..4), prop::collection::vec(texts(), 1..3));
    lists.prop_flat_map(|(passages, queries, written)| {
        let all = passages.len() + written.len();
        let instance = (0..queries.len(), 0..passages.len(), [0..all, 0..all]);
        let instances = prop::collection::vec(instance, 1..5);
        let lists = (Just(passages), Just(queries), Just(written), instances);
        lists.prop_map(|(passages, queries, written, instances)| World { passages, queries, written, instances })
    })
}

/// A score that follows from the texts.
fn score(query: &str, passage: &str) -> f32 {
    f32::from(u16::try_from(key(&format!("{}\n{}", plain(query), plain(passage))) % 1000).unwrap_or(0)) / 999.0
}

impl World {
    fn collection(&self, folder: &Path) -> Outcome<Collection> {
        let id = |kind: &str, row: usize| format!("{kind}{row}\"é");
        let passages =
            self.passages.iter().enumerate().map(|(row, (title, text))| {
                format!("{}\n", json!({"_id": id("d", row), "title": title, "text": text}))
            });
        fs::write(folder.join("corpus.jsonl"), passages.collect::<String>())?;
        let queries = self.queries.iter().enumerate();
        let queries = queries.map(|(row, text)| format!("{}\n", json!({"_id": id("q", row), "text": text})));
        fs::write(folder.join("queries.jsonl"), queries.collect::<String>())?;
        fs::create_dir_all(folder.join("qrels"))?;
        let judged = format!("query-id\tcorpus-id\tscore\n{}\t{}\t1\n", id("q", 0), id("d", 0));
        fs::write(folder.join("qrels/train.tsv"), judged)?;
        Ok(Collection::open(folder)?)
    }

    fn instances(&self, collection: &Collection) -> Outcome<Vec<Instance>> {
        let queries: Vec<_> = collection.queries.iter().collect();
        let passage = |place: usize| -> Outcome<TrainingPassage> {
            let (passage, text) = match self.written.get(place.wrapping_sub(self.passages.len())) {
                Some(text) => (Passage::Written(written_id(text)), text.clone()),
                None => {
                    (Passage::Corpus(collection.corpus.ids().id(place)), collection.corpus.document(place)?.content())
                }
            };
            Ok(TrainingPassage { passage, source: "s".to_owned(), text, teacher: None })
        };
        let instance = |&(query, positive, negatives): &(usize, usize, [usize; 2])| {
            Ok(Instance {
                query_id: queries[query].id.clone(),
                query: queries[query].text.clone(),
                positive: passage(positive)?,
                negatives: negatives.into_iter().map(passage).collect::<Outcome<_>>()?,
            })
        };
        self.instances.iter().map(instance).collect()
    }
}

type Pairs = BTreeSet<(String, String, Option<u32>)>;

/// A text as far as `form` keeps it; one that the corpus holds is known but for its blanks.
fn kept(form: &str, text: &str, world: &World) -> String {
    let known = world.passages.iter().any(|(title, body)| plain(&format!("{title} {body}")) == plain(text));
    match form {
        _ if known => plain(text),
        "tsv" => plain(text),
        "beir" | "tevatron-old" => text.trim().to_owned(),
        _ => text.to_owned(),
    }
}

/// Pairs of texts, as far as `form` keeps them, with the bits of their score.
fn due(form: &str, (world, instances): (&World, &[Instance]), with_scores: bool) -> [Pairs; 2] {
    let scored = ["triplet", "n-tuple", "labeled-pair", "labeled-list", "flagembedding", "pylate"].contains(&form);
    let pair = |instance: &Instance, passage: &TrainingPassage| {
        let score = (with_scores && scored).then(|| score(&instance.query, &passage.text).to_bits());
        let query = if form == "tsv" { plain(&instance.query) } else { instance.query.clone() };
        (query, kept(form, &passage.text, world), score)
    };
    let positives = instances.iter().map(|instance| pair(instance, &instance.positive)).collect();
    // In judgements a passage is one or the other.
    let judged: BTreeSet<_> = instances.iter().map(|one| (&one.query_id, &one.positive.passage)).collect();
    let is_negative = |instance: &Instance, passage: &TrainingPassage| {
        !["beir", "trec"].contains(&form) || !judged.contains(&(&instance.query_id, &passage.passage))
    };
    let negatives = instances.iter().flat_map(|instance| {
        let negatives = instance.negatives.iter().filter(|passage| is_negative(instance, passage));
        negatives.map(|passage| pair(instance, passage)).collect::<Vec<_>>()
    });
    [positives, negatives.collect()]
}

/// The same of what was imported.
fn found(form: &str, (world, collection): (&World, &Collection), path: &Path) -> Outcome<Pairs> {
    let pair = |candidate: Candidate| -> Outcome<_> {
        let query = collection.queries.get(candidate.query.as_str()).ok_or("a query")?.text.clone();
        let text = crate::negatives::screen::text_of(&candidate, &collection.corpus)?;
        let query = if form == "tsv" { plain(&query) } else { query };
        Ok((query, kept(form, &text, world), candidate.scores.cosine.map(f32::to_bits)))
    };
    jsonl::read::<Candidate>(path)?.into_iter().map(pair).collect()
}

fn goes_round(world: &World) -> Outcome {
    let folder = tempfile::tempdir()?;
    let collection = world.collection(folder.path())?;
    let all = world.instances(&collection)?;
    let mut scores = HashMap::new();
    for instance in &all {
        for passage in instance.negatives.iter().chain([&instance.positive]) {
            let pair = (instance.query_id.clone(), passage.passage.clone());
            scores.insert(pair, score(&instance.query, &passage.text));
        }
    }
    for form in TABLE.iter().filter(|form| form.name != "pair") {
        for (format, with_scores) in [(Format::JsonLines, false), (Format::JsonLines, true), (Format::Parquet, true)] {
            let mut instances = all.clone();
            if form.name == "trec" {
                // It has no texts: written passages cannot be told.
                instances.retain(|one| one.negatives.iter().all(|one| matches!(one.passage, Passage::Corpus(_))));
            }
            let out = folder.path().join("export");
            let export =
                Export { instances: &instances, scores: with_scores.then_some(&scores), corpus: &collection.corpus };
            match form.export(&export, format, &out) {
                Ok(_) => {}
                Err(error) if error.to_string().contains("know Parquet") || error.to_string().contains("--scores") => {
                    continue;
                }
                Err(error) => return Err(format!("{}: {error}", form.name).into()),
            }
            let place = Place::of(&out)?;
            let [candidates, positives] = ["c.jsonl", "c.positives.jsonl"].map(|name| folder.path().join(name));
            let import = Import { form, place: &place, source: "theirs", measure: Measure::Cosine };
            let targets = Targets { candidates: &candidates, positives: &positives };
            let [due_positives, due_negatives] = due(form.name, (world, &instances), with_scores);
            let mut gate = Gate::new(&out, 0);
            match import.run(&collection, &mut gate, &targets) {
                Err(error) if due_negatives.is_empty() => {
                    assert!(error.to_string().contains("at least one negative"), "{error}");
                    continue;
                }
                counts => assert!(counts?.negatives >= due_negatives.len() as u64),
            }
            let name = format!("{} {format:?} {with_scores}", form.name);
            assert_eq!(found(form.name, (world, &collection), &candidates)?, due_negatives, "{name}: negatives");
            assert_eq!(found(form.name, (world, &collection), &positives)?, due_positives, "{name}: positives");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 60, ..ProptestConfig::default() })]
    #[test]
    fn every_form_comes_back_as_it_was(world in worlds()) {
        goes_round(&world).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

fn small() -> World {
    World {
        passages: vec![("Iron".to_owned(), "melts at 1538".to_owned()), (String::new(), "two\nlines".to_owned())],
        queries: vec!["when does iron melt?".to_owned()],
        written: vec!["Iron melts at 538.".to_owned()],
        instances: vec![(0, 0, [1, 2])],
    }
}

/// Imports `text` as the file of `form`.
fn imported(form: &'static str, text: &str, skip: u64) -> Outcome<(Counts, Vec<Candidate>)> {
    let folder = tempfile::tempdir()?;
    let collection = small().collection(folder.path())?;
    let path = folder.path().join("theirs/instances.jsonl");
    fs::create_dir(folder.path().join("theirs"))?;
    fs::write(&path, text)?;
    let place = Place::of(&path)?;
    let import = Import { form: named(form).ok_or("a form")?, place: &place, source: "theirs", measure: Measure::Bm25 };
    let [candidates, positives] = ["c.jsonl", "p.jsonl"].map(|name| folder.path().join(name));
    let targets = Targets { candidates: &candidates, positives: &positives };
    let counts = import.run(&collection, &mut Gate::new(&path, skip), &targets)?;
    Ok((counts, jsonl::read(&candidates)?))
}

#[test]
fn passages_are_found_by_text_and_others_stay_texts_of_their_own() -> Outcome {
    let line = r#"{"question": "when does iron melt?", "answer": "Iron melts at 1538", "n": "two lines", "scores": [0.5, 0.25]}
{"question": "when does iron melt?", "answer": "elsewhere", "n": "Unknown."}
{"question": "when does iron melt?", "answer": "Iron melts at 1538", "n": "Unknown."}
"#;
    let (counts, candidates) = imported("triplet", line, 0)?;
    assert_eq!(counts, Counts { rows: 3, negatives: 2, unknown: 1, positives: 1, unknown_positives: 1 });
    assert_eq!(candidates[0].passage, Passage::Corpus(DocId::new("d1\"é")?));
    assert_eq!((candidates[0].scores.bm25, candidates[0].rank), (Some(0.25), 1));
    let unknown = &candidates[1];
    assert_eq!((unknown.text.as_deref(), unknown.rank, unknown.source.as_str()), (Some("Unknown."), 2, "theirs"));
    assert_eq!(
        (&unknown.passage, &unknown.provenance),
        (&Passage::Written(written_id("Unknown.")), &json!({"line": 2}))
    );
    Ok(())
}

#[test]
fn bad_rows_are_named_or_passed_over() -> Outcome {
    let good = r#"{"query": "when does iron melt?", "pos": [], "neg": ["Unknown."]}"#;
    for (form, bad, says) in [
        ("flagembedding", r#"{"query": "when does iron melt?", "pos": []}"#, ":2: `neg`: expected this key"),
        ("flagembedding", r#"{"query": "when?", "pos": [], "neg": ["a"]}"#, ":2: `query`: expected a query of this"),
        (
            "flagembedding",
            r#"{"query": "q", "pos": [], "neg": ["a", 7]}"#,
            ":2: `neg`: expected a list of strings, found \"7\"",
        ),
        ("flagembedding", r#"{"query": "q", "pos": [], "neg": "#, ":2: expected one JSON object a line"),
        ("labeled-list", r#"{"q": "q", "d": ["a"], "labels": [2]}"#, ":1: `labels`"),
        (
            "tevatron",
            r#"{"query_id": "q0\"é", "positive_document_ids": [], "negative_document_ids": ["no"]}"#,
            ":1: `passage`: expected a passage of this collection, found \"no\"",
        ),
    ] {
        let text = if form == "flagembedding" { format!("{good}\n{bad}\n") } else { format!("{bad}\n") };
        let message = imported(form, &text, 0).err().ok_or("an error was due")?.to_string();
        assert!(message.contains(says), "{form} {bad}: {message}");
        if form == "flagembedding" {
            assert_eq!(imported(form, &text, 1)?.0.rows, 1, "{bad}");
        }
    }
    let message = imported("pair", r#"{"a": "when does iron melt?", "p": "x"}"#, 0).err().ok_or("due")?.to_string();
    assert!(message.contains("at least one negative"), "{message}");
    Ok(())
}
