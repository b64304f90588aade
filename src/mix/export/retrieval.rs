//! Forms of the retrieval field: a table of texts, a BEIR folder, TREC qrels. In the last two negatives are judged 0.

use super::said::{About, Named, Said};
use super::table::{Kind, MAIN, columns};
use super::trainers::distinct;
use super::{Each, Export, Place, Result};
use crate::data::msmarco::on_one_line;
use crate::data::reading::Gate;
use crate::data::{Error, Fault, atomic, error::excerpt, jsonl};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Path of a BEIR folder's judgements, without its ending.
pub(super) const QRELS: &str = "qrels/train";

pub(super) fn write_tsv(export: &Export<'_>, place: &Place) -> Result<()> {
    let path = place.file(MAIN, "tsv");
    atomic::write_file(&path, |out| {
        for instance in export.instances {
            for negative in &instance.negatives {
                let [query, positive, negative] =
                    [&instance.query, &instance.positive.text, &negative.text].map(|text| on_one_line(text));
                writeln!(out, "{query}\t{positive}\t{negative}").map_err(Error::io("write", &path))?;
            }
        }
        Ok(())
    })
}

pub(super) fn read_tsv(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    let shape = Shape { cut: tabs, expected: "3 columns, tab-separated (texts of query, positive, negative)" };
    each_row(&place.file(MAIN, "tsv"), gate, &shape, |[query, positive, negative], line| {
        let about = |text, label| About { passage: Named::text(text), label, score: None };
        each(Said { line, query: Named::text(query), passages: vec![about(positive, 1), about(negative, 0)] })
    })
}

/// What the lines of a file without keys are like.
struct Shape {
    cut: fn(&str) -> Vec<&str>,
    expected: &'static str,
}

fn tabs(line: &str) -> Vec<&str> {
    line.split('\t').collect()
}

fn blanks(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn each_row<const N: usize>(
    path: &Path,
    gate: &mut Gate,
    shape: &Shape,
    mut each: impl FnMut([&str; N], u64) -> Result<()>,
) -> Result<()> {
    jsonl::each_whole_line(path, |bytes, line| {
        if bytes.is_empty() {
            return Ok(());
        }
        let fault = |found: String| Error::from(Fault::new(path, shape.expected, found).line(line));
        let outcome = match std::str::from_utf8(bytes) {
            Err(error) => Err(fault(format!("a byte at column {} that is not UTF-8", error.valid_up_to() + 1))),
            Ok(text) => match <[&str; N]>::try_from((shape.cut)(text)) {
                Ok(columns) => each(columns, line),
                Err(columns) => Err(fault(format!("{}: {}", columns.len(), excerpt(text, 60)))),
            },
        };
        gate.pass(outcome, line, bytes).map(|_| ())
    })
}

/// Query, passage and grade by id, each pair once; a passage that is a positive anywhere is one.
fn grades(export: &Export<'_>) -> BTreeMap<(String, String), u8> {
    let mut grades = BTreeMap::new();
    for instance in export.instances {
        let pair = |id: String| (instance.query_id.to_string(), id);
        for negative in &instance.negatives {
            grades.entry(pair(negative.passage.to_string())).or_insert(0);
        }
        grades.insert(pair(instance.positive.passage.to_string()), 1);
    }
    grades
}

pub(super) fn write_beir(export: &Export<'_>, place: &Place) -> Result<()> {
    let document = |(id, one)| {
        let (title, text) = export.document(one)?;
        Ok(vec![json!(id), json!(title), json!(text), json!({})])
    };
    let [id, title, text] = ["_id", "title", "text"].map(|name| (name, Kind::Text));
    let metadata = ("metadata", Kind::Nothing);
    place.write("corpus", &columns([id, title, text, metadata]), distinct(export).into_iter().map(document))?;
    let queries: BTreeSet<_> = export.instances.iter().map(|one| (&one.query_id, &one.query)).collect();
    let query = |(id, query)| Ok(vec![json!(id), json!(query), json!({})]);
    place.write("queries", &columns([id, text, metadata]), queries.into_iter().map(query))?;
    let path = place.file(QRELS, "tsv");
    atomic::write_file(&path, |out| {
        let failed = |error| Error::io("write", &path)(error);
        writeln!(out, "query-id\tcorpus-id\tscore").map_err(failed)?;
        for ((query, passage), grade) in grades(export) {
            writeln!(out, "{query}\t{passage}\t{grade}").map_err(failed)?;
        }
        Ok(())
    })
}

pub(super) fn read_beir(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    let texts = |name| {
        let mut texts: HashMap<String, String> = HashMap::new();
        place.read(name, &mut Gate::new(&place.table(name), 0), |record| {
            let text = format!("{} {}", record.text_or_empty("title")?, record.text("text")?).trim().to_owned();
            texts.insert(record.text("_id")?.to_owned(), text);
            Ok(())
        })?;
        Ok::<_, Error>(texts)
    };
    let (corpus, queries) = (texts("corpus")?, texts("queries")?);
    let path = place.file(QRELS, "tsv");
    let shape = Shape { cut: tabs, expected: "3 columns, tab-separated (query-id, corpus-id, score)" };
    each_row(&path, gate, &shape, |[query, passage, grade], line| {
        if (line, query) == (1, "query-id") {
            return Ok(());
        }
        let known = |texts: &HashMap<String, String>, key: &str, id: &str| match texts.get(id) {
            Some(text) => Ok(Named { text: Some(text.clone()), ..Named::id(id) }),
            None => Err(Fault::new(&path, "ids of this folder", format!("unknown id {id}")).line(line).key(key)),
        };
        let (query, passage) = (known(&queries, "query-id", query)?, known(&corpus, "corpus-id", passage)?);
        each(Said { line, query, passages: vec![graded(passage, grade, (&path, line))?] })
    })
}

/// A grade above 0 is relevant.
fn graded(passage: Named, grade: &str, (path, line): (&Path, u64)) -> Result<About> {
    match grade.trim().parse::<i64>() {
        Ok(grade) => Ok(About { passage, label: u8::from(grade > 0), score: None }),
        Err(_) => Err(Fault::new(path, "a whole number", excerpt(grade, 20)).line(line).key("score").into()),
    }
}

pub(super) fn write_trec(export: &Export<'_>, place: &Place) -> Result<()> {
    let path = place.file(MAIN, "qrels");
    atomic::write_file(&path, |out| {
        for ((query, passage), grade) in grades(export) {
            writeln!(out, "{query} 0 {passage} {grade}").map_err(Error::io("write", &path))?;
        }
        Ok(())
    })
}

pub(super) fn read_trec(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    let path = place.file(MAIN, "qrels");
    let shape = Shape { cut: blanks, expected: "4 columns (query, iteration, passage, grade)" };
    each_row(&path, gate, &shape, |[query, _, passage, grade], line| {
        let about = graded(Named::id(passage), grade, (&path, line))?;
        each(Said { line, query: Named::id(query), passages: vec![about] })
    })
}
