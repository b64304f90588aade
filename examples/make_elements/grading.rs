//! Judgements: 2 for the passages that the tables name as the answer, 1 for
//! any other passage whose text states the same answer in passing.
//!
//! The border: a passage is graded by what it says, checked with the keys of
//! the answer; nothing is graded by resemblance.

use std::collections::BTreeMap;

use crate::matching::Page;
use crate::passages::{Group, Passage};
use crate::questions::Candidate;

/// The grade of a full answer.
pub const FULL: u8 = 2;
/// The grade of a passage on something else that also states the answer.
pub const PARTLY: u8 = 1;

/// The passages prepared for grading.
pub struct Shelf<'a> {
    pages: Vec<(&'a str, Group, Page)>,
}

impl<'a> Shelf<'a> {
    pub fn new(passages: &'a [Passage]) -> Self {
        let pages = passages.iter().map(|p| (p.id.as_str(), p.group, Page::new(&p.title, &p.text))).collect();
        Self { pages }
    }

    /// The grades of one query, by passage id. Panics where a passage that
    /// should answer in full does not state the answer.
    pub fn grades(&self, query: &Candidate) -> BTreeMap<&'a str, u8> {
        let mut grades = BTreeMap::new();
        for (id, group, page) in &self.pages {
            let own = query.answers.iter().find(|a| a.passage == *id);
            if let Some(answer) = own {
                assert!(
                    page.meets(&answer.needs),
                    "{id} does not state the answer to {:?}: {:?}",
                    query.text,
                    answer.needs
                );
                grades.insert(*id, FULL);
            } else if query.answers.iter().any(|a| a.elsewhere && page.meets(&a.needs))
                || (*group == query.group && query.related.as_ref().is_some_and(|needs| page.meets(needs)))
            {
                grades.insert(*id, PARTLY);
            }
        }
        grades
    }
}
