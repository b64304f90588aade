//! Drops passages whose text is that of the query or of a positive: copies under another id.
//! [`TextRule`] says when two texts are the same; near duplicates are for rules with a bound.

use super::{Case, Filter, FilterSettings, TextRule, Verdict};
use std::collections::HashSet;

pub(super) const NAME: &str = "same_text";

/// Measures 1 for the same text, 0 for another; 0 is allowed.
struct SameText(TextRule);

#[expect(clippy::unnecessary_wraps, reason = "the signature of the table")]
pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    Some(Box::new(SameText(settings.same_text)))
}

impl Filter for SameText {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let form = |text: &str| match self.0 {
            TextRule::Folded => folded(text),
            TextRule::Positives | TextRule::QueryAndPositives => text.to_owned(),
        };
        let mut taken: HashSet<String> = case.positives.iter().map(|positive| form(&positive.content())).collect();
        if self.0 != TextRule::Positives {
            taken.insert(form(&case.query.text));
        }
        let same = |text: &str| match self.0 {
            TextRule::Folded => taken.contains(&folded(text)),
            TextRule::Positives | TextRule::QueryAndPositives => taken.contains(text),
        };
        case.candidates.iter().map(|proposed| Verdict::drop_if(same(proposed.text), NAME, (1.0, 0.0))).collect()
    }
}

/// The text in lower case with runs of white space as one space.
pub(super) fn folded(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !form.is_empty() {
            form.push(' ');
        }
        form.push_str(&word.to_lowercase());
    }
    form
}
