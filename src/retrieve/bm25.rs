//! BM25 as Lucene computes it since version 8, over an inverted index in memory.
//! Simple on purpose: what each posting adds to a score is computed when the index is built, and a
//! search adds up whole lists; skipping (WAND, block-max) and an index on disk are the places to deepen.
//!
//! `score(q, d) = Σ idf(t) · tf / (tf + k1 (1 - b + b |d| / avg))` over the terms of q, repeats counted, with
//! `idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5))` (Robertson and Zaragoza 2009, eq. 3.15, without the constant k1 + 1).

use super::order::TopK;
use super::{Error, Result, Searcher};
use crate::data::{Corpus, IdTable, Query, Run};
use crate::text::Analyser;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Passages analysed by one task.
const CHUNK: usize = 512;

/// Parameters of BM25.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bm25Settings {
    /// Saturation of term frequency, 0 and up, default 0.9 (BEIR's baseline). Lower counts a term's
    /// presence only, higher lets passages that repeat a term win.
    pub k1: f64,
    /// Length normalisation, 0 to 1, default 0.4 (BEIR's baseline). Lower favours long passages,
    /// higher short ones.
    pub b: f64,
    /// How exactly passage lengths are known, default `exact`.
    pub length: LengthRule,
}

impl Default for Bm25Settings {
    fn default() -> Self {
        Self { k1: 0.9, b: 0.4, length: LengthRule::Exact }
    }
}

impl Bm25Settings {
    fn check(&self) -> Result<()> {
        let refuse = |key, expected, found: f64| Err(Error::Setting { key, expected, found: found.to_string() });
        if !(self.k1 >= 0.0 && self.k1.is_finite()) {
            return refuse("k1", "a number from 0", self.k1);
        }
        if !(0.0..=1.0).contains(&self.b) {
            return refuse("b", "a number from 0 to 1", self.b);
        }
        Ok(())
    }
}

/// How exactly passage lengths are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LengthRule {
    /// The number of terms.
    Exact,
    /// The number of terms rounded down to what Lucene's one-byte norm holds: exact to 39, then 4 bits.
    Lucene,
}

impl LengthRule {
    fn of(self, terms: u32) -> u32 {
        match self {
            Self::Exact => terms,
            Self::Lucene => lucene_length(terms),
        }
    }
}

/// `SmallFloat.byte4ToInt(SmallFloat.intToByte4(length))` of Lucene.
fn lucene_length(length: u32) -> u32 {
    // 255 - longToInt4(Integer.MAX_VALUE): so many small lengths are stored as they are.
    const FREE: u32 = 24;
    if length < FREE {
        return length;
    }
    let value = length - FREE;
    // Four significant bits, the first implied from 8 up.
    let cut = (32 - value.leading_zeros()).saturating_sub(4);
    FREE + (value >> cut << cut)
}

/// An inverted index with its scores.
pub struct Bm25 {
    analyser: Analyser,
    ids: Arc<IdTable>,
    terms: HashMap<String, usize>,
    /// Postings of term t: `starts[t]..starts[t + 1]`.
    starts: Vec<usize>,
    /// (row, what the term adds to the row's score), by row.
    postings: Vec<(u32, f32)>,
}

impl Bm25 {
    /// The index over all passages of `corpus`, title and body as one field.
    ///
    /// # Errors
    /// [`Error::Setting`]; [`Error::Data`] when the corpus cannot be read.
    pub fn of_corpus(corpus: &Corpus, settings: &Bm25Settings) -> Result<Self> {
        Self::build(corpus.ids().clone(), &corpus.contents()?, settings)
    }

    /// The index over `texts`, which stand beside their `ids`; the same whatever the thread count.
    ///
    /// # Errors
    /// [`Error::Setting`] when a parameter is outside its range.
    ///
    /// # Panics
    /// When there are not as many texts as ids, or more than 2³².
    pub fn build(ids: Arc<IdTable>, texts: &[String], settings: &Bm25Settings) -> Result<Self> {
        assert_eq!(ids.len(), texts.len(), "one text per id");
        settings.check()?;
        let analyser = Analyser::english();
        let chunks: Vec<Counts> = texts.par_chunks(CHUNK).map(|texts| Counts::of(texts, &analyser)).collect();
        let lengths: Vec<u32> = chunks.iter().flat_map(|chunk| &chunk.lengths).copied().collect();
        let (terms, lists) = merge(chunks);
        let norms = norms(&lengths, settings);
        let filled = lengths.iter().filter(|&&length| length > 0).count() as f64;
        let scored: Vec<Vec<(u32, f32)>> = lists
            .into_par_iter()
            .map(|list| {
                let df = list.len() as f64;
                let idf = (1.0 + (filled - df + 0.5) / (df + 0.5)).ln();
                list.into_iter().map(|(row, tf)| (row, score(idf, tf, norms[row as usize]))).collect()
            })
            .collect();
        let mut starts = Vec::with_capacity(scored.len() + 1);
        starts.push(0);
        let mut postings = Vec::with_capacity(scored.iter().map(Vec::len).sum());
        for list in scored {
            postings.extend(list);
            starts.push(postings.len());
        }
        Ok(Self { analyser, ids, terms, starts, postings })
    }

    /// Number of different terms.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.terms.len()
    }

    fn best(&self, query: &str, k: usize) -> Vec<crate::data::Hit> {
        let mut scores = vec![0.0_f32; self.ids.len()];
        for term in self.analyser.terms(query) {
            let Some(&term) = self.terms.get(&term) else { continue };
            for &(row, score) in &self.postings[self.starts[term]..self.starts[term + 1]] {
                scores[row as usize] += score;
            }
        }
        let mut top = TopK::new(&self.ids, k);
        for (row, score) in scores.into_iter().enumerate() {
            if score > 0.0 {
                top.push(row, score);
            }
        }
        top.into_hits()
    }
}

impl Searcher for Bm25 {
    /// Passages that share a term with the query; scores above 0.
    fn search(&self, queries: &[Query], k: usize) -> Result<Run> {
        let lists: Vec<_> = queries.par_iter().map(|query| (query.id.clone(), self.best(&query.text, k))).collect();
        let mut run = Run::default();
        for (query, hits) in lists {
            run.insert(query, hits);
        }
        Ok(run)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are f32 in every run")]
fn score(idf: f64, tf: u32, norm: f64) -> f32 {
    let tf = f64::from(tf);
    (idf * tf / (tf + norm)) as f32
}

/// `k1 (1 - b + b |d| / avg)` by row; the average is over passages that have a term.
fn norms(lengths: &[u32], settings: &Bm25Settings) -> Vec<f64> {
    let filled = lengths.iter().filter(|&&length| length > 0).count().max(1) as f64;
    let average = lengths.iter().map(|&length| f64::from(length)).sum::<f64>() / filled;
    let relative = |length| if average > 0.0 { f64::from(settings.length.of(length)) / average } else { 0.0 };
    lengths.iter().map(|&length| settings.k1 * (1.0 - settings.b + settings.b * relative(length))).collect()
}

/// (row, frequency) of one term, by row.
type Frequencies = Vec<(u32, u32)>;

/// Term counts of consecutive passages.
struct Counts {
    /// Terms in each passage.
    lengths: Vec<u32>,
    /// By term in order of first sight; rows count from the chunk's first.
    lists: Vec<(String, Frequencies)>,
}

impl Counts {
    fn of(texts: &[String], analyser: &Analyser) -> Self {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut lists: Vec<(String, Frequencies)> = Vec::new();
        let mut lengths = Vec::with_capacity(texts.len());
        for (row, text) in (0..).zip(texts) {
            let terms = analyser.terms(text);
            lengths.push(u32::try_from(terms.len()).unwrap_or(u32::MAX));
            for term in terms {
                let place = *places.entry(term).or_insert_with_key(|term| {
                    lists.push((term.clone(), Vec::new()));
                    lists.len() - 1
                });
                match lists[place].1.last_mut() {
                    Some((last, count)) if *last == row => *count += 1,
                    _ => lists[place].1.push((row, 1)),
                }
            }
        }
        Self { lengths, lists }
    }
}

/// One vocabulary over all chunks, and where each term is.
fn merge(chunks: Vec<Counts>) -> (HashMap<String, usize>, Vec<Frequencies>) {
    let mut terms: HashMap<String, usize> = HashMap::new();
    let mut lists: Vec<Frequencies> = Vec::new();
    let mut first = 0;
    for chunk in chunks {
        for (term, list) in chunk.lists {
            let place = *terms.entry(term).or_insert_with(|| {
                lists.push(Vec::new());
                lists.len() - 1
            });
            lists[place].extend(list.into_iter().map(|(row, tf)| (first + row, tf)));
        }
        first += u32::try_from(chunk.lengths.len()).expect("a chunk is small");
    }
    (terms, lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::QueryId;
    use crate::retrieve::exact::tests::ids;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn index(texts: &[&str], settings: &Bm25Settings) -> Result<Bm25> {
        Bm25::build(ids(texts.len()), &texts.iter().map(ToString::to_string).collect::<Vec<_>>(), settings)
    }

    fn query(text: &str) -> std::result::Result<Query, Box<dyn std::error::Error>> {
        Ok(Query { id: QueryId::new("q")?, text: text.to_owned() })
    }

    #[test]
    fn the_score_is_lucenes_formula() -> Outcome {
        let index = index(&["red fish", "red red red bird flies", "", "green"], &Bm25Settings::default())?;
        let run = index.search(&[query("red fish red")?], 10)?;
        // Three passages have terms; their average length is 8 / 3; "red" is in two, "fish" in one.
        let part = |df: f64, tf: f64, length: f64| {
            (1.0 + (3.0 - df + 0.5) / (df + 0.5)).ln() * tf / (tf + 0.9 * (0.6 + 0.4 * length / (8.0 / 3.0)))
        };
        let expected = [("d0", 2.0 * part(2.0, 1.0, 2.0) + part(1.0, 1.0, 2.0)), ("d1", 2.0 * part(2.0, 3.0, 5.0))];
        let hits = run.get("q");
        assert_eq!(hits.len(), 2, "passages without a shared term are no hits");
        for (hit, (doc, score)) in hits.iter().zip(expected) {
            assert_eq!(hit.doc.as_str(), doc);
            assert!((f64::from(hit.score) - score).abs() < 1e-6, "{doc}: {} for {score}", hit.score);
        }
        Ok(())
    }

    #[test]
    fn many_chunks_give_the_scores_of_a_plain_count() -> Outcome {
        let texts: Vec<String> = (0..CHUNK * 2 + 3).map(|i| format!("w{} w{} common", i % 7, i % 11)).collect();
        let run =
            Bm25::build(ids(texts.len()), &texts, &Bm25Settings::default())?.search(&[query("w3")?], texts.len())?;
        assert_eq!(run.get("q").len(), texts.iter().filter(|t| t.split(' ').any(|w| w == "w3")).count());
        // Ids where both words are w3 (i = 3 mod 77) hold it twice and come first, the greatest id leading.
        assert_eq!(run.get("q")[0].doc.as_str(), "d927");
        Ok(())
    }

    #[test]
    fn nothing_shared_is_an_empty_list_and_bad_settings_are_refused() -> Outcome {
        let run = index(&["a b"], &Bm25Settings::default())?.search(&[query("zebra")?], 5)?;
        assert_eq!((run.len(), run.get("q").len()), (1, 0));
        let wrong = Bm25Settings { b: 1.5, ..Bm25Settings::default() };
        assert!(index(&["x"], &wrong).err().ok_or("an error was due")?.to_string().contains("`b`"));
        assert!(serde_json::from_str::<Bm25Settings>(r#"{"k": 1}"#).is_err());
        Ok(())
    }

    /// `Lucene/SmallFloat`: 24 stored as they are, then a float of 3 explicit mantissa bits.
    #[test]
    fn lucenes_lengths_are_its_own() {
        let pairs =
            [(0, 0), (23, 23), (39, 39), (40, 40), (41, 40), (55, 54), (100, 96), (200, 200), (215, 200), (1000, 984)];
        for (length, stored) in pairs {
            assert_eq!(lucene_length(length), stored, "{length}");
        }
    }
}
