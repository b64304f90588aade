//! Embedding in blocks that are kept as they are finished. Three stages run side by side, one block apart: a block is
//! tokenized while the one before it is computed and the one before that is written, so that no core waits for a disk
//! or for the last groups of a block. At most a block waits between two stages, and texts and vectors are in memory only
//! while their block is: what is needed is the same for a thousand texts and a million.

use super::bi_encoder::{BiEncoder, Encoded};
use super::settings::Role;
use super::vectors::{Storage, Vectors, write_below};
use super::{EncodeError, Result};
use crate::data::{self, Corpus, Watch};
use crate::text::tokenizer::{Tokenized, Truncation};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

/// Texts by number, in memory or read as they are asked for.
pub trait TextSource: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Those of `rows`.
    ///
    /// # Errors
    /// [`data::Error`] when they cannot be read.
    fn texts(&self, rows: Range<usize>) -> data::Result<Vec<String>>;

    /// They are not needed again soon.
    fn release(&self, _rows: Range<usize>) {}
}

impl TextSource for Vec<String> {
    fn count(&self) -> usize {
        self.len()
    }

    fn texts(&self, rows: Range<usize>) -> data::Result<Vec<String>> {
        Ok(self[rows].to_vec())
    }
}

/// Passages as they are embedded: title, a space, text.
impl TextSource for Corpus {
    fn count(&self) -> usize {
        self.len()
    }

    fn texts(&self, rows: Range<usize>) -> data::Result<Vec<String>> {
        self.contents_of(rows)
    }

    fn release(&self, rows: Range<usize>) {
        Corpus::release(self, rows);
    }
}

/// Where and how vectors are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping<'k> {
    /// The file of all of them.
    pub file: &'k Path,
    /// How their numbers are stored.
    pub storage: Storage,
    /// The folder of finished blocks; the caller names it by content, and removes it at the end.
    pub blocks: &'k Path,
    /// Texts in a block.
    pub block: usize,
}

impl Keeping<'_> {
    fn place(&self, number: usize) -> PathBuf {
        self.blocks.join(format!("{number:06}.vectors"))
    }

    /// The block that an earlier run left; nothing when it is not whole.
    fn read(&self, number: usize) -> Option<(Vectors, Truncation)> {
        let (vectors, file) = Vectors::read_with(&self.place(number)).ok()?;
        let truncation = serde_json::from_str(file.fact(TRUNCATION).ok()?).ok()?;
        (vectors.storage() == self.storage).then_some((vectors, truncation))
    }

    fn write(&self, number: usize, encoded: &Encoded) -> Result<()> {
        let stored = encoded.vectors.stored_as(self.storage);
        if stored.norms().iter().any(|norm| !norm.is_finite()) {
            return Err(EncodeError::NotStorable(self.storage));
        }
        Ok(stored
            .write_with(&self.place(number), &[(TRUNCATION, serde_json::json!(encoded.truncation).to_string())])?)
    }
}

/// The fact of a block's file that says what was cut off.
const TRUNCATION: &str = "truncation";

/// A block on its way.
enum Block {
    /// From an earlier run: how many texts, and what was cut.
    Kept(usize, Truncation),
    /// To be computed.
    Tokens(Tokenized),
}

impl BiEncoder {
    /// Writes the vectors of `texts` to a file; they are those of [`BiEncoder::encode`], as the file stores them. An
    /// interrupted run goes on at the last whole block. Gives what was cut off.
    ///
    /// # Errors
    /// As [`BiEncoder::encode`]; [`EncodeError::NotStorable`]; [`data::Error`] when a file cannot be written.
    pub fn encode_to_file(
        &self,
        texts: &dyn TextSource,
        role: Role,
        keeping: &Keeping<'_>,
        watch: &dyn Watch,
    ) -> Result<Truncation> {
        let size = keeping.block.max(1);
        let blocks = texts.count().div_ceil(size);
        let rows = |number: usize| number * size..((number + 1) * size).min(texts.count());
        let (to_compute, tokenized) = sync_channel::<Result<(usize, Block)>>(1);
        let (to_write, computed) = sync_channel::<(usize, Encoded)>(1);
        let truncation = std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..blocks {
                    let rows = rows(number);
                    let kept = keeping.read(number).filter(|(vectors, _)| vectors.len() == rows.len());
                    let made = match kept {
                        Some((_, truncation)) => Ok(Block::Kept(rows.len(), truncation)),
                        None => texts.texts(rows.clone()).map_err(EncodeError::from).and_then(|part| {
                            let part: Vec<&str> = part.iter().map(String::as_str).collect();
                            Ok(Block::Tokens(self.tokenize(&part, role)?))
                        }),
                    };
                    texts.release(rows);
                    // A closed channel: the computation has ended with an error or a stop.
                    if to_compute.send(made.map(|block| (number, block))).is_err() {
                        return;
                    }
                }
            });
            let writer =
                scope.spawn(move || computed.iter().try_for_each(|(number, encoded)| keeping.write(number, &encoded)));
            let mut all = Truncation::default();
            for made in tokenized {
                all = all.and(match made? {
                    (_, Block::Kept(count, truncation)) => {
                        watch.advance(count as u64);
                        truncation
                    }
                    (number, Block::Tokens(tokens)) => {
                        let encoded = self.encode_tokenized(&tokens, watch)?;
                        let truncation = encoded.truncation;
                        if to_write.send((number, encoded)).is_err() {
                            break;
                        }
                        truncation
                    }
                });
            }
            drop(to_write);
            match writer.join() {
                Ok(written) => written.map(|()| all),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })?;
        let shape = (self.width(), keeping.storage, texts.count());
        write_below(keeping.file, shape, &[], (blocks, &|number| Vectors::read(&keeping.place(number))))?;
        Ok(truncation)
    }
}
