//! Which candidates become queries: the split of the facts into train and
//! test, and a balanced choice within each.
//!
//! The border: no fact may answer in full both a train and a test query. Facts
//! that answer one query together therefore stay together (a union of sets),
//! and each such set goes to one side as a whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::mark;
use crate::passages::Group;
use crate::questions::{Candidate, Phrasing};

pub const TRAIN: usize = 400;
pub const TEST: usize = 100;

/// The share of facts, in percent, that is kept for the test queries.
const TEST_SHARE: u64 = 22;

/// Queries that ask for several elements at once, at most: train and test.
const SHARED: [usize; 2] = [40, 10];

/// The order in which phrasings are asked for, over and over.
const ROUND: [Phrasing; 10] = [
    Phrasing::Question,
    Phrasing::Description,
    Phrasing::Keywords,
    Phrasing::Statement,
    Phrasing::Description,
    Phrasing::Indirect,
    Phrasing::Question,
    Phrasing::Statement,
    Phrasing::Keywords,
    Phrasing::Description,
];

/// The chosen candidates, by their place in the list of candidates.
pub struct Choice {
    pub train: Vec<usize>,
    pub test: Vec<usize>,
}

/// The root of a fact's set.
fn root<'a>(parents: &BTreeMap<&'a str, &'a str>, fact: &'a str) -> &'a str {
    let mut at = fact;
    while let Some(up) = parents.get(at) {
        at = up;
    }
    at
}

/// Chooses train and test queries. Panics where the candidates do not suffice.
pub fn choose(candidates: &[Candidate]) -> Choice {
    let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
    for candidate in candidates {
        let mut facts = candidate.answers.iter().map(|a| a.passage.as_str());
        let Some(first) = facts.next() else { continue };
        for other in facts {
            let (a, b) = (root(&parents, first), root(&parents, other));
            if a != b {
                parents.insert(b, a);
            }
        }
    }
    let side = |candidate: &Candidate| {
        let set = root(&parents, &candidate.answers[0].passage);
        usize::from(mark(&format!("side {set}")) % 100 < TEST_SHARE)
    };
    let mut sides: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
    for (at, candidate) in candidates.iter().enumerate() {
        sides[side(candidate)].push(at);
    }
    for list in &mut sides {
        list.sort_by_key(|at| mark(&format!("order {}", candidates[*at].text)));
    }
    let mut texts = BTreeSet::new();
    let train = fill(candidates, &sides[0], TRAIN, SHARED[0], &mut texts);
    let test = fill(candidates, &sides[1], TEST, SHARED[1], &mut texts);
    Choice { train, test }
}

/// Takes candidates in turn from each fact group, in the round of phrasings,
/// never twice the same fact of an element and at most two per passage.
fn fill<'a>(
    candidates: &'a [Candidate],
    order: &[usize],
    wanted: usize,
    shared: usize,
    texts: &mut BTreeSet<&'a str>,
) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut asked: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    let mut several: BTreeSet<Vec<&str>> = BTreeSet::new();
    let mut take = |at: usize, chosen: &mut Vec<usize>| {
        let candidate = &candidates[at];
        let facts: Vec<&str> = candidate.answers.iter().map(|a| a.passage.as_str()).collect();
        let many = facts.len() > 1;
        let free = facts
            .iter()
            .all(|fact| many || !asked.contains(&(*fact, candidate.fact)) && load.get(fact).is_none_or(|n| *n < 2));
        if !free || texts.contains(candidate.text.as_str()) || (many && several.contains(&facts)) {
            return false;
        }
        texts.insert(&candidate.text);
        for fact in &facts {
            if !many {
                asked.insert((fact, candidate.fact));
                *load.entry(fact).or_default() += 1;
            }
        }
        if many {
            several.insert(facts);
        }
        chosen.push(at);
        true
    };
    for at in order {
        if chosen.len() < shared && candidates[*at].answers.len() > 1 {
            take(*at, &mut chosen);
        }
    }
    let mut turn = 0;
    let mut dry = 0;
    while chosen.len() < wanted {
        let group = Group::ALL[turn % Group::ALL.len()];
        let phrasing = ROUND[(turn / Group::ALL.len() + turn) % ROUND.len()];
        turn += 1;
        let fits = |at: &&usize| {
            let candidate = &candidates[**at];
            candidate.group == group && candidate.answers.len() == 1
        };
        let found = order
            .iter()
            .filter(fits)
            .filter(|at| candidates[**at].phrasing == phrasing)
            .chain(order.iter().filter(fits))
            .any(|at| take(*at, &mut chosen));
        dry = if found { 0 } else { dry + 1 };
        assert!(dry <= Group::ALL.len(), "too few candidates: {}", chosen.len());
    }
    chosen
}
