//! Finds test data that would get into training: the text of a test query in a query or passage, or a test
//! (query, positive) pair in an instance. [`TestData`] keeps digests alone and answers only yes or no, so that no rule
//! can look at test data. A corpus passage is no leak for being someone's test positive.

use super::same_text::folded;
use super::{Case, Filter, FilterSettings, Leakage, Verdict};
use crate::text::measure::words;
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

pub(super) const NAME: &str = "leakage";

/// Test queries of fewer words are looked for as whole texts only: three words stand in many a passage by chance.
const FEWEST_WORDS: usize = 4;

/// Queries and pairs of a test split, to ask about and not to read.
#[derive(Debug, Clone, Default)]
pub struct TestData {
    queries: HashSet<u64>,
    pairs: HashSet<u64>,
    /// Word runs of the queries, and how long they are.
    runs: HashSet<u64>,
    lengths: BTreeSet<usize>,
}

impl TestData {
    /// Of queries, each with the texts judged relevant for it.
    pub fn new<'t>(queries: impl IntoIterator<Item = (&'t str, Vec<String>)>) -> Self {
        let mut data = Self::default();
        for (query, positives) in queries {
            data.queries.insert(hash(&folded(query)));
            data.pairs.extend(positives.iter().map(|positive| hash(&(folded(query), folded(positive)))));
            let run = words(query);
            if run.len() >= FEWEST_WORDS {
                data.lengths.insert(run.len());
                data.runs.insert(hash(run.as_slice()));
            }
        }
        data
    }

    /// Whether `text` is a test query, or holds one of at least four words.
    #[must_use]
    pub fn has_query_in(&self, text: &str) -> bool {
        if self.queries.contains(&hash(&folded(text))) {
            return true;
        }
        let words = words(text);
        self.lengths.iter().any(|&length| words.windows(length).any(|run| self.runs.contains(&hash(run))))
    }

    /// Whether `passage` is judged relevant for `query` in the test split.
    #[must_use]
    pub fn has_pair(&self, query: &str, passage: &str) -> bool {
        self.pairs.contains(&hash(&(folded(query), folded(passage))))
    }
}

fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Measures how many kinds of leaks the instance with this candidate would have; 0 is allowed.
struct Leaks(Leakage);

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    settings.leakage.map(|what| Box::new(Leaks(what)) as Box<dyn Filter>)
}

impl Filter for Leaks {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let Some(test) = case.test else { return vec![Verdict::Keep; case.candidates.len()] };
        let query = test.has_query_in(&case.query.text);
        let pair = case.positives.iter().any(|positive| test.has_pair(&case.query.text, &positive.content()));
        let judge = |text: &str| {
            let found = [query, pair, test.has_query_in(text), test.has_pair(&case.query.text, text)];
            match (found.iter().filter(|&&leak| leak).count(), self.0) {
                (0, _) => Verdict::Keep,
                (count, Leakage::Mark) => Verdict::mark(NAME, count as f64, 0.0),
                (count, Leakage::Block) => Verdict::drop(NAME, count as f64, 0.0),
            }
        };
        case.candidates.iter().map(|proposed| judge(proposed.text)).collect()
    }
}
