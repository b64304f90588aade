//! Where an artefact came from: written beside it as `<name>.provenance.json`.

use super::{Digest, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What made an artefact, from what, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The stage: "train", "search" ...
    pub stage: String,
    /// Program version and git revision.
    pub program: String,
    /// Digest of each input, by role: "corpus", "encoder" ...
    pub inputs: BTreeMap<String, Digest>,
    /// Every setting that took effect.
    pub settings: serde_json::Value,
    /// What was counted on the way: truncated texts, given-up requests, recall ...
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub counts: serde_json::Value,
}

impl Provenance {
    /// For `stage` with `settings`; inputs are added with [`Provenance::input`].
    #[must_use]
    pub fn new(stage: &str, settings: serde_json::Value) -> Self {
        Self {
            stage: stage.to_owned(),
            program: program(),
            inputs: BTreeMap::new(),
            settings,
            counts: serde_json::Value::Null,
        }
    }

    /// The same with one more input.
    #[must_use]
    pub fn input(mut self, role: &str, digest: Digest) -> Self {
        self.inputs.insert(role.to_owned(), digest);
        self
    }

    /// The content key of the stage's output: the same for the same stage, inputs and settings.
    /// The program's revision is no part of it; a stage whose meaning changes is given a new name.
    #[must_use]
    pub fn key(&self) -> Digest {
        Digest::of_json(&serde_json::json!([self.stage, self.inputs, self.settings]))
    }

    /// Writes it beside `artefact`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_beside(&self, artefact: &Path) -> Result<()> {
        self.write(&Self::place_beside(artefact))
    }

    /// Where the provenance of `artefact` lies.
    #[must_use]
    pub fn place_beside(artefact: &Path) -> PathBuf {
        let mut name = artefact.file_name().unwrap_or_default().to_owned();
        name.push(".provenance.json");
        artefact.with_file_name(name)
    }

    /// Writes it to `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        super::atomic::write_file(path, |out| {
            serde_json::to_writer_pretty(&mut *out, self).map_err(|e| Error::io("write", path)(e.into()))?;
            out.write_all(b"\n").map_err(Error::io("write", path))
        })
    }
}

/// Version and git revision of this program.
#[must_use]
pub fn program() -> String {
    format!("nearmiss {} ({})", env!("CARGO_PKG_VERSION"), env!("NEARMISS_REVISION"))
}
