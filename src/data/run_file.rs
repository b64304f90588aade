//! A TREC run as it lies in its file: read whole, cut into lines on all cores, nothing copied.
//! Evaluation needs no more than this; [`super::Run`] owns its identifiers and is made from it.

use super::{Error, Fault, Result, error::excerpt, packed};
use ahash::{AHashMap, AHashSet};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

/// A passage found for a query, by reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<'t> {
    /// Identifier of the passage.
    pub doc: &'t str,
    /// Higher is more relevant; finite.
    pub score: f32,
}

impl Found<'_> {
    /// [`Ordering::Less`] when `self` ranks before `other`: score descending, then identifier descending by bytes.
    #[must_use]
    pub fn rank_order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| other.doc.as_bytes().cmp(self.doc.as_bytes()))
    }
}

/// Hits by query, each list in rank order; the identifiers belong to what it was made from.
#[derive(Debug, Clone, Default)]
pub struct Lists<'t> {
    lists: AHashMap<&'t str, Vec<Found<'t>>>,
}

impl<'t> Lists<'t> {
    /// Hits of `query` in rank order; `None` when it was not searched.
    #[must_use]
    pub fn get(&self, query: &str) -> Option<&[Found<'t>]> {
        self.lists.get(query).map(Vec::as_slice)
    }

    /// Queries with their hits, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&'t str, &[Found<'t>])> {
        self.lists.iter().map(|(query, hits)| (*query, hits.as_slice()))
    }

    /// True when no query was searched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }
}

/// Lists that are in rank order already, each query once.
impl<'t> FromIterator<(&'t str, Vec<Found<'t>>)> for Lists<'t> {
    fn from_iter<I: IntoIterator<Item = (&'t str, Vec<Found<'t>>)>>(lists: I) -> Self {
        Self { lists: lists.into_iter().collect() }
    }
}

/// The bytes of a TREC run (`query Q0 passage rank score tag`), not yet looked at.
pub struct RunFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl RunFile {
    /// The file at `path`, whole.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), bytes: packed::read(path)? })
    }

    /// Its size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when the file is of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The ranked lists; the rank column is ignored, as `trec_eval` does.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line with an invalid byte, another column count, a score that is no
    /// finite number, or a passage listed twice for a query.
    pub fn lists(&self) -> Result<Lists<'_>> {
        let chunks: Vec<Chunk<'_>> = whole_lines(&self.bytes, 1 << 20).into_par_iter().map(parse).collect();
        let mut lists: AHashMap<&str, Vec<Found<'_>>> = AHashMap::new();
        for chunk in chunks {
            for (query, mut hits) in chunk.map_err(|defect| self.fault(&defect))? {
                match lists.entry(query) {
                    Entry::Occupied(list) => list.into_mut().append(&mut hits),
                    Entry::Vacant(place) => drop(place.insert(hits)),
                }
            }
        }
        let second = lists
            .par_iter_mut()
            .map_init(AHashSet::new, |seen, (query, hits)| {
                let again = second_listing(hits, seen).map(|doc| (doc, *query));
                hits.sort_unstable_by(Found::rank_order);
                again
            })
            .flatten()
            .min_by_key(|(doc, _)| doc.as_ptr().addr());
        match second {
            Some((doc, query)) => Err(self.fault(&Defect {
                at: doc.as_ptr().addr(),
                key: Some("passage"),
                expected: "each passage once per query",
                found: format!("{doc} again for {query}"),
            })),
            None => Ok(Lists { lists }),
        }
    }

    /// `defect` with the line it stands in.
    fn fault(&self, defect: &Defect) -> Error {
        let before = defect.at - self.bytes.as_ptr().addr();
        let line = self.bytes[..before].split(|&byte| byte == b'\n').count() as u64;
        let fault = Fault::new(&self.path, defect.expected, defect.found.as_str()).line(line);
        match defect.key {
            Some(key) => fault.key(key).into(),
            None => fault.into(),
        }
    }
}

/// What is wrong with a line, and where in memory it is.
struct Defect {
    at: usize,
    key: Option<&'static str>,
    expected: &'static str,
    found: String,
}

/// Neighbouring lines of one query, in file order.
type Chunk<'t> = Result<Vec<(&'t str, Vec<Found<'t>>)>, Defect>;

/// `bytes` in pieces of about `size` that end with a line.
fn whole_lines(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let least = size.min(rest.len());
        let end = rest[least..].iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| least + at + 1);
        let (piece, tail) = rest.split_at(end);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn parse(bytes: &[u8]) -> Chunk<'_> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let start = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        Defect {
            at: bytes.as_ptr().addr() + at,
            key: None,
            expected: "UTF-8 text",
            found: format!("an invalid byte at column {}", at - start + 1),
        }
    })?;
    let mut lists: Vec<(&str, Vec<Found<'_>>)> = Vec::new();
    let mut at = 0;
    while let Some((columns, count)) = next_line(text, &mut at) {
        if count == 0 {
            continue;
        }
        let line = columns[0].as_ptr().addr();
        if count != columns.len() {
            let start = line - text.as_ptr().addr();
            let shown = text[start..].lines().next().unwrap_or_default();
            return Err(Defect {
                at: line,
                key: None,
                expected: "6 columns (query Q0 passage rank score tag)",
                found: format!("{count}: {}", excerpt(shown.trim_end(), 60)),
            });
        }
        let [query, _, doc, _, score, _] = columns;
        for (key, id) in [("query", query), ("passage", doc)] {
            // Blanks of ASCII have cut the columns; those beyond are no part of an identifier either.
            if !id.is_ascii() && id.contains(char::is_whitespace) {
                let found = super::ids::InvalidId::WhiteSpace.to_string();
                return Err(Defect { at: line, key: Some(key), expected: "an identifier", found });
            }
        }
        let Some(score) = score.parse().ok().filter(|score: &f32| score.is_finite()) else {
            return Err(Defect {
                at: line,
                key: Some("score"),
                expected: "a finite number",
                found: excerpt(score, 40),
            });
        };
        // Adding 0 makes -0 a 0, which ties with it.
        let hit = Found { doc, score: score + 0.0 };
        match lists.last_mut() {
            Some((last, hits)) if *last == query => hits.push(hit),
            _ => {
                // Lists of one run are mostly of one length.
                let mut hits = Vec::with_capacity(lists.last().map_or(1, |(_, hits)| hits.len()));
                hits.push(hit);
                lists.push((query, hits));
            }
        }
    }
    Ok(lists)
}

/// The first six columns of the line at `at`, how many it has, and `at` moved behind it; `None` at the end.
fn next_line<'t>(text: &'t str, at: &mut usize) -> Option<([&'t str; 6], usize)> {
    let bytes = text.as_bytes();
    if *at >= bytes.len() {
        return None;
    }
    let (mut columns, mut count) = ([""; 6], 0);
    let mut place = *at;
    while place < bytes.len() {
        if bytes[place] == b'\n' {
            place += 1;
            break;
        }
        if is_blank(bytes[place]) {
            place += 1;
            continue;
        }
        let start = place;
        while place < bytes.len() && !is_blank(bytes[place]) {
            place += 1;
        }
        if let Some(column) = columns.get_mut(count) {
            *column = &text[start..place];
        }
        count += 1;
    }
    *at = place;
    Some((columns, count))
}

/// Space, tab, line feed, vertical tab, form feed, carriage return.
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte.wrapping_sub(b'\t') < 5
}

/// The first passage that stands in `hits` for the second time; `seen` is only room to work in.
fn second_listing<'t>(hits: &[Found<'t>], seen: &mut AHashSet<&'t str>) -> Option<&'t str> {
    seen.clear();
    seen.reserve(hits.len());
    hits.iter().map(|hit| hit.doc).find(|doc| !seen.insert(doc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists_of(text: &[u8]) -> Result<Vec<(String, Vec<String>)>, String> {
        let file = RunFile { path: PathBuf::from("a.trec"), bytes: text.to_vec() };
        let lists = file.lists().map_err(|error| error.to_string())?;
        let mut owned: Vec<_> = lists
            .iter()
            .map(|(query, hits)| (query.to_owned(), hits.iter().map(|hit| hit.doc.to_owned()).collect()))
            .collect();
        owned.sort();
        Ok(owned)
    }

    #[test]
    fn columns_are_cut_at_any_blanks_and_queries_may_be_interleaved() {
        let text = b"b Q0 x 1 1 t\r\n\n  a\tQ0  y 9 2e1 t  \na Q0 z 1 20 t\nb Q0 w 0 -0 t\nb Q0 v 0 0 t";
        let expected = [("a", vec!["z", "y"]), ("b", vec!["x", "w", "v"])]
            .map(|(query, docs)| (query.to_owned(), docs.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(lists_of(text), Ok(expected.to_vec()));
        assert_eq!(lists_of(b""), Ok(Vec::new()));
    }

    #[test]
    fn each_defect_is_told_with_its_line() {
        let good = "q Q0 d 1 1 t\n";
        for (bad, said) in [
            (
                &b"q Q0 d 1 t\n"[..],
                "a.trec:3: expected 6 columns (query Q0 passage rank score tag), found 5: \"q Q0 d 1 t\"",
            ),
            (
                b"q Q0 e 1 2 t u",
                "a.trec:3: expected 6 columns (query Q0 passage rank score tag), found 7: \"q Q0 e 1 2 t u\"",
            ),
            (b"q Q0 e 1 inf t\n", "a.trec:3: `score`: expected a finite number, found \"inf\""),
            (
                b"q Q0 e\xc2\xa0f 1 1 t\n",
                "a.trec:3: `passage`: expected an identifier, found an identifier with white space in it",
            ),
            (
                b"p Q0 d 1 1 t\nq Q0 d 1 3 t",
                "a.trec:4: `passage`: expected each passage once per query, found d again for q",
            ),
            (b"q Q0 \xff 1 1 t\n", "a.trec:3: expected UTF-8 text, found an invalid byte at column 6"),
        ] {
            let text = [good.as_bytes(), b"\n", bad].concat();
            assert_eq!(lists_of(&text), Err(said.to_owned()));
        }
    }

    #[test]
    fn pieces_are_the_whole_and_end_with_lines() {
        let text: Vec<u8> = (0..200).flat_map(|i| format!("{}\n", "x".repeat(i % 7)).into_bytes()).collect();
        for size in [1, 2, 5, 64, 10_000] {
            let pieces = whole_lines(&text, size);
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| piece.ends_with(b"\n")), "{size}");
        }
    }
}
