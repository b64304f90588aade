//! The best k rows for the terms of a query, without looking at most postings.
//! `MaxScore` (Turtle and Flood 1995) within windows of rows, bounded by the best score of each term's block there
//! (Ding and Suel 2011). Terms stand in one order for the whole query, and every row's sum is taken in that order,
//! so that a score has the same bits whatever was skipped.

use super::WINDOW;
use super::postings::{List, Part, PartRows, Postings};
use crate::data::{Hit, IdTable};
use crate::retrieve::order::TopK;
use multiversion::multiversion;

/// A term of a query: its number, and how often it stands there.
pub(super) type QueryTerm = (usize, f32);

/// How much is skipped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pruning {
    /// What cannot be among the best.
    On,
    /// Nothing: the oracle of tests.
    #[cfg(test)]
    Off,
}

/// Memory that searches of one thread use again.
pub(super) struct Room {
    /// Sums of one window, 0 between uses.
    sums: Box<[f32; WINDOW]>,
    candidates: Vec<Sum>,
}

/// A row of a window with the sum of what its terms add so far.
#[derive(Clone, Copy)]
struct Sum {
    row: u16,
    score: f32,
}

impl Room {
    pub fn new() -> Self {
        Self { sums: vec![0.0; WINDOW].try_into().expect("of that length"), candidates: Vec::new() }
    }

    #[cfg(test)]
    pub fn is_clean(&self) -> bool {
        self.sums.iter().all(|&sum| sum == 0.0)
    }
}

/// The best `k` rows with a score above 0 for `terms`, which are different.
pub(super) fn best(
    postings: &Postings,
    ids: &IdTable,
    (terms, k): (&[QueryTerm], usize),
    pruning: Pruning,
    room: &mut Room,
) -> Vec<Hit> {
    let mut lists: Vec<(List<'_>, QueryTerm)> = terms.iter().map(|&term| (postings.list(term.0), term)).collect();
    let bound = |(list, (_, weight)): &(List<'_>, QueryTerm)| list.best * weight;
    lists.sort_by(|a, b| bound(b).total_cmp(&bound(a)).then(a.1.0.cmp(&b.1.0)));
    let weights: Vec<f32> = lists.iter().map(|(_, (_, weight))| *weight).collect();
    let tails = tails(lists.iter().map(bound));
    let mut top = TopK::new(ids, k);
    let mut parts = Vec::with_capacity(lists.len());
    loop {
        // Rows that only the later lists have cannot be among the best any more.
        let essential = essential(&tails, needed(&mut top, lists.len(), pruning));
        let Some(window) = lists[..essential].iter().filter_map(|(list, _)| list.window()).min() else { break };
        parts.clear();
        parts.extend(lists.iter_mut().map(|(list, _)| list.part(window)));
        let needed = needed(&mut top, lists.len(), pruning);
        search_window(&Window { number: window, parts: &parts, weights: &weights, needed }, room);
        let first = window as usize * WINDOW;
        for candidate in &room.candidates {
            if candidate.score > 0.0 {
                top.push(first + usize::from(candidate.row), candidate.score);
            }
        }
    }
    top.into_hits()
}

/// What a row must be able to reach, a little below what it must reach: bounds are sums of their own, and rounded
/// another way than the score they bound.
fn needed(top: &mut TopK<'_>, terms: usize, pruning: Pruning) -> f32 {
    let slack = (terms as f32 + 4.0) * f32::EPSILON;
    match pruning {
        Pruning::On => top.floor().map_or(0.0, |floor| floor * (1.0 - slack)),
        #[cfg(test)]
        Pruning::Off => 0.0,
    }
}

/// At i: the most that terms from i on can add together; one longer than the terms.
fn tails(bounds: impl DoubleEndedIterator<Item = f32> + ExactSizeIterator) -> Vec<f32> {
    let mut tails = vec![0.0; bounds.len() + 1];
    for (at, bound) in bounds.enumerate().rev() {
        tails[at] = tails[at + 1] + bound;
    }
    tails
}

/// How many of the first terms a row must share one of to reach `needed`.
fn essential(tails: &[f32], needed: f32) -> usize {
    tails.iter().position(|&tail| tail < needed).unwrap_or(tails.len() - 1)
}

struct Window<'w> {
    number: u32,
    parts: &'w [Part<'w>],
    weights: &'w [f32],
    needed: f32,
}

/// Leaves in `room.candidates` the rows of the window that can reach what is needed, with their whole scores.
fn search_window(window: &Window<'_>, room: &mut Room) {
    room.candidates.clear();
    let bounds = window.parts.iter().zip(window.weights).map(|(part, weight)| part.best * weight);
    let tails = tails(bounds);
    let mut essential = essential(&tails, window.needed);
    let postings = |parts: &[Part<'_>]| parts.iter().map(|part| part.scores.len()).sum::<usize>();
    let (sure, rest) = window.parts.split_at(essential);
    // To look a row up takes about as long as to add so many.
    if postings(sure) * 4 >= postings(rest) && tails[0] >= window.needed {
        essential = window.parts.len();
    }
    let bar = window.needed - tails[essential];
    let filled: Vec<usize> = (0..essential).filter(|&at| !window.parts[at].scores.is_empty()).collect();
    match filled[..] {
        [] => return,
        [only] => {
            let (part, weight) = (&window.parts[only], window.weights[only]);
            above_in_part(part, weight, (bar, window.number), &mut room.candidates);
        }
        _ => add_up(window, &filled, bar, room),
    }
    for ((part, weight), tail) in window.parts.iter().zip(window.weights).zip(&tails).skip(essential) {
        room.candidates.retain(|candidate| candidate.score + tail >= window.needed);
        let mut place = 0;
        for candidate in &mut room.candidates {
            place = part.rows.seek(place, window.number, candidate.row);
            if part.rows.get(place, window.number) == Some(candidate.row) {
                candidate.score += part.scores[place] * weight;
            }
        }
    }
}

/// Rows of one part whose score reaches `bar`.
fn above_in_part(part: &Part<'_>, weight: f32, (bar, window): (f32, u32), candidates: &mut Vec<Sum>) {
    const STEP: usize = 32;
    for (number, scores) in part.scores.chunks(STEP).enumerate() {
        if greatest(scores) * weight < bar {
            continue;
        }
        for (at, score) in (number * STEP..).zip(scores) {
            let score = score * weight;
            if score >= bar
                && let Some(row) = part.rows.get(at, window)
            {
                candidates.push(Sum { row, score });
            }
        }
    }
}

/// The greatest of `scores`, which are not below 0: their bits are in the same order, and processors compare those
/// many at once.
#[inline]
fn greatest(scores: &[f32]) -> f32 {
    f32::from_bits(scores.iter().fold(0, |most, score| most.max(score.to_bits())))
}

/// Adds up the parts at `filled` and takes the sums that reach `bar`, by row.
fn add_up(window: &Window<'_>, filled: &[usize], bar: f32, room: &mut Room) {
    let mut postings = 0;
    for &at in filled {
        let (part, weight) = (&window.parts[at], window.weights[at]);
        postings += part.scores.len();
        add(&mut room.sums, part, (weight, window.number));
    }
    if postings * 16 >= WINDOW {
        take_above(&mut room.sums[..], bar, &mut room.candidates);
        return;
    }
    for &at in filled {
        window.parts[at].rows.each(window.number, |row| {
            let score = std::mem::take(&mut room.sums[usize::from(row) % WINDOW]);
            if score > 0.0 && score >= bar {
                room.candidates.push(Sum { row, score });
            }
        });
    }
    room.candidates.sort_unstable_by_key(|candidate| candidate.row);
}

fn add(sums: &mut [f32; WINDOW], part: &Part<'_>, (weight, window): (f32, u32)) {
    match part.rows {
        PartRows::Offsets(offsets) => {
            for (&row, score) in offsets.iter().zip(part.scores) {
                sums[usize::from(row) % WINDOW] += score * weight;
            }
        }
        PartRows::Full(_) => {
            let mut scores = part.scores.iter();
            part.rows.each(window, |row| {
                sums[usize::from(row) % WINDOW] += scores.next().map_or(0.0, |score| score * weight);
            });
        }
    }
}

/// Takes the sums above 0 that reach `bar`, and sets all to 0.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma", "aarch64+neon"))]
fn take_above(sums: &mut [f32], bar: f32, candidates: &mut Vec<Sum>) {
    const STEP: usize = 16;
    let bar = bar.max(f32::MIN_POSITIVE);
    for (first, sums) in (0_u16..).step_by(STEP).zip(sums.chunks_exact_mut(STEP)) {
        let mut reached = (0..STEP).fold(0_u16, |reached, at| reached | u16::from(sums[at] >= bar) << at);
        while reached != 0 {
            let at = u16::try_from(reached.trailing_zeros()).unwrap_or_default();
            reached &= reached - 1;
            candidates.push(Sum { row: first + at, score: sums[usize::from(at)] });
        }
        sums.fill(0.0);
    }
}
