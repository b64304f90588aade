//! The five forms of sentence-transformers' trainers. The order of columns counts there, not their names, but for those
//! of labels and scores; so it does when they are read.

use super::said::{Named, said};
use super::table::{Column, Kind, MAIN, columns};
use super::{Each, Export, Place, Result};
use crate::data::jsonl::Record;
use crate::data::reading::Gate;
use crate::data::{Instance, TrainingPassage};
use serde_json::{Value, json};

/// Columns that are no texts.
const MEASURES: [&str; 4] = ["label", "labels", "score", "scores"];

fn start(instance: &Instance) -> Vec<Value> {
    vec![json!(instance.query), json!(instance.positive.text)]
}

fn all(instance: &Instance) -> impl Iterator<Item = &TrainingPassage> {
    std::iter::once(&instance.positive).chain(&instance.negatives)
}

/// The columns, with one more where there are scores.
fn with_scores(mut columns: Vec<Column>, export: &Export<'_>, score: (&str, Kind)) -> Vec<Column> {
    columns.extend(export.scores.map(|_| (score.0.to_owned(), score.1)));
    columns
}

/// The text under the column number `place`, which is called `what` here.
fn at<'r>(record: &'r Record<'_>, place: usize, what: &str) -> Result<&'r str> {
    let mut names = record.cells().map(|(name, _)| name).filter(|name| !MEASURES.contains(name));
    match names.nth(place) {
        Some(name) => record.text(name),
        None => Err(record.fault(what, &format!("a text in column {}", place + 1), "fewer columns")),
    }
}

pub(super) fn write_pair(export: &Export<'_>, place: &Place) -> Result<()> {
    let columns = columns([("anchor", Kind::Text), ("positive", Kind::Text)]);
    place.write(MAIN, &columns, export.instances.iter().map(|instance| Ok(start(instance))))
}

pub(super) fn read_pair(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    place.read(MAIN, gate, |record| {
        let positive = Named::text(at(record, 1, "positive")?);
        each(said(record, Named::text(at(record, 0, "anchor")?), vec![(positive, 1)], ("scores", None))?)
    })
}

pub(super) fn write_triplet(export: &Export<'_>, place: &Place) -> Result<()> {
    let columns = columns([("anchor", Kind::Text), ("positive", Kind::Text), ("negative", Kind::Text)]);
    let rows = export.instances.iter().flat_map(|instance| {
        let row = |(number, negative): (usize, &TrainingPassage)| {
            let mut row = start(instance);
            row.push(json!(negative.text));
            row.extend(export.scores_of(instance)?.map(|scores| json!([scores[0], scores[number + 1]])));
            Ok(row)
        };
        instance.negatives.iter().enumerate().map(row).collect::<Vec<_>>()
    });
    place.write(MAIN, &with_scores(columns, export, ("scores", Kind::Numbers)), rows)
}

pub(super) fn write_tuple(export: &Export<'_>, place: &Place) -> Result<()> {
    let mut columns = columns([("anchor", Kind::Text), ("positive", Kind::Text)]);
    columns.extend((1..=export.even(place)?).map(|number| (format!("negative_{number}"), Kind::Text)));
    let rows = export.instances.iter().map(|instance| {
        let mut row = start(instance);
        row.extend(instance.negatives.iter().map(|negative| json!(negative.text)));
        row.extend(export.scores_of(instance)?.map(|scores| json!(scores)));
        Ok(row)
    });
    place.write(MAIN, &with_scores(columns, export, ("scores", Kind::Numbers)), rows)
}

pub(super) fn read_triplet(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    read_columns(place, gate, each, |_| 3)
}

/// As many negatives as there are columns.
pub(super) fn read_tuple(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    let texts = |record: &Record<'_>| record.cells().filter(|(name, _)| !MEASURES.contains(name)).count();
    read_columns(place, gate, each, texts)
}

fn read_columns(place: &Place, gate: &mut Gate, each: Each<'_>, count: impl Fn(&Record<'_>) -> usize) -> Result<()> {
    place.read(MAIN, gate, |record| {
        let mut passages = vec![(Named::text(at(record, 1, "positive")?), 1)];
        for place in 2..count(record) {
            passages.push((Named::text(at(record, place, "negative")?), 0));
        }
        let scores = ("scores", record.numbers("scores")?);
        each(said(record, Named::text(at(record, 0, "anchor")?), passages, scores)?)
    })
}

/// With scores a column `score` follows: a trainer takes one of the two.
pub(super) fn write_labeled(export: &Export<'_>, place: &Place) -> Result<()> {
    let columns = columns([("anchor", Kind::Text), ("document", Kind::Text), ("label", Kind::Whole)]);
    let rows = export.instances.iter().flat_map(|instance| {
        let row = |(number, passage): (usize, &TrainingPassage)| {
            let mut row = vec![json!(instance.query), json!(passage.text), json!(u8::from(number == 0))];
            row.extend(export.scores_of(instance)?.map(|scores| json!(scores[number])));
            Ok(row)
        };
        all(instance).enumerate().map(row).collect::<Vec<_>>()
    });
    place.write(MAIN, &with_scores(columns, export, ("score", Kind::Number)), rows)
}

pub(super) fn read_labeled(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    place.read(MAIN, gate, |record| {
        let label = record.value("label").unwrap_or(&Value::Null);
        let passage = (Named::text(at(record, 1, "document")?), binary(record, "label", label)?);
        let score = record.value("score").and_then(Value::as_f64);
        let scores = ("score", score.map(|score| vec![score]));
        each(said(record, Named::text(at(record, 0, "anchor")?), vec![passage], scores)?)
    })
}

fn binary(record: &Record<'_>, key: &str, label: &Value) -> Result<u8> {
    match label.as_f64() {
        Some(1.0) => Ok(1),
        Some(0.0) => Ok(0),
        _ => Err(record.fault(key, "1 for a positive or 0 for a negative", &label.to_string())),
    }
}

pub(super) fn write_list(export: &Export<'_>, place: &Place) -> Result<()> {
    let columns = columns([("anchor", Kind::Text), ("documents", Kind::Texts), ("labels", Kind::Wholes)]);
    let rows = export.instances.iter().map(|instance| {
        let documents: Vec<&str> = all(instance).map(|passage| passage.text.as_str()).collect();
        let labels: Vec<u8> = (0..documents.len()).map(|number| u8::from(number == 0)).collect();
        let mut row = vec![json!(instance.query), json!(documents), json!(labels)];
        row.extend(export.scores_of(instance)?.map(|scores| json!(scores)));
        Ok(row)
    });
    place.write(MAIN, &with_scores(columns, export, ("scores", Kind::Numbers)), rows)
}

pub(super) fn read_list(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    place.read(MAIN, gate, |record| {
        let mut names = record.cells().map(|(name, _)| name).filter(|name| !MEASURES.contains(name));
        let documents = record.texts(names.nth(1).unwrap_or("documents"))?;
        let labels = record.list("labels")?;
        if labels.len() != documents.len() {
            let expected = format!("{} labels", documents.len());
            return Err(record.fault("labels", &expected, &labels.len().to_string()));
        }
        let passage = |(text, label)| Ok((Named::text(text), binary(record, "labels", label)?));
        let passages = documents.into_iter().zip(labels).map(passage).collect::<Result<_>>()?;
        let scores = ("scores", record.numbers("scores")?);
        each(said(record, Named::text(at(record, 0, "anchor")?), passages, scores)?)
    })
}
