//! A BEIR folder's lines, one by one, so that a collection of any size is written as it is read.
//! Every text comes back as it was: JSON escapes what would break a line.

use super::{DocId, Document, Error, Qrels, Query, QueryId, Result, atomic};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Head of every `qrels/<split>.tsv`.
pub const HEAD: &str = "query-id\tcorpus-id\tscore";

#[derive(Serialize)]
struct PassageLine<'d> {
    #[serde(rename = "_id")]
    id: &'d DocId,
    title: &'d str,
    text: &'d str,
}

#[derive(Serialize)]
struct QueryLine<'q> {
    #[serde(rename = "_id")]
    id: &'q QueryId,
    text: &'q str,
}

/// Adds a line of `corpus.jsonl` to `out`; `path` is for the error.
///
/// # Errors
/// [`Error::Io`].
pub fn write_passage(out: &mut dyn Write, document: &Document, path: &Path) -> Result<()> {
    let Document { id, title, text } = document;
    line(out, &PassageLine { id, title, text }, path)
}

/// Adds a line of `queries.jsonl` to `out`; `path` is for the error.
///
/// # Errors
/// [`Error::Io`].
pub fn write_query(out: &mut dyn Write, query: &Query, path: &Path) -> Result<()> {
    line(out, &QueryLine { id: &query.id, text: &query.text }, path)
}

/// Writes `qrels/<split>.tsv`, head included, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write_qrels(path: &Path, qrels: &Qrels) -> Result<()> {
    atomic::write_file(path, |out| {
        writeln!(out, "{HEAD}").map_err(Error::io("write", path))?;
        for (query, judged) in qrels.iter() {
            for (doc, grade) in judged {
                writeln!(out, "{query}\t{doc}\t{grade}").map_err(Error::io("write", path))?;
            }
        }
        Ok(())
    })
}

fn line(out: &mut dyn Write, record: &impl Serialize, path: &Path) -> Result<()> {
    serde_json::to_writer(&mut *out, record).map_err(|error| Error::io("write", path)(error.into()))?;
    out.write_all(b"\n").map_err(Error::io("write", path))
}
