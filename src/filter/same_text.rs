//! Drops passages whose text is that of the query or of a positive: copies under another id.
//! Simple on purpose: texts are equal in lower case with runs of white space as one; near
//! duplicates are for a rule with a bound.

use super::{Case, Filter, Verdict};
use std::collections::HashSet;

pub(super) const NAME: &str = "same_text";

/// Measures 1 for the same text, 0 for another; 0 is allowed.
pub(super) struct SameText;

impl Filter for SameText {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let mut taken: HashSet<String> = case.positives.iter().map(|positive| normal(&positive.content())).collect();
        taken.insert(normal(&case.query.text));
        let judge = |text: &str| {
            if taken.contains(&normal(text)) {
                Verdict::Drop { rule: NAME.to_owned(), measured: 1.0, bound: 0.0 }
            } else {
                Verdict::Keep
            }
        };
        case.candidates.iter().map(|proposed| judge(proposed.text)).collect()
    }
}

fn normal(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}
