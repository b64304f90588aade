//! What an engine and the thing that talks to the model say to each other.
//! The engine asks a conversation for its opening, hands it each reply, and does what it is told:
//! stop, say one more message on the same cache, or give up.

use super::Sampling;
use crate::data::Seed;

/// Who speaks in a chat template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Standing instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Its name in chat templates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message; its content is data, in which no special token is ever parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said; blanks at its ends are dropped, as many templates do.
    pub content: String,
}

impl Message {
    /// A message of `role`, trimmed.
    #[must_use]
    pub fn new(role: Role, content: &str) -> Self {
        Self { role, content: content.trim().to_owned() }
    }
}

/// How a conversation begins, and the rules for every reply in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The messages before the first reply; the last is the user's.
    pub messages: Vec<Message>,
    /// JSON schema each reply is held to while it is written; None: free text until the model ends it.
    pub schema: Option<serde_json::Value>,
    /// Most tokens of one reply.
    pub max_tokens: u32,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Where the draws come from: made from the request's content, never from its place in a queue.
    pub seed: Seed,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model ended it, or the schema was complete.
    Complete,
    /// It came near [`Prompt::max_tokens`], and was ended the shortest way its schema allows.
    Closed,
    /// It reached [`Prompt::max_tokens`].
    CutOff,
}

/// What the model said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The text; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Tokens written.
    pub tokens: u32,
    /// Why it ended.
    pub ending: Ending,
}

/// What follows a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The conversation has what it wants.
    Done,
    /// One more user message, on the same cache.
    Say(String),
    /// The conversation ends without what it wants.
    GiveUp,
}

/// One talk with a model.
pub trait Conversation {
    /// How it begins; the same at every call.
    fn opening(&self) -> Prompt;

    /// Takes what the model thought before the reply that comes next; lets it go, unless told otherwise.
    fn thought(&mut self, _text: &str) {}

    /// Takes the model's reply and says what follows.
    fn reply(&mut self, reply: &Reply) -> Turn;
}
