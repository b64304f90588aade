//! Measures of a text against another: words, copied share, sameness.
//! Simple on purpose: words are Unicode's (UAX 29), lower-cased, whatever the language.

use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;

/// The words of `text` in order, lower-cased; punctuation and blanks are none.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    text.unicode_words().map(str::to_lowercase).collect()
}

/// Share, 0 to 1, of the word n-grams of `text` that also stand in `source`.
/// A text of fewer than `n` words is taken as one n-gram; a text without words has share 0.
///
/// # Panics
/// When `n` is 0.
#[must_use]
pub fn copied_share(text: &str, source: &str, n: usize) -> f64 {
    let (text, source) = (words(text), words(source));
    let n = n.min(text.len());
    if n == 0 {
        return 0.0;
    }
    let known: HashSet<&[String]> = source.windows(n).collect();
    let grams = text.windows(n);
    let total = grams.len();
    let copied = grams.filter(|gram| known.contains(gram)).count();
    #[expect(clippy::cast_precision_loss, reason = "passages have far fewer than 2^52 words")]
    let share = copied as f64 / total as f64;
    share
}

/// True when both have the same words, whatever case, punctuation and blanks are between them.
/// Two texts without words are the same when they are equal.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    let (words_a, words_b) = (words(a), words(b));
    if words_a.is_empty() && words_b.is_empty() { a.trim() == b.trim() } else { words_a == words_b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copied_share_counts_n_grams_of_the_text() {
        let source = "The quick brown fox jumps over the lazy dog.";
        assert!((copied_share(source, source, 5) - 1.0).abs() < 1e-12);
        assert!(copied_share("a completely other sentence stands here", source, 5).abs() < 1e-12);
        // 7 words, 3 five-grams; the first, "quick brown fox jumps over", is copied.
        assert!((copied_share("quick brown fox jumps over a fence", source, 5) - 1.0 / 3.0).abs() < 1e-12);
        assert!((copied_share("lazy DOG", source, 5) - 1.0).abs() < 1e-12);
        assert!(copied_share("…", source, 5).abs() < 1e-12);
        assert!(copied_share("dog", "", 5).abs() < 1e-12);
    }

    #[test]
    fn sameness_ignores_case_and_punctuation() {
        assert!(same("Hello,  World!", "hello world"));
        assert!(!same("hello world", "world hello"));
        assert!(same("", " ") && !same("!", "?"));
    }
}
