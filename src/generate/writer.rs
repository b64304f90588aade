//! One reply while it is written: takes logits, gives tokens, and knows when it is over.
//! Tells nothing of sequences and batches, so that it is the same whoever decodes.

use super::constraint::{Constraint, NoToken};
use super::conversation::{Ending, Reply};
use super::sampler::Sampler;
use super::words::Words;

/// A reply under way.
pub struct Writer {
    constraint: Option<Constraint>,
    bytes: Vec<u8>,
    written: u32,
    most: u32,
}

impl Writer {
    /// A reply of at most `most` tokens, held to `constraint`.
    #[must_use]
    pub fn new(constraint: Option<Constraint>, most: u32) -> Self {
        Self { constraint, bytes: Vec::new(), written: 0, most }
    }

    /// Draws from `logits` and puts what the reply goes on with behind `tokens`; how it ended, if it did.
    ///
    /// # Errors
    /// [`NoToken`].
    pub fn write(
        &mut self,
        words: &Words,
        sampler: &mut Sampler,
        logits: &[f32],
        tokens: &mut Vec<u32>,
    ) -> Result<Option<Ending>, NoToken> {
        let token = match &mut self.constraint {
            Some(constraint) => constraint.next(sampler, logits)?,
            None => sampler.pick(logits, None)?,
        };
        if words.is_end(token) {
            return Ok(Some(Ending::Complete));
        }
        self.written += 1;
        self.bytes.extend(words.piece(token));
        tokens.push(token);
        Ok(match &self.constraint {
            Some(constraint) if constraint.is_complete() => Some(Ending::Complete),
            _ if self.written >= self.most => Some(Ending::CutOff),
            _ => None,
        })
    }

    /// The reply that ended so.
    #[must_use]
    pub fn reply(self, ending: Ending) -> Reply {
        Reply { text: String::from_utf8_lossy(&self.bytes).into_owned(), tokens: self.written, ending }
    }
}
