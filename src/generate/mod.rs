//! Local language models in the process: conversations go in, replies come out.
//! Knows nothing of negatives; what is asked and when to stop belongs to the conversation.

pub mod chat;
pub mod completion;
pub mod constraint;
pub mod conversation;
pub mod draft;
pub mod engine;
#[cfg(feature = "llm")]
pub mod llama;
pub mod meter;
pub mod sampler;
pub mod settings;
pub mod thought;
pub mod words;
pub mod writer;

pub use chat::ChatChoice;
pub use conversation::{Conversation, Ending, Message, Prompt, Reply, Role, Turn};
pub use engine::{Engine, Error, Finished, Refusal, Usage};
#[cfg(feature = "llm")]
pub use llama::LlamaEngine;
pub use sampler::Sampling;
pub use settings::{CacheType, EngineSettings, FlashAttention, Probe, Tuned};
