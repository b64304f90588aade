//! SHA-256 digests of files, folders, texts and settings: the names of content.

use super::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// A SHA-256 in lower-case hexadecimal, 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Digest of `bytes`.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// Digest of `blocks` in a row, or their first error.
    ///
    /// # Errors
    /// What `blocks` give.
    pub fn of_blocks<'b>(blocks: impl IntoIterator<Item = Result<&'b [u8]>>) -> Result<Self> {
        let mut hash = Sha256::new();
        for block in blocks {
            hash.update(block?);
        }
        Ok(Self::finish(hash))
    }

    /// Digest of a value's JSON.
    #[must_use]
    pub fn of_json(value: &serde_json::Value) -> Self {
        Self::of_bytes(value.to_string().as_bytes())
    }

    /// Digest of a file's bytes, read in blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io("read", path))?;
        let mut hash = Sha256::new();
        let mut block = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut block).map_err(Error::io("read", path))?;
            if read == 0 {
                return Ok(Self::finish(hash));
            }
            hash.update(&block[..read]);
        }
    }

    /// Digest over the named files directly in a folder that exist, names included.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_files(folder: &Path, names: &[&str]) -> Result<Self> {
        let mut hash = Sha256::new();
        for name in names {
            let path = folder.join(name);
            if fs::metadata(&path).is_ok_and(|m| m.is_file()) {
                hash.update(name.as_bytes());
                hash.update(Self::of_file(&path)?.0.as_bytes());
            }
        }
        Ok(Self::finish(hash))
    }

    /// The first `count` characters, for names of files.
    ///
    /// # Panics
    /// When `count` is above 64.
    #[must_use]
    pub fn short(&self, count: usize) -> &str {
        &self.0[..count]
    }

    fn finish(hash: Sha256) -> Self {
        use fmt::Write;
        Self(hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha_256() {
        assert_eq!(
            Digest::of_bytes(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
