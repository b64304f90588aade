//! What can go wrong while encoding.

use crate::data;

/// Failure of the encode layer.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Files, or a stop.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// Tensor arithmetic, device or memory.
    #[error("tensor operation failed: {0}")]
    Candle(#[from] candle_core::Error),
    /// Tokenizing.
    #[error("cannot tokenize: {0}")]
    Tokenize(#[from] tokenizers::Error),
    /// A sequence does not fit the position embeddings.
    #[error("a sequence of {length} tokens, but the encoder takes at most {most}")]
    TooLong {
        /// Tokens of the sequence.
        length: usize,
        /// The encoder's limit.
        most: usize,
    },
    /// The tokenizer gives ids that the weights do not have.
    #[error(
        "token id {id}, but the encoder has {size} token embeddings\n  hint: tokenizer.json and model.safetensors do not belong together"
    )]
    UnknownToken {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        size: usize,
    },
    /// The tokenizer tells more texts of a pair apart than the weights do.
    #[error(
        "token type {id}, but the encoder has {size} token types\n  hint: tokenizer.json and model.safetensors do not belong together"
    )]
    UnknownSide {
        /// The type.
        id: u32,
        /// Rows of the embedding.
        size: usize,
    },
    /// The trunk asked for a weight that the table does not list.
    #[error("no weight called {0}")]
    NoSuchWeight(String),
    /// bf16 was asked for where it cannot be computed.
    #[error("bf16 is computed by the CPU's own kernels alone\n  hint: take --precision f32, or --device cpu")]
    Precision,
    /// bf16 was asked for an architecture that the CPU's own kernels do not compute.
    #[error("bf16 is not computed for {0}\n  hint: take --precision f32")]
    ArchitecturePrecision(&'static str),
    /// An architecture that is not trained.
    #[error(
        "{0} embeds and judges here, and is not trained\n  hint: train one of the BERT family: bert, distilbert, roberta, xlm-roberta, mpnet"
    )]
    Frozen(&'static str),
    /// An architecture whose cross-encoders are not computed.
    #[error("a cross-encoder over {0} is not computed\n  hint: take one of the BERT family, or deberta-v2")]
    NoHead(&'static str),
    /// Vectors hold values that a storage has no number for.
    #[error("vectors of this encoder hold values beyond what {0:?} can\n  hint: take --vectors f32")]
    NotStorable(super::vectors::Storage),
    /// Vectors came out that are no numbers.
    #[error("the encoder gave a vector that is not finite\n  hint: its weights are damaged, or training went astray")]
    NotFinite,
}
