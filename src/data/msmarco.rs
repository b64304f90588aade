//! The files of MS MARCO and of TREC's tracks, line by line: passages, queries, judgements, triples; tab-separated,
//! plain or packed. Texts stand there as they are, so a tab or line break in one cannot: writing puts a blank instead.

use super::qrels::utf8;
use super::reading::Gate;
use super::{DocId, Document, Error, Fault, Qrels, Query, QueryId, Result, atomic, error::excerpt, jsonl};
use std::io::Write;
use std::path::Path;

/// A query, a passage that answers it, and one that does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triple<Q, P> {
    /// The query.
    pub query: Q,
    /// The passage that answers it.
    pub positive: P,
    /// The passage that does not.
    pub negative: P,
}

/// Calls `each` with every passage of `path`: `id text`, `id title text` or, as MS MARCO's documents have it,
/// `id url title text`, by tabs.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] naming the line; what `each` returns.
pub fn each_passage(path: &Path, gate: &mut Gate, mut each: impl FnMut(Document) -> Result<()>) -> Result<()> {
    each_row(path, gate, |row| {
        let (id, title, text) = match row.columns[..] {
            [id, text] => (id, "", text),
            [id, title, text] | [id, _, title, text] => (id, title, text),
            _ => return Err(row.count("2 to 4 columns (id, text; id, title, text; id, url, title, text)")),
        };
        each(Document { id: row.id(id, DocId::new)?, title: title.to_owned(), text: text.to_owned() })
    })
}

/// Calls `each` with every query of `path`: `id text`, by a tab.
///
/// # Errors
/// As [`each_passage`].
pub fn each_query(path: &Path, gate: &mut Gate, mut each: impl FnMut(Query) -> Result<()>) -> Result<()> {
    each_row(path, gate, |row| {
        let [id, text] = row.columns[..] else { return Err(row.count("2 columns (id, text)")) };
        each(Query { id: row.id(id, QueryId::new)?, text: text.to_owned() })
    })
}

/// Calls `each` with every triple of ids in `path` (`qidpidtriples`): query, positive, negative.
///
/// # Errors
/// As [`each_passage`].
pub fn each_triple(
    path: &Path,
    gate: &mut Gate,
    mut each: impl FnMut(Triple<QueryId, DocId>) -> Result<()>,
) -> Result<()> {
    each_row(path, gate, |row| {
        let text = row.columns.join("\t");
        let columns: Vec<&str> = text.split_whitespace().collect();
        let [query, positive, negative] = columns[..] else {
            return Err(row.count("3 columns (ids of query, positive, negative)"));
        };
        let [positive, negative] = [row.id(positive, DocId::new)?, row.id(negative, DocId::new)?];
        each(Triple { query: row.id(query, QueryId::new)?, positive, negative })
    })
}

/// Calls `each` with every triple of texts in `path`: query, positive, negative, by tabs.
///
/// # Errors
/// As [`each_passage`].
pub fn each_text_triple(
    path: &Path,
    gate: &mut Gate,
    mut each: impl FnMut(Triple<&str, &str>) -> Result<()>,
) -> Result<()> {
    each_row(path, gate, |row| {
        let [query, positive, negative] = row.columns[..] else {
            return Err(row.count("3 columns (texts of query, positive, negative)"));
        };
        if let Some(place) = row.columns.iter().position(|text| text.trim().is_empty()) {
            let name = ["query", "positive", "negative"][place];
            return Err(Fault::new(row.path, "a text", "nothing").line(row.line).key(name).into());
        }
        each(Triple { query, positive, negative })
    })
}

/// Adds the line of a passage (`id text`, the text with its title before it) to `out`; `path` is for the error.
///
/// # Errors
/// [`Error::Io`].
pub fn write_passage(out: &mut dyn Write, document: &Document, path: &Path) -> Result<()> {
    writeln!(out, "{}\t{}", document.id, on_one_line(&document.content())).map_err(Error::io("write", path))
}

/// Adds the line of a query to `out`; `path` is for the error.
///
/// # Errors
/// [`Error::Io`].
pub fn write_query(out: &mut dyn Write, query: &Query, path: &Path) -> Result<()> {
    writeln!(out, "{}\t{}", query.id, on_one_line(&query.text)).map_err(Error::io("write", path))
}

/// Writes TREC qrels (`query 0 passage grade`), as MS MARCO and `trec_eval` read them, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write_qrels(path: &Path, qrels: &Qrels) -> Result<()> {
    atomic::write_file(path, |out| {
        for (query, judged) in qrels.iter() {
            for (doc, grade) in judged {
                writeln!(out, "{query} 0 {doc} {grade}").map_err(Error::io("write", path))?;
            }
        }
        Ok(())
    })
}

/// `text` with a blank for every tab and line break.
#[must_use]
pub fn on_one_line(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

/// A line in its columns, with where it stands.
struct Row<'l> {
    path: &'l Path,
    line: u64,
    text: &'l str,
    columns: Vec<&'l str>,
}

impl Row<'_> {
    fn count(&self, expected: &str) -> Error {
        let found = format!("{}: {}", self.columns.len(), excerpt(self.text, 60));
        Fault::new(self.path, format!("{expected}, tab-separated"), found).line(self.line).into()
    }

    fn id<I>(&self, text: &str, new: impl Fn(&str) -> Result<I, super::ids::InvalidId>) -> Result<I> {
        let fault = |error: super::ids::InvalidId| Fault::new(self.path, "an identifier", error.to_string());
        new(text).map_err(|error| fault(error).line(self.line).key("id").into())
    }
}

fn each_row(path: &Path, gate: &mut Gate, mut each: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
    jsonl::each_whole_line(path, |bytes, line| {
        if bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        let outcome = utf8(bytes, path, line)
            .and_then(|text| each(&Row { path, line, text, columns: text.split('\t').collect() }));
        gate.pass(outcome, line, bytes).map(|_| ())
    })
}
