//! How input is read: who follows it, and how many bad lines of a file may be passed over.
//! A line is bad when its parser says so; everything else (a file that is not there, a disk that fails) still ends
//! the reading. What was passed over is kept with its number, reason and text, to be written to a side file.

use super::{Error, Fault, Quiet, Result, Watch, jsonl};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How many of a file's bad lines its error names.
const NAMED: usize = 3;

/// How a collection is read.
#[derive(Clone, Copy)]
pub struct Reading<'w> {
    /// Progress, notes and stop.
    pub watch: &'w dyn Watch,
    /// Bad lines passed over in each file; 0 makes the first an error. Higher hides more of a damaged file.
    pub skip_bad_lines: u64,
}

impl Reading<'static> {
    /// Quiet; the first bad line is an error.
    #[must_use]
    pub fn strict() -> Self {
        Self { watch: &Quiet, skip_bad_lines: 0 }
    }
}

/// A line that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// Its number, from 1.
    pub line: u64,
    /// What was expected and what was found.
    pub reason: String,
    /// The line itself; bytes that are not UTF-8 stand as U+FFFD.
    pub text: String,
}

/// The bad lines of one file, of which at most a given number may be.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    limit: u64,
    rejected: Vec<Rejected>,
}

impl Gate {
    /// For the lines of `path`, of which `limit` may be bad.
    #[must_use]
    pub fn new(path: &Path, limit: u64) -> Self {
        Self { path: path.to_owned(), limit, rejected: Vec::new() }
    }

    /// The value of `outcome`, or `None` when it is a bad line that may be passed over; `bytes` are the line's.
    ///
    /// # Errors
    /// The outcome's own when no line may be bad; [`Error::Input`] naming the first lines when too many are;
    /// every error that is not about the input.
    pub fn pass<T>(&mut self, outcome: Result<T>, line: u64, bytes: &[u8]) -> Result<Option<T>> {
        let fault = match outcome {
            Ok(value) => return Ok(Some(value)),
            Err(Error::Input(fault)) if self.limit > 0 => fault,
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.rejected.push(Rejected { line, reason: fault.reason(), text });
        self.check()?;
        Ok(None)
    }

    /// Fails once more lines are bad than may be.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first ones.
    pub fn check(&self) -> Result<()> {
        if self.rejected.len() as u64 <= self.limit {
            return Ok(());
        }
        let named: Vec<String> =
            self.rejected.iter().take(NAMED).map(|bad| format!("line {}: {}", bad.line, bad.reason)).collect();
        let more = if self.rejected.len() > NAMED { "; ..." } else { "" };
        Err(Fault::new(
            &self.path,
            format!("at most {} bad lines", self.limit),
            format!("more: {}{more}", named.join("; ")),
        )
        .hint("mend them, or raise --skip-bad-lines; `nearmiss inspect` lists all")
        .into())
    }

    /// What was passed over, in the order of lines, with its file.
    #[must_use]
    pub fn into_rejected(self) -> RejectedLines {
        RejectedLines { file: self.path, lines: self.rejected }
    }
}

/// The lines of a file that were passed over.
#[derive(Debug, Clone)]
pub struct RejectedLines {
    /// The file.
    pub file: PathBuf,
    /// The lines, in their order; may be none.
    pub lines: Vec<Rejected>,
}

impl RejectedLines {
    /// Writes them to `<file>.rejected.jsonl`, if there are any, and tells of it.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be written.
    pub fn write_beside(&self, watch: &dyn Watch) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(".rejected.jsonl");
        let place = self.file.with_file_name(name);
        jsonl::write(&place, &self.lines)?;
        let (count, file) = (self.lines.len(), self.file.display());
        watch.note(&format!("{file}: {count} bad lines passed over; they are in {}", place.display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn bad(line: u64) -> Result<u64> {
        Err(Fault::new(Path::new("a.tsv"), "3 columns", "2").line(line).key("score").hint("mend it").into())
    }

    #[test]
    fn as_many_pass_as_may_and_one_more_names_the_first() -> Outcome {
        let mut gate = Gate::new(Path::new("a.tsv"), 2);
        assert_eq!(gate.pass(Ok(7), 1, b"good")?, Some(7));
        assert_eq!(gate.pass(bad(2), 2, b"x\xff")?, None);
        assert_eq!(gate.pass(bad(5), 5, b"y")?, None);
        let message = gate.pass(bad(9), 9, b"z").err().ok_or("an error was due")?.to_string();
        assert!(
            message.starts_with(
                "a.tsv: expected at most 2 bad lines, found more: line 2: `score`: expected 3 columns, found 2; line 5:"
            ),
            "{message}"
        );
        let kept = &gate.into_rejected().lines[0];
        assert_eq!((kept.line, kept.text.as_str()), (2, "x\u{fffd}"));
        Ok(())
    }

    #[test]
    fn without_leave_the_lines_own_error_is_given_and_others_always() -> Outcome {
        let message = Gate::new(Path::new("a.tsv"), 0).pass(bad(2), 2, b"x").err().ok_or("an error was due")?;
        assert!(message.to_string().starts_with("a.tsv:2: `score`"), "{message}");
        let stopped = Gate::new(Path::new("a.tsv"), 5).pass::<()>(Err(Error::Stopped), 1, b"");
        assert!(matches!(stopped, Err(Error::Stopped)));
        Ok(())
    }
}
