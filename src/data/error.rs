//! What can go wrong with input and output, said so that it can be mended.
//! Every message names the place (file, line, key), what was expected and what was there;
//! a remedy follows on a line of its own. Higher layers wrap [`Error`], they do not repeat it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of the data layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure to read or write, or a stop that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {cause}{}", path.display(), hint_for(cause))]
    Io {
        /// What was asked for, as a verb phrase: "read", "write".
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's answer; part of the message, so not its source again.
        cause: std::io::Error,
    },
    /// The input is there but not what it should be.
    #[error(transparent)]
    Input(#[from] Box<Fault>),
    /// The user asked to stop; what was written so far is whole.
    #[error("stopped; run the same command again to go on")]
    Stopped,
}

impl Error {
    /// Closure for `map_err` on input and output of `path`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { action, path, cause }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Input(Box::new(fault))
    }
}

fn hint_for(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::NotFound => "\n  hint: check the path; relative paths start at the current folder",
        std::io::ErrorKind::UnexpectedEof => "\n  hint: the file is cut off; fetch or make it again",
        std::io::ErrorKind::PermissionDenied => "\n  hint: check the owner and the access rights",
        _ => "",
    }
}

/// One defect of an input: where, what was expected, what was there, what to do.
#[derive(Debug, Clone)]
pub struct Fault {
    file: PathBuf,
    line: Option<u64>,
    key: Option<String>,
    expected: Box<str>,
    found: Box<str>,
    hint: Option<String>,
}

impl Fault {
    /// A defect of a whole file or folder; add the line, key and hint that are known.
    pub fn new(file: &Path, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            key: None,
            expected: expected.into().into_boxed_str(),
            found: found.into().into_boxed_str(),
            hint: None,
        }
    }

    /// The line it stands in, counted from 1.
    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// The key, column or tensor concerned.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is wrong, without the place and the hint.
    #[must_use]
    pub fn reason(&self) -> String {
        let key = self.key.as_ref().map_or(String::new(), |key| format!("`{key}`: "));
        format!("{key}expected {}, found {}", self.expected, self.found)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.reason())?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// At most `limit` characters of `text` on one line, in quotes, for a message.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    format!("{shown:?}")
}
