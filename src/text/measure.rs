//! Measures of a text, alone and against another: words, copied share, longest shared run, sameness, language, refusal.
//! Simple on purpose: words are Unicode's (UAX 29), lower-cased, whatever the language.

use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;
use whatlang::Lang;

/// How models begin when they will not or cannot; lower case.
const REFUSALS: &[&str] = &[
    "i cannot",
    "i can't",
    "i can’t",
    "i am unable",
    "i'm unable",
    "i’m unable",
    "i'm sorry",
    "i’m sorry",
    "i am sorry",
    "sorry, but",
    "as an ai",
    "as a language model",
    "i won't",
    "i won’t",
    "i will not be able",
];
/// Characters from its start in which a text is looked through for a refusal.
const REFUSAL_WITHIN: usize = 80;

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

/// The longest run of words of `text` that also stands in `source`, lower-cased, blanks between; None without one.
#[must_use]
pub fn longest_shared_run(text: &str, source: &str) -> Option<String> {
    let (text, source) = (words(text), words(source));
    let (mut best, mut end) = (0, 0);
    // Lengths of the shared runs that end at each word of `source`, for the word of `text` before and this one.
    let mut before = vec![0; source.len() + 1];
    for (place, word) in text.iter().enumerate() {
        let mut here = vec![0; source.len() + 1];
        for (other, own) in source.iter().enumerate() {
            if own == word {
                here[other + 1] = before[other] + 1;
                if here[other + 1] > best {
                    (best, end) = (here[other + 1], place + 1);
                }
            }
        }
        before = here;
    }
    (best > 0).then(|| text[end - best..end].join(" "))
}

/// The language of `text` and how sure that is, 0 to 1, told from script and letter triples; None when unsure.
#[must_use]
pub fn language(text: &str) -> Option<(Lang, f64)> {
    whatlang::detect(text).filter(whatlang::Info::is_reliable).map(|info| (info.lang(), info.confidence()))
}

/// The words near the start of `text` by which a model says that it will not or cannot; None when there are none.
#[must_use]
pub fn refusal(text: &str) -> Option<&'static str> {
    let start = text.chars().take(REFUSAL_WITHIN).collect::<String>().to_lowercase();
    REFUSALS.iter().copied().find(|phrase| start.contains(phrase))
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

    #[test]
    fn the_longest_shared_run_is_in_both() {
        let found =
            longest_shared_run("Please: write five OTHER passages now", "you write five other passages, then stop");
        assert_eq!(found.as_deref(), Some("write five other passages"));
        assert_eq!(longest_shared_run("a b", "c d"), None);
        assert_eq!(longest_shared_run("", "c d"), None);
    }

    #[test]
    fn languages_and_refusals_are_told() {
        let german = "Das Eisen schmilzt bei einer Temperatur von mehr als fünfzehnhundert Grad und wird dann flüssig.";
        assert_eq!(language(german).map(|(found, _)| found), Some(Lang::Deu));
        assert_eq!(language("12 34"), None);
        assert_eq!(refusal("Well, I'm sorry, but that is not possible."), Some("i'm sorry"));
        assert_eq!(refusal("Iron melts at 1538 degrees."), None);
        assert_eq!(refusal(&format!("{} I cannot", "word ".repeat(40))), None);
    }
}
