//! Pure judges over candidates: which are kept as negatives, and by which rule the others go.
//! A judge sees a [`Case`], reads no file and runs no model, and cannot fail; scores are filled in
//! before, so that bounds can change without scoring again. Rules stand in the order of [`TABLE`]; each
//! sees what those before it left. A new rule is one file and one row of [`TABLE`]; it takes its bound from
//! [`FilterSettings::bounds`] under its name, until it has a key of its own.

mod answer_match;
mod case;
mod duplicate;
mod judged_positive;
mod language;
mod leakage;
mod length_ratio;
mod margin;
mod near_cosine;
mod rank_window;
mod relevance;
mod same_id;
mod same_text;
mod score_bounds;
mod settings;
mod verdict;

pub use case::{Case, Proposed};
pub use leakage::TestData;
pub(crate) use length_ratio::mean_length;
pub use settings::{Bar, FilterSettings, InvalidPreset, Leakage, Measure, Preset, Switch, TextRule};
pub use verdict::{Dropped, Finding, Verdict, Waterfall};

/// One rule. Only the candidates that the rules before it left are in the case.
pub trait Filter: Send + Sync {
    /// A verdict for each candidate of `case`, in order.
    fn judge(&self, case: &Case) -> Vec<Verdict>;
}

/// One row of the table of rules.
pub struct Rule {
    /// Its name in settings and reports.
    pub name: &'static str,
    /// What it drops, for help texts.
    pub about: &'static str,
    /// The rule with the settings' bounds; nothing where they leave it off.
    make: fn(&FilterSettings) -> Option<Box<dyn Filter>>,
}

const fn rule(name: &'static str, about: &'static str, make: fn(&FilterSettings) -> Option<Box<dyn Filter>>) -> Rule {
    Rule { name, about, make }
}

/// Every rule, in the order they are applied.
pub static TABLE: &[Rule] = &[
    rule(judged_positive::NAME, "the passage is judged relevant for the query", judged_positive::make),
    rule(same_id::NAME, "the passage has the id of the query", same_id::make),
    rule(same_text::NAME, "the passage has the text of the query or of a positive", same_text::make),
    rule(rank_window::NAME, "its rank is not in the window", rank_window::make),
    rule(margin::ABSOLUTE, "its score comes too near the positive's, by a difference", margin::make_absolute),
    rule(margin::RELATIVE, "its score comes too near the positive's, by a share of it", margin::make_relative),
    rule(score_bounds::MAX, "its score is too high", score_bounds::make_max),
    rule(score_bounds::MIN, "its score is too low", score_bounds::make_min),
    rule(relevance::NAME, "a cross-encoder calls it relevant", relevance::make),
    rule(length_ratio::NAME, "it is much shorter or longer than the positives", length_ratio::make),
    rule(language::NAME, "it is in another language than the positives", language::make),
    rule(answer_match::NAME, "it holds an answer to the query", answer_match::make),
    rule(duplicate::NAME, "nearly the same words as a positive or a better candidate", duplicate::make),
    rule(near_cosine::NAME, "nearly the same vector as a positive's or a better candidate's", near_cosine::make),
    rule(leakage::NAME, "it would bring test data into training", leakage::make),
];

/// Rules applied one after the other.
pub struct Filters {
    rules: Vec<(&'static str, Box<dyn Filter>)>,
}

impl Default for Filters {
    /// The rules that are on by [`FilterSettings::default`].
    fn default() -> Self {
        Self::new(&FilterSettings::default())
    }
}

impl Filters {
    /// The rules that `settings` turn on, in the table's order.
    #[must_use]
    pub fn new(settings: &FilterSettings) -> Self {
        Self { rules: TABLE.iter().filter_map(|row| Some((row.name, (row.make)(settings)?))).collect() }
    }

    /// Names of the rules, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.rules.iter().map(|(name, _)| *name).collect()
    }

    /// A verdict for each candidate of `case`: the drop of the first rule that drops it, else the last mark, else keep.
    #[must_use]
    pub fn judge(&self, case: &Case) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Keep; case.candidates.len()];
        let mut left: Vec<usize> = (0..verdicts.len()).collect();
        for (_, rule) in &self.rules {
            let candidates: Vec<Proposed> = left.iter().map(|&place| case.candidates[place]).collect();
            for (&place, verdict) in left.iter().zip(rule.judge(&Case { candidates: &candidates, ..*case })) {
                if verdict != Verdict::Keep {
                    verdicts[place] = verdict;
                }
            }
            left.retain(|&place| verdicts[place].keeps());
        }
        verdicts
    }

    /// A waterfall with a line for each rule, nothing counted yet.
    #[must_use]
    pub fn waterfall(&self) -> Waterfall {
        Waterfall::of(&self.names())
    }
}

#[cfg(test)]
mod tests;
