//! What a row of any form says: of a query, which passages answer it and which do not.

use super::Result;
use crate::data::jsonl::Record;

/// What one row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Line, or row of a table, from 1.
    pub line: u64,
    /// The query.
    pub query: Named,
    /// The passages, in the order of the row.
    pub passages: Vec<About>,
}

/// A query or passage, as far as the form names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: Option<String>,
    /// Its text.
    pub text: Option<String>,
}

/// A passage, and what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// The passage.
    pub passage: Named,
    /// 1 when it answers the query, else 0.
    pub label: u8,
    /// Its score for the query.
    pub score: Option<f32>,
}

impl Named {
    pub(super) fn text(text: &str) -> Self {
        Self { id: None, text: Some(text.to_owned()) }
    }

    pub(super) fn id(id: &str) -> Self {
        Self { id: Some(id.to_owned()), text: None }
    }
}

/// What `record` says of `query`: each passage with its label, and a score of each where `scores` has them.
///
/// # Errors
/// [`crate::data::Error::Input`] when there are fewer or more scores than passages.
pub(super) fn said(
    record: &Record<'_>,
    query: Named,
    passages: Vec<(Named, u8)>,
    (key, scores): (&str, Option<Vec<f64>>),
) -> Result<Said> {
    if let Some(scores) = &scores
        && scores.len() != passages.len()
    {
        return Err(record.fault(key, &format!("{} scores", passages.len()), &scores.len().to_string()));
    }
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32 that JSON holds as f64")]
    let score = |place: usize| scores.as_ref().map(|scores| scores[place] as f32);
    let about = |(place, (passage, label))| About { passage, label, score: score(place) };
    Ok(Said { line: record.line(), query, passages: passages.into_iter().enumerate().map(about).collect() })
}
