//! English text to index terms, as Lucene's `EnglishAnalyzer` makes them for the field's BM25
//! baselines: words by UAX 29, possessive 's off, lower case, 33 stop words out, Porter's stemmer.
//! Simple on purpose: English only. Known differences from Lucene: words above 255 letters are not
//! split, and the stemmer follows Porter's paper, without the two rules (`-bli`, `-logi`) that his
//! later C program and Lucene have.

use snowball_stemmers_rs::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

/// Lucene's `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`, sorted.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// Makes index terms from text.
pub struct Analyser {
    stemmer: Stemmer,
}

impl Analyser {
    /// The analyser for English.
    #[must_use]
    pub fn english() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::Porter) }
    }

    /// The terms of `text` in order, repeats kept.
    #[must_use]
    pub fn terms(&self, text: &str) -> Vec<String> {
        text.unicode_words().filter_map(|word| self.term(word)).collect()
    }

    /// The term of one word as UAX 29 cuts it; none for a stop word.
    #[must_use]
    pub fn term(&self, word: &str) -> Option<String> {
        let word = without_possessive(word).to_lowercase();
        if word.is_empty() || STOP_WORDS.binary_search(&word.as_str()).is_ok() {
            return None;
        }
        // Porter's program leaves words of one and two letters alone; the Snowball form does not.
        if word.chars().nth(2).is_none() {
            return Some(word);
        }
        Some(self.stemmer.stem(&word).into_owned())
    }
}

impl Default for Analyser {
    fn default() -> Self {
        Self::english()
    }
}

/// `word` without a closing 's, whichever of the three apostrophes it has.
fn without_possessive(word: &str) -> &str {
    word.strip_suffix(['s', 'S']).and_then(|stem| stem.strip_suffix(['\'', '\u{2019}', '\u{ff07}'])).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        Analyser::english().terms(text)
    }

    #[test]
    fn stop_words_are_sorted_for_the_search() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn words_are_cut_lowered_stopped_and_stemmed() {
        assert_eq!(terms("The Cats' toys, and IL-6 was 3.14!"), ["cat", "toi", "il", "6", "3.14"]);
    }

    #[test]
    fn possessives_go_before_the_stop_words() {
        assert_eq!(terms("it's Porter's IT\u{2019}S"), ["porter"]);
    }

    /// Pairs of Porter's paper (Program 14(3), 1980); Porter2 gives others for the marked ones.
    #[test]
    fn the_stemmer_is_porters_first() {
        let pairs = [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("ties", "ti"), // Porter2: tie
            ("feed", "feed"),
            ("agreed", "agre"),
            ("hopping", "hop"),
            ("generalizations", "gener"), // Porter2: general
            ("oscillators", "oscil"),
            ("happily", "happili"),
            ("dying", "dy"), // Porter2: die
            ("as1", "as1"),
            ("us", "us"),
        ];
        for (word, stem) in pairs {
            assert_eq!(terms(word), [stem], "{word}");
        }
    }
}
