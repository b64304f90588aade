//! Texts to vectors: differentiable trunks, packing, pooling, the bi-encoder.

pub mod vectors;

pub use vectors::Vectors;

/// Result of the encode layer.
pub type Result<T, E = crate::data::Error> = std::result::Result<T, E>;
