//! The five forms of sentence-transformers' trainers, as JSON lines; the order of columns counts there, not their names.

use super::{Export, Fact, Result, read_lines, text, texts, write_lines};
use crate::data::Instance;
use serde_json::{Map, Value, json};
use std::path::Path;

const FILE: &str = "train.jsonl";

type Columns = Vec<(String, Value)>;

fn write(folder: &Path, rows: impl IntoIterator<Item = Result<Columns>>) -> Result<()> {
    let object = |columns: Columns| Value::Object(columns.into_iter().collect::<Map<String, Value>>());
    write_lines(&folder.join(FILE), rows.into_iter().map(|row| row.map(object)))
}

fn start(instance: &Instance) -> Columns {
    vec![("anchor".to_owned(), json!(instance.query)), ("positive".to_owned(), json!(instance.positive.text))]
}

pub(super) fn write_pair(export: &Export<'_>, folder: &Path) -> Result<()> {
    write(folder, export.instances.iter().map(|instance| Ok(start(instance))))
}

pub(super) fn read_pair(folder: &Path) -> Result<Vec<Fact>> {
    let lines = read_lines(&folder.join(FILE))?;
    Ok(lines.iter().map(|line| (text(line, "anchor"), text(line, "positive"), 1)).collect())
}

pub(super) fn write_triplet(export: &Export<'_>, folder: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for instance in export.instances {
        let scores = export.scores_of(instance)?;
        for (number, negative) in instance.negatives.iter().enumerate() {
            let mut row = start(instance);
            row.push(("negative".to_owned(), json!(negative.text)));
            if let Some(scores) = &scores {
                row.push(("scores".to_owned(), json!([scores[0], scores[number + 1]])));
            }
            rows.push(Ok(row));
        }
    }
    write(folder, rows)
}

pub(super) fn read_triplet(folder: &Path) -> Result<Vec<Fact>> {
    let lines = read_lines(&folder.join(FILE))?;
    let facts =
        |line| [(text(line, "anchor"), text(line, "positive"), 1), (text(line, "anchor"), text(line, "negative"), 0)];
    Ok(lines.iter().flat_map(facts).collect())
}

pub(super) fn write_tuple(export: &Export<'_>, folder: &Path) -> Result<()> {
    export.even(folder)?;
    let rows = export.instances.iter().map(|instance| {
        let mut row = start(instance);
        let negatives = (1..).zip(&instance.negatives);
        row.extend(negatives.map(|(number, negative)| (format!("negative_{number}"), json!(negative.text))));
        if let Some(scores) = export.scores_of(instance)? {
            row.push(("scores".to_owned(), json!(scores)));
        }
        Ok(row)
    });
    write(folder, rows)
}

pub(super) fn read_tuple(folder: &Path) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for line in read_lines(&folder.join(FILE))? {
        let anchor = text(&line, "anchor");
        facts.push((anchor.clone(), text(&line, "positive"), 1));
        let negatives = line.iter().filter(|(key, _)| key.starts_with("negative_"));
        facts.extend(negatives.map(|(key, _)| (anchor.clone(), text(&line, key), 0)));
    }
    Ok(facts)
}

/// With scores a column `score` follows: a trainer takes one of the two.
pub(super) fn write_labeled(export: &Export<'_>, folder: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for instance in export.instances {
        let scores = export.scores_of(instance)?;
        let all = std::iter::once(&instance.positive).chain(&instance.negatives);
        for (number, passage) in all.enumerate() {
            let mut row = vec![
                ("anchor".to_owned(), json!(instance.query)),
                ("document".to_owned(), json!(passage.text)),
                ("label".to_owned(), json!(u8::from(number == 0))),
            ];
            if let Some(scores) = &scores {
                row.push(("score".to_owned(), json!(scores[number])));
            }
            rows.push(Ok(row));
        }
    }
    write(folder, rows)
}

pub(super) fn read_labeled(folder: &Path) -> Result<Vec<Fact>> {
    let lines = read_lines(&folder.join(FILE))?;
    let label = |line: &Map<String, Value>| u8::from(line.get("label") == Some(&json!(1)));
    Ok(lines.iter().map(|line| (text(line, "anchor"), text(line, "document"), label(line))).collect())
}

pub(super) fn write_list(export: &Export<'_>, folder: &Path) -> Result<()> {
    let rows = export.instances.iter().map(|instance| {
        let all = || std::iter::once(&instance.positive).chain(&instance.negatives);
        let documents: Vec<&str> = all().map(|passage| passage.text.as_str()).collect();
        let labels: Vec<u8> = all().enumerate().map(|(number, _)| u8::from(number == 0)).collect();
        let mut row = vec![
            ("anchor".to_owned(), json!(instance.query)),
            ("documents".to_owned(), json!(documents)),
            ("labels".to_owned(), json!(labels)),
        ];
        if let Some(scores) = export.scores_of(instance)? {
            row.push(("scores".to_owned(), json!(scores)));
        }
        Ok(row)
    });
    write(folder, rows)
}

pub(super) fn read_list(folder: &Path) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for line in read_lines(&folder.join(FILE))? {
        let labels = line.get("labels").and_then(Value::as_array).cloned().unwrap_or_default();
        let documents = texts(&line, "documents").into_iter().zip(labels);
        facts.extend(documents.map(|(document, label)| (text(&line, "anchor"), document, u8::from(label == json!(1)))));
    }
    Ok(facts)
}
