//! What can be wrong with a reply. A defect's text is what the log says and what the model is told, so it holds the
//! measured numbers and says what to do.

use super::measured::Measure;
use std::fmt;

/// Which text of a reply: "passage 2".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// "passage" or "search".
    pub name: &'static str,
    /// Its place, from 1.
    pub number: usize,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.number)
    }
}

/// One thing wrong with a reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Defect {
    /// It ran into the limit of tokens.
    #[error("the answer was cut off after {tokens} tokens; write shorter")]
    CutOff {
        /// Tokens written.
        tokens: u32,
    },
    /// It is not the JSON asked for.
    #[error("the answer is not the JSON asked for ({found}); answer with that JSON and nothing else")]
    NotJson {
        /// What the parser says.
        found: String,
    },
    /// It has another number of texts.
    #[error("the answer has {found} {item}{}; write exactly {asked}", if *found == 1 { "" } else if *item == "search" { "es" } else { "s" })]
    Count {
        /// "passage" or "search".
        item: &'static str,
        /// Number asked for.
        asked: usize,
        /// Number there.
        found: usize,
    },
    /// The model says that it will not or cannot.
    #[error("{} refuses (\"{phrase}\"); write the text that was asked for", item.map_or("the answer".to_owned(), |item| item.to_string()))]
    Refuses {
        /// The text that does; None: the whole reply.
        item: Option<Item>,
        /// The words that say so.
        phrase: &'static str,
    },
    /// A text repeats the instructions.
    #[error("{item} repeats the instructions (\"{run}\"); write the text alone")]
    LeaksPrompt {
        /// Which one.
        item: Item,
        /// The words it shares with the prompt.
        run: String,
    },
    /// A text has too few words.
    #[error("{item} has {words} words, too few;{} write at least {least}", of_positive(*positive))]
    TooShort {
        /// Which one.
        item: Item,
        /// Its words.
        words: usize,
        /// Fewest allowed.
        least: usize,
        /// Words of the positive, where they set the length.
        positive: Option<usize>,
    },
    /// A text has too many words.
    #[error("{item} has {words} words, too many;{} write at most {most}", of_positive(*positive))]
    TooLong {
        /// Which one.
        item: Item,
        /// Its words.
        words: usize,
        /// Most allowed.
        most: usize,
        /// Words of the positive, where they set the length.
        positive: Option<usize>,
    },
    /// A text is in another language than the positive.
    #[error("{item} is in {found} (certain by {:.0} %); write in {wanted}", confidence * 100.0)]
    Language {
        /// Which one.
        item: Item,
        /// Its language.
        found: &'static str,
        /// How sure that is, 0 to 1.
        confidence: f64,
        /// The positive's language.
        wanted: &'static str,
    },
    /// A text is the positive over again.
    #[error(
        "{item} copies the passage that answers: {:.0} % of it stands there word for word, at most {:.0} % may; change what the search asks for",
        share * 100.0, bound * 100.0
    )]
    CopiesPositive {
        /// Which one.
        item: Item,
        /// Share of its 5-grams that stand in the positive.
        share: f64,
        /// Largest share allowed.
        bound: f64,
    },
    /// A text only says the query.
    #[error("{item} only repeats the search; write another one")]
    CopiesQuery {
        /// Which one.
        item: Item,
    },
    /// A text is another one over again.
    #[error("{item} is the same as {} {first}; write a different one", item.name)]
    Repeats {
        /// Which one.
        item: Item,
        /// The one it repeats.
        first: usize,
    },
    /// A text is measured to be as near to the query as an answer.
    #[error(
        "{item} answers the search: {measure} {value:.2}, the passage that answers has {positive:.2}, at most {most:.2} may be; keep the topic, change the fact asked for"
    )]
    Answers {
        /// Which one.
        item: Item,
        /// What was measured.
        measure: Measure,
        /// The measured value.
        value: f64,
        /// The positive's value.
        positive: f64,
        /// Largest value allowed.
        most: f64,
    },
    /// A text is measured to be farther from the query than mined negatives are.
    #[error(
        "{item} is too far from the search: {measure} {value:.2}, at least {least:.2} is wanted; stay nearer to what the search asks for"
    )]
    TooEasy {
        /// Which one.
        item: Item,
        /// What was measured.
        measure: Measure,
        /// The measured value.
        value: f64,
        /// Smallest value allowed.
        least: f64,
    },
    /// The measuring failed; the texts are not taken unmeasured.
    #[error("the {measure} could not be measured: {reason}")]
    Unmeasured {
        /// What was to be measured.
        measure: Measure,
        /// What the model said.
        reason: String,
    },
}

fn of_positive(words: Option<usize>) -> String {
    words.map_or_else(String::new, |words| format!(" the passage that answers has {words},"))
}

impl Defect {
    /// Its name in counts.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CutOff { .. } => "cut-off",
            Self::NotJson { .. } => "not-json",
            Self::Count { .. } => "count",
            Self::Refuses { .. } => "refuses",
            Self::LeaksPrompt { .. } => "leaks-prompt",
            Self::TooShort { .. } => "too-short",
            Self::TooLong { .. } => "too-long",
            Self::Language { .. } => "language",
            Self::CopiesPositive { .. } => "copies-positive",
            Self::CopiesQuery { .. } => "copies-query",
            Self::Repeats { .. } => "repeats",
            Self::Answers { .. } => "answers",
            Self::TooEasy { .. } => "too-easy",
            Self::Unmeasured { .. } => "unmeasured",
        }
    }
}
