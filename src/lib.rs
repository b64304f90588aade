//! Nearmiss makes hard negatives for dense retrieval (mined, or written by a local LLM),
//! trains the encoder on them, and shows whether they helped.
//!
//! The layers, each importing only those before it, are the modules below in this order.

pub mod data;
pub mod text;
pub mod model;
pub mod encode;
pub mod retrieve;
pub mod filter;
pub mod negatives;
pub mod mix;
pub mod train;
pub mod eval;

#[cfg(test)]
mod shared;
