//! Nearmiss makes hard negatives for dense retrieval (mined, or written by a local LLM),
//! trains the encoder on them, and shows whether they helped.
//!
//! The layers, each importing only those before it, are the modules below in this order
//! (`tests/layers.rs` holds them to it).

pub mod data;
pub mod text;
pub mod model;
pub mod encode;
pub mod retrieve;
pub mod generate;
pub mod filter;
pub mod negatives;
pub mod mix;
pub mod train;
pub mod eval;
pub mod analyse;
pub mod report;
pub mod experiment;
pub mod cli;

#[cfg(test)]
pub(crate) mod shared;
