//! Candidates by query and source, and which of them an instance takes.

use super::Mix;
use crate::data::{Candidate, Passage, QueryId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Candidates by query and source, each list by rank.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pool {
    lists: BTreeMap<QueryId, BTreeMap<String, Vec<Candidate>>>,
}

impl FromIterator<Candidate> for Pool {
    fn from_iter<I: IntoIterator<Item = Candidate>>(candidates: I) -> Self {
        let mut lists: BTreeMap<QueryId, BTreeMap<String, Vec<Candidate>>> = BTreeMap::new();
        for candidate in candidates {
            let of_query = lists.entry(candidate.query.clone()).or_default();
            of_query.entry(candidate.source.clone()).or_default().push(candidate);
        }
        // Stable: candidates of one rank stay in the order they came in.
        lists.values_mut().flat_map(BTreeMap::values_mut).for_each(|list| list.sort_by_key(|c| c.rank));
        Self { lists }
    }
}

/// A source that had too few candidates for a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The query.
    pub query: QueryId,
    /// The source.
    pub source: String,
    /// Asked for.
    pub asked: usize,
    /// There, passages that an earlier share took not counted.
    pub found: usize,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { query, source, asked, found } = self;
        write!(f, "query {query}: expected {asked} candidates of source {source}, found {found}")
    }
}

impl Pool {
    /// The negatives of `query`: for each share in order, its best-ranked candidates whose passage is
    /// not taken yet, so that no passage stands in an instance twice.
    ///
    /// # Errors
    /// The first share that is short.
    pub fn choose(&self, query: &QueryId, mix: &Mix) -> Result<Vec<&Candidate>, Shortage> {
        let mut taken: HashSet<&Passage> = HashSet::new();
        let mut chosen = Vec::with_capacity(mix.negatives());
        for share in mix.shares() {
            let list = self.lists.get(query).and_then(|lists| lists.get(&share.source)).map_or(&[][..], Vec::as_slice);
            let before = chosen.len();
            chosen.extend(list.iter().filter(|candidate| taken.insert(&candidate.passage)).take(share.count));
            let found = chosen.len() - before;
            if found < share.count {
                let (query, source) = (query.clone(), share.source.clone());
                return Err(Shortage { query, source, asked: share.count, found });
            }
        }
        Ok(chosen)
    }

    /// Names of the sources that have a candidate for any query, sorted.
    #[must_use]
    pub fn sources(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.lists.values().flat_map(BTreeMap::keys).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
