//! What the scores say: summaries over seeds.

pub mod summary;

pub use summary::Summary;
