//! Texts by number, packed: one behind the other, and where each ends. In memory or in a mapped file.

use super::Result;
use super::arrays::{Array, ArrayFile, Arrays};

/// A list of texts.
#[derive(Debug, Clone)]
pub struct Strings {
    text: Array<u8>,
    /// Where each ends in `text`; it starts where the one before it ends.
    ends: Array<u64>,
}

impl Strings {
    /// The list of `texts`.
    pub fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        for one in texts {
            text.extend_from_slice(one.as_bytes());
            ends.push(text.len() as u64);
        }
        Self { text: text.into(), ends: ends.into() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of text `number`.
    ///
    /// # Panics
    /// When `number` is not below [`Strings::len`], or the list was read from a damaged file.
    #[must_use]
    pub fn bytes(&self, number: usize) -> &[u8] {
        let at = |end: u64| usize::try_from(end).expect("an index of this size was mapped");
        let start = if number == 0 { 0 } else { at(self.ends[number - 1]) };
        &self.text[start..at(self.ends[number])]
    }

    /// Text `number`.
    ///
    /// # Panics
    /// As [`Strings::bytes`].
    #[must_use]
    pub fn get(&self, number: usize) -> &str {
        std::str::from_utf8(self.bytes(number)).expect("texts are UTF-8; if not, the index is damaged")
    }

    /// Adds the list's arrays, `<name>.text` and `<name>.ends`, to those of a file.
    pub fn add_to<'a>(&'a self, name: &str, arrays: &mut Arrays<'a>) {
        arrays.add(format!("{name}.text"), &self.text);
        arrays.add(format!("{name}.ends"), &self.ends);
    }

    /// The list that [`Strings::add_to`] put into `file` under `name`.
    ///
    /// # Errors
    /// [`super::Error::Input`] when an array is missing or they do not fit together.
    pub fn of_file(name: &str, file: &ArrayFile) -> Result<Self> {
        let list = Self { text: file.array(&format!("{name}.text"))?, ends: file.array(&format!("{name}.ends"))? };
        if list.ends.last().copied().unwrap_or(0) == list.text.len() as u64 {
            Ok(list)
        } else {
            Err(file.fault("a whole list of texts", "arrays that do not fit together"))
        }
    }
}
