//! What every engine does: run conversations and hand back each as it ends.
//! Also its counts and errors, which do not need llama.cpp.

use super::Conversation;
use crate::data::{self, Watch};
use serde::{Deserialize, Serialize};

/// What one conversation cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, over all turns.
    pub tokens_in: u32,
    /// Of these, tokens that were not decoded: their cache cells were another conversation's.
    pub tokens_reused: u32,
    /// Tokens written, over all turns.
    pub tokens_out: u32,
    /// Replies.
    pub replies: u32,
}

/// Why the engine ended a conversation itself; the others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Prompt and reply do not fit together in the window.
    #[error("the prompt has {prompt} tokens, the reply may have {reply}, the window holds {window}")]
    PromptTooLong {
        /// Tokens of the prompt, earlier turns included.
        prompt: u32,
        /// Tokens the reply may have.
        reply: u32,
        /// Tokens the context holds.
        window: u32,
    },
    /// The shortest reply its schema allows has more tokens than it may have.
    #[error("the shortest reply its schema allows has {shortest} tokens, it may have {most}")]
    ReplyTooShort {
        /// Tokens of the shortest reply.
        shortest: u32,
        /// Most tokens it may have.
        most: u32,
    },
    /// A message is too long to be worth counting its tokens.
    #[error("a message has {bytes} bytes, above {limit}, which no window of {window} tokens holds")]
    MessageTooLong {
        /// Bytes of the message.
        bytes: usize,
        /// Most bytes a message may have.
        limit: usize,
        /// Tokens the context holds.
        window: u32,
    },
}

/// A conversation that has ended.
#[derive(Debug)]
pub struct Finished<C> {
    /// The conversation, with what it gathered.
    pub conversation: C,
    /// What it cost.
    pub usage: Usage,
    /// Set when the engine ended it, not the conversation.
    pub refused: Option<Refusal>,
}

/// Runs conversations of type `C`.
pub trait Engine<C: Conversation> {
    /// What makes this engine's replies differ from another's: weights, template, engine version.
    /// It goes into keys and provenance.
    fn identity(&self) -> serde_json::Value;

    /// Runs each conversation to its end and hands it to `finished`, in any order.
    /// Conversations are taken from the iterator as they are needed, a bounded number ahead.
    ///
    /// # Errors
    /// [`Error`] when the model cannot go on; what `finished` returns; [`data::Error::Stopped`]
    /// soon after the user asked to stop, with unfinished conversations dropped.
    fn run(
        &mut self,
        conversations: &mut dyn Iterator<Item = C>,
        finished: &mut dyn FnMut(Finished<C>) -> data::Result<()>,
        watch: &dyn Watch,
    ) -> Result<(), Error>;
}

/// What stops an engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading, writing, or a stop that was asked for.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// The settings ask for what cannot be.
    #[error("{setting}: expected {expected}, found {found}\n  hint: {hint}")]
    Settings {
        /// The setting.
        setting: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
        /// What the user can do about it.
        hint: &'static str,
    },
    /// The schema has something that would not be enforced, or cannot be met.
    #[error("this JSON schema cannot be enforced: {0}")]
    Schema(String),
    /// The chat template cannot be used.
    #[error(
        "chat template: {0}\n  hint: choose one yourself: --chat-template chatml or plain; in a recipe, chat_template under [engine]"
    )]
    Template(String),
    /// The logits after `after` tokens are not numbers.
    #[error("the model gives logits that are not finite after {after} tokens\n  hint: its weights are damaged")]
    NotFinite {
        /// Tokens in the context.
        after: usize,
    },
    /// llama.cpp refused; `log` holds the last lines it said.
    #[error("llama.cpp cannot {action}: {log}")]
    Llama {
        /// What was asked for.
        action: &'static str,
        /// Its last warnings.
        log: String,
    },
}
