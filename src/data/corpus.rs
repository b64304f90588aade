//! The passages of a BEIR folder: `corpus.jsonl`, memory-mapped, parsed line by line when asked for.
//! The first opening checks every line and leaves an index beside the file (`corpus_index.rs`); later ones
//! map both and cost the same at any size. A packed corpus (`.gz`, `.zst`) cannot be mapped: it is unpacked once,
//! beside itself where the folder can be written, else in memory.

use super::corpus_index::{Index, line_number};
use super::packed::{self, Form};
use super::reading::RejectedLines;
use super::{Digest, DocId, Error, Fault, IdTable, Reading, Result, arrays, jsonl::Record};
use memmap2::Mmap;
use rayon::prelude::*;
use serde::Deserialize;
use std::borrow::Cow;
use std::ops::{Deref, Range};
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
        content(&self.title, &self.text)
    }
}

fn content(title: &str, text: &str) -> String {
    format!("{title} {text}").trim().to_owned()
}

/// All passages of a collection, by row (0-based order of the good lines of the file) and by id.
pub struct Corpus {
    path: PathBuf,
    bytes: Bytes,
    index: Index,
}

/// The text of a corpus, mapped or in memory.
pub(super) enum Bytes {
    Map(Arc<Mmap>),
    Memory(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}

impl Corpus {
    /// The corpus in `path` (JSON lines with `_id`, `title`, `text`), whose first bad line is an error.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] naming the line that is no JSON object, lacks `_id` or
    /// `text`, or repeats an id; or when the file is empty.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &Reading::strict())
    }

    /// As [`Corpus::open`], as `reading` says.
    ///
    /// # Errors
    /// As [`Corpus::open`]; [`Error::Input`] when more lines are bad than may be; [`Error::Stopped`].
    pub fn open_with(path: &Path, reading: &Reading<'_>) -> Result<Self> {
        let head = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let (bytes, index) = match Form::of_file(head).map_err(Error::io("read", path))? {
            Form::Plain if std::fs::metadata(path).map_err(Error::io("read", path))?.len() == 0 => {
                return Err(Fault::new(path, "at least one passage", "an empty file").into());
            }
            Form::Plain => {
                let bytes = Bytes::Map(arrays::map(path)?);
                let index = Index::of_plain(path, &bytes, reading)?;
                (bytes, index)
            }
            Form::Gzip | Form::Zstd => Index::of_packed(path, reading)?,
        };
        Ok(Self { path: path.to_owned(), bytes, index })
    }

    /// The corpus whose text is `bytes`, with its index in memory; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`Corpus::open_with`].
    pub fn of_bytes(bytes: Vec<u8>, path: &Path, reading: &Reading<'_>) -> Result<Self> {
        let index = Index::build(path, &bytes, reading)?;
        Ok(Self { path: path.to_owned(), bytes: Bytes::Memory(bytes), index })
    }

    /// Number of passages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.ids.len()
    }

    /// True when there is none; an opened corpus has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.ids.is_empty()
    }

    /// Ids by row.
    #[must_use]
    pub fn ids(&self) -> &Arc<IdTable> {
        &self.index.ids
    }

    /// Row of `id`, from 0.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<usize> {
        self.index.ids.row(id)
    }

    /// Digest of the corpus's text, unpacked; known from the index, so that nothing is read for it.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.index.digest
    }

    /// The file it was opened from, which need not be called `corpus.jsonl`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that are no passages of it.
    #[must_use]
    pub fn rejected(&self) -> RejectedLines {
        RejectedLines { file: self.path.clone(), lines: self.index.rejected.clone() }
    }

    /// The passage in `row`.
    ///
    /// # Errors
    /// [`Error::Input`] when the file was changed since it was opened.
    ///
    /// # Panics
    /// When `row` is not below [`Corpus::len`].
    pub fn document(&self, row: usize) -> Result<Document> {
        let line = self.line(row)?;
        Ok(Document { id: self.index.ids.id(row), title: line.title().to_owned(), text: line.text.into_owned() })
    }

    /// The passage called `id`, if the collection has it.
    ///
    /// # Errors
    /// As [`Corpus::document`].
    pub fn get(&self, id: &str) -> Result<Option<Document>> {
        self.row(id).map(|row| self.document(row)).transpose()
    }

    /// [`Document::content`] of every row, parsed in parallel; all of them in memory.
    ///
    /// # Errors
    /// As [`Corpus::document`].
    pub fn contents(&self) -> Result<Vec<String>> {
        self.contents_of(0..self.len())
    }

    /// [`Document::content`] of `rows`, parsed in parallel: for work in blocks, which needs no more memory than one.
    ///
    /// # Errors
    /// As [`Corpus::document`].
    ///
    /// # Panics
    /// When a row is not below [`Corpus::len`].
    pub fn contents_of(&self, rows: Range<usize>) -> Result<Vec<String>> {
        rows.into_par_iter()
            .map(|row| {
                let line = self.line(row)?;
                Ok(content(line.title(), &line.text))
            })
            .collect()
    }

    /// Gives the memory that reading `rows` took back to the system.
    pub fn release(&self, rows: Range<usize>) {
        let place = |row: usize| self.index.starts.get(row).and_then(|&start| usize::try_from(start).ok());
        if let (Bytes::Map(map), Some(start)) = (&self.bytes, place(rows.start)) {
            let end = place(rows.end).unwrap_or(map.len());
            if start < end && end <= map.len() {
                arrays::release(map, start..end);
            }
        }
    }

    fn line(&self, row: usize) -> Result<Line<'_>> {
        let start = usize::try_from(self.index.starts[row]).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let bytes = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
        // Only an error needs the line's number: the file was changed since it was opened.
        Line::parse(bytes, &self.path, || line_number(&self.bytes, start))
    }
}

/// The fields of a corpus line, borrowed where nothing is escaped.
#[derive(Deserialize)]
pub(super) struct Line<'l> {
    #[serde(rename = "_id", borrow)]
    pub id: Cow<'l, str>,
    #[serde(borrow, default)]
    title: Option<Text<'l>>,
    #[serde(borrow)]
    pub text: Cow<'l, str>,
}

/// serde borrows a string inside an option only through a type of its own.
#[derive(Deserialize)]
struct Text<'l>(#[serde(borrow)] Cow<'l, str>);

impl<'l> Line<'l> {
    /// The passage in the bytes of a line.
    ///
    /// # Errors
    /// [`Error::Input`] naming the place and key.
    pub(super) fn parse(bytes: &'l [u8], file: &Path, line: impl Fn() -> u64) -> Result<Self> {
        let quick = std::str::from_utf8(bytes).ok().and_then(|text| serde_json::from_str::<Self>(text).ok());
        match quick {
            Some(fields) if super::ids::check(&fields.id).is_ok() => Ok(fields),
            // Slower, but it says what is wrong, and takes a key that stands twice as JSON readers do.
            _ => Self::parse_slowly(&Record::parse(bytes, file, line())?),
        }
    }

    fn parse_slowly(record: &Record<'_>) -> Result<Self> {
        let title = record.text_or_empty("title")?.to_owned();
        let text = record.text("text")?.to_owned();
        let id = identifier(record, DocId::new)?.as_str().to_owned();
        Ok(Self { id: id.into(), title: Some(Text(title.into())), text: text.into() })
    }

    fn title(&self) -> &str {
        self.title.as_ref().map_or("", |Text(title)| title)
    }
}

/// Reads `_id` as an identifier of the kind `new` makes.
pub(super) fn identifier<I>(record: &Record<'_>, new: impl Fn(&str) -> Result<I, super::ids::InvalidId>) -> Result<I> {
    new(record.text("_id")?).map_err(|error| record.fault("_id", "an identifier", &error.to_string()))
}

/// Unpacks `path` into memory.
pub(super) fn unpack(path: &Path) -> Result<Bytes> {
    packed::read(path).map(Bytes::Memory)
}
