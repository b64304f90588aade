//! Where terms occur and what each occurrence adds to a score, in a form that searches read as it lies in the file.
//! Terms are of two kinds. A frequent one has a block for each window it occurs in: rows as 16 bits from the window's
//! first, and the best score of the block. A rare one has its rows in full. Frequent terms have the lower numbers.

use super::WINDOW_ROWS;
use crate::data::Result;
use crate::data::arrays::{Array, ArrayFile, Arrays};

/// The postings of all terms.
pub(super) struct Postings {
    /// Postings of term t: `starts[t]..starts[t + 1]`.
    pub starts: Array<u64>,
    /// Of the frequent terms' postings: the row, from its window's first.
    pub offsets: Array<u16>,
    /// Of the rare terms' postings: the row.
    pub rows: Array<u32>,
    /// Of all postings: what the term adds to the score of the row.
    pub scores: Array<f32>,
    /// Blocks of frequent term t: `block_starts[t]..block_starts[t + 1]`.
    pub block_starts: Array<u32>,
    /// Window of each block.
    pub block_windows: Array<u32>,
    /// Where each block ends, from the term's first posting.
    pub block_ends: Array<u32>,
    /// Best score of each block.
    pub block_bests: Array<f32>,
    /// Best score of each term.
    pub bests: Array<f32>,
}

/// The postings of one term, walked window by window.
pub(super) struct List<'p> {
    rows: Rows<'p>,
    scores: &'p [f32],
    /// Best score of the list.
    pub best: f32,
    /// First block or posting that was not passed by.
    at: usize,
}

enum Rows<'p> {
    Blocks { offsets: &'p [u16], windows: &'p [u32], ends: &'p [u32], bests: &'p [f32] },
    Full(&'p [u32]),
}

/// What a list has in one window.
#[derive(Clone, Copy)]
pub(super) struct Part<'p> {
    pub rows: PartRows<'p>,
    /// One score a row.
    pub scores: &'p [f32],
    /// No score is above it.
    pub best: f32,
}

#[derive(Clone, Copy)]
pub(super) enum PartRows<'p> {
    /// From the window's first row.
    Offsets(&'p [u16]),
    /// From the corpus' first row.
    Full(&'p [u32]),
}

impl Postings {
    /// Number of terms.
    pub fn terms(&self) -> usize {
        self.bests.len()
    }

    /// The list of `term`.
    pub fn list(&self, term: usize) -> List<'_> {
        let at = |start: u64| usize::try_from(start).expect("an index of this size was mapped");
        let postings = at(self.starts[term])..at(self.starts[term + 1]);
        let rows = if term + 1 < self.block_starts.len() {
            let blocks = self.block_starts[term] as usize..self.block_starts[term + 1] as usize;
            Rows::Blocks {
                offsets: &self.offsets[postings.clone()],
                windows: &self.block_windows[blocks.clone()],
                ends: &self.block_ends[blocks.clone()],
                bests: &self.block_bests[blocks],
            }
        } else {
            let first = self.offsets.len();
            Rows::Full(&self.rows[postings.start - first..postings.end - first])
        };
        List { rows, scores: &self.scores[postings], best: self.bests[term], at: 0 }
    }

    pub fn add_to<'a>(&'a self, arrays: &mut Arrays<'a>) {
        arrays.add("postings.starts", &self.starts);
        arrays.add("postings.offsets", &self.offsets);
        arrays.add("postings.rows", &self.rows);
        arrays.add("postings.scores", &self.scores);
        arrays.add("blocks.starts", &self.block_starts);
        arrays.add("blocks.windows", &self.block_windows);
        arrays.add("blocks.ends", &self.block_ends);
        arrays.add("blocks.bests", &self.block_bests);
        arrays.add("terms.bests", &self.bests);
    }

    pub fn of_file(file: &ArrayFile) -> Result<Self> {
        let postings = Self {
            starts: file.array("postings.starts")?,
            offsets: file.array("postings.offsets")?,
            rows: file.array("postings.rows")?,
            scores: file.array("postings.scores")?,
            block_starts: file.array("blocks.starts")?,
            block_windows: file.array("blocks.windows")?,
            block_ends: file.array("blocks.ends")?,
            block_bests: file.array("blocks.bests")?,
            bests: file.array("terms.bests")?,
        };
        let blocks = postings.block_windows.len();
        let whole = postings.starts.len() == postings.bests.len() + 1
            && postings.starts.last() == Some(&(postings.scores.len() as u64))
            && postings.offsets.len() + postings.rows.len() == postings.scores.len()
            && postings.block_starts.last().copied() == u32::try_from(blocks).ok()
            && postings.block_ends.len() == blocks
            && postings.block_bests.len() == blocks;
        if whole { Ok(postings) } else { Err(file.fault("whole postings", "arrays that do not fit together")) }
    }
}

impl<'p> List<'p> {
    /// The first window from where the list stands that it has a row in.
    pub fn window(&self) -> Option<u32> {
        match &self.rows {
            Rows::Blocks { windows, .. } => windows.get(self.at).copied(),
            Rows::Full(rows) => rows.get(self.at).map(|row| row / WINDOW_ROWS),
        }
    }

    /// Goes on to `window` and takes what the list has in it. Windows are asked for in ascending order.
    pub fn part(&mut self, window: u32) -> Part<'p> {
        match self.rows {
            Rows::Blocks { offsets, windows, ends, bests } => {
                self.at += ahead(&windows[self.at..], |&other| other < window);
                if windows.get(self.at) != Some(&window) {
                    return Part { rows: PartRows::Offsets(&[]), scores: &[], best: 0.0 };
                }
                let start = if self.at == 0 { 0 } else { ends[self.at - 1] as usize };
                let (end, best) = (ends[self.at] as usize, bests[self.at]);
                self.at += 1;
                Part { rows: PartRows::Offsets(&offsets[start..end]), scores: &self.scores[start..end], best }
            }
            Rows::Full(rows) => {
                let (first, end) =
                    (u64::from(window) * u64::from(WINDOW_ROWS), (u64::from(window) + 1) * u64::from(WINDOW_ROWS));
                self.at += ahead(&rows[self.at..], |&row| u64::from(row) < first);
                let start = self.at;
                self.at += ahead(&rows[start..], |&row| u64::from(row) < end);
                let best = if start == self.at { 0.0 } else { self.best };
                Part { rows: PartRows::Full(&rows[start..self.at]), scores: &self.scores[start..self.at], best }
            }
        }
    }
}

impl PartRows<'_> {
    /// The row of every posting, from the window's first.
    pub fn each(&self, window: u32, mut each: impl FnMut(u16)) {
        match self {
            Self::Offsets(offsets) => offsets.iter().for_each(|&row| each(row)),
            Self::Full(rows) => rows.iter().for_each(|&row| each(within(row, window))),
        }
    }

    /// The first place from `from` on whose row, from the window's first, is `row` or greater.
    pub fn seek(&self, from: usize, window: u32, row: u16) -> usize {
        match self {
            Self::Offsets(offsets) => from + ahead(&offsets[from..], |&other| other < row),
            Self::Full(rows) => {
                let row = window * WINDOW_ROWS + u32::from(row);
                from + ahead(&rows[from..], |&other| other < row)
            }
        }
    }

    /// The row at `place`, from the window's first.
    pub fn get(&self, place: usize, window: u32) -> Option<u16> {
        match self {
            Self::Offsets(offsets) => offsets.get(place).copied(),
            Self::Full(rows) => rows.get(place).map(|&row| within(row, window)),
        }
    }
}

/// A row of `window`, from the window's first.
#[expect(clippy::cast_possible_truncation, reason = "a window has fewer rows than 2^16")]
fn within(row: u32, window: u32) -> u16 {
    row.wrapping_sub(window * WINDOW_ROWS) as u16
}

/// How many at the head of `list` are `before`, by steps that double and then halve: few for a near answer.
fn ahead<T>(list: &[T], before: impl Fn(&T) -> bool) -> usize {
    let mut step = 1;
    while step <= list.len() && before(&list[step - 1]) {
        step *= 2;
    }
    let (from, to) = (step / 2, step.min(list.len()));
    from + list[from..to].partition_point(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ahead_is_the_partition_point(mut list in proptest::collection::vec(0u8..50, 0..40), bound in 0u8..60) {
            list.sort_unstable();
            prop_assert_eq!(ahead(&list, |&value| value < bound), list.partition_point(|&value| value < bound));
        }
    }
}
