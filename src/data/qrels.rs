//! Relevance judgements: which passages answer which query, and how well.
//! Read from BEIR's `qrels/*.tsv` (header, three columns) or from TREC qrels (four columns).

use super::reading::Gate;
use super::{DocId, Fault, QueryId, Result, error::excerpt, jsonl};
use std::collections::BTreeMap;
use std::path::Path;

/// Grades by query and passage; a grade above 0 is relevant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Qrels {
    grades: BTreeMap<QueryId, BTreeMap<DocId, i32>>,
}

impl Qrels {
    /// Judgements in the form of the first line: four columns are TREC's, anything else must be BEIR's.
    ///
    /// # Errors
    /// As [`Qrels::read_beir`].
    pub fn read(path: &Path) -> Result<Self> {
        let mut first = None;
        jsonl::each_line(path, |bytes, line| {
            first = first.or(Some(utf8(bytes, path, line)?.split_whitespace().count()));
            Ok(())
        })?;
        if first == Some(4) { Self::read_trec(path) } else { Self::read_beir(path) }
    }

    /// Judgements in BEIR form: one header line, then query-id, corpus-id and score, tab-separated.
    ///
    /// # Errors
    /// [`super::Error::Io`]; [`super::Error::Input`] naming the line with another column count, a grade
    /// that is no whole number, or a pair that is judged twice.
    pub fn read_beir(path: &Path) -> Result<Self> {
        Self::read_beir_with(path, &mut Gate::new(path, 0), |_, _| Ok(()))
    }

    /// As [`Qrels::read_beir`], passing over the bad lines that `gate` lets pass, and over those whose query and
    /// passage `check` refuses by saying what it expected and found.
    ///
    /// # Errors
    /// As [`Qrels::read_beir`]; [`super::Error::Input`] when more lines are bad than may be.
    pub fn read_beir_with(
        path: &Path,
        gate: &mut Gate,
        check: impl Fn(&str, &str) -> Result<(), (&'static str, String)>,
    ) -> Result<Self> {
        let mut qrels = Self::default();
        jsonl::each_good_line(path, gate, |bytes, line| {
            let text = utf8(bytes, path, line)?;
            let columns: Vec<&str> = text.split('\t').collect();
            if line == 1 {
                // Skipped unread, a file without a header would silently lose its first judgement.
                return match columns.get(2).map(|score| score.trim().parse::<i32>()) {
                    Some(Ok(_)) => {
                        Err(Fault::new(path, "a header line (query-id, corpus-id, score)", excerpt(text, 60))
                            .line(1)
                            .hint("put a header line before the first judgement")
                            .into())
                    }
                    _ => Ok(()),
                };
            }
            let [query, doc, grade] = columns[..] else {
                return Err(Fault::new(
                    path,
                    "3 columns (query-id, corpus-id, score), tab-separated",
                    columns_found(&columns, text),
                )
                .line(line)
                .into());
            };
            check(query, doc).map_err(|(expected, found)| Fault::new(path, expected, found).line(line))?;
            qrels.judge(path, line, [query, doc, grade])
        })?;
        Ok(qrels)
    }

    /// Judgements in TREC form: `query iteration passage grade`, separated by white space.
    ///
    /// # Errors
    /// As [`Qrels::read_beir`].
    pub fn read_trec(path: &Path) -> Result<Self> {
        let mut qrels = Self::default();
        jsonl::each_line(path, |bytes, line| {
            let text = utf8(bytes, path, line)?;
            let columns: Vec<&str> = text.split_whitespace().collect();
            let [query, _, doc, grade] = columns[..] else {
                return Err(Fault::new(
                    path,
                    "4 columns (query, iteration, passage, grade)",
                    columns_found(&columns, text),
                )
                .line(line)
                .into());
            };
            qrels.judge(path, line, [query, doc, grade])
        })?;
        Ok(qrels)
    }

    fn judge(&mut self, path: &Path, line: u64, [query, doc, grade]: [&str; 3]) -> Result<()> {
        let fault = |key: &str, expected: &str, found: String| Fault::new(path, expected, found).line(line).key(key);
        let query = QueryId::new(query).map_err(|e| fault("query-id", "an identifier", e.to_string()))?;
        let doc = DocId::new(doc).map_err(|e| fault("corpus-id", "an identifier", e.to_string()))?;
        let grade = grade.trim().parse().map_err(|_| fault("score", "a whole number", excerpt(grade, 40)))?;
        if self.grades.get(&query).is_some_and(|judged| judged.contains_key(&doc)) {
            return Err(fault("corpus-id", "each pair judged once", format!("{query} and {doc} again")).into());
        }
        self.insert(query, doc, grade);
        Ok(())
    }

    /// Adds or replaces one judgement.
    pub fn insert(&mut self, query: QueryId, doc: DocId, grade: i32) {
        self.grades.entry(query).or_default().insert(doc, grade);
    }

    /// Queries with their judged passages, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&QueryId, &BTreeMap<DocId, i32>)> {
        self.grades.iter()
    }

    /// Grades of `query` by passage.
    #[must_use]
    pub fn get(&self, query: &str) -> Option<&BTreeMap<DocId, i32>> {
        self.grades.get(query)
    }

    /// Passages judged relevant (grade above 0) for `query`, by id.
    pub fn relevant<'q>(&'q self, query: &str) -> impl Iterator<Item = &'q DocId> {
        self.grades.get(query).into_iter().flatten().filter(|&(_, &grade)| grade > 0).map(|(doc, _)| doc)
    }

    /// Number of judged queries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.grades.len()
    }

    /// True when nothing is judged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grades.is_empty()
    }
}

pub(super) fn utf8<'b>(bytes: &'b [u8], path: &Path, line: u64) -> Result<&'b str> {
    std::str::from_utf8(bytes).map_err(|error| {
        Fault::new(path, "UTF-8 text", format!("an invalid byte at column {}", error.valid_up_to() + 1))
            .line(line)
            .into()
    })
}

fn columns_found(columns: &[&str], text: &str) -> String {
    format!("{}: {}", columns.len(), excerpt(text, 60))
}
