//! What the fuzz targets share: bytes as a file, and the parsers that need one.

use nearmiss::data::reading::{Gate, Reading};
use nearmiss::data::{Corpus, Quiet};
use std::path::{Path, PathBuf};

/// A file with `bytes` in it, given to `act`; it lies in `$TMPDIR`, which had best be in memory.
///
/// # Panics
/// When the file cannot be written.
pub fn as_file(bytes: &[u8], act: impl FnOnce(&Path)) {
    let path: PathBuf = std::env::temp_dir().join(format!("nearmiss-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("a scratch file");
    act(&path);
}

/// A corpus from `bytes`, strictly and leniently; all of its passages are read.
///
/// # Panics
/// When the corpus contradicts itself.
pub fn corpus(bytes: &[u8]) {
    for skip_bad_lines in [0, u64::MAX] {
        let reading = Reading { watch: &Quiet, skip_bad_lines };
        let Ok(corpus) = Corpus::of_bytes(bytes.to_vec(), Path::new("corpus.jsonl"), &reading) else { continue };
        assert!(!corpus.is_empty() && (skip_bad_lines > 0 || corpus.rejected().lines.is_empty()));
        for row in 0..corpus.len() {
            let document = corpus.document(row).expect("a line that was checked");
            assert_eq!(corpus.row(document.id.as_str()), Some(row));
        }
    }
}

/// A gate that lets everything pass, and one that lets nothing.
#[must_use]
pub fn gates(path: &Path) -> [Gate; 2] {
    [0, u64::MAX].map(|limit| Gate::new(path, limit))
}
