//! Candidates by query and source, and which of them an instance takes.

use super::{EasyToHard, Mix};
use crate::data::{Candidate, Passage, QueryId, Seed};
use rand::seq::SliceRandom;
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

/// What is done where a query has too few candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shortfall<'s> {
    /// The query is left out.
    #[default]
    Drop,
    /// Its instances have fewer negatives; not for `train`, which asks for the same number in each.
    Fewer,
    /// The best of this source fill up; the query is left out where they are short too.
    Fill(&'s str),
}

/// Whether there were as many as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// There were.
    Full,
    /// There were not; the rule for that was applied.
    Short,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { query, source, asked, found } = self;
        write!(f, "query {query}: expected {asked} candidates of source {source}, found {found}")
    }
}

impl Pool {
    /// The negatives of `query`: for each share in order, its best-ranked candidates whose passage is
    /// not taken yet, so that no passage stands in an instance twice. [`Mix::Direct`] draws from all its sources'
    /// candidates alike; [`Mix::Ratio`] first rounds its shares, up or down by the query's own draw.
    ///
    /// # Errors
    /// The first share that is short.
    pub fn choose(&self, query: &QueryId, mix: &Mix) -> Result<Vec<&Candidate>, Shortage> {
        let (chosen, short) = self.take(query, mix, 0.0);
        short.map_or(Ok(chosen), Err)
    }

    /// As [`Pool::choose`], with what `rule` says where candidates are short; and whether they were.
    ///
    /// # Errors
    /// The first share that is short, where the rule does not help.
    pub fn choose_by(
        &self,
        query: &QueryId,
        mix: &Mix,
        rule: Shortfall<'_>,
    ) -> Result<(Vec<&Candidate>, Supply), Shortage> {
        self.choose_at(query, mix, (rule, 0.0))
    }

    /// As [`Pool::choose_by`], at a moment of training from 0 to 1, for mixes that change.
    ///
    /// # Errors
    /// As [`Pool::choose_by`].
    pub fn choose_at(
        &self,
        query: &QueryId,
        mix: &Mix,
        (rule, moment): (Shortfall<'_>, f64),
    ) -> Result<(Vec<&Candidate>, Supply), Shortage> {
        let (mut chosen, short) = self.take(query, mix, moment);
        let Some(short) = short else { return Ok((chosen, Supply::Full)) };
        match rule {
            Shortfall::Drop => Err(short),
            Shortfall::Fewer if chosen.is_empty() => Err(short),
            Shortfall::Fewer => Ok((chosen, Supply::Short)),
            Shortfall::Fill(source) => {
                let mut taken = chosen.iter().map(|candidate| &candidate.passage).collect();
                let missing = mix.negatives() - chosen.len();
                chosen.extend(self.best(query, source, missing, &mut taken));
                if chosen.len() == mix.negatives() { Ok((chosen, Supply::Short)) } else { Err(short) }
            }
        }
    }

    /// What there is of each share, and the first that is short.
    fn take(&self, query: &QueryId, mix: &Mix, moment: f64) -> (Vec<&Candidate>, Option<Shortage>) {
        let shares = match mix {
            Mix::EasyToHard(mix) => return self.window(query, mix, moment),
            Mix::Schedule(schedule) => schedule.parts(query, moment),
            Mix::Direct { sources, count, seed } => return self.draw(query, sources, (*count, *seed)),
            Mix::Ratio(ratio) => ratio.shares(query),
            Mix::Pure(_) | Mix::Hybrid { .. } => mix.shares().to_vec(),
        };
        let mut taken: HashSet<&Passage> = HashSet::new();
        let (mut chosen, mut short) = (Vec::with_capacity(mix.negatives()), None);
        for share in shares {
            let before = chosen.len();
            chosen.extend(self.best(query, &share.source, share.count, &mut taken));
            let found = chosen.len() - before;
            if found < share.count && short.is_none() {
                short = Some(Shortage { query: query.clone(), source: share.source, asked: share.count, found });
            }
        }
        (chosen, short)
    }

    /// The best `count` of a source's candidates for `query` that are not taken; takes them.
    fn best<'p>(
        &'p self,
        query: &QueryId,
        source: &str,
        count: usize,
        taken: &mut HashSet<&'p Passage>,
    ) -> Vec<&'p Candidate> {
        let list = self.list(query, source);
        list.iter().filter(|candidate| taken.insert(&candidate.passage)).take(count).collect()
    }

    /// Candidates of a source for `query`, by rank.
    fn list(&self, query: &QueryId, source: &str) -> &[Candidate] {
        self.lists.get(query).and_then(|lists| lists.get(source)).map_or(&[][..], Vec::as_slice)
    }

    /// `count` of all candidates of the sources, each passage once, by a stream of the query's own.
    fn draw(
        &self,
        query: &QueryId,
        sources: &[String],
        (count, seed): (usize, Seed),
    ) -> (Vec<&Candidate>, Option<Shortage>) {
        let mut taken: HashSet<&Passage> = HashSet::new();
        let all = sources.iter().flat_map(|source| self.list(query, source));
        let mut all: Vec<&Candidate> = all.filter(|candidate| taken.insert(&candidate.passage)).collect();
        let found = all.len();
        let mut stream = seed.stream(&format!("mix/direct/{query}"));
        let (drawn, _) = all.partial_shuffle(&mut stream, count);
        let source = sources.join("+");
        let short = (found < count).then(|| Shortage { query: query.clone(), source, asked: count, found });
        (drawn.to_vec(), short)
    }

    /// Of the sources' candidates, the easiest first, those for `moment`; one without the score that is asked for is none.
    fn window(&self, query: &QueryId, mix: &EasyToHard, moment: f64) -> (Vec<&Candidate>, Option<Shortage>) {
        let mut taken: HashSet<&Passage> = HashSet::new();
        let hardness = |candidate: &Candidate| match mix.by {
            Some(measure) => measure.of(&candidate.scores).map(f64::from),
            None => Some(-f64::from(candidate.rank)),
        };
        let all = mix.sources.iter().flat_map(|source| self.list(query, source));
        let mut known: Vec<(f64, &Candidate)> = all.filter_map(|one| Some((hardness(one)?, one))).collect();
        known.retain(|(_, candidate)| taken.insert(&candidate.passage));
        // Stable: of equally hard ones the first comes first.
        known.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let found = known.len();
        let chosen = known.into_iter().skip(mix.start(found, moment)).take(mix.count);
        let (asked, source) = (mix.count, mix.sources.join("+"));
        let short = (found < asked).then(|| Shortage { query: query.clone(), source, asked, found });
        (chosen.map(|(_, candidate)| candidate).collect(), short)
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
