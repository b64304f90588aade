//! Candidates from the training files of other tools, in any form that is exported. A query and a passage are known by
//! the text, which is compared as it is and then with blanks for tabs and line breaks; by the id where the form has no
//! text. What the corpus does not hold stays a text of its own, with the source's name.

use super::export::{About, Form, Named, Place, Said};
use crate::data::msmarco::on_one_line;
use crate::data::reading::Gate;
use crate::data::{
    Candidate, Collection, Corpus, DocId, Error, Fault, Passage, QueryId, Result, Scores, atomic, error::excerpt,
};
use crate::negatives::screen::Measure;
use crate::negatives::written::written_id;
use ahash::{AHashMap, AHashSet};
use rayon::prelude::*;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Rows of the corpus read at once.
const BLOCK: usize = 8192;

/// How a file is imported.
pub struct Import<'i> {
    /// Its form.
    pub form: &'i Form,
    /// Where it lies.
    pub place: &'i Place,
    /// Source of its candidates.
    pub source: &'i str,
    /// What its scores are, if it has some.
    pub measure: Measure,
}

/// What was imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Negatives, each pair of query and passage once.
    pub negatives: u64,
    /// Those of them whose text the corpus does not hold.
    pub unknown: u64,
    /// Positives that the corpus holds, each pair once.
    pub positives: u64,
    /// Positives that it does not hold; they are left out.
    pub unknown_positives: u64,
}

/// Where candidates and positives go.
pub struct Targets<'t> {
    /// `candidates.jsonl`.
    pub candidates: &'t Path,
    /// The positives, as `nearmiss score` writes them.
    pub positives: &'t Path,
}

impl Import<'_> {
    /// Writes the candidates, in the order of the file, and its positives. Bad rows, and those about no query of
    /// `collection`, pass through `gate`.
    ///
    /// # Errors
    /// [`Error::Input`] with file, line, key, what was expected and found; also when there is not one negative.
    pub fn run(&self, collection: &Collection, gate: &mut Gate, to: &Targets<'_>) -> Result<Counts> {
        let known = Known::of(collection)?;
        let mut counts = Counts::default();
        atomic::write_file(to.candidates, |candidates| {
            atomic::write_file(to.positives, |positives| {
                let mut sorter = Sorter { import: self, known: &known, counts: &mut counts, places: AHashMap::new() };
                let mut seen = AHashSet::new();
                self.form.read(self.place, gate, &mut |said| {
                    for (candidate, label) in sorter.candidates(&said)? {
                        if !seen.insert((candidate.query.clone(), candidate.passage.clone(), label)) {
                            continue;
                        }
                        if label > 0 {
                            sorter.counts.positives += 1;
                            write_line((&mut *positives, to.positives), &candidate)?;
                        } else {
                            write_line((&mut *candidates, to.candidates), &sorter.ranked(candidate))?;
                        }
                    }
                    sorter.counts.rows += 1;
                    Ok(())
                })
            })?;
            if counts.negatives == 0 {
                let path = self.form.main_file(self.place);
                return Err(Error::from(Fault::new(&path, "at least one negative", "none")));
            }
            Ok(())
        })?;
        Ok(counts)
    }
}

/// One score, under its measure.
fn scores(measure: Measure, score: f32) -> Scores {
    let score = Some(score);
    match measure {
        Measure::Cosine => Scores { cosine: score, ..Scores::default() },
        Measure::Bm25 => Scores { bm25: score, ..Scores::default() },
        Measure::Relevance => Scores { relevance: score, ..Scores::default() },
    }
}

fn write_line((out, path): (&mut dyn Write, &Path), candidate: &Candidate) -> Result<()> {
    serde_json::to_writer(&mut *out, candidate).map_err(|error| Error::io("write", path)(error.into()))?;
    out.write_all(b"\n").map_err(Error::io("write", path))
}

/// Turns what a row says into candidates, and counts.
struct Sorter<'s> {
    import: &'s Import<'s>,
    known: &'s Known<'s>,
    counts: &'s mut Counts,
    /// Negatives of each query so far.
    places: AHashMap<QueryId, u32>,
}

impl Sorter<'_> {
    /// A candidate for each passage and query that is meant, with its label; ranks are still to be given.
    fn candidates(&mut self, said: &Said) -> Result<Vec<(Candidate, u8)>> {
        let path = self.import.form.main_file(self.import.place);
        let fault = |key: &str, expected: &str, found: &Named| {
            let found = found.text.as_deref().or(found.id.as_deref()).unwrap_or_default();
            Fault::new(&path, expected, excerpt(found, 60)).line(said.line).key(key)
        };
        let queries = self.known.queries(&said.query);
        if queries.is_empty() {
            let hint = "give the collection the file was made for with --data, or pass over such lines with \
                        --skip-bad-lines";
            return Err(fault("query", "a query of this collection", &said.query).hint(hint).into());
        }
        let mut all = Vec::new();
        for About { passage, label, score } in &said.passages {
            let (passage, text) = match (self.known.passage(passage), &passage.text) {
                (Some(id), _) => (Passage::Corpus(id), None),
                (None, Some(_)) if *label > 0 => {
                    self.counts.unknown_positives += 1;
                    continue;
                }
                (None, Some(text)) => (Passage::Written(written_id(text)), Some(text.clone())),
                (None, None) => return Err(fault("passage", "a passage of this collection", passage).into()),
            };
            let source = if *label > 0 { "judged" } else { self.import.source };
            all.extend(queries.iter().map(|query| {
                let candidate = Candidate {
                    query: query.clone(),
                    passage: passage.clone(),
                    text: text.clone(),
                    source: source.to_owned(),
                    rank: 1,
                    scores: score.map_or(Scores::default(), |score| scores(self.import.measure, score)),
                    provenance: json!({"line": said.line}),
                };
                (candidate, *label)
            }));
        }
        Ok(all)
    }

    /// The negative with its place among those of its query.
    fn ranked(&mut self, mut candidate: Candidate) -> Candidate {
        let place = self.places.entry(candidate.query.clone()).or_default();
        *place += 1;
        candidate.rank = *place;
        self.counts.negatives += 1;
        self.counts.unknown += u64::from(candidate.text.is_some());
        candidate
    }
}

/// Queries and passages of a collection by text. Of passages with one text the first is found.
struct Known<'k> {
    collection: &'k Collection,
    queries: AHashMap<String, Vec<QueryId>>,
    plain_queries: AHashMap<String, Vec<QueryId>>,
    passages: Texts,
}

impl<'k> Known<'k> {
    fn of(collection: &'k Collection) -> Result<Self> {
        let (mut queries, mut plain_queries) = (AHashMap::<_, Vec<_>>::new(), AHashMap::<_, Vec<_>>::new());
        for query in collection.queries.iter() {
            queries.entry(query.text.clone()).or_default().push(query.id.clone());
            plain_queries.entry(plain(&query.text)).or_default().push(query.id.clone());
        }
        Ok(Self { collection, queries, plain_queries, passages: Texts::of(&collection.corpus)? })
    }

    /// The queries that are meant: the one with that id, or all with that text.
    fn queries(&self, named: &Named) -> Vec<QueryId> {
        let of_id = named.id.as_deref().and_then(|id| self.collection.queries.get(id));
        let of_text = || {
            let text = named.text.as_deref()?;
            self.queries.get(text).or_else(|| self.plain_queries.get(&plain(text)))
        };
        match of_id {
            Some(query) if named.text.as_deref().is_none_or(|text| plain(text) == plain(&query.text)) => {
                vec![query.id.clone()]
            }
            _ => of_text().cloned().unwrap_or_default(),
        }
    }

    /// The passage that is meant, if the corpus holds it: an id decides between equal texts, or alone.
    fn passage(&self, named: &Named) -> Option<DocId> {
        let corpus = &self.collection.corpus;
        let of_id = named.id.as_deref().and_then(|id| corpus.row(id));
        match (of_id, &named.text) {
            (Some(row), None) => Some(corpus.ids().id(row)),
            (Some(row), Some(text)) if self.passages.is(row, text) => Some(corpus.ids().id(row)),
            (_, text) => self.passages.row(text.as_deref()?).map(|row| corpus.ids().id(row)),
        }
    }
}

/// A text as it is compared: blanks for tabs and line breaks, none outside.
fn plain(text: &str) -> String {
    on_one_line(text).trim().to_owned()
}

/// Rows of a corpus by text.
struct Texts {
    /// By row: of the text, and of the text as it is compared.
    keys: Vec<(u128, u128)>,
    exact: AHashMap<u128, u32>,
    plain: AHashMap<u128, u32>,
}

/// 128 bits of a text's digest.
fn key(text: &str) -> u128 {
    let digest = crate::data::Digest::of_bytes(text.as_bytes());
    u128::from_str_radix(digest.short(32), 16).expect("hexadecimal digits")
}

impl Texts {
    fn of(corpus: &Corpus) -> Result<Self> {
        let mut keys = Vec::with_capacity(corpus.len());
        for first in (0..corpus.len()).step_by(BLOCK) {
            let rows = first..(first + BLOCK).min(corpus.len());
            let texts = corpus.contents_of(rows.clone())?;
            keys.par_extend(texts.par_iter().map(|text| (key(text), key(&plain(text)))));
            corpus.release(rows);
        }
        let (mut exact, mut plain) = (AHashMap::new(), AHashMap::new());
        for (row, (whole, spaced)) in (0..).zip(&keys) {
            exact.entry(*whole).or_insert(row);
            plain.entry(*spaced).or_insert(row);
        }
        Ok(Self { keys, exact, plain })
    }

    /// Whether `row` has this text.
    fn is(&self, row: usize, text: &str) -> bool {
        self.keys[row].1 == key(&plain(text))
    }

    fn row(&self, text: &str) -> Option<usize> {
        let found = self.exact.get(&key(text)).or_else(|| self.plain.get(&key(&plain(text))));
        found.map(|&row| row as usize)
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
