//! Drops candidates in another language than the positives': language alone would tell them apart.
//! Languages are told from script and letter triples; what it is not sure of stays.

use super::{Case, Filter, FilterSettings, Switch, Verdict};
use crate::text::measure::language;
use whatlang::Lang;

pub(super) const NAME: &str = "language";

/// Measures the confidence that the language is another one, 0 to 1; 0 is allowed.
struct Language;

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    (settings.language == Switch::On).then(|| Box::new(Language) as Box<dyn Filter>)
}

impl Filter for Language {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let known: Vec<Lang> = case.positives.iter().filter_map(|p| Some(language(&p.content())?.0)).collect();
        let judge = |text: &str| match language(text) {
            Some((language, confidence)) if !known.is_empty() && !known.contains(&language) => {
                Verdict::drop(NAME, confidence, 0.0)
            }
            _ => Verdict::Keep,
        };
        case.candidates.iter().map(|proposed| judge(proposed.text)).collect()
    }
}
