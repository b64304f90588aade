//! Judges a reply by measurement: which texts are good, and what is wrong with the others.
//! What a defect says is `defect.rs`; what needs a model to measure is `measured.rs`.

use super::defect::{Defect, Item};
use super::settings::WrittenSettings;
use crate::data::Scores;
use crate::generate::{Ending, Reply};
use crate::text::measure::{copied_share, language, longest_shared_run, refusal, same, words};
use crate::text::prompt::{PromptFile, Writes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;

/// Words an n-gram of the copy measure has.
const GRAM: usize = 5;
/// Two texts of which more than this share of 5-grams is common are one.
const REPEATED_SHARE: f64 = 0.9;
/// Words that are always allowed, so that short positives leave room for a sentence.
const ALWAYS_ALLOWED: usize = 12;
/// So many words in a row out of the prompt's own wording are no chance.
const LEAKED_WORDS: usize = 6;
/// Languages are compared only when the text has so many words: fewer are told wrongly.
const LANGUAGE_WORDS: usize = 8;

/// What a reply is measured against.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What the texts are called in defects: "passage" or "search".
    pub item: &'static str,
    /// Key of the list in the reply.
    pub list: String,
    /// The query's text; "" where there is none.
    pub query: String,
    /// Text of every positive; the first sets the length.
    pub positives: Vec<String>,
    /// Texts asked for.
    pub count: usize,
    /// Words a text may have.
    pub words: RangeInclusive<usize>,
    /// Words of the first positive, where they set the length.
    pub positive_words: Option<usize>,
    /// Largest share of 5-grams a text may have in common with a positive or the query.
    pub max_copied_share: f64,
    /// The prompt's own words between its placeholders.
    pub wording: Vec<String>,
}

impl Ask {
    /// What `prompt` and `settings` ask for `query`, given the texts of its positives.
    #[must_use]
    pub fn new(query: &str, positives: Vec<String>, prompt: &PromptFile, settings: &WrittenSettings) -> Self {
        let own = positives.first().map_or(0, |text| words(text).len());
        let most = portion(own, settings.max_length_ratio).max(ALWAYS_ALLOWED);
        let least = portion(own, settings.min_length_ratio).clamp(1, most);
        let fixed = prompt.reply.words.map(|(least, most)| least as usize..=most as usize);
        Self {
            item: if prompt.reply.writes == Writes::Negatives { "passage" } else { "search" },
            list: prompt.reply.list.clone(),
            query: query.to_owned(),
            positives,
            count: prompt.reply.count.unwrap_or(settings.num_negatives) as usize,
            positive_words: fixed.is_none().then_some(own),
            words: fixed.unwrap_or(least..=most),
            max_copied_share: settings.max_copied_share,
            wording: prompt.wording().map(str::to_owned).collect(),
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

/// A text nothing is wrong with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Its place in the reply, from 1.
    pub place: u32,
    /// The text.
    pub text: String,
    /// What was measured of it.
    #[serde(default)]
    pub scores: Scores,
}

/// A judged reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    /// The texts nothing is wrong with, in order, at most as many as asked for.
    pub good: Vec<Accepted>,
    /// What is wrong, in order.
    pub defects: Vec<Defect>,
}

#[derive(Deserialize)]
struct Written {
    text: String,
}

/// Judges `reply`.
#[must_use]
pub fn check(reply: &Reply, ask: &Ask) -> Checked {
    if reply.ending == Ending::CutOff {
        return Checked { good: Vec::new(), defects: vec![Defect::CutOff { tokens: reply.tokens }] };
    }
    let texts = match texts_of(&reply.text, &ask.list) {
        Ok(texts) => texts,
        Err(found) => {
            let defect = match refusal(&reply.text) {
                Some(phrase) => Defect::Refuses { item: None, phrase },
                None => Defect::NotJson { found },
            };
            return Checked { good: Vec::new(), defects: vec![defect] };
        }
    };
    let texts: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
    let mut checked = Checked::default();
    if texts.len() != ask.count {
        checked.defects.push(Defect::Count { item: ask.item, asked: ask.count, found: texts.len() });
    }
    for (place, text) in (1..).zip(&texts) {
        match defect_of(place as usize - 1, &texts, ask) {
            Some(defect) => checked.defects.push(defect),
            None => checked.good.push(Accepted { place, text: (*text).to_owned(), scores: Scores::default() }),
        }
    }
    checked.good.truncate(ask.count);
    checked
}

/// The texts under `list`; other keys (the reasoning) are kept in the raw reply only.
fn texts_of(reply: &str, list: &str) -> Result<Vec<String>, String> {
    let parsed: Result<Value, _> = serde_json::from_str(braces(reply));
    let mut value =
        parsed.map_err(|error| if reply.contains('{') { error.to_string() } else { "no JSON in it".to_owned() })?;
    let list = value.get_mut(list).map(Value::take).ok_or_else(|| format!("no {list} in it"))?;
    let texts: Vec<Written> = serde_json::from_value(list).map_err(|error| error.to_string())?;
    Ok(texts.into_iter().map(|written| written.text).collect())
}

/// The first thing wrong with the text at `place` of `texts`.
fn defect_of(place: usize, texts: &[&str], ask: &Ask) -> Option<Defect> {
    let text = texts[place];
    let item = Item { name: ask.item, number: place + 1 };
    let given = || ask.positives.iter().chain(std::iter::once(&ask.query));
    if let Some(phrase) = refusal(text).filter(|phrase| !given().any(|own| own.to_lowercase().contains(phrase))) {
        return Some(Defect::Refuses { item: Some(item), phrase });
    }
    if same(text, &ask.query) {
        return Some(Defect::CopiesQuery { item });
    }
    let leaks = |run: &String| !given().any(|own| longest_shared_run(run, own).is_some_and(|found| found == *run));
    let longest = ask.wording.iter().filter_map(|own| longest_shared_run(text, own)).max_by_key(|run| words(run).len());
    if let Some(run) = longest.filter(|run| words(run).len() >= LEAKED_WORDS && leaks(run)) {
        return Some(Defect::LeaksPrompt { item, run });
    }
    let count = words(text).len();
    let (&least, &most, positive) = (ask.words.start(), ask.words.end(), ask.positive_words);
    if count < least {
        return Some(Defect::TooShort { item, words: count, least, positive });
    }
    if count > most {
        return Some(Defect::TooLong { item, words: count, most, positive });
    }
    if let Some(defect) = other_language(item, text, ask) {
        return Some(defect);
    }
    let share = ask.positives.iter().map(|positive| copied_share(text, positive, GRAM)).fold(0.0, f64::max);
    if share > ask.max_copied_share {
        return Some(Defect::CopiesPositive { item, share, bound: ask.max_copied_share });
    }
    let first = texts[..place].iter().position(|other| copied_share(text, other, GRAM) > REPEATED_SHARE)?;
    Some(Defect::Repeats { item, first: first + 1 })
}

fn other_language(item: Item, text: &str, ask: &Ask) -> Option<Defect> {
    if words(text).len() < LANGUAGE_WORDS {
        return None;
    }
    let (found, confidence) = language(text)?;
    let known: Vec<_> = ask.positives.iter().filter_map(|positive| Some(language(positive)?.0)).collect();
    let wanted = *known.first()?;
    (!known.contains(&found)).then(|| Defect::Language {
        item,
        found: found.eng_name(),
        confidence,
        wanted: wanted.eng_name(),
    })
}

/// From the first brace to the last: models that are not held to the schema talk around it.
fn braces(text: &str) -> &str {
    match (text.find('{'), text.rfind('}')) {
        (Some(start), Some(end)) if start < end => &text[start..=end],
        _ => text,
    }
}
