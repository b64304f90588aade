//! Judges a reply by measurement: which negatives are good, and what is wrong with the others.
//! A defect's text is what the log says and what the model is told, so it holds the numbers and
//! says what to do. Simple on purpose: form, count, length, copies and repeats; language, refusals
//! and measured relevance belong here too.

use super::settings::WrittenSettings;
use crate::generate::{Ending, Reply};
use crate::text::measure::{copied_share, same, words};
use serde::Deserialize;
use std::ops::RangeInclusive;

/// Words an n-gram of the copy measure has.
const GRAM: usize = 5;
/// Two negatives that share more than this of their 5-grams are one.
const REPEATED_SHARE: f64 = 0.9;
/// Words that are always allowed, so that short positives leave room for a sentence.
const ALWAYS_ALLOWED: usize = 12;

/// What a reply is measured against.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The query's text.
    pub query: String,
    /// Text of every positive; the first sets the length.
    pub positives: Vec<String>,
    /// Negatives asked for.
    pub count: usize,
    /// Words a negative may have.
    pub words: RangeInclusive<usize>,
    /// Words of the first positive.
    pub positive_words: usize,
    /// Largest share of 5-grams it may have in common with a positive.
    pub max_copied_share: f64,
}

impl Ask {
    /// What `settings` ask of negatives for `query`, given the texts of its positives.
    #[must_use]
    pub fn new(query: &str, positives: Vec<String>, settings: &WrittenSettings) -> Self {
        let positive_words = positives.first().map_or(0, |text| words(text).len());
        let most = portion(positive_words, settings.max_length_ratio).max(ALWAYS_ALLOWED);
        let least = portion(positive_words, settings.min_length_ratio).clamp(1, most);
        Self {
            query: query.to_owned(),
            positives,
            count: settings.num_negatives as usize,
            words: least..=most,
            positive_words,
            max_copied_share: settings.max_copied_share,
        }
    }
}

/// `ratio` of `count`, rounded up.
pub(super) fn portion(count: usize, ratio: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a passage's length times a ratio checked to be 0 to 10"
    )]
    let portion = (count as f64 * ratio).ceil() as usize;
    portion
}

/// One thing wrong with a reply; negatives are numbered from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Defect {
    /// It ran into the limit of tokens.
    #[error("the answer was cut off after {tokens} tokens; write shorter passages")]
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
    /// It has another number of negatives.
    #[error("the answer has {found} passages; write exactly {asked}")]
    Count {
        /// Number asked for.
        asked: usize,
        /// Number there.
        found: usize,
    },
    /// A negative has too few words.
    #[error(
        "passage {which} has {words} words, too few; the passage that answers has {positive}, write at least {least}"
    )]
    TooShort {
        /// Which one.
        which: usize,
        /// Its words.
        words: usize,
        /// Fewest allowed.
        least: usize,
        /// Words of the positive.
        positive: usize,
    },
    /// A negative has too many words.
    #[error(
        "passage {which} has {words} words, too many; the passage that answers has {positive}, write at most {most}"
    )]
    TooLong {
        /// Which one.
        which: usize,
        /// Its words.
        words: usize,
        /// Most allowed.
        most: usize,
        /// Words of the positive.
        positive: usize,
    },
    /// A negative is the positive over again.
    #[error(
        "passage {which} copies the passage that answers: {:.0} % of it stands there word for word, at most {:.0} % may; change what the search asks for",
        share * 100.0, bound * 100.0
    )]
    CopiesPositive {
        /// Which one.
        which: usize,
        /// Share of its 5-grams that stand in the positive.
        share: f64,
        /// Largest share allowed.
        bound: f64,
    },
    /// A negative only says the query.
    #[error("passage {which} only repeats the search; write a passage")]
    CopiesQuery {
        /// Which one.
        which: usize,
    },
    /// A negative is another one over again.
    #[error("passage {which} is the same as passage {first}; write a different one")]
    Repeats {
        /// Which one.
        which: usize,
        /// The one it repeats.
        first: usize,
    },
}

impl Defect {
    /// Its name in counts.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CutOff { .. } => "cut-off",
            Self::NotJson { .. } => "not-json",
            Self::Count { .. } => "count",
            Self::TooShort { .. } => "too-short",
            Self::TooLong { .. } => "too-long",
            Self::CopiesPositive { .. } => "copies-positive",
            Self::CopiesQuery { .. } => "copies-query",
            Self::Repeats { .. } => "repeats",
        }
    }
}

/// A judged reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    /// The negatives nothing is wrong with, in order, at most as many as asked for.
    pub good: Vec<String>,
    /// What is wrong, in order.
    pub defects: Vec<Defect>,
}

/// The JSON asked for; other keys (the reasoning) are kept in the raw text only.
#[derive(Deserialize)]
struct Answer {
    hard_negative_documents: Vec<Negative>,
}

#[derive(Deserialize)]
struct Negative {
    text: String,
}

/// Judges `reply`.
#[must_use]
pub fn check(reply: &Reply, ask: &Ask) -> Checked {
    if reply.ending == Ending::CutOff {
        return Checked { good: Vec::new(), defects: vec![Defect::CutOff { tokens: reply.tokens }] };
    }
    let answer: Answer = match serde_json::from_str(braces(&reply.text)) {
        Ok(answer) => answer,
        Err(error) => {
            let found = if reply.text.contains('{') { error.to_string() } else { "no JSON in it".to_owned() };
            return Checked { good: Vec::new(), defects: vec![Defect::NotJson { found }] };
        }
    };
    let texts: Vec<&str> = answer.hard_negative_documents.iter().map(|negative| negative.text.trim()).collect();
    let mut checked = Checked::default();
    if texts.len() != ask.count {
        checked.defects.push(Defect::Count { asked: ask.count, found: texts.len() });
    }
    for (place, text) in texts.iter().enumerate() {
        match defect_of(place, &texts, ask) {
            Some(defect) => checked.defects.push(defect),
            None => checked.good.push((*text).to_owned()),
        }
    }
    checked.good.truncate(ask.count);
    checked
}

/// The first thing wrong with the negative at `place` of `texts`.
fn defect_of(place: usize, texts: &[&str], ask: &Ask) -> Option<Defect> {
    let (which, text) = (place + 1, texts[place]);
    let count = words(text).len();
    let (&least, &most, positive) = (ask.words.start(), ask.words.end(), ask.positive_words);
    if same(text, &ask.query) {
        return Some(Defect::CopiesQuery { which });
    }
    if count < least {
        return Some(Defect::TooShort { which, words: count, least, positive });
    }
    if count > most {
        return Some(Defect::TooLong { which, words: count, most, positive });
    }
    let share = ask.positives.iter().map(|positive| copied_share(text, positive, GRAM)).fold(0.0, f64::max);
    if share > ask.max_copied_share {
        return Some(Defect::CopiesPositive { which, share, bound: ask.max_copied_share });
    }
    let first = texts[..place].iter().position(|other| copied_share(text, other, GRAM) > REPEATED_SHARE)?;
    Some(Defect::Repeats { which, first: first + 1 })
}

/// From the first brace to the last: models that are not held to the schema talk around it.
fn braces(text: &str) -> &str {
    match (text.find('{'), text.rfind('}')) {
        (Some(start), Some(end)) if start < end => &text[start..=end],
        _ => text,
    }
}
