//! Whose rules a run is scored by: which queries count, what is done with a query's own passage, how ties fall,
//! what a gain is. A dialect is one row below; the program prints its sentence beside the numbers.

use crate::data::{Collection, Qrels, QueryId, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// The tool whose numbers ours are to be compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Dialect {
    /// `trec_eval`'s metrics over every judged query that can be answered.
    #[default]
    Nearmiss,
    /// `trec_eval` and `pytrec_eval`: the queries that are in both the run and the judgements.
    TrecEval,
    /// `trec_eval -c`: every query of the judgements.
    TrecEvalComplete,
    /// BEIR's `EvaluateRetrieval`: `pytrec_eval` after hits with the query's own id are removed.
    Beir,
    /// sentence-transformers' `InformationRetrievalEvaluator`.
    SentenceTransformers,
}

/// Which queries a mean is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Judged with a relevant passage; 0 when the run lacks it.
    Answerable,
    /// Judged; 0 when the run lacks it.
    Judged,
    /// Judged and in the run.
    Searched,
}

/// What is done with a hit whose passage id equals the query's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SelfHits {
    Keep,
    Remove,
    RemoveSameText,
}

/// Which of two hits with one score ranks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ties {
    GreaterId,
    SmallerId,
}

/// What a relevant passage is worth in nDCG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gains {
    Graded,
    Binary,
}

/// What average precision divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Divisor {
    Relevant,
    RelevantWithinDepth,
}

/// The rules of a dialect, and its name and difference in words.
pub(super) struct Row {
    name: &'static str,
    differs: &'static str,
    pub counted: Counted,
    pub self_hits: SelfHits,
    pub ties: Ties,
    pub gains: Gains,
    pub divisor: Divisor,
}

const NEARMISS: Row = Row {
    name: "nearmiss",
    differs: "every judged query with a relevant passage counts, 0 when the run lacks it; \
              a hit is removed where its passage has the query's own id and text",
    counted: Counted::Answerable,
    self_hits: SelfHits::RemoveSameText,
    ties: Ties::GreaterId,
    gains: Gains::Graded,
    divisor: Divisor::Relevant,
};

const TREC_EVAL: Row = Row {
    name: "trec_eval",
    differs: "judged queries that are in the run count, 0 without a relevant passage; \
              queries the run lacks are left out; no hit is removed",
    counted: Counted::Searched,
    self_hits: SelfHits::Keep,
    ..NEARMISS
};

const TREC_EVAL_COMPLETE: Row = Row {
    name: "trec_eval-c",
    differs: "every judged query counts, 0 when the run lacks it or none of its passages is relevant; \
              no hit is removed",
    counted: Counted::Judged,
    ..TREC_EVAL
};

const BEIR: Row = Row {
    name: "beir",
    differs: "as trec_eval, but a hit with the query's own id is always removed; \
              BEIR's own MRR, top_k_accuracy and hole differ: they divide by all judged queries, break ties by place \
              in the run, and hole takes a passage judged for any query as judged",
    self_hits: SelfHits::Remove,
    ..TREC_EVAL
};

const SENTENCE_TRANSFORMERS: Row = Row {
    name: "sentence-transformers",
    differs: "every judged query with a relevant passage counts; all relevant passages gain 1; \
              map@k divides by the lesser of k and the relevant passages; ties go to the smaller id; no hit is removed",
    self_hits: SelfHits::Keep,
    ties: Ties::SmallerId,
    gains: Gains::Binary,
    divisor: Divisor::RelevantWithinDepth,
    ..NEARMISS
};

impl Dialect {
    /// Every dialect, the default first.
    pub const ALL: [Self; 5] =
        [Self::Nearmiss, Self::TrecEval, Self::TrecEvalComplete, Self::Beir, Self::SentenceTransformers];

    pub(super) fn row(self) -> &'static Row {
        match self {
            Self::Nearmiss => &NEARMISS,
            Self::TrecEval => &TREC_EVAL,
            Self::TrecEvalComplete => &TREC_EVAL_COMPLETE,
            Self::Beir => &BEIR,
            Self::SentenceTransformers => &SENTENCE_TRANSFORMERS,
        }
    }

    /// Its name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What sets it apart, in words.
    #[must_use]
    pub fn differs(self) -> &'static str {
        self.row().differs
    }

    /// True when a query that the run lacks counts 0; false when it is left out.
    #[must_use]
    pub fn counts_missing(self) -> bool {
        self.row().counted != Counted::Searched
    }

    /// True when a judged query without a relevant passage counts 0; false when it is left out.
    #[must_use]
    pub fn counts_unanswerable(self) -> bool {
        self.row().counted != Counted::Answerable
    }
}

/// Why a text names no dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a dialect ({}), found {found:?}", Dialect::ALL.map(Dialect::name).join(", "))]
pub struct DialectError {
    found: String,
}

impl FromStr for Dialect {
    type Err = DialectError;
    fn from_str(text: &str) -> std::result::Result<Self, DialectError> {
        let named = Self::ALL.into_iter().find(|dialect| dialect.name() == text);
        named.ok_or_else(|| DialectError { found: text.to_owned() })
    }
}

impl TryFrom<String> for Dialect {
    type Error = DialectError;
    fn try_from(text: String) -> std::result::Result<Self, DialectError> {
        text.parse()
    }
}

impl From<Dialect> for &'static str {
    fn from(dialect: Dialect) -> Self {
        dialect.name()
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How runs are scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Whose rules.
    pub dialect: Dialect,
    /// Lowest grade that is relevant, from 1; default 1, `trec_eval`'s `-l`. Higher: fewer passages count, and more
    /// queries have none. nDCG's graded gains are the same at every level, as in `trec_eval`.
    pub relevant_from: i32,
    /// Queries whose own passage repeats them, from [`copies`].
    pub copies: HashSet<QueryId>,
}

impl Rules {
    /// Those of `dialect`, grades from 1 relevant, no query known to be a passage.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, relevant_from: 1, copies: HashSet::new() }
    }

    /// The default dialect, knowing the queries of `qrels` that are passages of `collection`.
    ///
    /// # Errors
    /// As [`copies`].
    pub fn of_collection(collection: &Collection, qrels: &Qrels) -> Result<Self> {
        Ok(Self { copies: copies(collection, qrels)?, ..Self::new(Dialect::default()) })
    }
}

/// Judged queries whose text is the text of the passage with the same id (`ArguAna`, Quora), or that
/// passage's title and text; blanks around them do not matter. In Cranfield ids agree and texts do not.
///
/// # Errors
/// [`crate::data::Error::Input`] when the corpus was changed since it was opened.
pub fn copies(collection: &Collection, qrels: &Qrels) -> Result<HashSet<QueryId>> {
    let mut copies = HashSet::new();
    for (id, _) in qrels.iter() {
        let (Some(query), Some(passage)) = (collection.queries.get(id.as_str()), collection.corpus.get(id.as_str())?)
        else {
            continue;
        };
        let text = query.text.trim();
        if text == passage.text.trim() || text == passage.content() {
            copies.insert(id.clone());
        }
    }
    Ok(copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn every_dialect_reads_back_by_its_name() -> Outcome {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
            assert_eq!(serde_json::from_str::<Dialect>(&serde_json::to_string(&dialect)?)?, dialect);
        }
        let message = "trec".parse::<Dialect>().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("trec_eval-c, beir") && message.ends_with("found \"trec\""), "{message}");
        Ok(())
    }

    #[test]
    fn a_query_is_a_passage_only_where_id_and_text_agree() -> Outcome {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("qrels"))?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write(
            "corpus.jsonl",
            r#"{"_id": "a", "title": "", "text": "same words "}
{"_id": "b", "title": "The", "text": "title too"}
{"_id": "c", "title": "", "text": "other words"}
{"_id": "d", "title": "", "text": "same words"}
"#,
        )?;
        write(
            "queries.jsonl",
            r#"{"_id": "a", "text": "same words"}
{"_id": "b", "text": "The title too"}
{"_id": "c", "text": "same words"}
{"_id": "e", "text": "same words"}
"#,
        )?;
        write("qrels/test.tsv", "query-id\tcorpus-id\tscore\na\td\t1\nb\td\t1\nc\td\t1\ne\td\t1\n")?;
        let collection = Collection::open(folder.path())?;
        let copies = copies(&collection, &collection.qrels("test")?)?;
        let mut ids: Vec<&str> = copies.iter().map(QueryId::as_str).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b"]);
        Ok(())
    }
}
