//! Data at rest: identifiers, collections, runs, candidates, instances, and how files are written.
//! The lowest layer: it knows nothing of models, retrieval or training.

pub mod arrays;
pub mod atomic;
pub mod beir;
pub mod candidate;
pub mod collection;
pub mod corpus;
mod corpus_index;
pub mod digest;
pub mod error;
pub mod id_table;
pub mod ids;
pub mod import;
pub mod jsonl;
pub mod msmarco;
pub mod overview;
pub mod packed;
pub mod provenance;
pub mod qrels;
pub mod queries;
pub mod reading;
pub mod run;
pub mod run_file;
pub mod seeds;
pub mod store;
pub mod strings;
pub mod watch;

pub use candidate::{Candidate, Instance, Scores, TrainingPassage};
pub use collection::Collection;
pub use corpus::{Corpus, Document};
pub use digest::Digest;
pub use error::{Error, Fault, Result};
pub use id_table::IdTable;
pub use ids::{DocId, Passage, QueryId, WrittenId};
pub use provenance::Provenance;
pub use qrels::Qrels;
pub use queries::{Queries, Query};
pub use reading::Reading;
pub use run::{Hit, Run};
pub use run_file::{Found, Lists, RunFile};
pub use seeds::Seed;
pub use store::Store;
pub use strings::Strings;
pub use watch::{Quiet, Watch};

#[cfg(test)]
mod round_trips;
