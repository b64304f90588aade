//! Drafts by prompt lookup: what followed the last words when they stood in the text before.
//! A near miss copies much of its positive, so the guess is often right; the model then checks all
//! of it in one step. Only drawn tokens count, so what is written is what plain drawing writes.
//! Drafts cost: whether they pay is judged from those that were made or, while they are off, only
//! noted ([`Drafting`]).

/// Tokens that must stand before for their continuation to be a guess, the longest tried first.
const LOOKED_FOR: [usize; 2] = [4, 2];
/// Guesses judged before the first decision.
const TRIED: f32 = 24.0;
/// Weight of the past at each new guess.
const MEMORY: f32 = 0.98;

/// At most `most` tokens that may follow `tokens`; none when its end is new.
#[must_use]
pub fn guess(tokens: &[u32], most: usize) -> &[u32] {
    for length in LOOKED_FOR {
        if most == 0 || tokens.len() <= length {
            continue;
        }
        let (before, end) = (&tokens[..tokens.len() - 1], &tokens[tokens.len() - length..]);
        if let Some(place) = before.windows(length).rposition(|window| window == end) {
            let from = place + length;
            return &tokens[from..tokens.len().min(from + most)];
        }
    }
    &[]
}

/// Whether guesses pay: decoding some more tokens at once costs, each right one saves a step.
#[derive(Debug, Clone)]
pub struct Drafting {
    most: usize,
    cost: f32,
    tried: f32,
    right: f32,
}

impl Drafting {
    /// Guesses of at most `most` tokens, where a step with that many costs `cost` plain ones (1 and up).
    #[must_use]
    pub fn new(most: u32, cost: f32) -> Self {
        Self { most: most as usize, cost, tried: 0.0, right: 0.0 }
    }

    /// Longest guess; 0: none are made.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes note that `right` tokens of a guess were.
    pub fn note(&mut self, right: usize) {
        self.tried = self.tried * MEMORY + 1.0;
        self.right = self.right * MEMORY + right as f32;
    }

    /// Whether a guess is worth its cost now.
    #[must_use]
    pub fn pays(&self) -> bool {
        self.most > 0 && (self.cost <= 1.0 || self.tried >= TRIED && 1.0 + self.right / self.tried > self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_place_with_most_in_common_is_taken() {
        let text = [1, 2, 3, 4, 5, 6, 9, 9, 3, 4, 7, 7, 1, 2, 3, 4];
        assert_eq!(guess(&text, 3), [5, 6, 9]);
        assert_eq!(guess(&text, 1), [5]);
        assert_eq!(guess(&[8, 3, 4, 1, 0, 3, 4], 5), [1, 0, 3, 4]);
        assert!(guess(&[1, 2, 3], 4).is_empty() && guess(&[], 4).is_empty() && guess(&text, 0).is_empty());
        // A loop is guessed to go on.
        assert_eq!(guess(&[5, 5, 5, 5], 4), [5]);
    }

    #[test]
    fn drafts_are_made_where_they_pay() {
        let judged = |cost, right| {
            let mut drafting = Drafting::new(8, cost);
            assert_eq!(drafting.pays(), cost <= 1.0);
            (0..200).for_each(|_| drafting.note(right));
            drafting.pays()
        };
        assert!(judged(2.0, 3) && judged(1.0, 0));
        assert!(!judged(2.0, 0) && !judged(5.0, 3));
        assert!(!Drafting::new(0, 1.0).pays());
    }
}
