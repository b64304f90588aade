//! Written queries, kept only when a search with them finds the passage they were written for: a query its own passage
//! does not answer would teach the encoder a lie (Promptagator, arXiv 2209.11755; `InPars`).

use crate::data::{Candidate, Digest, DocId, Query, QueryId};
use crate::retrieve::{Result, Searcher};
use std::collections::HashSet;

/// A written query.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenQuery {
    /// The query; its id is made from its text.
    pub query: Query,
    /// The passage it was written for.
    pub passage: DocId,
    /// Rank of that passage in the search, from 1; None: not among the first k, or not searched.
    pub rank: Option<usize>,
}

/// Written queries by what became of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sorted {
    /// Those to use.
    pub kept: Vec<WrittenQuery>,
    /// Those whose passage the search does not find.
    pub lost: Vec<WrittenQuery>,
    /// Those that the collection has already, or that came twice for one passage.
    pub known: Vec<WrittenQuery>,
}

/// The written `candidates`, whose `passage_of` says what each was written for, without those that `own` queries say.
///
/// # Panics
/// Never: hexadecimal digits make a valid identifier.
pub fn gather(candidates: &[Candidate], passage_of: impl Fn(&Candidate) -> Option<DocId>, own: &[Query]) -> Sorted {
    let own: HashSet<String> = own.iter().map(|query| folded(&query.text)).collect();
    let mut seen = HashSet::new();
    let mut sorted = Sorted::default();
    for candidate in candidates {
        let (Some(text), Some(passage)) = (&candidate.text, passage_of(candidate)) else { continue };
        let id = format!("wq-{}", Digest::of_bytes(text.as_bytes()).short(16));
        let id = QueryId::new(&id).expect("hexadecimal digits make a valid identifier");
        let written = WrittenQuery { query: Query { id, text: text.clone() }, passage, rank: None };
        let fresh = !own.contains(&folded(text)) && seen.insert((written.query.id.clone(), written.passage.clone()));
        if fresh { sorted.kept.push(written) } else { sorted.known.push(written) }
    }
    sorted
}

fn folded(text: &str) -> String {
    let words = crate::text::measure::words(text).join(" ");
    if words.is_empty() { text.trim().to_owned() } else { words }
}

impl Sorted {
    /// Moves to `lost` what `searcher` does not find among the first `k`, and notes the rank of the others.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn round_trip(mut self, searcher: &dyn Searcher, k: usize) -> Result<Self> {
        let mut asked: Vec<Query> = Vec::new();
        let mut ids = HashSet::new();
        for written in &self.kept {
            if ids.insert(written.query.id.clone()) {
                asked.push(written.query.clone());
            }
        }
        let run = searcher.search(&asked, k)?;
        for mut written in std::mem::take(&mut self.kept) {
            let hits = run.get(written.query.id.as_str());
            written.rank = hits.iter().take(k).position(|hit| hit.doc == written.passage).map(|place| place + 1);
            if written.rank.is_some() { self.kept.push(written) } else { self.lost.push(written) }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Hit, Passage, Run, Scores, WrittenId};

    /// Finds the passages `d1`, `d2` ... in the order of the words of the query.
    struct Named;

    impl Searcher for Named {
        fn search(&self, queries: &[Query], k: usize) -> Result<Run> {
            let mut run = Run::default();
            for query in queries {
                let hits = query.text.split(' ').zip((0..10u8).rev()).take(k);
                let hit = |(word, score)| Hit { doc: DocId::new(word).unwrap(), score: f32::from(score) };
                run.insert(query.id.clone(), hits.map(hit).collect());
            }
            Ok(run)
        }
    }

    fn candidate(passage: &str, text: &str) -> Candidate {
        Candidate {
            query: QueryId::new(passage).unwrap(),
            passage: Passage::Written(WrittenId::new("w").unwrap()),
            text: Some(text.to_owned()),
            source: "written".to_owned(),
            rank: 1,
            scores: Scores::default(),
            provenance: serde_json::Value::Null,
        }
    }

    #[test]
    fn only_queries_that_find_their_passage_are_kept() {
        let candidates = [
            candidate("d1", "d3 d1"),
            candidate("d1", "d2 d3 d1"),
            candidate("d2", "d2 d3 d1"),
            candidate("d2", "Known, query!"),
            candidate("d1", "d3 d1"),
        ];
        let own = [Query { id: QueryId::new("q").unwrap(), text: "known query".to_owned() }];
        let passage = |candidate: &Candidate| DocId::new(candidate.query.as_str()).ok();
        let sorted = gather(&candidates, passage, &own);
        assert_eq!((sorted.kept.len(), sorted.known.len()), (3, 2));
        let sorted = sorted.round_trip(&Named, 2).unwrap();
        let kept: Vec<_> = sorted.kept.iter().map(|w| (w.query.text.as_str(), w.passage.as_str(), w.rank)).collect();
        assert_eq!(kept, [("d3 d1", "d1", Some(2)), ("d2 d3 d1", "d2", Some(1))]);
        let lost: Vec<_> = sorted.lost.iter().map(|w| (w.query.text.as_str(), w.rank)).collect();
        assert_eq!(lost, [("d2 d3 d1", None)]);
    }
}
