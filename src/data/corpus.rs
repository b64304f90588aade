//! The passages of a BEIR folder: `corpus.jsonl`, memory-mapped.
//! Opening checks every line and keeps the ids and where each line starts; texts are parsed
//! when asked for. Simple on purpose: the offsets are found anew at each opening; an index
//! beside the file, for millions of documents, is the place to deepen.

use super::{DocId, Error, Fault, IdTable, Result, arrays, jsonl::Record};
use memmap2::Mmap;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A passage of the corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its identifier.
    pub id: DocId,
    /// Title; "" where the collection has none.
    pub title: String,
    /// Body.
    pub text: String,
}

impl Document {
    /// What models and indexes see: title, a space, body, trimmed (BEIR's rule).
    #[must_use]
    pub fn content(&self) -> String {
        format!("{} {}", self.title, self.text).trim().to_owned()
    }
}

/// All passages of a collection, by row (0-based file order) and by id.
pub struct Corpus {
    path: PathBuf,
    map: Arc<Mmap>,
    spans: Vec<(usize, usize)>,
    ids: Arc<IdTable>,
}

impl Corpus {
    /// The corpus in `path` (JSON lines with `_id`, `title`, `text`).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] naming the line that is no JSON object, lacks `_id` or
    /// `text`, or repeats an id; or when the file is empty.
    pub fn open(path: &Path) -> Result<Self> {
        if std::fs::metadata(path).map_err(Error::io("read", path))?.len() == 0 {
            return Err(Fault::new(path, "at least one passage", "an empty file").into());
        }
        let map = arrays::map(path)?;
        let lines = lines_of(&map);
        let parsed: Vec<DocId> = lines
            .par_iter()
            .map(|&(start, end, line)| {
                let record = Record::parse(&map[start..end], path, line)?;
                record.text_or_empty("title")?;
                record.text("text")?;
                identifier(&record, DocId::new)
            })
            .collect::<Result<_>>()?;
        let ids = IdTable::new(parsed.iter().map(DocId::as_str));
        if let Some((first, row)) = ids.repeated() {
            return Err(Fault::new(path, "ids that occur once", format!("{} again", ids.get(row)))
                .line(lines[row].2)
                .key("_id")
                .hint(format!("it stands first in line {}", lines[first].2))
                .into());
        }
        let spans = lines.into_iter().map(|(start, end, _)| (start, end)).collect();
        Ok(Self { path: path.to_owned(), map, spans, ids: Arc::new(ids) })
    }

    /// Number of passages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when there is none; an opened corpus has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Ids by row.
    #[must_use]
    pub fn ids(&self) -> &Arc<IdTable> {
        &self.ids
    }

    /// Row of `id`, from 0.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<usize> {
        self.ids.row(id)
    }

    /// The passage in `row`.
    ///
    /// # Errors
    /// [`Error::Input`] when the file was changed since it was opened.
    ///
    /// # Panics
    /// When `row` is not below [`Corpus::len`].
    pub fn document(&self, row: usize) -> Result<Document> {
        let (start, end) = self.spans[row];
        // Only an error needs the line's number: the file was changed since it was opened.
        let line = || self.map[..start].split(|&byte| byte == b'\n').count() as u64;
        let bytes = &self.map[start..end];
        let record = Record::parse(bytes, &self.path, 0).or_else(|_| Record::parse(bytes, &self.path, line()))?;
        Ok(Document {
            id: self.ids.id(row),
            title: record.text_or_empty("title")?.to_owned(),
            text: record.text("text")?.to_owned(),
        })
    }

    /// The passage called `id`, if the collection has it.
    ///
    /// # Errors
    /// As [`Corpus::document`].
    pub fn get(&self, id: &str) -> Result<Option<Document>> {
        self.row(id).map(|row| self.document(row)).transpose()
    }

    /// [`Document::content`] of every row, parsed in parallel.
    ///
    /// # Errors
    /// As [`Corpus::document`].
    pub fn contents(&self) -> Result<Vec<String>> {
        (0..self.len()).into_par_iter().map(|row| Ok(self.document(row)?.content())).collect()
    }
}

/// Reads `_id` as an identifier of the kind `new` makes.
pub(super) fn identifier<I>(record: &Record<'_>, new: impl Fn(&str) -> Result<I, super::ids::InvalidId>) -> Result<I> {
    new(record.text("_id")?).map_err(|error| record.fault("_id", "an identifier", &error.to_string()))
}

fn lines_of(bytes: &[u8]) -> Vec<(usize, usize, u64)> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (number, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let kept = super::jsonl::trim_end(line);
        if !kept.is_empty() {
            lines.push((start, start + kept.len(), number as u64 + 1));
        }
        start += line.len() + 1;
    }
    lines
}
