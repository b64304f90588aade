//! Which instances a step takes, and their tokens.

use super::{Result, TrainError};
use crate::data::{Instance, Passage, QueryId, Seed};
use crate::encode::{BiEncoder, Role};
use rand::seq::SliceRandom;
use std::collections::{HashMap, HashSet};

/// Parts of a file that keep their order.
const TWENTIETH: usize = 20;

/// Places of the instances of `step`: each epoch is a seeded permutation of all, cut into batches; the last
/// batch of an epoch may be smaller.
#[must_use]
pub fn members(instances: usize, batch_size: usize, step: usize, seed: Seed) -> Vec<usize> {
    let per_epoch = instances.div_ceil(batch_size);
    let mut order: Vec<usize> = (0..instances).collect();
    order.shuffle(&mut seed.stream(&format!("train/order/epoch {}", step / per_epoch)));
    let start = (step % per_epoch) * batch_size;
    order[start..(start + batch_size).min(instances)].to_vec()
}

/// As [`members`], in the order of the file, shuffled within each twentieth of it.
#[must_use]
pub fn members_in_order(instances: usize, batch_size: usize, step: usize, seed: Seed) -> Vec<usize> {
    let per_epoch = instances.div_ceil(batch_size);
    let mut order: Vec<usize> = (0..instances).collect();
    let mut stream = seed.stream(&format!("train/order/epoch {}", step / per_epoch));
    order.chunks_mut(instances.div_ceil(TWENTIETH)).for_each(|part| part.shuffle(&mut stream));
    let start = (step % per_epoch) * batch_size;
    order[start..(start + batch_size).min(instances)].to_vec()
}

/// The number of negatives that every instance has.
///
/// # Errors
/// [`TrainError::NoInstances`]; [`TrainError::Uneven`] when instances differ in it.
pub(super) fn even(instances: &[Instance]) -> Result<usize> {
    let negatives = instances.first().ok_or(TrainError::NoInstances)?.negatives.len();
    match instances.iter().find(|instance| instance.negatives.len() != negatives) {
        None => Ok(negatives),
        Some(other) => {
            let query = other.query_id.to_string();
            Err(TrainError::Uneven { query, expected: negatives, found: other.negatives.len() })
        }
    }
}

/// Token ids of all texts of the instances, each distinct text once.
pub struct TokenizedInstances {
    /// H, the number of negatives of every instance.
    pub negatives: usize,
    /// Distinct texts that were cut.
    pub truncated: usize,
    ids: Vec<Vec<u32>>,
    instances: Vec<Places>,
    answers: HashMap<QueryId, HashSet<Passage>>,
}

struct Places {
    query: usize,
    query_id: QueryId,
    passages: Vec<(usize, Passage)>,
}

impl TokenizedInstances {
    /// The texts of `instances` as `encoder` reads them.
    ///
    /// # Errors
    /// [`TrainError::NoInstances`]; [`TrainError::Uneven`] when instances differ in their number of negatives.
    pub fn new(encoder: &BiEncoder, instances: &[Instance]) -> Result<Self> {
        let negatives = even(instances)?;
        let mut queries = Distinct::default();
        let mut passages = Distinct::default();
        let mut answers: HashMap<QueryId, HashSet<Passage>> = HashMap::new();
        let mut placed = Vec::with_capacity(instances.len());
        for instance in instances {
            answers.entry(instance.query_id.clone()).or_default().insert(instance.positive.passage.clone());
            let all = std::iter::once(&instance.positive).chain(&instance.negatives);
            placed.push(Places {
                query: queries.place(&instance.query),
                query_id: instance.query_id.clone(),
                passages: all.map(|p| (passages.place(&p.text), p.passage.clone())).collect(),
            });
        }
        let query_ids = encoder.tokenize(&queries.texts, Role::Query)?;
        let passage_ids = encoder.tokenize(&passages.texts, Role::Document)?;
        for places in &mut placed {
            for (place, _) in &mut places.passages {
                *place += query_ids.ids.len();
            }
        }
        let truncated = query_ids.truncated + passage_ids.truncated;
        let ids = query_ids.ids.into_iter().chain(passage_ids.ids).collect();
        Ok(Self { negatives, truncated, ids, instances: placed, answers })
    }

    /// Number of instances.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Token ids of a batch: B queries, B positives, then the negatives instance by instance.
    #[must_use]
    pub fn sequences(&self, batch: &[usize]) -> Vec<&[u32]> {
        let ids = |place: usize| self.ids[place].as_slice();
        let queries = batch.iter().map(|&b| ids(self.instances[b].query));
        let positives = batch.iter().map(|&b| ids(self.instances[b].passages[0].0));
        let negatives =
            batch.iter().flat_map(|&b| self.instances[b].passages[1..].iter().map(|&(place, _)| ids(place)));
        queries.chain(positives).chain(negatives).collect()
    }

    /// True when the passage in `column` (positives first, then negatives) of a batch is known to answer its
    /// query number `query`.
    #[must_use]
    pub fn answers(&self, batch: &[usize], query: usize, column: usize) -> bool {
        let passages = |member: usize| &self.instances[batch[member]].passages;
        let passage = if column < batch.len() {
            &passages(column)[0].1
        } else {
            let place = column - batch.len();
            &passages(place / self.negatives)[1 + place % self.negatives].1
        };
        self.answers.get(&self.instances[batch[query]].query_id).is_some_and(|known| known.contains(passage))
    }
}

/// Texts in the order of their first use.
#[derive(Default)]
struct Distinct<'t> {
    texts: Vec<&'t str>,
    places: HashMap<&'t str, usize>,
}

impl<'t> Distinct<'t> {
    fn place(&mut self, text: &'t str) -> usize {
        *self.places.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_file_is_kept_but_for_its_twentieths() {
        let epoch = |number: usize| -> Vec<usize> {
            (0..7).flat_map(|step| members_in_order(100, 16, number * 7 + step, Seed(7))).collect()
        };
        let parts = |order: &[usize]| order.iter().map(|place| place / 5).collect::<Vec<_>>();
        assert_eq!(parts(&epoch(0)), parts(&(0..100).collect::<Vec<_>>()));
        let mut sorted = epoch(0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(epoch(0), sorted);
        assert_ne!(epoch(0), epoch(1));
    }

    #[test]
    fn an_epoch_holds_every_instance_once_and_epochs_differ() {
        let epoch =
            |number: usize| -> Vec<usize> { (0..4).flat_map(|s| members(10, 3, number * 4 + s, Seed(7))).collect() };
        let mut sorted = epoch(0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        assert_ne!(epoch(0), epoch(1));
        assert_eq!(epoch(1), epoch(1));
    }
}
