//! Text to index terms, for search by words.
//! The default is what the field's BM25 baselines use, Lucene's `EnglishAnalyzer`: words by UAX 29, possessive 's
//! off, lower case, 33 stop words out, Porter's stemmer. Known differences from Lucene: words above 255 letters are
//! not split, and the stemmer follows Porter's paper, without the two rules (`-bli`, `-logi`) that his later C
//! program and Lucene have. Other languages are rows of a table; those without spaces are cut into n-grams.

mod languages;
mod words;

use languages::LANGUAGES;
use serde::{Deserialize, Serialize};
use snowball_stemmers_rs::{Algorithm, Stemmer};
use std::fmt;
use std::str::FromStr;

/// Lucene's `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`, sorted.
const LUCENE_STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// How text becomes terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalyserSettings {
    /// Where words begin and end, default `words`.
    pub cut: Cut,
    /// Words that are no terms, default `lucene`: its 33 English ones. A longer list makes a smaller and faster
    /// index that misses queries made of such words.
    pub stop_words: StopWords,
    /// How forms of a word become one term, default `porter`. None keeps forms apart, a strong one joins words that
    /// mean different things.
    pub stemmer: Stemming,
}

impl Default for AnalyserSettings {
    fn default() -> Self {
        Self { cut: Cut::Words, stop_words: StopWords::Lucene, stemmer: Stemming::Porter }
    }
}

/// Where words begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Cut {
    /// By UAX 29: `words`.
    Words,
    /// At white space alone, punctuation kept: `whitespace`.
    Whitespace,
    /// Overlapping runs of so many letters or digits, 1 to 9: `2-grams`.
    Ngrams(u8),
}

/// Words that are no terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StopWords {
    /// Every word is a term: `none`.
    None,
    /// Lucene's 33 English words: `lucene`.
    Lucene,
    /// The ISO stop list of a language, by its English name.
    Of(Language),
}

/// How forms of a word become one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Stemming {
    /// Not at all: `none`.
    None,
    /// Porter's first stemmer for English: `porter`.
    Porter,
    /// The Snowball stemmer of a language, by its English name; `english` is Porter's second.
    Of(Language),
}

/// A language of the table, by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(usize);

/// Why a text names no way of analysing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}")]
pub struct AnalyserError {
    expected: String,
    found: String,
}

fn language(text: &str, others: &str) -> Result<Language, AnalyserError> {
    LANGUAGES.iter().position(|language| language.name == text).map(Language).ok_or_else(|| AnalyserError {
        expected: format!("{others}, or a language ({})", LANGUAGES.map(|language| language.name).join(", ")),
        found: text.to_owned(),
    })
}

impl FromStr for Cut {
    type Err = AnalyserError;

    fn from_str(text: &str) -> Result<Self, AnalyserError> {
        let wrong = || AnalyserError {
            expected: "words, whitespace, or 1-grams to 9-grams".to_owned(),
            found: text.to_owned(),
        };
        match text {
            "words" => Ok(Self::Words),
            "whitespace" => Ok(Self::Whitespace),
            _ => {
                let length = text.strip_suffix("-grams").and_then(|length| length.parse().ok());
                length.filter(|length| (1..=9).contains(length)).map(Self::Ngrams).ok_or_else(wrong)
            }
        }
    }
}

impl FromStr for StopWords {
    type Err = AnalyserError;

    fn from_str(text: &str) -> Result<Self, AnalyserError> {
        match text {
            "none" => Ok(Self::None),
            "lucene" => Ok(Self::Lucene),
            _ => match language(text, "none, lucene")? {
                Language(row) if LANGUAGES[row].stop_words.is_none() => Err(AnalyserError {
                    expected: "none, lucene, or a language that has a stop list".to_owned(),
                    found: text.to_owned(),
                }),
                known => Ok(Self::Of(known)),
            },
        }
    }
}

impl FromStr for Stemming {
    type Err = AnalyserError;

    fn from_str(text: &str) -> Result<Self, AnalyserError> {
        match text {
            "none" => Ok(Self::None),
            "porter" => Ok(Self::Porter),
            _ => language(text, "none, porter").map(Self::Of),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words => f.write_str("words"),
            Self::Whitespace => f.write_str("whitespace"),
            Self::Ngrams(length) => write!(f, "{length}-grams"),
        }
    }
}

impl fmt::Display for StopWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Lucene => "lucene",
            Self::Of(language) => LANGUAGES[language.0].name,
        })
    }
}

impl fmt::Display for Stemming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Porter => "porter",
            Self::Of(language) => LANGUAGES[language.0].name,
        })
    }
}

macro_rules! as_text {
    ($($type:ident),*) => { $(
        impl TryFrom<String> for $type {
            type Error = AnalyserError;
            fn try_from(text: String) -> Result<Self, AnalyserError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )* };
}
as_text!(Cut, StopWords, Stemming);

impl FromStr for AnalyserSettings {
    type Err = AnalyserError;

    /// `english` (the default), another language, `whitespace`, or `2-grams` and its like.
    fn from_str(text: &str) -> Result<Self, AnalyserError> {
        if text == "english" {
            return Ok(Self::default());
        }
        if let Ok(cut) = text.parse::<Cut>()
            && cut != Cut::Words
        {
            return Ok(Self { cut, stop_words: StopWords::None, stemmer: Stemming::None });
        }
        let language = language(text, "whitespace, 2-grams")?;
        let listed = LANGUAGES[language.0].stop_words.is_some();
        let stop_words = if listed { StopWords::Of(language) } else { StopWords::None };
        Ok(Self { cut: Cut::Words, stop_words, stemmer: Stemming::Of(language) })
    }
}

/// Makes index terms from text.
pub struct Analyser {
    cut: Cut,
    possessive: bool,
    /// Sorted.
    stop_words: Vec<&'static str>,
    stemmer: Option<(Stemmer, Shortest)>,
}

/// The shortest word that a stemmer is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shortest {
    Any,
    /// Porter's program leaves words of one and two letters alone; the Snowball form of it does not.
    Three,
}

impl Analyser {
    /// The analyser of `settings`.
    #[must_use]
    pub fn new(settings: &AnalyserSettings) -> Self {
        let mut stop_words = match settings.stop_words {
            StopWords::None => Vec::new(),
            StopWords::Lucene => LUCENE_STOP_WORDS.to_vec(),
            StopWords::Of(language) => {
                LANGUAGES[language.0].stop_words.and_then(stop_words::lookup).unwrap_or_default().to_vec()
            }
        };
        stop_words.sort_unstable();
        let english = Stemming::Of(Language(7));
        let stemmer = match settings.stemmer {
            Stemming::None => None,
            Stemming::Porter => Some((Stemmer::create(Algorithm::Porter), Shortest::Three)),
            Stemming::Of(language) => Some((Stemmer::create(LANGUAGES[language.0].stemmer), Shortest::Any)),
        };
        let possessive = settings.stemmer == Stemming::Porter || settings.stemmer == english;
        Self { cut: settings.cut, possessive, stop_words, stemmer }
    }

    /// The terms of `text` in order, repeats kept.
    #[must_use]
    pub fn terms(&self, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        self.each_word(text, |word| terms.extend(self.term(word)));
        terms
    }

    /// Calls `each` with the words of `text` before they become terms, in order.
    pub fn each_word(&self, text: &str, each: impl FnMut(&str)) {
        match self.cut {
            Cut::Words => words::unicode(text, each),
            Cut::Whitespace => words::whitespace(text, each),
            Cut::Ngrams(length) => words::ngrams(text, length.into(), each),
        }
    }

    /// The term of one word of [`Analyser::each_word`]; none for a stop word.
    #[must_use]
    pub fn term(&self, word: &str) -> Option<String> {
        let word = if self.possessive { without_possessive(word) } else { word }.to_lowercase();
        if word.is_empty() || self.stop_words.binary_search(&word.as_str()).is_ok() {
            return None;
        }
        match &self.stemmer {
            Some((stemmer, shortest)) if *shortest == Shortest::Any || word.chars().nth(2).is_some() => {
                Some(stemmer.stem(&word).into_owned())
            }
            _ => Some(word),
        }
    }
}

impl Default for Analyser {
    fn default() -> Self {
        Self::new(&AnalyserSettings::default())
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
        Analyser::default().terms(text)
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

    #[test]
    fn every_language_has_an_analyser_that_reads_back_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let names = LANGUAGES.map(|language| language.name);
        assert!(names.is_sorted(), "the table is by name");
        assert_eq!(names[7], "english");
        for name in names.into_iter().chain(["whitespace", "1-grams", "3-grams"]) {
            let settings: AnalyserSettings = name.parse()?;
            let json = serde_json::to_string(&settings)?;
            assert_eq!(serde_json::from_str::<AnalyserSettings>(&json)?, settings, "{json}");
            assert!(!Analyser::new(&settings).terms("Nearmiss 42").is_empty(), "{name}");
        }
        for language in &LANGUAGES {
            if let Some(code) = language.stop_words {
                assert!(stop_words::lookup(code).is_some_and(|list| !list.is_empty()), "{}", language.name);
            }
        }
        Ok(())
    }

    #[test]
    fn other_analysers_do_as_their_names_say() -> Result<(), Box<dyn std::error::Error>> {
        let of = |name: &str, text: &str| Ok::<_, AnalyserError>(Analyser::new(&name.parse()?).terms(text));
        assert_eq!(of("german", "Die Häuser und der Hund's")?, ["haus", "hund's"]);
        assert_eq!(of("whitespace", "The IL-6, x")?, ["the", "il-6,", "x"]);
        assert_eq!(of("2-grams", "東京都")?, ["東京", "京都"]);
        let error = "klingon".parse::<AnalyserSettings>().err().ok_or("an error was due")?.to_string();
        assert!(error.contains("german") && error.contains("klingon"), "{error}");
        assert!("0-grams".parse::<Cut>().is_err() && "words".parse::<AnalyserSettings>().is_err());
        assert!("tamil".parse::<StopWords>().is_err() && "tamil".parse::<Stemming>().is_ok());
        Ok(())
    }
}
