//! Every form with awkward texts, with and without scores, and an export that is spoilt on the way.

use super::*;
use crate::data::{DocId, WrittenId};
use std::path::PathBuf;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

struct World {
    folder: tempfile::TempDir,
    corpus: Corpus,
    instances: Vec<Instance>,
    scores: HashMap<(QueryId, Passage), f32>,
}

/// Two positives of one query that share their negatives, one of them written; texts with quotes, tabs and line breaks.
fn world() -> std::result::Result<World, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.jsonl");
    let bodies = ["iron \"is\" a metal", "two\nlines\tand a tab", "größer", "plain"];
    let lines = bodies.iter().enumerate().map(|(i, body)| {
        format!(
            "{}\n",
            serde_json::json!({"_id": format!("d{i}"), "title": if i == 2 { "" } else { "Title" }, "text": body})
        )
    });
    std::fs::write(&path, lines.collect::<String>())?;
    let corpus = Corpus::open(&path)?;
    let known = |i: usize, source: &str| -> Result<TrainingPassage> {
        let document = corpus.document(i)?;
        Ok(TrainingPassage {
            passage: Passage::Corpus(document.id.clone()),
            source: source.to_owned(),
            text: document.content(),
            teacher: None,
        })
    };
    let written = TrainingPassage {
        passage: Passage::Written(WrittenId::new("w-1")?),
        source: "written".to_owned(),
        text: "what a model\r\nwrote".to_owned(),
        teacher: None,
    };
    let instance = |positive| -> Result<Instance, Box<dyn std::error::Error>> {
        Ok(Instance {
            query_id: QueryId::new("q1")?,
            query: "what is\tiron?".to_owned(),
            positive: known(positive, "judged")?,
            negatives: vec![known(1, "bm25")?, written.clone()],
        })
    };
    let instances = vec![instance(0)?, instance(2)?];
    let mut scores = HashMap::new();
    for (number, one) in instances.iter().flat_map(|i| i.negatives.iter().chain([&i.positive])).enumerate() {
        scores.insert((QueryId::new("q1")?, one.passage.clone()), number as f32 / 8.0);
    }
    Ok(World { folder, corpus, instances, scores })
}

#[test]
fn every_form_reads_back_what_was_written() -> Outcome {
    let world = world()?;
    for form in TABLE {
        for (scores, format) in [
            (Some(&world.scores), Format::JsonLines),
            (None, Format::JsonLines),
            (Some(&world.scores), Format::Parquet),
            (None, Format::Parquet),
        ] {
            let out: PathBuf = world.folder.path().join(form.name);
            let export = Export { instances: &world.instances, scores, corpus: &world.corpus };
            let done = form.export(&export, format, &out);
            if format == Format::Parquet && NO_PARQUET.contains(&form.name) {
                assert!(done.is_err_and(|error| error.to_string().contains("know Parquet")));
                continue;
            }
            if form.name == "pylate" && scores.is_none() {
                assert!(done.is_err_and(|error| error.to_string().contains("--scores")));
                continue;
            }
            let facts = done.map_err(|error| format!("{}: {error}", form.name))?;
            let due = match form.name {
                "pair" => 2,
                "triplet" | "tsv" => 8,
                // The shared negatives once.
                "beir" | "trec" => 4,
                _ => 6,
            };
            assert_eq!(facts, due, "{}", form.name);
        }
    }
    assert!(named("n-tuple").is_some() && named("ntuple").is_none());
    Ok(())
}

#[test]
fn columns_stand_in_the_order_that_trainers_take_them_in() -> Outcome {
    let world = world()?;
    let out = world.folder.path().join("out");
    let export = Export { instances: &world.instances, scores: Some(&world.scores), corpus: &world.corpus };
    named("n-tuple").ok_or("a form")?.export(&export, Format::JsonLines, &out)?;
    let lines: Vec<Map<String, Value>> = crate::data::jsonl::read(&out.join("train.jsonl"))?;
    assert_eq!(lines[0].keys().collect::<Vec<_>>(), ["anchor", "positive", "negative_1", "negative_2", "scores"]);
    assert_eq!(lines[0]["scores"], serde_json::json!([0.25, 0.375, 0.5]));
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_left() -> Outcome {
    let mut world = world()?;
    let out = world.folder.path().join("out");
    let missing = HashMap::from([((QueryId::new("q1")?, Passage::Corpus(DocId::new("d0")?)), 0.5)]);
    let export = Export { instances: &world.instances, scores: Some(&missing), corpus: &world.corpus };
    let error =
        named("n-tuple").ok_or("a form")?.export(&export, Format::JsonLines, &out).err().ok_or("an error was due")?;
    assert!(error.to_string().contains("found none of d1 for query q1") && !out.exists(), "{error}");
    world.instances[1].negatives.pop();
    let export = Export { instances: &world.instances, scores: None, corpus: &world.corpus };
    let error =
        named("n-tuple").ok_or("a form")?.export(&export, Format::JsonLines, &out).err().ok_or("an error was due")?;
    assert!(error.to_string().contains("2 negatives in every instance, found 1 for query q1"), "{error}");
    assert!(named("flagembedding").ok_or("a form")?.export(&export, Format::JsonLines, &out).is_ok());
    let spoilt = Form {
        read: |place, gate, each| {
            named_copy("pair")?.read(place, gate, &mut |said| each(Said { query: Named::text("else"), ..said }))
        },
        ..named_copy("pair")?
    };
    let error = spoilt.export(&export, Format::JsonLines, &out).err().ok_or("an error was due")?;
    assert!(error.to_string().contains("expected 2 facts, number 0 being"), "{error}");
    Ok(())
}

fn named_copy(name: &str) -> Result<Form> {
    let absent = || Fault::new(Path::new(name), "a form", "none");
    let Form { name, about, write, read, facts } = named(name).ok_or_else(absent)?;
    Ok(Form { name, about, write: *write, read: *read, facts: *facts })
}
