//! Embedding in blocks that are kept as they are finished. Three stages run side by side, one block apart: a block is
//! tokenized while the one before it is computed and the one before that is written, so that no core waits for a disk
//! or for the last groups of a block. At most a block waits between two stages, however many texts there are.

use super::bi_encoder::{BiEncoder, Encoded};
use super::settings::Role;
use super::{Result, Vectors};
use crate::data::{self, Watch, atomic};
use crate::text::tokenizer::Tokenized;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

/// The files of one block.
struct Place {
    vectors: PathBuf,
    truncated: PathBuf,
}

impl Place {
    fn new(folder: &Path, number: usize) -> Self {
        Self {
            vectors: folder.join(format!("{number:06}.vectors")),
            truncated: folder.join(format!("{number:06}.truncated")),
        }
    }

    /// What an earlier run left here; nothing when it is not whole.
    fn read(&self) -> Result<Option<Encoded>> {
        let count = std::fs::read_to_string(&self.truncated).ok().and_then(|text| text.parse().ok());
        match count.filter(|_| self.vectors.is_file()) {
            Some(truncated) => Ok(Some(Encoded { vectors: Vectors::read(&self.vectors)?, truncated })),
            None => Ok(None),
        }
    }

    /// The count goes first: vectors without it are made anew.
    fn write(&self, encoded: &Encoded) -> Result<()> {
        let text = encoded.truncated.to_string();
        atomic::write_file(&self.truncated, |out| {
            out.write_all(text.as_bytes()).map_err(data::Error::io("write", &self.truncated))
        })?;
        Ok(encoded.vectors.write(&self.vectors)?)
    }
}

/// A block on its way.
enum Block {
    /// From an earlier run.
    Kept(Encoded),
    /// To be computed.
    Tokens(Tokenized),
}

impl BiEncoder {
    /// As [`BiEncoder::encode`], in blocks of `block` texts that are kept in `folder` as they are finished, so that
    /// an interrupted run goes on at the last whole block. The caller names `folder` by content and removes it at the end.
    ///
    /// # Errors
    /// As [`BiEncoder::encode`].
    pub fn encode_in_blocks(
        &self,
        texts: &[&str],
        role: Role,
        (folder, block): (&Path, usize),
        watch: &dyn Watch,
    ) -> Result<Encoded> {
        let (to_compute, tokenized) = sync_channel::<Result<(Place, Block)>>(1);
        let (to_write, computed) = sync_channel::<(Place, Encoded)>(1);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for (number, part) in texts.chunks(block.max(1)).enumerate() {
                    let place = Place::new(folder, number);
                    let made = place.read().and_then(|kept| match kept {
                        Some(kept) => Ok((place, Block::Kept(kept))),
                        None => Ok((place, Block::Tokens(self.tokenize(part, role)?))),
                    });
                    // A closed channel: the computation has ended with an error or a stop.
                    if to_compute.send(made).is_err() {
                        return;
                    }
                }
            });
            let writer = scope.spawn(move || computed.iter().try_for_each(|(place, encoded)| place.write(&encoded)));
            let mut values = Vec::with_capacity(texts.len() * self.width());
            let mut truncated = 0;
            for made in tokenized {
                let encoded = match made? {
                    (_, Block::Kept(kept)) => {
                        watch.advance(kept.vectors.len() as u64);
                        kept
                    }
                    (place, Block::Tokens(tokens)) => {
                        let encoded = self.encode_tokenized(&tokens, watch)?;
                        if to_write.send((place, encoded.clone())).is_err() {
                            break;
                        }
                        encoded
                    }
                };
                values.extend_from_slice(encoded.vectors.values());
                truncated += encoded.truncated;
            }
            drop(to_write);
            match writer.join() {
                Ok(written) => written?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            Ok(Encoded { vectors: Vectors::new(self.width(), values), truncated })
        })
    }
}
