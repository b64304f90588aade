//! Rows of f32, as encoders make them and searches read them.

use crate::data::{Error as DataError, Fault, Result, atomic};
use std::path::Path;

/// A dense matrix `(N, D)` of f32, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    dimension: usize,
    values: Vec<f32>,
}

impl Vectors {
    /// The matrix over `values`.
    ///
    /// # Panics
    /// When `dimension` is 0 or does not divide the number of values.
    #[must_use]
    pub fn new(dimension: usize, values: Vec<f32>) -> Self {
        assert!(
            dimension > 0 && values.len().is_multiple_of(dimension),
            "{} values in rows of {dimension}",
            values.len()
        );
        Self { dimension, values }
    }

    /// D, the length of a row.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// N, the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Row `row`, D values.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..][..self.dimension]
    }

    /// All values, row after row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Writes the rows as little-endian f32 with a 16-byte head (`NMVEC001`, D and N as u32).
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write_file(path, |out| {
            let failed = |e| DataError::io("write", path)(e);
            let size = |n: usize| u32::try_from(n).map_err(|e| DataError::io("write", path)(std::io::Error::other(e)));
            out.write_all(b"NMVEC001").map_err(failed)?;
            out.write_all(&size(self.dimension)?.to_le_bytes()).map_err(failed)?;
            out.write_all(&size(self.len())?.to_le_bytes()).map_err(failed)?;
            for value in &self.values {
                out.write_all(&value.to_le_bytes()).map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Rows written by [`Vectors::write`].
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Input`] when the file is not of that form or holds a value that is not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
        let wrong = |found: &str| {
            Fault::new(path, "a vector file of this program", found).hint("remove it to have it made anew")
        };
        let (head, body) = bytes.split_at_checked(16).ok_or_else(|| wrong("a shorter file"))?;
        if &head[..8] != b"NMVEC001" {
            return Err(wrong("another file head").into());
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (dimension, rows) = (number(8), number(12));
        let length = rows.checked_mul(dimension).and_then(|count| count.checked_mul(4));
        if dimension == 0 || length != Some(body.len()) {
            return Err(wrong("another length than its head says").into());
        }
        let values: Vec<f32> = body.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(wrong("a value that is not finite").into());
        }
        Ok(Self { dimension, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_read_back_bit_for_bit_and_a_cut_file_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("v.bin");
        let vectors = Vectors::new(3, vec![0.1, -2.5, f32::MIN_POSITIVE, 1e30, 0.0, -0.0]);
        vectors.write(&path)?;
        assert_eq!(Vectors::read(&path)?, vectors);
        let bytes = std::fs::read(&path)?;
        std::fs::write(&path, &bytes[..bytes.len() - 1])?;
        assert!(Vectors::read(&path).is_err());
        // Rows times dimension times 4 is 2^64: no file is as long, nor as short as what is left of it.
        std::fs::write(&path, [&b"NMVEC001"[..], &[0, 0, 0, 128, 0, 0, 0, 128]].concat())?;
        assert!(Vectors::read(&path).is_err());
        Ok(())
    }
}
