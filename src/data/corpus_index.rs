//! Where each passage of a corpus stands, and what it is called: `corpus.jsonl.index`, beside the corpus.
//! Built once in parallel, checking every line; a file of arrays, mapped at later openings. It is trusted while size
//! and time of the corpus are those it was made from; otherwise the digest decides whether it still holds. It is made
//! anew whenever it is absent, damaged or of another form, so it may be removed at any time.

use super::arrays::{self, Array, ArrayFile, Arrays};
use super::atomic;
use super::corpus::{Bytes, Line, unpack};
use super::reading::{Gate, Rejected};
use super::{Digest, Error, Fault, IdTable, Reading, Result};
use rayon::prelude::*;
use std::fs::{self, Metadata};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name and version of the form.
const FORM: &str = "nearmiss corpus index 1";

/// Bytes of corpus that one task checks: small enough to share among cores, large enough to be worth a task.
const BLOCK: usize = 4 << 20;

/// File systems tell times apart only so far: a corpus this much younger than its index may have been written after.
const CLOCK: Duration = Duration::from_secs(2);

/// Rows, ids and digest of a corpus.
pub(super) struct Index {
    /// Where the line of each row starts, in bytes.
    pub starts: Array<u64>,
    pub ids: Arc<IdTable>,
    /// Of the whole text, unpacked.
    pub digest: Digest,
    /// Lines that are no passages, in their order.
    pub rejected: Vec<Rejected>,
}

impl Index {
    /// The index of the plain corpus at `path`, whose text is `bytes`: as found beside it, or made and left there.
    pub(super) fn of_plain(path: &Path, bytes: &[u8], reading: &Reading<'_>) -> Result<Self> {
        let stamp = Stamp::of(path)?;
        let place = beside(path, ".index");
        if let Some((index, found)) = Self::found(&place, reading) {
            if found.holds(&stamp, &place) {
                return Ok(index);
            }
            if stamp.size == found.size && index.digest == digest(bytes, reading)? {
                // The same text with a new time: told to the index, so that the next opening need not look.
                let _ = index.write(&place, &stamp);
                return Ok(index);
            }
        }
        let index = Self::build(path, bytes, reading)?;
        index.keep(&place, &stamp, reading)
    }

    /// Text and index of the packed corpus at `path`.
    pub(super) fn of_packed(path: &Path, reading: &Reading<'_>) -> Result<(Bytes, Self)> {
        let stamp = Stamp::of(path)?;
        let (place, copy) = (beside(path, ".index"), beside(path, ".unpacked"));
        if let (Some((index, found)), Ok(file)) = (Self::found(&place, reading), fs::metadata(&copy))
            && found.holds(&stamp, &place)
            && file.len() == found.text
        {
            return Ok((Bytes::Map(arrays::map(&copy)?), index));
        }
        let text = unpack(path)?;
        let megabytes = text.len() >> 20;
        let written = writable(path).and_then(|()| {
            atomic::write_shared(&copy, |partial| fs::write(partial, &*text).map_err(Error::io("write", partial)))
        });
        let file = path.display();
        let text = match written {
            Ok(()) if !text.is_empty() => {
                let copy_name = copy.display();
                reading
                    .watch
                    .note(&format!("{file}: unpacked to {copy_name} ({megabytes} MB), to find passages in it"));
                Bytes::Map(arrays::map(&copy)?)
            }
            _ => {
                reading.watch.note(&format!("{file}: unpacked in memory ({megabytes} MB), at each start anew"));
                text
            }
        };
        let index = Self::build(path, &text, reading)?;
        let stamp = Stamp { text: text.len() as u64, ..stamp };
        let index = index.keep(&place, &stamp, reading)?;
        Ok((text, index))
    }

    /// The index of `bytes`, which are the text of `path`; every line is checked.
    pub(super) fn build(path: &Path, bytes: &[u8], reading: &Reading<'_>) -> Result<Self> {
        let (blocks, digest) = rayon::join(|| check_blocks(path, bytes, reading), || digest(bytes, reading));
        let (blocks, digest) = (blocks?, digest?);
        reading.watch.end();
        let mut gate = Gate::new(path, reading.skip_bad_lines);
        let mut lines = 0;
        for block in &blocks {
            for (line, span) in &block.bad {
                let (number, bytes) = (lines + line, &bytes[span.clone()]);
                gate.pass(Line::parse(bytes, path, || number), number, bytes)?;
            }
            lines += block.lines;
        }
        let mut starts: Vec<u64> = blocks.iter().flat_map(|block| &block.starts).copied().collect();
        let mut ids = IdTable::new(blocks.iter().flat_map(Block::ids));
        drop(blocks);
        let repeated = ids.repeated();
        if !repeated.is_empty() {
            let mut numbers = LineNumbers::new(bytes);
            for &(first, row) in &repeated {
                let (start, rest) = (starts[row], &bytes[at(starts[row])..]);
                let line = numbers.of(at(start));
                let fault = Fault::new(path, "ids that occur once", format!("{} again", ids.get(row)))
                    .line(line)
                    .key("_id")
                    .hint(format!("it stands first in line {}", line_number(bytes, at(starts[first]))));
                let text = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
                gate.pass::<()>(Err(fault.into()), line, text)?;
            }
            let mut again = repeated.iter().map(|pair| pair.1).peekable();
            let kept: Vec<usize> = (0..starts.len()).filter(|row| again.next_if_eq(row).is_none()).collect();
            starts = kept.iter().map(|&row| starts[row]).collect();
            ids = IdTable::new(kept.iter().map(|&row| ids.get(row)));
        }
        if starts.is_empty() {
            return Err(Fault::new(path, "at least one passage", "no line that holds one").into());
        }
        let mut rejected = gate.into_rejected().lines;
        rejected.sort_by_key(|bad| bad.line);
        Ok(Self { starts: starts.into(), ids: Arc::new(ids), digest, rejected })
    }

    /// The index at `place`, with what it was made from. One that rejected more lines than `reading` allows is of
    /// no use: making it anew gives the error.
    fn found(place: &Path, reading: &Reading<'_>) -> Option<(Self, Stamp)> {
        Self::read(place).ok().filter(|(index, _)| index.rejected.len() as u64 <= reading.skip_bad_lines)
    }

    /// Itself, written to `place` and mapped from there if that can be.
    fn keep(self, place: &Path, stamp: &Stamp, reading: &Reading<'_>) -> Result<Self> {
        match writable(place).and_then(|()| self.write(place, stamp)) {
            Ok(()) => Ok(Self::read(place)?.0),
            Err(error) => {
                let message = error.to_string();
                let why = message.lines().next().unwrap_or_default();
                reading.watch.note(&format!("{why}; the corpus is read whole at each start"));
                Ok(self)
            }
        }
    }

    fn read(place: &Path) -> Result<(Self, Stamp)> {
        let file = ArrayFile::open(place, FORM)?;
        let number = |key: &str| {
            file.fact(key)?.parse::<u64>().map_err(|_| file.fault(&format!("a whole number under `{key}`"), "another"))
        };
        let wrong = |error: serde_json::Error| file.fault("rejected lines", &error.to_string());
        let index = Self {
            starts: file.array("starts")?,
            ids: Arc::new(IdTable::of_file(&file)?),
            digest: serde_json::from_value(file.fact("sha256")?.into()).map_err(wrong)?,
            rejected: serde_json::from_slice(&file.array::<u8>("rejected")?).map_err(wrong)?,
        };
        if index.starts.len() != index.ids.len() || index.ids.is_empty() {
            return Err(file.fault("one start for each id", "arrays that do not fit together"));
        }
        Ok((index, Stamp { size: number("size")?, modified: number("modified")?, text: number("text")? }))
    }

    fn write(&self, place: &Path, stamp: &Stamp) -> Result<()> {
        let rejected = serde_json::to_vec(&self.rejected).map_err(|error| Error::io("write", place)(error.into()))?;
        let mut arrays = Arrays::default();
        arrays.add("starts", &self.starts);
        arrays.add("rejected", &rejected);
        self.ids.add_to(&mut arrays);
        let facts = [
            ("sha256", self.digest.to_string()),
            ("size", stamp.size.to_string()),
            ("modified", stamp.modified.to_string()),
            ("text", stamp.text.to_string()),
        ];
        arrays.write_shared(place, FORM, &facts)
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    /// Bytes of the file.
    size: u64,
    /// When it was last written, in nanoseconds since 1970.
    modified: u64,
    /// Bytes of its text; more than its size when it is packed.
    text: u64,
}

impl Stamp {
    fn of(path: &Path) -> Result<Self> {
        let file = fs::metadata(path).map_err(Error::io("read", path))?;
        Ok(Self { size: file.len(), modified: nanoseconds(&file), text: file.len() })
    }

    /// True when the corpus is surely the one with `stamp`, as the index at `place` was made from.
    fn holds(&self, stamp: &Self, place: &Path) -> bool {
        let made = fs::metadata(place).map_or(0, |file| nanoseconds(&file));
        let clock = u64::try_from(CLOCK.as_nanos()).unwrap_or(u64::MAX);
        (self.size, self.modified) == (stamp.size, stamp.modified) && made >= self.modified.saturating_add(clock)
    }
}

fn nanoseconds(file: &Metadata) -> u64 {
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
    file.modified().ok().and_then(since).and_then(|age| u64::try_from(age.as_nanos()).ok()).unwrap_or(0)
}

/// The good lines of a part of a corpus, packed.
#[derive(Default)]
struct Block {
    lines: u64,
    starts: Vec<u64>,
    ids: String,
    /// Where each id ends in `ids`.
    ends: Vec<usize>,
    /// Lines that do not parse: number from 1 within the block, and place.
    bad: Vec<(u64, Range<usize>)>,
}

impl Block {
    /// Checks the lines in `span` of `bytes`; gives up after more than `limit` bad ones.
    fn check(path: &Path, bytes: &[u8], span: Range<usize>, limit: u64) -> Self {
        let mut block = Self::default();
        let mut start = span.start;
        while start < span.end && block.bad.len() as u64 <= limit {
            let end = memchr::memchr(b'\n', &bytes[start..span.end]).map_or(span.end, |length| start + length);
            block.lines += 1;
            let line = &bytes[start..end];
            if !line.trim_ascii().is_empty() {
                match Line::parse(line, path, || 0) {
                    Ok(fields) => {
                        block.starts.push(start as u64);
                        block.ids.push_str(&fields.id);
                        block.ends.push(block.ids.len());
                    }
                    Err(_) => block.bad.push((block.lines, start..end)),
                }
            }
            start = end + 1;
        }
        block
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.ids[start..end])
    }
}

fn check_blocks(path: &Path, bytes: &[u8], reading: &Reading<'_>) -> Result<Vec<Block>> {
    let spans = blocks_of(bytes);
    reading.watch.begin("index the corpus", spans.len() as u64 * (BLOCK >> 20) as u64, "MB");
    spans
        .into_par_iter()
        .map(|span| {
            reading.watch.check()?;
            let block = Block::check(path, bytes, span, reading.skip_bad_lines);
            reading.watch.advance((BLOCK >> 20) as u64);
            Ok(block)
        })
        .collect()
}

/// Spans of about [`BLOCK`] bytes that end where lines end.
fn blocks_of(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let near = (start + BLOCK).min(bytes.len());
        let end = memchr::memchr(b'\n', &bytes[near..]).map_or(bytes.len(), |length| near + length + 1);
        spans.push(start..end);
        start = end;
    }
    spans
}

/// Digest of `bytes`, unless the user asks to stop.
fn digest(bytes: &[u8], reading: &Reading<'_>) -> Result<Digest> {
    Digest::of_blocks(bytes.chunks(BLOCK).map(|block| reading.watch.check().map(|()| block)))
}

/// Number of the line that starts at byte `start`, from 1.
pub(super) fn line_number(bytes: &[u8], start: usize) -> u64 {
    LineNumbers::new(bytes).of(start)
}

/// Numbers of lines that are asked for in file order, counting each line break once.
struct LineNumbers<'b> {
    bytes: &'b [u8],
    counted: usize,
    number: u64,
}

impl<'b> LineNumbers<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, counted: 0, number: 1 }
    }

    fn of(&mut self, start: usize) -> u64 {
        let start = start.min(self.bytes.len());
        self.number += memchr::memchr_iter(b'\n', &self.bytes[self.counted..start]).count() as u64;
        self.counted = start;
        self.number
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("offsets into a file that was mapped")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Whether the owner wants files made beside `path`; the administrator may, but should not, where nobody else can.
fn writable(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        Ok(found) if found.permissions().readonly() => {
            Err(Fault::new(folder, "a folder that can be written, for an index", "one that is read-only").into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "corpus_tests.rs"]
mod tests;
