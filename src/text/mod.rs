//! Texts before any model: tokenizing, analysing, prompting.

pub mod tokenizer;

pub use tokenizer::Tokenizer;
