//! Ranked results, one list a query, in the one order used everywhere:
//! score descending, then passage id descending by bytes (trec_eval's rule for ties).

use super::{DocId, Error, Fault, Found, Lists, QueryId, Result, RunFile, ids::InvalidId};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;

/// A passage found for a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The passage.
    pub doc: DocId,
    /// Higher is more relevant, whatever the method; finite.
    pub score: f32,
}

impl Hit {
    fn found(&self) -> Found<'_> {
        Found { doc: self.doc.as_str(), score: self.score }
    }

    /// [`Ordering::Less`] when `self` ranks before `other`.
    #[must_use]
    pub fn rank_order(&self, other: &Self) -> Ordering {
        self.found().rank_order(&other.found())
    }
}

/// Hits by query, each list in rank order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    lists: BTreeMap<QueryId, Vec<Hit>>,
}

impl Run {
    /// Stores the hits of `query`, put into rank order; replaces what was there. A score of -0 becomes 0: the two
    /// are equal, and a tie.
    pub fn insert(&mut self, query: QueryId, mut hits: Vec<Hit>) {
        for hit in &mut hits {
            hit.score += 0.0;
        }
        hits.sort_by(Hit::rank_order);
        self.lists.insert(query, hits);
    }

    /// Queries with their hits, by query id.
    pub fn iter(&self) -> impl Iterator<Item = (&QueryId, &[Hit])> {
        self.lists.iter().map(|(query, hits)| (query, hits.as_slice()))
    }

    /// Hits of `query` in rank order; empty when it was not searched.
    #[must_use]
    pub fn get(&self, query: &str) -> &[Hit] {
        self.lists.get(query).map_or(&[], Vec::as_slice)
    }

    /// Number of queries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// True when no query was searched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The same lists by reference.
    #[must_use]
    pub fn lists(&self) -> Lists<'_> {
        self.iter().map(|(query, hits)| (query.as_str(), hits.iter().map(Hit::found).collect())).collect()
    }

    /// A TREC run: `query Q0 passage rank score tag`; the rank column is ignored, as trec_eval does.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] naming the line with another column count, a score that is no
    /// finite number, or a passage listed twice for a query.
    pub fn read_trec(path: &Path) -> Result<Self> {
        let file = RunFile::read(path)?;
        let invalid = |error: InvalidId| Fault::new(path, "identifiers", error.to_string());
        let owned = |hits: &[Found<'_>]| -> Result<Vec<Hit>> {
            hits.iter().map(|hit| Ok(Hit { doc: DocId::new(hit.doc).map_err(invalid)?, score: hit.score })).collect()
        };
        let lists = file.lists()?;
        let lists = lists.iter().map(|(query, hits)| Ok((QueryId::new(query).map_err(invalid)?, owned(hits)?)));
        Ok(Self { lists: lists.collect::<Result<_>>()? })
    }

    /// Writes a TREC run with ranks from 1; scores read back to the same f32.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_trec(&self, path: &Path, tag: &str) -> Result<()> {
        super::atomic::write_file(path, |out| {
            for (query, hits) in &self.lists {
                for (rank, hit) in (1..).zip(hits) {
                    writeln!(out, "{query} Q0 {} {rank} {} {tag}", hit.doc, hit.score)
                        .map_err(Error::io("write", path))?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_written_run_reads_back_the_same(scores in proptest::collection::vec(-1e6f32..1e6, 0..40)) {
            let hits: Vec<Hit> = scores.iter().enumerate()
                .filter_map(|(i, &score)| Some(Hit { doc: DocId::new(&format!("d{i}")).ok()?, score })).collect();
            let mut run = Run::default();
            if !hits.is_empty() { run.insert(QueryId::new("q").map_err(|e| TestCaseError::fail(e.to_string()))?, hits); }
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("a.trec");
            run.write_trec(&path, "t").map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(Run::read_trec(&path).map_err(|e| TestCaseError::fail(e.to_string()))?, run);
        }
    }

    #[test]
    fn ties_go_to_the_greater_id() -> Result<(), Box<dyn std::error::Error>> {
        let mut run = Run::default();
        let hit = |id: &str| Ok::<_, InvalidId>(Hit { doc: DocId::new(id)?, score: 1.0 });
        run.insert(QueryId::new("q")?, vec![hit("10")?, hit("9")?, hit("2")?]);
        let order: Vec<&str> = run.get("q").iter().map(|h| h.doc.as_str()).collect();
        assert_eq!(order, ["9", "2", "10"]);
        Ok(())
    }
}
