//! Texts before and after models: words for BM25, tokens, prompts, measures.

pub mod measure;
pub mod prompt;
