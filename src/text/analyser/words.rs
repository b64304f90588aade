//! Texts cut into words, each way a slice of the text.
//! [`unicode`] is UAX 29, as Lucene's standard tokenizer; text is nearly always plain ASCII between two blanks, so
//! such pieces are cut by a loop over bytes, and only the others by the library, which is its oracle in the test.

use unicode_segmentation::UnicodeSegmentation;

/// Calls `each` with every word of `text` by UAX 29 that holds a letter or digit.
pub(super) fn unicode(text: &str, mut each: impl FnMut(&str)) {
    // A blank is a boundary on both sides, so the pieces between blanks can be cut by themselves.
    for piece in text.split(|c: char| c.is_ascii_whitespace()) {
        if piece.is_ascii() {
            ascii(piece, &mut each);
        } else {
            piece.unicode_words().map(str::trim_start).for_each(&mut each);
        }
    }
}

fn ascii(piece: &str, each: &mut impl FnMut(&str)) {
    let bytes = piece.as_bytes();
    let in_word = |at: usize| bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_';
    let mut at = 0;
    while at < bytes.len() {
        if !in_word(at) {
            at += 1;
            continue;
        }
        let start = at;
        let mut substance = false;
        loop {
            while at < bytes.len() && in_word(at) {
                substance |= bytes[at] != b'_';
                at += 1;
            }
            if at + 1 < bytes.len() && joins(bytes[at - 1], bytes[at], bytes[at + 1]) {
                at += 1;
            } else {
                break;
            }
        }
        if substance {
            each(&piece[start..at]);
        }
    }
}

/// True when `middle` does not end a word between these two (rules WB6, WB7, WB11, WB12).
fn joins(before: u8, middle: u8, after: u8) -> bool {
    match middle {
        b'\'' | b'.' => {
            (before.is_ascii_alphabetic() && after.is_ascii_alphabetic())
                || (before.is_ascii_digit() && after.is_ascii_digit())
        }
        b':' => before.is_ascii_alphabetic() && after.is_ascii_alphabetic(),
        b',' | b';' => before.is_ascii_digit() && after.is_ascii_digit(),
        _ => false,
    }
}

/// Calls `each` with every run of characters that are no white space.
pub(super) fn whitespace(text: &str, each: impl FnMut(&str)) {
    text.split_whitespace().for_each(each);
}

/// Calls `each` with every run of `length` characters within a run of letters and digits, one character apart; a
/// shorter run is one word. For languages without spaces.
pub(super) fn ngrams(text: &str, length: usize, mut each: impl FnMut(&str)) {
    for run in text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty()) {
        let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
        let characters = starts.len() - 1;
        if characters <= length {
            each(run);
        } else {
            for first in 0..=characters - length {
                each(&run[starts[first]..starts[first + length]]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(cut: impl FnOnce(&mut dyn FnMut(&str))) -> Vec<String> {
        let mut words = Vec::new();
        cut(&mut |word: &str| words.push(word.to_owned()));
        words
    }

    proptest! {
        #[test]
        fn words_are_those_of_the_library(
            text in "([a-zA-Z0-9_'.:;, \\-\t\u{301}\u{200d}éß\u{2019}漢字かなカナ한국\u{5d0}\u{5d1}\"🙂🇩🇪]|\\PC| ){0,60}"
        ) {
            // A mark after a blank stands for itself here; the library gives it out with the blank before it.
            let expected: Vec<&str> = text.unicode_words().map(str::trim_start).collect();
            prop_assert_eq!(collect(|each| unicode(&text, each)), expected);
        }
    }

    #[test]
    fn ngrams_overlap_within_runs() {
        assert_eq!(collect(|each| ngrams("東京都 a bcd", 2, each)), ["東京", "京都", "a", "bc", "cd"]);
        assert_eq!(collect(|each| ngrams("", 3, each)), [""; 0]);
        assert_eq!(collect(|each| whitespace(" IL-6,  x\n", each)), ["IL-6,", "x"]);
    }
}
