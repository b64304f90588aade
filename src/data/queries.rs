//! The queries of a BEIR folder: `queries.jsonl`, in file order.

use super::reading::Gate;
use super::{Fault, QueryId, Result, corpus::identifier, jsonl};
use std::collections::HashMap;
use std::path::Path;

/// A query and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its identifier.
    pub id: QueryId,
    /// Its text, as the user typed it.
    pub text: String,
}

/// All queries of a collection, whatever split judges them.
#[derive(Debug, Clone, Default)]
pub struct Queries {
    all: Vec<Query>,
    places: HashMap<QueryId, usize>,
}

impl Queries {
    /// The queries in `path` (JSON lines with `_id`, `text`; plain or packed), whose first bad line is an error.
    ///
    /// # Errors
    /// As [`super::Corpus::open`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, &mut Gate::new(path, 0))
    }

    /// As [`Queries::read`], passing over the bad lines that `gate` lets pass.
    ///
    /// # Errors
    /// As [`super::Corpus::open_with`].
    pub fn read_with(path: &Path, gate: &mut Gate) -> Result<Self> {
        let mut queries = Self::default();
        jsonl::each_good_line(path, gate, |bytes, line| {
            let record = jsonl::Record::parse(bytes, path, line)?;
            let id = identifier(&record, QueryId::new)?;
            let text = record.text("text")?.to_owned();
            if queries.places.contains_key(&id) {
                return Err(Fault::new(path, "ids that occur once", format!("{id} again"))
                    .line(line)
                    .key("_id")
                    .into());
            }
            queries.places.insert(id.clone(), queries.all.len());
            queries.all.push(Query { id, text });
            Ok(())
        })?;
        if queries.all.is_empty() {
            return Err(Fault::new(path, "at least one query", "an empty file").into());
        }
        Ok(queries)
    }

    /// In file order.
    pub fn iter(&self) -> impl Iterator<Item = &Query> {
        self.all.iter()
    }

    /// The query called `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Query> {
        self.places.get(id).map(|&place| &self.all[place])
    }
}
