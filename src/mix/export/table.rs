//! Tables of an export, as JSON lines or Parquet: columns of a few kinds, written row by row and read back as records
//! that know their place.

use super::{Result, parquet};
use crate::data::jsonl::{self, Record};
use crate::data::reading::Gate;
use crate::data::{Error, Fault, atomic};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// How tables are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object a line.
    JsonLines,
    /// Apache Parquet, columns packed with Zstandard.
    Parquet,
}

impl Format {
    /// How names of its files end.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The format of a file, by its first bytes.
    fn of_file(path: &Path) -> Result<Self> {
        use std::io::Read;
        let mut head = Vec::new();
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        file.take(4).read_to_end(&mut head).map_err(Error::io("read", path))?;
        Ok(if head == b"PAR1" { Self::Parquet } else { Self::JsonLines })
    }
}

/// What a column holds; there are no nulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Whole,
    /// A score.
    Number,
    /// A list of each.
    Texts,
    Wholes,
    Numbers,
    /// A list of passages: `docid`, `title`, `text`.
    Passages,
    /// An empty object, which readers expect.
    Nothing,
}

/// Name and kind.
pub(super) type Column = (String, Kind);

/// Columns with fixed names.
pub(super) fn columns<const N: usize>(named: [(&str, Kind); N]) -> Vec<Column> {
    named.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect()
}

/// The folder of an export, or of a file that is imported.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    /// The file with the instances, where it has a name of its own.
    main: Option<PathBuf>,
    format: Format,
}

impl Place {
    /// The folder of an export.
    pub(super) fn new(folder: &Path, format: Format) -> Self {
        Self { folder: folder.to_owned(), main: None, format }
    }

    /// What lies at `path`: the folder of an export, or its file with the instances alone.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let packed = path.join("train.parquet").is_file();
            return Ok(Self::new(path, if packed { Format::Parquet } else { Format::JsonLines }));
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { folder, main: Some(path.to_owned()), format: Format::of_file(path)? })
    }

    /// Where the table `name` lies.
    pub(super) fn table(&self, name: &str) -> PathBuf {
        self.file(name, self.format.ending())
    }

    /// Where a file that is no table lies.
    pub(super) fn file(&self, name: &str, ending: &str) -> PathBuf {
        let file = || self.folder.join(format!("{name}.{ending}"));
        if name == MAIN { self.main.clone().unwrap_or_else(file) } else { file() }
    }

    /// Writes the table `name` row by row; a row has a cell for each of `columns`.
    pub(super) fn write(
        &self,
        name: &str,
        columns: &[Column],
        rows: impl IntoIterator<Item = Result<Vec<Value>>>,
    ) -> Result<()> {
        let path = self.table(name);
        match self.format {
            Format::Parquet => parquet::write(&path, columns, rows),
            Format::JsonLines => atomic::write_file(&path, |out| {
                for row in rows {
                    let names = columns.iter().map(|(name, _)| name.clone());
                    let object: Map<String, Value> = names.zip(row?).collect();
                    serde_json::to_writer(&mut *out, &object).map_err(|e| Error::io("write", &path)(e.into()))?;
                    out.write_all(b"\n").map_err(Error::io("write", &path))?;
                }
                Ok(())
            }),
        }
    }

    /// Calls `each` with every record of the table `name`; bad ones pass through `gate`.
    pub(super) fn read(
        &self,
        name: &str,
        gate: &mut Gate,
        mut each: impl FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let path = self.table(name);
        if !path.is_file() {
            return Err(Fault::new(&path, format!("the table {name} of this form"), "no such file").into());
        }
        match self.format {
            Format::Parquet => parquet::read(&path, |row, line| {
                let outcome = row.and_then(|row| each(&Record::of(row, &path, line)));
                gate.pass(outcome, line, b"").map(|_| ())
            }),
            Format::JsonLines => jsonl::each_good_line(&path, gate, |bytes, line| {
                Record::parse(bytes, &path, line).and_then(|record| each(&record))
            }),
        }
    }
}

/// Name of the table with the instances.
pub(super) const MAIN: &str = "train";
