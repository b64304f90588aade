//! Negatives drawn uniformly from the corpus, without replacement: the baseline of every comparison.
//! Each query draws from a stream of its own name, so that its negatives do not depend on which
//! other queries are asked. The rank is the place in the draw; no score is known.

use super::select::Selector;
use super::{Inputs, NegativeSource, Report, Sink, SourceError, Task};
use crate::data::{Candidate, Corpus, Passage, Scores, Seed};
use rand::Rng;
use std::collections::HashMap;

pub(super) const NAME: &str = "random";

struct Random<'a> {
    corpus: &'a Corpus,
    seed: Seed,
    selector: Selector<'a>,
}

#[expect(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "the signature of the table")]
pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let selector = Selector::new(inputs.filters, inputs.settings);
    Ok(Box::new(Random { corpus: inputs.corpus, seed: inputs.seed, selector }))
}

impl NegativeSource for Random<'_> {
    fn propose(&mut self, tasks: &[Task], sink: &mut dyn Sink) -> Result<(), SourceError> {
        let asked = (self.selector.settings().num_negatives as usize).min(self.corpus.len());
        for task in tasks {
            let stream = self.seed.stream(&format!("negatives/random/{}", task.query.id));
            let mut draws = (1..).zip(Draws::new(self.corpus.len(), stream));
            let mut kept = Vec::with_capacity(asked);
            while kept.len() < asked {
                let mut fresh = Vec::with_capacity(asked - kept.len());
                for (rank, row) in draws.by_ref().take(asked - kept.len()) {
                    let document = self.corpus.document(row)?;
                    let text = document.content();
                    let candidate = Candidate {
                        query: task.query.id.clone(),
                        passage: Passage::Corpus(document.id),
                        text: None,
                        source: NAME.to_owned(),
                        rank,
                        scores: Scores::default(),
                        provenance: serde_json::Value::Null,
                    };
                    fresh.push((candidate, text));
                }
                if fresh.is_empty() {
                    break;
                }
                kept.extend(self.selector.judge(task, fresh));
            }
            self.selector.propose(task, kept, sink)?;
        }
        Ok(())
    }

    fn report(&self) -> Report {
        self.selector.report()
    }
}

/// A random order of 0..count, made as it is asked for (Fisher and Yates, with only the moved places
/// stored), from raw 64-bit draws, so that no version of `rand` changes it.
struct Draws<R> {
    moved: HashMap<usize, usize>,
    next: usize,
    count: usize,
    stream: R,
}

impl<R: Rng> Draws<R> {
    fn new(count: usize, stream: R) -> Self {
        Self { moved: HashMap::new(), next: 0, count, stream }
    }
}

impl<R: Rng> Iterator for Draws<R> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let left = self.count - self.next;
        if left == 0 {
            return None;
        }
        // The high half of a 128-bit product; uneven by less than count / 2^64.
        let offset = (u128::from(self.stream.next_u64()) * left as u128) >> 64;
        let place = self.next + usize::try_from(offset).expect("below the number of rows");
        let drawn = self.moved.get(&place).copied().unwrap_or(place);
        let head = self.moved.remove(&self.next).unwrap_or(self.next);
        if place != self.next {
            self.moved.insert(place, head);
        }
        self.next += 1;
        Some(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_a_permutation_and_every_row_leads_about_as_often() {
        let mut first = [0_u32; 6];
        for seed in 0..6000 {
            let mut rows: Vec<usize> = Draws::new(6, Seed(seed).stream("t")).collect();
            first[rows[0]] += 1;
            rows.sort_unstable();
            assert_eq!(rows, [0, 1, 2, 3, 4, 5]);
        }
        // Expected 1000 each, standard deviation 29.
        assert!(first.iter().all(|&count| (850..1150).contains(&count)), "{first:?}");
    }

    #[test]
    fn the_second_draw_does_not_follow_from_the_first() {
        let mut pairs = HashMap::new();
        for seed in 0..6000 {
            let rows: Vec<usize> = Draws::new(3, Seed(seed).stream("t")).collect();
            *pairs.entry(rows).or_insert(0_u32) += 1;
        }
        assert!(pairs.len() == 6 && pairs.values().all(|count| (850..1150).contains(count)), "{pairs:?}");
    }
}
