//! A byte 3-gram model: how well a text's bytes are foretold by the two before each, learned from other texts of the
//! same collection. The bar that a language model must clear before its writing is worth reading.
//! Witten and Bell's interpolation (1991, method C) down to the even distribution over 256 bytes.

use std::collections::HashMap;

/// Bytes of context at most.
const ORDER: usize = 2;

/// What followed a context.
#[derive(Debug, Clone, Default)]
struct Followers {
    total: u32,
    by_byte: HashMap<u8, u32>,
}

/// Counts of bytes after each context of 0, 1 and 2 bytes.
#[derive(Debug, Clone, Default)]
pub struct ByteModel {
    contexts: [HashMap<Vec<u8>, Followers>; ORDER + 1],
}

impl ByteModel {
    /// The model of `texts`, each from its own start.
    pub fn learn<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut model = Self::default();
        for text in texts {
            let bytes = text.as_bytes();
            for place in 0..bytes.len() {
                for order in 0..=ORDER.min(place) {
                    let context = bytes[place - order..place].to_vec();
                    let followers = model.contexts[order].entry(context).or_default();
                    followers.total += 1;
                    *followers.by_byte.entry(bytes[place]).or_default() += 1;
                }
            }
        }
        model
    }

    /// Bits the bytes of `text` take.
    #[must_use]
    pub fn bits(&self, text: &str) -> f64 {
        let bytes = text.as_bytes();
        (0..bytes.len())
            .map(|place| -self.probability(&bytes[place - ORDER.min(place)..place], bytes[place]).log2())
            .sum()
    }

    /// Probability of `byte` after `context`, above 0; over all 256 bytes the sum is 1.
    fn probability(&self, context: &[u8], byte: u8) -> f64 {
        let mut probability = 1.0 / 256.0;
        for order in 0..=context.len() {
            if let Some(followers) = self.contexts[order].get(&context[context.len() - order..]) {
                let (total, kinds) = (f64::from(followers.total), followers.by_byte.len() as f64);
                let count = f64::from(followers.by_byte.get(&byte).copied().unwrap_or_default());
                probability = (count + kinds * probability) / (total + kinds);
            }
        }
        probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_nothing_learned_takes_eight_bits() {
        let model = ByteModel::learn(["iron melts", "zinc melts early"]);
        for context in ["", "m", "me", "zq", "q"] {
            let sum: f64 = (0..=255).map(|byte| model.probability(context.as_bytes(), byte)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum} after {context:?}");
        }
        assert!((ByteModel::default().bits("four") - 32.0).abs() < 1e-12);
    }

    #[test]
    fn what_was_seen_takes_fewer_bits() {
        let model = ByteModel::learn(std::iter::repeat_n("the metal melts at a high temperature", 20));
        let own = model.bits("the metal melts") / 15.0;
        let other = model.bits("qualms of a jay") / 15.0;
        assert!(own < 2.0 && other > own + 2.0, "{own} {other}");
    }
}
