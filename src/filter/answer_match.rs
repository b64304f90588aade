//! Drops candidates that hold an answer string, as DPR (2004.04906, section 4.2) does: they answer the query unjudged.
//! Words are compared in lower case, so that `Iron` is found in `iron,` and not in `environment`.

use super::{Case, Filter, FilterSettings, Switch, Verdict};
use crate::text::measure::words;

pub(super) const NAME: &str = "answer_match";

/// Measures how many of the query's answers the candidate holds; none may be.
struct AnswerMatch;

pub(super) fn make(settings: &FilterSettings) -> Option<Box<dyn Filter>> {
    (settings.answers == Switch::On).then(|| Box::new(AnswerMatch) as Box<dyn Filter>)
}

impl Filter for AnswerMatch {
    fn judge(&self, case: &Case) -> Vec<Verdict> {
        let answers: Vec<Vec<String>> =
            case.answers.iter().map(|answer| words(answer)).filter(|answer| !answer.is_empty()).collect();
        if answers.is_empty() {
            return vec![Verdict::Keep; case.candidates.len()];
        }
        let held = |text: &str| {
            let text = words(text);
            answers.iter().filter(|answer| text.windows(answer.len()).any(|window| window == answer.as_slice())).count()
        };
        let candidates = case.candidates.iter().map(|proposed| held(proposed.text));
        candidates.map(|count| Verdict::drop_if(count > 0, NAME, (count as f64, 0.0))).collect()
    }
}
