//! Texts before any model: tokenizing, analysing, measuring, prompting.

pub mod measure;
pub mod prompt;
pub mod tokenizer;

pub use tokenizer::Tokenizer;
