//! Where negatives come from: sources behind one trait, pushing into a sink.

pub mod source;
pub mod written;

pub use source::{NegativeSource, Sink, Task};
