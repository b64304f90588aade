//! A searcher that can also score passages it is handed: what margins below a positive's score need.

use super::dense::{DenseIndex, Similarity};
use super::{Bm25, Dense, Error, Result, Searcher};
use crate::data::{DocId, Document, Fault, IdTable, Query, QueryId, Run};
use crate::encode::Vectors;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Finds passages, and scores given ones by the same measure.
pub trait Ranker: Searcher {
    /// The score of each of `documents`, passages of the corpus, for `query`; what a search gives them, of BM25 but for
    /// rounding.
    ///
    /// # Errors
    /// [`Error::NoVector`] for dense rankers, [`Error::Data`] for a passage of another corpus.
    fn scores(&self, query: &Query, documents: &[Document]) -> Result<Vec<f32>>;
}

impl Ranker for Bm25 {
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32 everywhere")]
    fn scores(&self, query: &Query, documents: &[Document]) -> Result<Vec<f32>> {
        Ok(documents.iter().map(|document| self.explain(&query.text, document).score as f32).collect())
    }
}

/// A dense searcher that keeps the vectors it searches.
pub struct DenseRanker {
    search: Dense,
    similarity: Similarity,
    passages: (Arc<IdTable>, Arc<Vectors>),
    queries: (HashMap<QueryId, usize>, Arc<Vectors>),
}

/// The id under which the vector of a passage stands among those of the queries, to search with it.
///
/// # Panics
/// Never: an id with a prefix is an id.
#[must_use]
pub fn passage_as_query(id: &DocId) -> QueryId {
    QueryId::new(&format!("passage:{id}")).expect("an id with a prefix is an id")
}

impl DenseRanker {
    /// Over `index`, whose passages have these ids and vectors, for the queries given in the same way.
    ///
    /// # Errors
    /// As [`Dense::new`].
    pub fn new(
        index: DenseIndex,
        similarity: Similarity,
        passages: (Arc<IdTable>, Arc<Vectors>),
        (ids, vectors): (&[QueryId], Arc<Vectors>),
    ) -> Result<Self> {
        let search = Dense::new(index, ids, vectors.clone())?;
        Ok(Self { search, similarity, passages, queries: (ids.iter().cloned().zip(0..).collect(), vectors) })
    }
}

impl Searcher for DenseRanker {
    fn search(&self, queries: &[Query], k: usize) -> Result<Run> {
        self.search.search(queries, k)
    }
}

impl Ranker for DenseRanker {
    fn scores(&self, query: &Query, documents: &[Document]) -> Result<Vec<f32>> {
        let (rows, vectors) = &self.queries;
        let row = rows.get(&query.id).ok_or_else(|| Error::NoVector(query.id.clone()))?;
        let asked = self.similarity.ready(&vectors.row(*row));
        let score = |document: &Document| {
            let (ids, vectors) = &self.passages;
            let row = ids.row(document.id.as_str()).ok_or_else(|| {
                let found = format!("unknown passage {}", document.id);
                crate::data::Error::from(Fault::new(Path::new("the vectors"), "passages of this corpus", found))
            })?;
            Ok(self.similarity.of_ready(&asked, &vectors.row(row)))
        };
        documents.par_iter().map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieve::exact::tests::{ids, noise};
    use crate::retrieve::{Bm25Settings, Exact};

    fn close(run: &Run, query: &Query, ranker: &dyn Ranker, documents: &[Document]) {
        let scores = ranker.scores(query, documents).expect("all are known");
        for hit in run.get(query.id.as_str()) {
            let place = documents.iter().position(|d| d.id == hit.doc).expect("found ones are of the corpus");
            assert!((scores[place] - hit.score).abs() < 1e-5, "{}: {} for {}", hit.doc, scores[place], hit.score);
        }
    }

    #[test]
    fn given_passages_score_as_found_ones() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let (table, passages, queries) = (ids(40), Arc::new(noise("p", 40, 8)), Arc::new(noise("q", 2, 8)));
        let document = |row: usize| Document {
            id: table.id(row),
            title: String::new(),
            text: format!("iron {} word{row} end", "metal ".repeat(row % 5)),
        };
        let documents: Vec<Document> = (0..40).map(document).collect();
        let query = Query { id: QueryId::new("b")?, text: "metal iron iron word7".to_owned() };
        let known = [QueryId::new("a")?, query.id.clone()];
        for similarity in [Similarity::Cosine, Similarity::Dot] {
            let index = DenseIndex::Exact(Exact::new(table.clone(), passages.clone(), similarity)?);
            let vectors = (table.clone(), passages.clone());
            let ranker = DenseRanker::new(index, similarity, vectors, (&known, queries.clone()))?;
            close(&ranker.search(std::slice::from_ref(&query), 40)?, &query, &ranker, &documents);
            let stranger = Query { id: QueryId::new("c")?, text: String::new() };
            assert!(matches!(ranker.scores(&stranger, &documents), Err(Error::NoVector(_))));
        }
        let texts: Vec<String> = documents.iter().map(Document::content).collect();
        let words = Bm25::of_texts(table.clone(), &texts, &Bm25Settings::default())?;
        let run = words.search(std::slice::from_ref(&query), 40)?;
        assert!(run.get("b").len() == 40);
        close(&run, &query, &words, &documents);
        Ok(())
    }
}
