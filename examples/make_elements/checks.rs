//! The promises of the collection, checked each time it is made. Each check
//! panics with the offender's name, so a broken collection is never written.

use std::collections::BTreeSet;

use crate::Query;
use crate::choosing::{TEST, TRAIN};
use crate::grading::FULL;
use crate::passages::Passage;

/// The fewest passages that the collection may hold.
const PASSAGES: usize = 600;

/// Checks ids, texts, judgements and the split.
pub fn run(passages: &[Passage], queries: &[Query]) {
    assert!(passages.len() >= PASSAGES, "only {} passages", passages.len());
    let ids: BTreeSet<&str> = passages.iter().map(|p| p.id.as_str()).collect();
    assert!(ids.len() == passages.len(), "two passages share an id");
    let mut texts = BTreeSet::new();
    for passage in passages {
        assert!(texts.insert(&passage.text), "{} repeats a text", passage.id);
        for mark in ['{', '}', '|', ';'] {
            let spare = mark == ';';
            assert!(spare || !passage.text.contains(mark), "{} holds a stray {mark:?}: {}", passage.id, passage.text);
        }
        assert!(!passage.title.contains(['{', '}']), "{} has a stray mark in its title", passage.id);
    }
    let mut asked = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut full: [BTreeSet<&str>; 2] = [BTreeSet::new(), BTreeSet::new()];
    for query in queries {
        assert!(names.insert(&query.id), "{} is used twice", query.id);
        assert!(asked.insert(query.asked.text.to_lowercase()), "{} repeats a question", query.id);
        assert!(!query.asked.text.contains(['{', '}']), "{} has a stray mark", query.id);
        let mut answered = false;
        for (id, grade) in &query.grades {
            assert!(ids.contains(id), "{} points at {id}, which is not there", query.id);
            if *grade == FULL {
                answered = true;
                full[usize::from(query.test)].insert(id);
            }
        }
        assert!(answered, "{} has no full answer", query.id);
    }
    let test = queries.iter().filter(|q| q.test).count();
    assert!(test == TEST, "{test} test queries");
    assert!(queries.len() - test == TRAIN, "{} train queries", queries.len() - test);
    if let Some(both) = full[0].intersection(&full[1]).next() {
        panic!("{both} answers both a train and a test query");
    }
}
