//! What an experiment found, as plain data: written as JSON, shown as a table or a page.

use crate::analyse::Summary;
use crate::data::Provenance;
use crate::filter::Waterfall;
use crate::train::card::TrainingSummary;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole outcome of one recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The recipe's name.
    pub name: String,
    /// What was compared on: collection, split, number of test queries.
    pub collection: String,
    /// Queries with judgements that were scored.
    pub test_queries: usize,
    /// Training instances of every arm, and negatives of every instance.
    pub instances: usize,
    /// H, the negatives per instance.
    pub negatives: usize,
    /// Seeds, in the order of the values.
    pub seeds: Vec<u64>,
    /// Metrics in the order of the columns.
    pub metrics: Vec<String>,
    /// The un-tuned encoder's scores by metric.
    pub untuned: BTreeMap<String, f64>,
    /// The arms, in the recipe's order.
    pub arms: Vec<ArmOutcome>,
    /// Arms that did not run, with the reason.
    pub left_out: Vec<LeftOut>,
    /// What happened on the way: recall of the index, queries dropped, negatives given up.
    pub remarks: Vec<String>,
    /// A few queries with their negatives, to be looked at.
    pub examples: Vec<Example>,
    /// Where it came from.
    pub provenance: Provenance,
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmOutcome {
    /// Its name.
    pub name: String,
    /// Negatives per query by source: "bm25 1 + written 1".
    pub negatives: String,
    /// Scores by metric.
    pub scores: BTreeMap<String, Summary>,
    /// What a reader must know of this row; "" when nothing.
    pub note: String,
    /// Loss of every step of the first seed, nats.
    pub losses: Vec<f32>,
    /// The trained encoder of each seed, relative to the outcome's folder.
    pub encoders: Vec<String>,
    /// The TREC run of each seed, relative to the outcome's folder.
    pub runs: Vec<String>,
    /// What each filter dropped, by source; empty for an arm without filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filtered: BTreeMap<String, Waterfall>,
    /// What each seed's training came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<TrainingSummary>,
}

/// An arm that did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A training query with its positive and what each source offers against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The query's text.
    pub query: String,
    /// The positive's text.
    pub positive: String,
    /// Source and text of one negative each.
    pub negatives: Vec<(String, String)>,
}
