//! Models on disk: finding them and checking them before anything else reads them.

pub mod gguf;
pub mod locate;

pub use gguf::Gguf;
pub use locate::ModelPlaces;
