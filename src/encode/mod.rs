//! Texts to vectors: differentiable trunks, packing, pooling, the bi-encoder.

pub mod bert;
pub mod bert_config;
pub mod bi_encoder;
pub mod blocks;
pub mod cross_encoder;
pub mod dense;
pub mod device;
mod drops;
pub mod error;
pub mod family;
pub mod frozen;
mod fast_bert;
pub mod folder;
mod fused;
pub mod kernels;
pub mod learn;
pub mod packing;
pub mod parameters;
pub mod pooling;
pub mod settings;
pub mod trunk;
pub mod vectors;
pub mod workers;

pub use bi_encoder::{BiEncoder, Encoded};
pub use blocks::TextSource;
pub use cross_encoder::CrossEncoder;
pub use error::EncodeError;
pub use folder::FreshEncoder;
pub use kernels::{Instructions, Precision};
pub use learn::{Dropping, Gradients, Learner, Recording, Sequence};
pub use packing::PackedBatch;
pub use settings::{Prompts, Role};
pub use trunk::{Computing, Kernels, Mode};
pub use vectors::{Storage, Vectors};

/// Result of the encode layer.
pub type Result<T, E = EncodeError> = std::result::Result<T, E>;
