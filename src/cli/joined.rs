//! The candidates and ledgers of several sources as one file each, line by line: memory does not grow with them.
//! A bound on the candidates of a query is decided in a pass of its own, which keeps one bit a candidate.

use crate::data::{Candidate, Error, Fault, QueryId, atomic, jsonl};
use crate::negatives::{Entry, Fate, Task};
use anyhow::Result;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// What a source made.
pub(super) struct Part {
    /// Its candidates, by task.
    pub candidates: PathBuf,
    /// Its ledger, in the same order; the store of an older version has none.
    pub ledger: PathBuf,
}

/// Which candidates of each part are taken, by line; nothing when all are.
type Taken = Option<Vec<Vec<bool>>>;

/// Writes the parts' candidates one behind the other to `out`, and their ledgers to `ledger`: all, or at most `total` a
/// query, the others being spare in the ledger. How many candidates there were, and how many were taken.
///
/// # Errors
/// When a file cannot be read or written, or a line is no record.
pub(super) fn join(
    parts: &[Part],
    tasks: &[Task],
    total: Option<usize>,
    (out, ledger): (&Path, &Path),
) -> Result<(usize, usize)> {
    let taken: Taken = total.map(|total| choose(parts, tasks, total)).transpose()?;
    let (mut count, mut kept) = (0, 0);
    atomic::write_file(out, |to| {
        for (place, part) in parts.iter().enumerate() {
            let mut line = 0;
            jsonl::each_line(&part.candidates, |text, _| {
                if is_taken(&taken, place, line) {
                    to.write_all(text).and_then(|()| to.write_all(b"\n")).map_err(Error::io("write", out))?;
                    kept += 1;
                }
                line += 1;
                Ok(())
            })?;
            count += line;
        }
        Ok::<(), Error>(())
    })?;
    atomic::write_file(ledger, |to| {
        for (place, part) in parts.iter().enumerate().filter(|(_, part)| part.ledger.is_file()) {
            copy_ledger(&part.ledger, (to, ledger), |line| is_taken(&taken, place, line))?;
        }
        Ok::<(), Error>(())
    })?;
    Ok((count, kept))
}

fn is_taken(taken: &Taken, part: usize, line: usize) -> bool {
    taken.as_ref().is_none_or(|taken| taken[part][line])
}

/// Copies a ledger; of the proposed ones those that are not taken become spare.
fn copy_ledger(
    from: &Path,
    (to, path): (&mut dyn Write, &Path),
    is_taken: impl Fn(usize) -> bool,
) -> Result<(), Error> {
    let mut proposed = 0;
    jsonl::each_line(from, |text, line| {
        let mut entry: Entry = serde_json::from_slice(text)
            .map_err(|error| Fault::new(from, "a record of the ledger", error.to_string()).line(line))?;
        let place = proposed;
        proposed += usize::from(entry.fate == Fate::Proposed);
        if entry.fate == Fate::Proposed && !is_taken(place) {
            entry.fate = Fate::Spare;
            serde_json::to_writer(&mut *to, &entry).map_err(|error| Error::io("write", path)(error.into()))?;
        } else {
            to.write_all(text).map_err(Error::io("write", path))?;
        }
        to.write_all(b"\n").map_err(Error::io("write", path))
    })
}

/// At most `total` candidates a query: the best of each source in turn, sources in their order, passages once.
fn choose(parts: &[Part], tasks: &[Task], total: usize) -> Result<Vec<Vec<bool>>> {
    let mut readers = parts.iter().map(Reader::open).collect::<Result<Vec<_>, Error>>()?;
    let mut taken = vec![Vec::new(); parts.len()];
    for task in tasks {
        let lists = readers.iter_mut().map(|reader| reader.of(&task.query.id)).collect::<Result<Vec<_>, Error>>()?;
        let starts: Vec<usize> = taken.iter().map(Vec::len).collect();
        for (taken, list) in taken.iter_mut().zip(&lists) {
            taken.resize(taken.len() + list.len(), false);
        }
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let in_turn = (0..longest).flat_map(|round| (0..lists.len()).map(move |part| (part, round)));
        let there = in_turn.filter_map(|(part, round)| Some((part, round, lists[part].get(round)?)));
        let mut passages = HashSet::new();
        for (part, round, _) in there.filter(|(_, _, candidate)| passages.insert(&candidate.passage)).take(total) {
            taken[part][starts[part] + round] = true;
        }
    }
    Ok(taken)
}

/// A file of candidates, query by query.
struct Reader(Peekable<Candidates>);

/// Its lines as records.
struct Candidates {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
}

impl Iterator for Candidates {
    type Item = Result<Candidate, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let fault = |error: serde_json::Error| Fault::new(&self.path, "a candidate", error.to_string()).into();
        let line = self.lines.next()?.map_err(Error::io("read", &self.path));
        Some(line.and_then(|line| serde_json::from_str(&line).map_err(fault)))
    }
}

impl Reader {
    fn open(part: &Part) -> Result<Self, Error> {
        let path = &part.candidates;
        let lines = BufReader::new(File::open(path).map_err(Error::io("read", path))?).lines();
        Ok(Self(Candidates { path: path.clone(), lines }.peekable()))
    }

    /// The candidates of `query`, which come next if there are any.
    fn of(&mut self, query: &QueryId) -> Result<Vec<Candidate>, Error> {
        let mut list = Vec::new();
        while let Some(next) = self.0.next_if(|next| next.as_ref().map_or(true, |next| next.query == *query)) {
            list.push(next?);
        }
        Ok(list)
    }
}
