//! JSON lines in and out: every defect names its file, line and key.

use super::reading::Gate;
use super::{Error, Fault, Result, error::excerpt, packed};
use serde_json::{Map, Value};
use std::io::BufRead;
use std::path::Path;

/// One JSON object of a line, with where it came from.
pub struct Record<'a> {
    file: &'a Path,
    line: u64,
    object: Map<String, Value>,
}

impl<'a> Record<'a> {
    /// The object in `bytes`, which stand at `file:line`.
    ///
    /// # Errors
    /// [`Error::Input`] when they are not UTF-8 or not one JSON object.
    pub fn parse(bytes: &[u8], file: &'a Path, line: u64) -> Result<Self> {
        let fault = |expected: &str, found: String| Fault::new(file, expected, found).line(line);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            fault("UTF-8 text", format!("an invalid byte at column {}", error.valid_up_to() + 1))
                .hint("convert the file, for example with iconv -t UTF-8")
        })?;
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Self { file, line, object }),
            Ok(_) => Err(fault("a JSON object", excerpt(text, 60)).into()),
            Err(error) => Err(fault("one JSON object a line", format!("{} ({error})", excerpt(text, 60)))
                .hint("each line must hold one whole object; a line break inside a string is written \\n")
                .into()),
        }
    }

    /// The object that stands at `file:line`, or is that row of a table.
    #[must_use]
    pub fn of(object: Map<String, Value>, file: &'a Path, line: u64) -> Self {
        Self { file, line, object }
    }

    /// Number of the line, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Keys and values in the order of the line.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.object.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The string under `key`.
    ///
    /// # Errors
    /// [`Error::Input`] when it is missing or no string.
    pub fn text(&self, key: &str) -> Result<&str> {
        match self.object.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.fault(key, "a string", &other.to_string())),
            None => Err(self.fault(key, "this key", "no such key")),
        }
    }

    /// The string under `key`; "" when it is missing or null.
    ///
    /// # Errors
    /// [`Error::Input`] when it is there and neither string nor null.
    pub fn text_or_empty(&self, key: &str) -> Result<&str> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(""),
            Some(_) => self.text(key),
        }
    }

    /// The value under `key`, if there is one that is not null.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// The list under `key`.
    ///
    /// # Errors
    /// [`Error::Input`] when it is missing or no list.
    pub fn list(&self, key: &str) -> Result<&[Value]> {
        match self.object.get(key) {
            Some(Value::Array(all)) => Ok(all),
            Some(other) => Err(self.fault(key, "a list", &excerpt(&other.to_string(), 60))),
            None => Err(self.fault(key, "this key", "no such key")),
        }
    }

    /// The strings of the list under `key`.
    ///
    /// # Errors
    /// [`Error::Input`] when it is missing, no list, or one of something else.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>> {
        let fault = |found: &Value| self.fault(key, "a list of strings", &excerpt(&found.to_string(), 60));
        self.list(key)?.iter().map(|one| one.as_str().ok_or_else(|| fault(one))).collect()
    }

    /// The numbers of the list under `key`; nothing when it is missing or null.
    ///
    /// # Errors
    /// [`Error::Input`] when it is something else.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let number = |value: &Value| {
            value.as_f64().ok_or_else(|| self.fault(key, "a list of numbers", &excerpt(&value.to_string(), 60)))
        };
        match self.value(key) {
            None => Ok(None),
            Some(_) => self.list(key)?.iter().map(number).collect::<Result<_>>().map(Some),
        }
    }

    /// A defect of this record under `key`.
    pub fn fault(&self, key: &str, expected: &str, found: &str) -> Error {
        let known: Vec<&str> = self.object.keys().map(String::as_str).collect();
        Fault::new(self.file, expected, found)
            .line(self.line)
            .key(key)
            .hint(format!("the keys of this line are: {}", known.join(", ")))
            .into()
    }
}

/// Calls `each` with every line of a plain or packed file that is not blank, without the blanks at its end, as bytes
/// with its number from 1.
///
/// # Errors
/// [`Error::Io`], or what `each` returns.
pub fn each_line(path: &Path, mut each: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
    each_whole_line(path, |line, number| {
        let text = trim_end(line);
        if text.is_empty() { Ok(()) } else { each(text, number) }
    })
}

/// Calls `each` with every line of a plain or packed file without its line break, as bytes with its number from 1:
/// for columns, of which the last may be empty.
///
/// # Errors
/// [`Error::Io`], or what `each` returns.
pub fn each_whole_line(path: &Path, mut each: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
    let mut reader = packed::open(path)?.0;
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(Error::io("read", path))? == 0 {
            return Ok(());
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        each(text.strip_suffix(b"\r").unwrap_or(text), number)?;
    }
}

/// As [`each_line`], passing over the bad lines that `gate` lets pass.
///
/// # Errors
/// [`Error::Io`], or what the gate returns.
pub fn each_good_line(path: &Path, gate: &mut Gate, mut each: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
    each_line(path, |bytes, line| gate.pass(each(bytes, line), line, bytes).map(|_| ()))
}

/// `line` without its line break and the blanks before it.
#[must_use]
pub fn trim_end(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// Every record of a JSON lines file written by this program.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] with the line that is no `T`.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let mut records = Vec::new();
    each_line(path, |bytes, line| {
        records.push(serde_json::from_slice(bytes).map_err(|error| {
            Fault::new(path, format!("a record of type {}", short_name::<T>()), error.to_string()).line(line)
        })?);
        Ok(())
    })?;
    Ok(records)
}

/// Writes `records` to `path`, one a line, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write<'r, T: serde::Serialize + 'r>(path: &Path, records: impl IntoIterator<Item = &'r T>) -> Result<()> {
    super::atomic::write_file(path, |out| {
        for record in records {
            serde_json::to_writer(&mut *out, record).map_err(|error| Error::io("write", path)(error.into()))?;
            out.write_all(b"\n").map_err(Error::io("write", path))?;
        }
        Ok(())
    })
}

fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}
