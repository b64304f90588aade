//! Texts before any model: analysing, tokenizing, measuring, prompting.

pub mod analyser;
pub mod byte_model;
pub mod measure;
pub mod prompt;
pub mod tokenizer;

pub use analyser::{Analyser, AnalyserSettings};
pub use tokenizer::Tokenizer;
