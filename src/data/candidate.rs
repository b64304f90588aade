//! What mining and generation propose, and what training consumes.
//! `candidates.jsonl` holds [`Candidate`]s, `train.jsonl` holds [`Instance`]s.

use super::{Passage, QueryId};
use serde::{Deserialize, Serialize};

/// What is known of how near a passage is to its query; each by its own measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// BM25 score, 0 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bm25: Option<f32>,
    /// Cosine of the encoder's vectors, -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f32>,
    /// Probability of relevance by a cross-encoder, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevance: Option<f32>,
}

/// A passage proposed as a negative for a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The query it is proposed for.
    pub query: QueryId,
    /// The passage.
    pub passage: Passage,
    /// Its text where the corpus does not hold it (written passages).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Name of the source: a row of the source table, or `written`.
    pub source: String,
    /// Rank the source gave it, from 1; in the corpus ranking, before anything was left out.
    pub rank: u32,
    /// Scores known so far.
    #[serde(default)]
    pub scores: Scores,
    /// How it came to be, where rank and score do not say it (written: model, seed, attempts).
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub provenance: serde_json::Value,
}

/// One training example: a query, one passage that answers it, and H that do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The query's id.
    pub query_id: QueryId,
    /// The query's text.
    pub query: String,
    /// The positive.
    pub positive: TrainingPassage,
    /// The negatives, the same number in every instance of a file.
    pub negatives: Vec<TrainingPassage>,
}

/// A passage as training sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingPassage {
    /// Which passage it is.
    pub passage: Passage,
    /// Where it came from: `judged` for positives, else the source's name.
    pub source: String,
    /// Its text (title and body).
    pub text: String,
    /// A teacher's score of it for the query, in the teacher's unit, finite; for losses that distil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<f32>,
}
