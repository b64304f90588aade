//! Token sequences of a batch one after another, without padding: `(T,)` ids for B sequences.

/// B token sequences, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    sides: Option<Vec<u32>>,
}

impl PackedBatch {
    /// The sequences one after another.
    ///
    /// # Panics
    /// When there is no sequence or one is empty.
    #[must_use]
    pub fn new(sequences: &[&[u32]]) -> Self {
        assert!(!sequences.is_empty() && sequences.iter().all(|s| !s.is_empty()), "a batch of non-empty sequences");
        Self { ids: sequences.concat(), lengths: sequences.iter().map(|s| s.len()).collect(), sides: None }
    }

    /// The same sequences with, for each token, which text of a pair it is of (the token type): one list a sequence.
    ///
    /// # Panics
    /// When there are not as many as tokens.
    #[must_use]
    pub fn with_sides(self, sides: &[&[u32]]) -> Self {
        let sides = sides.concat();
        assert_eq!(sides.len(), self.ids.len(), "a side for every token");
        Self { sides: Some(sides), ..self }
    }

    /// Which text of its pair each token is of, where the sequences are pairs: `(T,)`.
    #[must_use]
    pub fn sides(&self) -> Option<&[u32]> {
        self.sides.as_deref()
    }

    /// T token ids.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The length of each of the B sequences; they add up to T.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Position of each token in its sequence, from 0: `(T,)`.
    #[must_use]
    pub fn positions(&self) -> Vec<u32> {
        self.lengths.iter().flat_map(|&length| 0..u32::try_from(length).unwrap_or(u32::MAX)).collect()
    }

    /// Row of the first token of each sequence: `(B,)`.
    #[must_use]
    pub fn starts(&self) -> Vec<u32> {
        let mut next = 0;
        self.lengths
            .iter()
            .map(|&length| {
                let start = next;
                next += u32::try_from(length).unwrap_or(u32::MAX);
                start
            })
            .collect()
    }

    /// The longest sequence's length.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// The common length, where all sequences have the same.
    #[must_use]
    pub fn uniform(&self) -> Option<usize> {
        let first = self.lengths[0];
        self.lengths.iter().all(|&length| length == first).then_some(first)
    }
}

/// Places of `lengths` in batches of near-equal lengths, longest first, of at most `budget` tokens each
/// (a single longer sequence has a batch of its own). Every place occurs exactly once.
#[must_use]
pub fn group_by_length(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&place| (std::cmp::Reverse(lengths[place]), place));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for place in order {
        match groups.last_mut() {
            Some(group) if tokens + lengths[place] <= budget => group.push(place),
            _ => {
                groups.push(vec![place]);
                tokens = 0;
            }
        }
        tokens += lengths[place];
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_hold_every_place_once_within_the_budget(lengths in proptest::collection::vec(1usize..60, 0..80), budget in 1usize..200) {
            let groups = group_by_length(&lengths, budget);
            let mut seen: Vec<usize> = groups.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for group in &groups {
                prop_assert!(group.len() == 1 || group.iter().map(|&p| lengths[p]).sum::<usize>() <= budget);
            }
        }
    }
}
