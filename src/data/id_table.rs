//! Identifiers by row, packed: one text, where each id ends, and the order of ties.
//! The order serves twice: it says which of two equal scores ranks first (the id that is greater by bytes, as
//! `trec_eval` has it), and finds the row of an id by halving. Tables live in memory or in a mapped file.

use super::arrays::{Array, ArrayFile, Arrays};
use super::{DocId, Result, Strings};
use rayon::slice::ParallelSliceMut;

/// Identifiers of N rows, with each row's place in the order of ties.
#[derive(Debug, Clone)]
pub struct IdTable {
    ids: Strings,
    /// Rows by id, descending by bytes.
    ranked: Array<u32>,
    /// Place of each row in `ranked`.
    places: Array<u32>,
}

impl IdTable {
    /// The table of `ids`, by row.
    ///
    /// # Panics
    /// When there are more than 2³² ids.
    pub fn new<'i>(ids: impl IntoIterator<Item = &'i str>) -> Self {
        let ids = Strings::new(ids);
        let count = u32::try_from(ids.len()).expect("a corpus has fewer than 2^32 passages");
        let id = |row: u32| ids.bytes(row as usize);
        let mut ranked: Vec<u32> = (0..count).collect();
        ranked.par_sort_unstable_by(|&a, &b| id(b).cmp(id(a)).then(a.cmp(&b)));
        let mut places = vec![0; ranked.len()];
        for (place, &row) in (0..count).zip(&ranked) {
            places[row as usize] = place;
        }
        Self { ids, ranked: ranked.into(), places: places.into() }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of `row`.
    ///
    /// # Panics
    /// When `row` is not below [`IdTable::len`], or the table was read from a damaged file.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        self.ids.get(row)
    }

    /// The id of `row`, to keep.
    ///
    /// # Panics
    /// As [`IdTable::get`].
    #[must_use]
    pub fn id(&self, row: usize) -> DocId {
        DocId::known(self.get(row))
    }

    /// All ids, by row.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Row of `id`, the first where it stands twice.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<usize> {
        let before = self.ranked.partition_point(|&row| self.ids.bytes(row as usize) > id.as_bytes());
        let row = *self.ranked.get(before)? as usize;
        (self.get(row) == id).then_some(row)
    }

    /// Place of each row in the order of ties; the smaller ranks first.
    #[must_use]
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// Rows whose id stands in an earlier row too, each with the first row that has it; in row order.
    #[must_use]
    pub fn repeated(&self) -> Vec<(usize, usize)> {
        let mut repeated: Vec<(usize, usize)> = Vec::new();
        for pair in self.ranked.windows(2) {
            let (before, row) = (pair[0] as usize, pair[1] as usize);
            if self.get(before) == self.get(row) {
                // Rows of one id stand in row order; a third one has the same first as the second.
                let first = repeated.last().filter(|(_, last)| *last == before).map_or(before, |(first, _)| *first);
                repeated.push((first, row));
            }
        }
        repeated.sort_unstable_by_key(|pair| pair.1);
        repeated
    }

    /// Adds the table's arrays to those of a file.
    pub fn add_to<'a>(&'a self, arrays: &mut Arrays<'a>) {
        self.ids.add_to("ids", arrays);
        arrays.add("ids.ranked", &self.ranked);
        arrays.add("ids.places", &self.places);
    }

    /// The table that [`IdTable::add_to`] put into `file`.
    ///
    /// # Errors
    /// [`super::Error::Input`] when arrays are missing or of unequal length.
    pub fn of_file(file: &ArrayFile) -> Result<Self> {
        let table = Self {
            ids: Strings::of_file("ids", file)?,
            ranked: file.array("ids.ranked")?,
            places: file.array("ids.places")?,
        };
        let count = table.ids.len();
        if table.ranked.len() != count || table.places.len() != count {
            return Err(file.fault("a whole table of ids", "arrays that do not fit together"));
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_are_found_and_ranked_descending(mut ids in proptest::collection::vec("[a-c0-9é]{1,3}", 0..40)) {
            let table = IdTable::new(ids.iter().map(String::as_str));
            for (row, id) in ids.iter().enumerate() {
                prop_assert_eq!(table.get(row), id);
                prop_assert_eq!(table.row(id), ids.iter().position(|other| other == id));
            }
            prop_assert_eq!(table.row("zz"), None);
            prop_assert_eq!(table.row(""), None);
            let mut rows: Vec<usize> = (0..ids.len()).collect();
            rows.sort_by_key(|&row| table.places()[row]);
            let ranked: Vec<String> = rows.into_iter().map(|row| ids[row].clone()).collect();
            let repeated: Vec<(usize, usize)> = ids.iter().enumerate()
                .filter_map(|(row, id)| Some((ids[..row].iter().position(|other| other == id)?, row))).collect();
            prop_assert_eq!(table.repeated(), repeated);
            ids.sort_by(|a, b| b.as_bytes().cmp(a.as_bytes()));
            prop_assert_eq!(ranked, ids);
        }
    }

    #[test]
    fn a_table_reads_back_from_a_file() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ids.safetensors");
        let table = IdTable::new(["10", "9", "2"]);
        let mut arrays = Arrays::default();
        table.add_to(&mut arrays);
        arrays.write(&path, "ids", &[])?;
        let table = IdTable::of_file(&ArrayFile::open(&path, "ids")?)?;
        assert_eq!(table.iter().collect::<Vec<_>>(), ["10", "9", "2"]);
        assert_eq!((table.row("2"), table.row("3"), table.places()), (Some(2), None, &[2, 0, 1][..]));
        Ok(())
    }
}
