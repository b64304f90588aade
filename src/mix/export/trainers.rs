//! What `FlagEmbedding`, Tevatron (before and after its version 2) and `PyLate` read.

use super::{Export, Fact, Result, read_lines, text, texts, write_lines};
use crate::data::{Fault, Instance, TrainingPassage};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

fn passages(instance: &Instance) -> impl Iterator<Item = &TrainingPassage> {
    std::iter::once(&instance.positive).chain(&instance.negatives)
}

/// A list for the positives, a list for the negatives, as facts.
fn facts(query: &str, positives: Vec<String>, negatives: Vec<String>) -> Vec<Fact> {
    let fact = |label| move |passage| (query.to_owned(), passage, label);
    positives.into_iter().map(fact(1)).chain(negatives.into_iter().map(fact(0))).collect()
}

pub(super) fn write_flag(export: &Export<'_>, folder: &Path) -> Result<()> {
    let line = |instance: &Instance| {
        let negatives: Vec<&str> = instance.negatives.iter().map(|negative| negative.text.as_str()).collect();
        let mut line = json!({"query": instance.query, "pos": [instance.positive.text], "neg": negatives});
        if let Some(scores) = export.scores_of(instance)? {
            line["pos_scores"] = json!(scores[..1]);
            line["neg_scores"] = json!(scores[1..]);
        }
        Ok(line)
    };
    write_lines(&folder.join("train.jsonl"), export.instances.iter().map(line))
}

pub(super) fn read_flag(folder: &Path) -> Result<Vec<Fact>> {
    let lines = read_lines(&folder.join("train.jsonl"))?;
    Ok(lines.iter().flat_map(|line| facts(&text(line, "query"), texts(line, "pos"), texts(line, "neg"))).collect())
}

pub(super) fn write_tevatron_old(export: &Export<'_>, folder: &Path) -> Result<()> {
    let passage = |one: &TrainingPassage| {
        let (title, text) = export.document(one)?;
        Ok(json!({"docid": one.passage.to_string(), "title": title, "text": text}))
    };
    let line = |instance: &Instance| {
        let negatives = instance.negatives.iter().map(passage).collect::<Result<Vec<_>>>()?;
        Ok(json!({
            "query_id": instance.query_id,
            "query": instance.query,
            "positive_passages": [passage(&instance.positive)?],
            "negative_passages": negatives,
        }))
    };
    write_lines(&folder.join("train.jsonl"), export.instances.iter().map(line))
}

pub(super) fn read_tevatron_old(folder: &Path) -> Result<Vec<Fact>> {
    let content = |one: &Value| {
        let part = |key| one.get(key).and_then(Value::as_str).unwrap_or_default();
        format!("{} {}", part("title"), part("text")).trim().to_owned()
    };
    let list = |line: &Map<String, Value>, key| {
        line.get(key).and_then(Value::as_array).map_or(Vec::new(), |all| all.iter().map(content).collect())
    };
    let lines = read_lines(&folder.join("train.jsonl"))?;
    let of_line = |line| facts(&text(line, "query"), list(line, "positive_passages"), list(line, "negative_passages"));
    Ok(lines.iter().flat_map(of_line).collect())
}

/// Each passage of the instances once, by id.
pub(super) fn distinct<'e>(export: &'e Export<'_>) -> BTreeMap<String, &'e TrainingPassage> {
    export.instances.iter().flat_map(passages).map(|one| (one.passage.to_string(), one)).collect()
}

pub(super) fn write_tevatron(export: &Export<'_>, folder: &Path) -> Result<()> {
    let ids = |all: &[TrainingPassage]| all.iter().map(|one| one.passage.to_string()).collect::<Vec<_>>();
    let line = |instance: &Instance| {
        Ok(json!({
            "query_id": instance.query_id,
            "query_text": instance.query,
            "positive_document_ids": [instance.positive.passage.to_string()],
            "negative_document_ids": ids(&instance.negatives),
        }))
    };
    write_lines(&folder.join("train.jsonl"), export.instances.iter().map(line))?;
    // Its training reads `text` and its encoding `document_text`.
    let document =
        |(id, one): (String, &TrainingPassage)| Ok(json!({"docid": id, "text": one.text, "document_text": one.text}));
    write_lines(&folder.join("corpus.jsonl"), distinct(export).into_iter().map(document))
}

/// Texts by id.
fn by_id(path: &Path, (id, value): (&str, &str)) -> Result<HashMap<String, String>> {
    Ok(read_lines(path)?.iter().map(|line| (text(line, id), text(line, value))).collect())
}

pub(super) fn read_tevatron(folder: &Path) -> Result<Vec<Fact>> {
    let corpus = by_id(&folder.join("corpus.jsonl"), ("docid", "document_text"))?;
    let resolved = |line, key| texts(line, key).iter().map(|id| corpus.get(id).cloned().unwrap_or_default()).collect();
    let lines = read_lines(&folder.join("train.jsonl"))?;
    let of_line = |line| {
        facts(
            &text(line, "query_text"),
            resolved(line, "positive_document_ids"),
            resolved(line, "negative_document_ids"),
        )
    };
    Ok(lines.iter().flat_map(of_line).collect())
}

pub(super) fn write_pylate(export: &Export<'_>, folder: &Path) -> Result<()> {
    let line = |instance: &Instance| {
        let scores = export.scores_of(instance)?.ok_or_else(|| {
            Fault::new(folder, "scores, which distillation learns from", "none").hint("give them with --scores")
        })?;
        let ids: Vec<String> = passages(instance).map(|one| one.passage.to_string()).collect();
        Ok(json!({"query_id": instance.query_id, "document_ids": ids, "scores": scores}))
    };
    write_lines(&folder.join("train.jsonl"), export.instances.iter().map(line))?;
    let queries: BTreeMap<_, _> = export.instances.iter().map(|one| (&one.query_id, &one.query)).collect();
    let query = |(id, query)| Ok(json!({"query_id": id, "text": query}));
    write_lines(&folder.join("queries.jsonl"), queries.into_iter().map(query))?;
    let document = |(id, one): (String, &TrainingPassage)| Ok(json!({"document_id": id, "text": one.text}));
    write_lines(&folder.join("documents.jsonl"), distinct(export).into_iter().map(document))
}

pub(super) fn read_pylate(folder: &Path) -> Result<Vec<Fact>> {
    let queries = by_id(&folder.join("queries.jsonl"), ("query_id", "text"))?;
    let documents = by_id(&folder.join("documents.jsonl"), ("document_id", "text"))?;
    let lines = read_lines(&folder.join("train.jsonl"))?;
    let known = |texts: &HashMap<String, String>, id: &String| texts.get(id).cloned().unwrap_or_default();
    let of_line = |line: &Map<String, Value>| {
        let mut all: Vec<String> = texts(line, "document_ids").iter().map(|id| known(&documents, id)).collect();
        let negatives = all.split_off(all.len().min(1));
        facts(&known(&queries, &text(line, "query_id")), all, negatives)
    };
    Ok(lines.iter().flat_map(of_line).collect())
}
