//! One reply while it is written: takes logits, gives tokens, and knows when it is over.
//! Tells nothing of sequences and batches, so that it is the same whoever decodes.

use super::constraint::{Constraint, NoToken, Step};
use super::conversation::{Ending, Reply};
use super::sampler::Sampler;
use super::thought::Thought;
use super::words::Words;

/// A reply under way.
pub struct Writer {
    thought: Option<Thought>,
    thinking: bool,
    constraint: Option<Constraint>,
    bytes: Vec<u8>,
    written: u32,
    most: u32,
}

impl Writer {
    /// A reply of at most `most` tokens, held to `constraint`, after a thought of at most `thinking` tokens.
    #[must_use]
    pub fn new(constraint: Option<Constraint>, most: u32, thinking: u32) -> Self {
        let thought = (thinking > 0).then(|| Thought::new(thinking));
        Self { thinking: thought.is_some(), thought, constraint, bytes: Vec::new(), written: 0, most }
    }

    /// Puts the tokens the reply begins with, whatever it says, behind `tokens`.
    pub fn begin(&mut self, words: &Words, sampler: &mut Sampler, tokens: &mut Vec<u32>) {
        sampler.forget();
        if self.thinking {
            return;
        }
        if let Some(constraint) = &mut self.constraint {
            let forced = constraint.begin(self.most);
            sampler.take(&forced);
            self.take(words, &forced, tokens);
        }
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
        if let Some(thought) = self.thought.as_mut().filter(|_| self.thinking) {
            let (said, over) = thought.take(words, sampler.pick(logits, None)?);
            tokens.extend(said);
            if over {
                self.thinking = false;
                self.begin(words, sampler, tokens);
            }
            return Ok(None);
        }
        let left = self.most.saturating_sub(self.written);
        let step = if let Some(constraint) = &mut self.constraint {
            constraint.next(sampler, logits, left)?
        } else {
            let token = sampler.pick(logits, None)?;
            let ending = words.is_end(token).then_some(Ending::Complete);
            Step { tokens: if ending.is_some() { Vec::new() } else { vec![token] }, ending }
        };
        sampler.take(&step.tokens);
        self.take(words, &step.tokens, tokens);
        Ok(step.ending.or_else(|| (self.written >= self.most).then_some(Ending::CutOff)))
    }

    fn take(&mut self, words: &Words, step: &[u32], tokens: &mut Vec<u32>) {
        self.written += u32::try_from(step.len()).unwrap_or(u32::MAX);
        self.bytes.extend(step.iter().flat_map(|&token| words.piece(token)));
        tokens.extend(step);
    }

    /// What was thought before the reply, if thinking is on.
    #[must_use]
    pub fn thought(&self) -> Option<String> {
        self.thought.as_ref().map(Thought::text)
    }

    /// The reply that ended so.
    #[must_use]
    pub fn reply(self, ending: Ending) -> Reply {
        Reply { text: String::from_utf8_lossy(&self.bytes).into_owned(), tokens: self.written, ending }
    }
}
