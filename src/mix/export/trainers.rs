//! What `FlagEmbedding`, Tevatron (before and after its version 2) and `PyLate` read.

use super::said::{Named, Said, said};
use super::table::{Kind, MAIN, columns};
use super::{Each, Export, Place, Result};
use crate::data::jsonl::Record;
use crate::data::reading::Gate;
use crate::data::{Fault, Instance, TrainingPassage};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

fn passages(instance: &Instance) -> impl Iterator<Item = &TrainingPassage> {
    std::iter::once(&instance.positive).chain(&instance.negatives)
}

/// A list for the positives, a list for the negatives.
fn judged(positives: Vec<Named>, negatives: Vec<Named>) -> Vec<(Named, u8)> {
    let labelled = |label| move |named| (named, label);
    positives.into_iter().map(labelled(1)).chain(negatives.into_iter().map(labelled(0))).collect()
}

pub(super) fn write_flag(export: &Export<'_>, place: &Place) -> Result<()> {
    let mut columns = columns([("query", Kind::Text), ("pos", Kind::Texts), ("neg", Kind::Texts)]);
    if export.scores.is_some() {
        columns.extend(["pos_scores", "neg_scores"].map(|name| (name.to_owned(), Kind::Numbers)));
    }
    let row = |instance: &Instance| {
        let negatives: Vec<&str> = instance.negatives.iter().map(|negative| negative.text.as_str()).collect();
        let mut row = vec![json!(instance.query), json!([instance.positive.text]), json!(negatives)];
        if let Some(scores) = export.scores_of(instance)? {
            row.extend([json!(scores[..1]), json!(scores[1..])]);
        }
        Ok(row)
    };
    place.write(MAIN, &columns, export.instances.iter().map(row))
}

pub(super) fn read_flag(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    place.read(MAIN, gate, |record| {
        let texts = |key| record.texts(key).map(|all| all.into_iter().map(Named::text).collect());
        let passages = judged(texts("pos")?, texts("neg")?);
        let mut scores = record.numbers("pos_scores")?;
        if let Some(scores) = &mut scores {
            scores.extend(record.numbers("neg_scores")?.unwrap_or_default());
        }
        each(said(record, Named::text(record.text("query")?), passages, ("neg_scores", scores))?)
    })
}

pub(super) fn write_tevatron_old(export: &Export<'_>, place: &Place) -> Result<()> {
    let columns = columns([
        ("query_id", Kind::Text),
        ("query", Kind::Text),
        ("positive_passages", Kind::Passages),
        ("negative_passages", Kind::Passages),
    ]);
    let passage = |one: &TrainingPassage| {
        let (title, text) = export.document(one)?;
        Ok(json!({"docid": one.passage.to_string(), "title": title, "text": text}))
    };
    let row = |instance: &Instance| {
        let negatives = instance.negatives.iter().map(passage).collect::<Result<Vec<_>>>()?;
        let positives = [passage(&instance.positive)?];
        Ok(vec![json!(instance.query_id), json!(instance.query), json!(positives), json!(negatives)])
    };
    place.write(MAIN, &columns, export.instances.iter().map(row))
}

pub(super) fn read_tevatron_old(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    place.read(MAIN, gate, |record| {
        let list = |key| record.list(key)?.iter().map(|one| titled(record, key, one)).collect::<Result<Vec<_>>>();
        let passages = judged(list("positive_passages")?, list("negative_passages")?);
        let query = Named { id: Some(id_text(record, "query_id")?), text: Some(record.text("query")?.to_owned()) };
        each(said(record, query, passages, ("scores", None))?)
    })
}

/// A passage with `text`, perhaps a `title`, perhaps a `docid`.
fn titled(record: &Record<'_>, key: &str, one: &Value) -> Result<Named> {
    let part = |name| one.get(name).and_then(Value::as_str);
    match part("text") {
        Some(text) => {
            let text = format!("{} {text}", part("title").unwrap_or_default()).trim().to_owned();
            Ok(Named { id: part("docid").map(str::to_owned), text: Some(text) })
        }
        None => Err(record.fault(key, "passages with a text", &crate::data::error::excerpt(&one.to_string(), 60))),
    }
}

/// An id, which some write as a number.
fn id_text(record: &Record<'_>, key: &str) -> Result<String> {
    match record.value(key) {
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Ok(record.text(key)?.to_owned()),
    }
}

/// Each passage of the instances once, by id.
pub(super) fn distinct<'e>(export: &'e Export<'_>) -> BTreeMap<String, &'e TrainingPassage> {
    export.instances.iter().flat_map(passages).map(|one| (one.passage.to_string(), one)).collect()
}

pub(super) fn write_tevatron(export: &Export<'_>, place: &Place) -> Result<()> {
    let train = columns([
        ("query_id", Kind::Text),
        ("query_text", Kind::Text),
        ("positive_document_ids", Kind::Texts),
        ("negative_document_ids", Kind::Texts),
    ]);
    let ids = |all: &[TrainingPassage]| all.iter().map(|one| one.passage.to_string()).collect::<Vec<_>>();
    let row = |instance: &Instance| {
        let positives = [instance.positive.passage.to_string()];
        let negatives = ids(&instance.negatives);
        Ok(vec![json!(instance.query_id), json!(instance.query), json!(positives), json!(negatives)])
    };
    place.write(MAIN, &train, export.instances.iter().map(row))?;
    // Its training reads `text` and its encoding `document_text`.
    let corpus = columns([("docid", Kind::Text), ("text", Kind::Text), ("document_text", Kind::Text)]);
    let document = |(id, one): (String, &TrainingPassage)| Ok(vec![json!(id), json!(one.text), json!(one.text)]);
    place.write("corpus", &corpus, distinct(export).into_iter().map(document))
}

/// Texts by id, of a table beside the instances; nothing where a file is read alone.
struct Beside(Option<HashMap<String, String>>);

impl Beside {
    fn read(place: &Place, name: &str, (id, text): (&str, &str)) -> Result<Self> {
        let path = place.table(name);
        if !path.is_file() {
            return Ok(Self(None));
        }
        let mut texts = HashMap::new();
        place.read(name, &mut Gate::new(&path, 0), |record| {
            texts.insert(id_text(record, id)?, record.text(text)?.to_owned());
            Ok(())
        })?;
        Ok(Self(Some(texts)))
    }

    /// What `record` names under `key` by `id`.
    fn named(&self, record: &Record<'_>, key: &str, id: &str) -> Result<Named> {
        let text = match &self.0 {
            None => None,
            Some(texts) => Some(
                texts
                    .get(id)
                    .ok_or_else(|| record.fault(key, "ids of the table beside this one", &format!("unknown id {id}")))?
                    .clone(),
            ),
        };
        Ok(Named { text, ..Named::id(id) })
    }
}

pub(super) fn read_tevatron(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    let corpus = Beside::read(place, "corpus", ("docid", "text"))?;
    place.read(MAIN, gate, |record| {
        let list =
            |key| record.texts(key)?.into_iter().map(|id| corpus.named(record, key, id)).collect::<Result<Vec<_>>>();
        let passages = judged(list("positive_document_ids")?, list("negative_document_ids")?);
        let text = record.value("query_text").and_then(Value::as_str).map(str::to_owned);
        let query = Named { id: Some(id_text(record, "query_id")?), text };
        each(said(record, query, passages, ("scores", None))?)
    })
}

pub(super) fn write_pylate(export: &Export<'_>, place: &Place) -> Result<()> {
    let train = columns([("query_id", Kind::Text), ("document_ids", Kind::Texts), ("scores", Kind::Numbers)]);
    let row = |instance: &Instance| {
        let scores = export.scores_of(instance)?.ok_or_else(|| {
            Fault::new(Path::new("pylate"), "scores, which distillation learns from", "none")
                .hint("give them with --scores")
        })?;
        let ids: Vec<String> = passages(instance).map(|one| one.passage.to_string()).collect();
        Ok(vec![json!(instance.query_id), json!(ids), json!(scores)])
    };
    place.write(MAIN, &train, export.instances.iter().map(row))?;
    let queries: BTreeMap<_, _> = export.instances.iter().map(|one| (&one.query_id, &one.query)).collect();
    let query = |(id, query)| Ok(vec![json!(id), json!(query)]);
    place.write(
        "queries",
        &columns([("query_id", Kind::Text), ("text", Kind::Text)]),
        queries.into_iter().map(query),
    )?;
    let document = |(id, one): (String, &TrainingPassage)| Ok(vec![json!(id), json!(one.text)]);
    let documents = columns([("document_id", Kind::Text), ("text", Kind::Text)]);
    place.write("documents", &documents, distinct(export).into_iter().map(document))
}

/// The first document is the positive: the form has no labels, and this is the order it is exported in.
pub(super) fn read_pylate(place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
    let queries = Beside::read(place, "queries", ("query_id", "text"))?;
    let documents = Beside::read(place, "documents", ("document_id", "text"))?;
    place.read(MAIN, gate, |record| {
        let of = |(number, id)| Ok((documents.named(record, "document_ids", id)?, u8::from(number == 0)));
        let passages = record.texts("document_ids")?.into_iter().enumerate().map(of).collect::<Result<Vec<_>>>()?;
        let query = queries.named(record, "query_id", &id_text(record, "query_id")?)?;
        let said: Said = said(record, query, passages, ("scores", record.numbers("scores")?))?;
        each(said)
    })
}
