//! The outcome of an experiment as people read it: a table, and one self-contained page.

pub mod outcome;
pub mod page;
pub mod scores;
pub mod table;

pub use outcome::{ArmOutcome, Example, LeftOut, Outcome};
