//! Drafts to an index: terms in their final order, statistics, and the score of every posting.
//! The same passages give the same index whatever the thread count.

use super::drafts::{Dictionary, Draft};
use super::lexicon::Lexicon;
use super::postings::Postings;
use super::settings::Bm25Settings;
use super::{Statistics, WINDOW_ROWS, idf};
use rayon::prelude::*;

/// Scores of a row beside which its postings are reckoned: `k1 (1 - b + b |d| / avg)`, row × fields.
type Norms = Vec<f64>;

/// Terms, postings and statistics of drafts.
pub(super) fn finish(
    drafts: Vec<Draft>,
    dictionary: Dictionary,
    settings: &Bm25Settings,
) -> (Lexicon, Postings, Statistics) {
    let weights = settings.fields();
    let fields = weights.len();
    let mut terms: Vec<(Box<str>, u32)> = dictionary.into_terms().collect();
    let tally = Tally::of(&drafts, terms.len(), fields);
    let windows = drafts.len();
    // A block takes 12 bytes and saves 2 for each of its postings.
    let frequent = |number: u32| tally.postings[number as usize] as usize >= (windows * 4).max(128);
    terms.par_sort_unstable_by(|a, b| frequent(b.1).cmp(&frequent(a.1)).then_with(|| a.0.cmp(&b.0)));
    let lexicon = Lexicon::new(terms.iter().map(|(term, _)| &**term));

    let (norms, average, filled) = norms(&drafts, settings, fields);
    let idf_of = |number: usize| -> Vec<f64> {
        (0..fields).map(|field| weights[field] * idf(filled[field], tally.rows[number * fields + field])).collect()
    };
    let idfs: Vec<f64> = (0..terms.len()).flat_map(idf_of).collect();
    let order: Vec<u32> = terms.iter().map(|(_, number)| *number).collect();
    let frequent = terms.partition_point(|(_, number)| frequent(*number));
    drop(terms);
    let postings = Filler::new(&tally, &order, frequent).fill(drafts, &norms, &idfs, fields);
    let frequencies = order.iter().flat_map(|&number| &tally.rows[number as usize * fields..][..fields]).copied();
    let frequencies: Vec<u32> = frequencies.collect();
    (lexicon, postings, Statistics { average, filled, frequencies: frequencies.into() })
}

/// How often terms occur, by provisional number.
struct Tally {
    /// Postings of each term.
    postings: Vec<u32>,
    /// Windows it occurs in.
    windows: Vec<u32>,
    /// Rows that have it in each field: term × fields.
    rows: Vec<u32>,
}

impl Tally {
    fn of(drafts: &[Draft], terms: usize, fields: usize) -> Self {
        let mut tally = Self { postings: vec![0; terms], windows: vec![0; terms], rows: vec![0; terms * fields] };
        for draft in drafts {
            draft.each_term(|number, places| {
                let number = number as usize;
                tally.windows[number] += 1;
                tally.postings[number] += u32::try_from(places.len()).expect("at most a window");
                if fields == 1 {
                    tally.rows[number] = tally.postings[number];
                    return;
                }
                for counts in draft.counts[places.start * fields..places.end * fields].chunks_exact(fields) {
                    for (field, &count) in counts.iter().enumerate() {
                        tally.rows[number * fields + field] += u32::from(count > 0);
                    }
                }
            });
        }
        tally
    }
}

/// Norms by row, and for each field the average length and the number of rows that are not empty.
fn norms(drafts: &[Draft], settings: &Bm25Settings, fields: usize) -> (Norms, Vec<f64>, Vec<u64>) {
    let lengths = || drafts.iter().flat_map(|draft| draft.lengths.chunks_exact(fields));
    let (mut sums, mut filled) = (vec![0_u64; fields], vec![0_u64; fields]);
    for row in lengths() {
        for (field, &length) in row.iter().enumerate() {
            sums[field] += u64::from(length);
            filled[field] += u64::from(length > 0);
        }
    }
    let average: Vec<f64> = sums.iter().zip(&filled).map(|(&sum, &count)| sum as f64 / count.max(1) as f64).collect();
    let norm = |(field, &length): (usize, &u32)| super::norm(settings, length, average[field]);
    let norms = lengths().flat_map(|row| row.iter().enumerate().map(norm)).collect();
    (norms, average, filled)
}

/// Puts the windows' postings one behind the other into each term's place.
struct Filler {
    /// Final number of each term by provisional number.
    final_of: Vec<u32>,
    /// Next free place of each term's postings, by final number.
    next: Vec<u64>,
    /// Next free block of each frequent term.
    next_block: Vec<u32>,
    starts: Vec<u64>,
    block_starts: Vec<u32>,
}

impl Filler {
    fn new(tally: &Tally, order: &[u32], frequent: usize) -> Self {
        let mut final_of = vec![0; order.len()];
        let (mut starts, mut block_starts) = (vec![0_u64], vec![0_u32]);
        let (mut end, mut blocks) = (0, 0);
        for (number, &provisional) in (0_u32..).zip(order) {
            final_of[provisional as usize] = number;
            end += u64::from(tally.postings[provisional as usize]);
            starts.push(end);
            if (number as usize) < frequent {
                blocks += tally.windows[provisional as usize];
                block_starts.push(blocks);
            }
        }
        let (next, next_block) = (starts[..order.len()].to_vec(), block_starts[..frequent].to_vec());
        Self { final_of, next, next_block, starts, block_starts }
    }

    fn fill(mut self, drafts: Vec<Draft>, norms: &Norms, idfs: &[f64], fields: usize) -> Postings {
        let place = |start: u64| usize::try_from(start).expect("postings are held in memory here");
        let frequent = self.next_block.len();
        let (total, of_frequent) = (place(*self.starts.last().unwrap_or(&0)), place(self.starts[frequent]));
        let blocks = *self.block_starts.last().unwrap_or(&0) as usize;
        let mut scores = vec![0.0_f32; total];
        let (mut offsets, mut rows) = (vec![0_u16; of_frequent], vec![0_u32; total - of_frequent]);
        let (mut windows, mut ends, mut block_bests) =
            (vec![0_u32; blocks], vec![0_u32; blocks], vec![0.0_f32; blocks]);
        let mut bests = vec![0.0_f32; self.final_of.len()];
        // Drafts go as they are used: memory stays near the larger of the two forms.
        for (window, draft) in (0_u32..).zip(drafts) {
            let first = window * WINDOW_ROWS;
            draft.each_term(|provisional, places| {
                let number = self.final_of[provisional as usize] as usize;
                let start = place(self.next[number]);
                let idfs = &idfs[provisional as usize * fields..][..fields];
                let mut best = 0.0_f32;
                for (to, from) in (start..).zip(places.clone()) {
                    let row = usize::from(draft.rows[from]);
                    let norms = &norms[(first as usize + row) * fields..][..fields];
                    let score = score(idfs, &draft.counts[from * fields..][..fields], norms);
                    best = best.max(score);
                    scores[to] = score;
                    match to.checked_sub(of_frequent) {
                        None => offsets[to] = draft.rows[from],
                        Some(to) => rows[to] = first + u32::from(draft.rows[from]),
                    }
                }
                bests[number] = bests[number].max(best);
                self.next[number] += places.len() as u64;
                if number < frequent {
                    let block = self.next_block[number] as usize;
                    windows[block] = window;
                    ends[block] = u32::try_from(self.next[number] - self.starts[number]).expect("rows are u32");
                    block_bests[block] = best;
                    self.next_block[number] += 1;
                }
            });
        }
        Postings {
            starts: self.starts.into(),
            offsets: offsets.into(),
            rows: rows.into(),
            scores: scores.into(),
            block_starts: self.block_starts.into(),
            block_windows: windows.into(),
            block_ends: ends.into(),
            block_bests: block_bests.into(),
            bests: bests.into(),
        }
    }
}

/// Weighted scores of all fields, added up.
#[expect(clippy::cast_possible_truncation, reason = "scores are f32 in every run")]
fn score(idfs: &[f64], counts: &[u16], norms: &[f64]) -> f32 {
    let fields = idfs.iter().zip(counts).zip(norms);
    fields.map(|((idf, &count), norm)| super::field_score(*idf, count.into(), *norm)).sum::<f64>() as f32
}
