//! How dense search is done, as `search` and `mine` are told it.

use crate::encode::vectors::Storage;
use crate::experiment::indexes::DenseSettings;
use crate::experiment::recipe::DenseChoice;
use anyhow::Result;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum IndexName {
    /// What costs less for these numbers of passages and queries.
    Auto,
    /// Every passage is compared.
    Exact,
    /// A graph is walked.
    Hnsw,
}

/// How vectors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StorageName {
    /// 4 bytes a number.
    F32,
    /// 2 bytes a number.
    F16,
    /// 1 byte a number, and 4 a vector.
    Int8,
}

impl From<StorageName> for Storage {
    fn from(name: StorageName) -> Self {
        match name {
            StorageName::F32 => Self::F32,
            StorageName::F16 => Self::F16,
            StorageName::Int8 => Self::Int8,
        }
    }
}

#[cfg(feature = "hnsw")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphStorageName {
    F32,
    F16,
    Bf16,
    Int8,
}

/// The index of dense search. A graph is kept in the store, and its recall against exact search is printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dense search")]
pub(super) struct DenseArguments {
    /// Which index; auto says which it took.
    #[arg(long, value_enum, default_value = "auto")]
    pub index: IndexName,
    /// Neighbours of a graph's node (M).
    #[cfg(feature = "hnsw")]
    #[arg(long, value_name = "N", default_value_t = crate::retrieve::HnswSettings::default().connectivity)]
    pub connectivity: usize,
    /// Candidates kept when a passage is added to the graph (efConstruction).
    #[cfg(feature = "hnsw")]
    #[arg(long, value_name = "N", default_value_t = crate::retrieve::HnswSettings::default().expansion_add)]
    pub expansion_add: usize,
    /// Candidates kept in a search (ef).
    #[cfg(feature = "hnsw")]
    #[arg(long, value_name = "N", default_value_t = crate::retrieve::HnswSettings::default().expansion_search)]
    pub expansion_search: usize,
    /// Recall against exact search, 0 to 1, that sets --expansion-search by itself.
    #[cfg(feature = "hnsw")]
    #[arg(long, value_name = "SHARE", conflicts_with = "expansion_search")]
    pub target_recall: Option<f64>,
    /// What the graph keeps of a vector.
    #[cfg(feature = "hnsw")]
    #[arg(long, value_enum, default_value = "bf16")]
    pub graph_storage: GraphStorageName,
    /// Threads that build the graph; 0: all there are. With 1 the same vectors give the same graph.
    #[cfg(feature = "hnsw")]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub build_threads: usize,
}

impl DenseArguments {
    /// The settings, with `index` in place of an index that was left to the program.
    pub fn settings(&self, index: Option<IndexName>) -> Result<DenseSettings> {
        let index = if self.index == IndexName::Auto { index.unwrap_or(IndexName::Auto) } else { self.index };
        let index = match index {
            IndexName::Auto => DenseChoice::Auto,
            IndexName::Exact => DenseChoice::Exact,
            #[cfg(feature = "hnsw")]
            IndexName::Hnsw => DenseChoice::Hnsw,
            #[cfg(not(feature = "hnsw"))]
            IndexName::Hnsw => anyhow::bail!(
                "this build has no HNSW\n  hint: build with the feature hnsw, which is on by default, or use --index exact"
            ),
        };
        #[cfg(feature = "hnsw")]
        let hnsw = {
            use crate::retrieve::{GraphStorage, HnswSettings};
            HnswSettings {
                connectivity: self.connectivity,
                expansion_add: self.expansion_add,
                expansion_search: self.expansion_search,
                target_recall: self.target_recall,
                storage: match self.graph_storage {
                    GraphStorageName::F32 => GraphStorage::F32,
                    GraphStorageName::F16 => GraphStorage::F16,
                    GraphStorageName::Bf16 => GraphStorage::Bf16,
                    GraphStorageName::Int8 => GraphStorage::Int8,
                },
                threads: self.build_threads,
            }
        };
        #[cfg(feature = "hnsw")]
        hnsw.check()?;
        Ok(DenseSettings {
            index,
            #[cfg(feature = "hnsw")]
            hnsw,
        })
    }
}
