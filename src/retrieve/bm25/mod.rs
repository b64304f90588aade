//! BM25 as Lucene computes it since version 8, over an inverted index on disk or in memory.
//!
//! `score(q, d) = Σ idf(t) · tf / (tf + k1 (1 - b + b |d| / avg))` over the terms of q, repeats counted, with
//! `idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5))` (Robertson and Zaragoza 2009, eq. 3.15, without the constant k1 + 1).
//! What each posting adds is computed once, for the settings at hand; other settings are another index. The way:
//! passages → `drafts` → `build` → `postings` and `lexicon` → `search`.

mod build;
mod drafts;
mod explain;
mod lexicon;
mod postings;
mod search;
mod settings;

pub use explain::{Explanation, FieldPart, TermPart};
pub use settings::{Bm25Settings, LengthRule, TitleRule};

use super::{Result, Searcher};
use crate::data::arrays::{ArrayFile, Arrays};
use crate::data::{self, Corpus, Hit, IdTable, Query, Run, Watch};
use crate::text::Analyser;
use lexicon::Lexicon;
use postings::Postings;
use rayon::prelude::*;
use search::{Pruning, QueryTerm, Room};
use std::path::Path;
use std::sync::Arc;

/// Rows that are searched together: their sums stay in the first-level cache, and a row among them takes 16 bits.
const WINDOW: usize = WINDOW_ROWS as usize;
const WINDOW_ROWS: u32 = 4096;

/// What the file of an index calls itself; the number changes with its form.
const FORM: &str = "nearmiss bm25 1";

/// An inverted index with its scores.
pub struct Bm25 {
    settings: Bm25Settings,
    analyser: Analyser,
    ids: Arc<IdTable>,
    lexicon: Lexicon,
    postings: Postings,
    statistics: Statistics,
}

/// What the formula needs to know of the corpus, beside the postings.
struct Statistics {
    /// Mean number of terms of each field, over rows that have one.
    average: Vec<f64>,
    /// Rows that have a term in each field.
    filled: Vec<u64>,
    /// Rows that have the term in the field: term × fields.
    frequencies: data::arrays::Array<u32>,
}

impl Bm25 {
    /// The index over all passages of `corpus`.
    ///
    /// # Errors
    /// [`super::Error::Setting`]; [`super::Error::Data`] when the corpus cannot be read or the user asked to stop.
    pub fn of_corpus(corpus: &Corpus, settings: &Bm25Settings, watch: &dyn Watch) -> Result<Self> {
        let fields = settings.fields().len();
        let passages = |rows: std::ops::Range<usize>| {
            let texts = |row| {
                let document = corpus.document(row)?;
                Ok(if fields == 1 { vec![document.content()] } else { vec![document.title, document.text] })
            };
            let window = rows.clone().map(texts).collect();
            corpus.release(rows);
            window
        };
        Self::build(corpus.ids().clone(), &passages, settings, watch)
    }

    /// The index over `texts`, which stand beside their `ids`; the same whatever the thread count.
    ///
    /// # Errors
    /// [`super::Error::Setting`] when a parameter is outside its range.
    ///
    /// # Panics
    /// When there are not as many texts as ids, or the settings ask for titles.
    pub fn of_texts(ids: Arc<IdTable>, texts: &[String], settings: &Bm25Settings) -> Result<Self> {
        assert_eq!((ids.len(), settings.title), (texts.len(), TitleRule::Flat), "one text per id, flat");
        let passages = |rows: std::ops::Range<usize>| Ok(texts[rows].iter().map(|text| vec![text.clone()]).collect());
        Self::build(ids, &passages, settings, &data::Quiet)
    }

    fn build(
        ids: Arc<IdTable>,
        passages: &drafts::Passages<'_>,
        settings: &Bm25Settings,
        watch: &dyn Watch,
    ) -> Result<Self> {
        settings.check()?;
        let (analyser, dictionary) = (Analyser::new(&settings.analyser), drafts::Dictionary::new());
        watch.begin("index passages", ids.len() as u64, "passages");
        let drafts = drafts::drafts(ids.len(), passages, &analyser, &dictionary, watch)?;
        let (lexicon, postings, statistics) = build::finish(drafts, dictionary, settings);
        watch.end();
        Ok(Self { settings: *settings, analyser, ids, lexicon, postings, statistics })
    }

    /// Writes the index to `path`, atomically.
    ///
    /// # Errors
    /// [`super::Error::Data`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = |value: serde_json::Result<String>| {
            value.map_err(|error| data::Error::io("encode settings for", path)(error.into()))
        };
        let mut arrays = Arrays::default();
        self.ids.add_to(&mut arrays);
        self.lexicon.add_to(&mut arrays);
        self.postings.add_to(&mut arrays);
        arrays.add("terms.frequencies", &self.statistics.frequencies);
        let facts = [
            ("settings", text(serde_json::to_string(&self.settings))?),
            ("average", text(serde_json::to_string(&self.statistics.average))?),
            ("filled", text(serde_json::to_string(&self.statistics.filled))?),
        ];
        Ok(arrays.write(path, FORM, &facts)?)
    }

    /// The index in the file at `path`, memory-mapped: opening costs the same at any size.
    ///
    /// # Errors
    /// [`super::Error::Data`] when there is no such file, or it is damaged or of another form.
    pub fn open(path: &Path) -> Result<Self> {
        fn fact<T: serde::de::DeserializeOwned>(file: &ArrayFile, key: &str) -> data::Result<T> {
            let text = file.fact(key)?;
            serde_json::from_str(text).map_err(|error| file.fault(&format!("the fact `{key}`"), &error.to_string()))
        }
        let file = ArrayFile::open(path, FORM)?;
        let settings: Bm25Settings = fact(&file, "settings")?;
        let statistics = Statistics {
            average: fact(&file, "average")?,
            filled: fact(&file, "filled")?,
            frequencies: file.array("terms.frequencies")?,
        };
        let index = Self {
            analyser: Analyser::new(&settings.analyser),
            ids: Arc::new(IdTable::of_file(&file)?),
            lexicon: Lexicon::of_file(&file)?,
            postings: Postings::of_file(&file)?,
            settings,
            statistics,
        };
        let (terms, fields) = (index.lexicon.len(), settings.fields().len());
        let statistics = &index.statistics;
        let whole = index.postings.terms() == terms
            && statistics.frequencies.len() == terms * fields
            && (statistics.average.len(), statistics.filled.len()) == (fields, fields);
        if whole { Ok(index) } else { Err(file.fault("one index", "parts that do not fit together").into()) }
    }

    /// What the index was built with.
    #[must_use]
    pub fn settings(&self) -> &Bm25Settings {
        &self.settings
    }

    /// Number of different terms.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.lexicon.len()
    }

    /// Number of passages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when there is no passage.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Different terms of `query` that the index has, each with the times it stands there, by number.
    fn terms(&self, query: &str) -> Vec<QueryTerm> {
        let mut numbers = Vec::new();
        self.analyser.each_word(query, |word| {
            numbers.extend(self.analyser.term(word).and_then(|term| self.lexicon.find(&term)));
        });
        numbers.sort_unstable();
        let mut terms: Vec<QueryTerm> = Vec::with_capacity(numbers.len());
        for number in numbers {
            match terms.last_mut() {
                Some((last, count)) if *last == number => *count += 1.0,
                _ => terms.push((number, 1.0)),
            }
        }
        terms
    }

    fn best(&self, query: &str, k: usize, pruning: Pruning, room: &mut Room) -> Vec<Hit> {
        search::best(&self.postings, &self.ids, (&self.terms(query), k), pruning, room)
    }
}

impl Searcher for Bm25 {
    /// Passages that share a term with the query; scores above 0.
    fn search(&self, queries: &[Query], k: usize) -> Result<Run> {
        let best = |room: &mut Room, query: &Query| (query.id.clone(), self.best(&query.text, k, Pruning::On, room));
        let lists: Vec<_> = queries.par_iter().map_init(Room::new, best).collect();
        let mut run = Run::default();
        for (query, hits) in lists {
            run.insert(query, hits);
        }
        Ok(run)
    }
}

/// `ln(1 + (N - n + 0.5) / (n + 0.5))` of a term in `frequency` of `filled` rows.
fn idf(filled: u64, frequency: u32) -> f64 {
    let (filled, frequency) = (filled as f64, f64::from(frequency));
    (1.0 + (filled - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// `k1 (1 - b + b |d| / avg)` of a row of `length` terms.
fn norm(settings: &Bm25Settings, length: u32, average: f64) -> f64 {
    let relative = if average > 0.0 { f64::from(settings.length.of(length)) / average } else { 0.0 };
    settings.k1 * (1.0 - settings.b + settings.b * relative)
}

/// What `count` occurrences of a term add in a field whose weighted idf and norm are these; 0 for none.
fn field_score(idf: f64, count: u32, norm: f64) -> f64 {
    if count == 0 { 0.0 } else { idf * f64::from(count) / (f64::from(count) + norm) }
}

#[cfg(test)]
mod tests;
