//! Models on disk: finding them, fetching them when asked to, and checking them before anything else reads them.

pub mod gguf;
pub mod locate;
#[cfg(feature = "pull")]
pub mod pull;
pub mod safetensors;

pub use gguf::Gguf;
pub use locate::ModelPlaces;
