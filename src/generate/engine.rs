//! What every engine does: run conversations and hand back each as it ends.
//! Also its settings, counts and errors, which do not need llama.cpp.

use super::{ChatChoice, Conversation};
use crate::data::{self, Watch};
use serde::{Deserialize, Serialize};

/// What one conversation cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, over all turns.
    pub tokens_in: u32,
    /// Of these, tokens whose cache cells the conversation before had left.
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
    /// Conversations are taken from the iterator only as they are needed.
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

/// How a model is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSettings {
    /// Tokens of the window, 64 up to what the model was trained for; default that, at most 4096.
    /// Too small: prompts are refused. Too large: memory for nothing.
    pub context: Option<u32>,
    /// Prompt tokens decoded together, 1 to 4096, default 512. Smaller: slower prompts. Larger: more memory.
    pub batch: u32,
    /// Threads, 1 and up; default half of the processors the system counts. More than are free is many
    /// times slower (2 instead of 1 with one free: 14 against 284 tokens a second).
    pub threads: Option<u32>,
    /// Flash attention, default off: on CPUs it was 1.3 times slower; on GPUs it may be faster.
    pub flash_attention: FlashAttention,
    /// Most memory for keys and values in MiB, default 4096. What needs more is refused before loading.
    pub key_value_mib: u32,
    /// Which chat template, default the model's own.
    pub chat_template: ChatChoice,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            context: None,
            batch: 512,
            threads: None,
            flash_attention: FlashAttention::Off,
            key_value_mib: 4096,
            chat_template: ChatChoice::Own,
        }
    }
}

/// Whether attention is computed by llama.cpp's fused kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    /// Never.
    Off,
    /// Always.
    On,
    /// Where llama.cpp thinks it pays.
    Auto,
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
