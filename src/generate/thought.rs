//! What a model thinks before it answers: tokens between `<think>` and `</think>`, which belong to
//! no answer. A thought that gets too long, or ends the reply without an answer, is closed.

use super::words::Words;

/// The text that ends a thought.
pub const END: &str = "</think>";
/// What closes one that is cut off; models learned it with these line breaks.
pub const CLOSE: &str = "\n</think>\n\n";

/// A thought under way.
#[derive(Debug, Clone)]
pub struct Thought {
    left: u32,
    bytes: Vec<u8>,
    tail: Vec<u32>,
}

impl Thought {
    /// A thought of at most `most` tokens.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { left: most, bytes: Vec::new(), tail: Vec::new() }
    }

    /// Takes the next drawn token; the tokens to go on with, and whether the thought is over.
    pub fn take(&mut self, words: &Words, token: u32) -> (Vec<u32>, bool) {
        if words.is_end(token) {
            return (words.thought_close.clone(), true);
        }
        self.bytes.extend(words.piece(token));
        self.tail.push(token);
        self.left = self.left.saturating_sub(1);
        if self.bytes.ends_with(END.as_bytes()) || self.tail.ends_with(&words.thought_end) {
            return (vec![token], true);
        }
        if self.left == 0 {
            return ([&[token], words.thought_close.as_slice()].concat(), true);
        }
        (vec![token], false)
    }

    /// What was thought.
    #[must_use]
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.trim_end().trim_end_matches(END).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens: letters a to d, one that writes the end of a thought, a control token that is it, one that ends.
    fn words() -> Words {
        let pieces = ["a", "b", "c", "d", "</think>", "", ""].map(|text| text.as_bytes().to_vec()).to_vec();
        Words { pieces, ends: vec![6], thought_end: vec![5], thought_close: vec![3, 5] }
    }

    #[test]
    fn a_thought_ends_by_itself_or_is_closed() {
        let words = words();
        for end in [4, 5] {
            let mut thought = Thought::new(9);
            assert_eq!(thought.take(&words, 0), (vec![0], false));
            assert_eq!(thought.take(&words, end), (vec![end], true));
            assert_eq!(thought.text(), "a");
        }
        let mut long = Thought::new(2);
        assert_eq!(long.take(&words, 0), (vec![0], false));
        assert_eq!(long.take(&words, 1), (vec![1, 3, 5], true));
        assert_eq!(long.text(), "ab");
        assert_eq!(Thought::new(9).take(&words, 6), (vec![3, 5], true));
    }
}
