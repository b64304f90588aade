//! Texts before any model: tokenizing, analysing, prompting.

pub mod analyser;
pub mod tokenizer;

pub use analyser::Analyser;
pub use tokenizer::Tokenizer;
