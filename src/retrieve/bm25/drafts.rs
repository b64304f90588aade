//! Passages to term counts, window by window, on all threads.
//! A window is [`WINDOW`] rows. Words that were seen before are not analysed again: each thread keeps what it saw, and
//! all threads share one dictionary of terms. Its numbers depend on who came first; the builder sorts them out.

use super::WINDOW;
use crate::data::{Result, Watch};
use crate::text::Analyser;
use ahash::AHashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Words a thread remembers before it forgets all: bounds its memory on corpora that never repeat themselves.
const KNOWN_WORDS: usize = 1 << 19;
/// Parts of the dictionary that can be written to at once.
const SHARDS: usize = 64;
/// In a thread's memory: the word is no term.
const NO_TERM: u32 = u32::MAX;

/// Texts of the fields of rows `range`, one inner vector a row, as many as there are fields.
pub(super) type Passages<'a> = dyn Fn(std::ops::Range<usize>) -> Result<Vec<Vec<String>>> + Sync + 'a;

/// Term counts of one window; rows count from its first.
#[derive(Default)]
pub(super) struct Draft {
    /// Terms of each row, field by field: row × fields.
    pub lengths: Vec<u32>,
    /// Number of each term that occurs, and where its postings end.
    pub terms: Vec<(u32, u32)>,
    /// Row of each posting, grouped by term, ascending.
    pub rows: Vec<u16>,
    /// How often the term occurs in each field of the row, at most 65,535: posting × fields.
    pub counts: Vec<u16>,
}

/// The terms of all windows by provisional number.
#[derive(Default)]
pub(super) struct Dictionary {
    shards: Vec<Mutex<AHashMap<Box<str>, u32>>>,
    next: AtomicU32,
    hasher: ahash::RandomState,
}

impl Dictionary {
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), ..Self::default() }
    }

    fn number(&self, term: String) -> u32 {
        let shard = usize::try_from(self.hasher.hash_one(&term) % SHARDS as u64).expect("below SHARDS");
        let mut shard = self.shards[shard].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *shard.entry(term.into()).or_insert_with(|| self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// All terms, each with its number, in no order.
    pub fn into_terms(self) -> impl Iterator<Item = (Box<str>, u32)> {
        self.shards.into_iter().flat_map(|shard| shard.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The drafts of all windows of `count` rows, in order.
///
/// # Errors
/// What `passages` returns; [`crate::data::Error::Stopped`].
pub(super) fn drafts(
    count: usize,
    passages: &Passages<'_>,
    analyser: &Analyser,
    dictionary: &Dictionary,
    watch: &dyn Watch,
) -> Result<Vec<Draft>> {
    let windows = count.div_ceil(WINDOW);
    let next = AtomicUsize::new(0);
    let mine = |_: rayon::BroadcastContext<'_>| -> Result<Vec<(usize, Draft)>> {
        let mut counter = Counter { analyser, dictionary, known: AHashMap::new(), places: Vec::new() };
        let mut done = Vec::new();
        loop {
            let window = next.fetch_add(1, Ordering::Relaxed);
            if window >= windows {
                return Ok(done);
            }
            watch.check()?;
            let rows = window * WINDOW..((window + 1) * WINDOW).min(count);
            let texts = passages(rows.clone())?;
            done.push((window, counter.draft(&texts)));
            watch.advance(rows.len() as u64);
        }
    };
    let mut all: Vec<(usize, Draft)> = Vec::with_capacity(windows);
    for part in rayon::broadcast(mine) {
        all.extend(part?);
    }
    all.sort_unstable_by_key(|(window, _)| *window);
    Ok(all.into_iter().map(|(_, draft)| draft).collect())
}

/// Counts the terms of one window after the other.
struct Counter<'a> {
    analyser: &'a Analyser,
    dictionary: &'a Dictionary,
    known: AHashMap<Box<str>, u32>,
    /// By number of the term: its place among the window's terms + 1, or 0.
    places: Vec<u32>,
}

/// A posting before postings are grouped by term.
struct Loose {
    place: u32,
    row: u16,
}

struct TermOfWindow {
    number: u32,
    postings: u32,
    /// Its last posting.
    last: usize,
}

impl Counter<'_> {
    fn number(&mut self, word: &str) -> u32 {
        if let Some(&number) = self.known.get(word) {
            return number;
        }
        let number = self.analyser.term(word).map_or(NO_TERM, |term| self.dictionary.number(term));
        if self.known.len() >= KNOWN_WORDS {
            self.known.clear();
        }
        self.known.insert(word.into(), number);
        number
    }

    fn draft(&mut self, texts: &[Vec<String>]) -> Draft {
        let fields = texts.first().map_or(0, Vec::len);
        let mut terms: Vec<TermOfWindow> = Vec::new();
        let mut loose: Vec<Loose> = Vec::new();
        let mut counts: Vec<u16> = Vec::new();
        let mut lengths = Vec::with_capacity(texts.len() * fields);
        let analyser = self.analyser;
        for (row, texts) in (0_u16..).zip(texts) {
            for (field, text) in texts.iter().enumerate() {
                let mut length = 0_u32;
                analyser.each_word(text, |word| {
                    let number = self.number(word);
                    if number == NO_TERM {
                        return;
                    }
                    length += 1;
                    if self.places.len() <= number as usize {
                        self.places.resize(number as usize + 1, 0);
                    }
                    let place = &mut self.places[number as usize];
                    if *place == 0 {
                        terms.push(TermOfWindow { number, postings: 0, last: usize::MAX });
                        *place = u32::try_from(terms.len()).expect("terms of a window are counted in u32");
                    }
                    let term = &mut terms[*place as usize - 1];
                    if loose.get(term.last).is_none_or(|last| last.row != row) {
                        term.last = loose.len();
                        term.postings += 1;
                        loose.push(Loose { place: *place - 1, row });
                        counts.resize(counts.len() + fields, 0);
                    }
                    let count = &mut counts[term.last * fields + field];
                    *count = count.saturating_add(1);
                });
                lengths.push(length);
            }
        }
        for term in &terms {
            self.places[term.number as usize] = 0;
        }
        grouped(lengths, &terms, &loose, &counts, fields)
    }
}

/// Postings by term, in the order of the window's terms.
fn grouped(lengths: Vec<u32>, terms: &[TermOfWindow], loose: &[Loose], counts: &[u16], fields: usize) -> Draft {
    let mut draft = Draft {
        lengths,
        terms: Vec::with_capacity(terms.len()),
        rows: vec![0; loose.len()],
        counts: vec![0; counts.len()],
    };
    let mut next = Vec::with_capacity(terms.len());
    let mut end = 0;
    for term in terms {
        next.push(end);
        end += term.postings;
        draft.terms.push((term.number, end));
    }
    for (at, posting) in loose.iter().enumerate() {
        let to = &mut next[posting.place as usize];
        let place = *to as usize;
        *to += 1;
        draft.rows[place] = posting.row;
        draft.counts[place * fields..][..fields].copy_from_slice(&counts[at * fields..][..fields]);
    }
    draft
}

impl Draft {
    /// Calls `each` with every term's number, the places of its postings, in the window's order.
    pub fn each_term(&self, mut each: impl FnMut(u32, std::ops::Range<usize>)) {
        let mut start = 0;
        for &(number, end) in &self.terms {
            each(number, start..end as usize);
            start = end as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{self, Quiet};
    use std::collections::BTreeMap;

    #[test]
    fn windows_hold_the_counts_of_a_plain_loop() -> std::result::Result<(), data::Error> {
        let text = |row: usize| vec![format!("w{} w{}", row % 5, row % 7), format!("w{} body the", row % 7)];
        let (analyser, dictionary, count) = (Analyser::default(), Dictionary::new(), WINDOW + 100);
        let drafts = drafts(count, &|rows| Ok(rows.map(text).collect()), &analyser, &dictionary, &Quiet)?;
        let names: BTreeMap<u32, Box<str>> = dictionary.into_terms().map(|(term, number)| (number, term)).collect();
        assert_eq!((drafts.len(), names.len()), (2, 8));
        let mut found = BTreeMap::new();
        for (window, draft) in drafts.iter().enumerate() {
            assert_eq!(draft.lengths.chunks(2).next(), Some(&[2, 2][..]));
            draft.each_term(|number, postings| {
                assert!(draft.rows[postings.clone()].is_sorted());
                for at in postings {
                    let row = window * WINDOW + usize::from(draft.rows[at]);
                    let counts = [draft.counts[at * 2], draft.counts[at * 2 + 1]];
                    assert!(found.insert((row, names[&number].to_string()), counts).is_none());
                }
            });
        }
        let mut expected = BTreeMap::new();
        for row in 0..count {
            for (field, text) in text(row).iter().enumerate() {
                for term in analyser.terms(text) {
                    expected.entry((row, term)).or_insert([0; 2])[field] += 1;
                }
            }
        }
        assert_eq!(found, expected);
        Ok(())
    }
}
