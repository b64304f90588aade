//! Local model files: where they are, and checks before anything else reads them.

pub mod gguf;
