//! Pure judges over candidates: which are kept as negatives, and by which rule the others go.
//! A judge sees a [`Case`], reads no file and runs no model, and cannot fail; scores are filled in
//! before, so that bounds can change without scoring again. A new rule is one file and one row of
//! [`TABLE`].

mod judged_positive;
mod same_text;

use crate::data::{Candidate, Document, Query};
use serde::{Deserialize, Serialize};

/// A query with all that is known of its candidates.
#[derive(Debug, Clone, Copy)]
pub struct Case<'c> {
    /// The query.
    pub query: &'c Query,
    /// Every passage judged relevant for it.
    pub positives: &'c [Document],
    /// The candidates, in the order of their source.
    pub candidates: &'c [Proposed<'c>],
}

/// A candidate with its text.
#[derive(Debug, Clone, Copy)]
pub struct Proposed<'c> {
    /// The candidate.
    pub candidate: &'c Candidate,
    /// Its text: title and body.
    pub text: &'c str,
}

/// What a judge says of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may be a negative.
    Keep,
    /// It may not.
    Drop {
        /// Name of the rule: a row of [`TABLE`].
        rule: String,
        /// What the rule measured.
        measured: f64,
        /// The most (or least) it allows.
        bound: f64,
    },
}

impl Verdict {
    /// True for [`Verdict::Keep`].
    #[must_use]
    pub fn keeps(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// One rule.
pub trait Filter: Sync {
    /// A verdict for each candidate of `case`, in order.
    fn judge(&self, case: &Case) -> Vec<Verdict>;
}

/// One row of the table of rules.
pub struct Rule {
    /// Its name in settings and reports.
    pub name: &'static str,
    /// What it drops, for help texts.
    pub about: &'static str,
    make: fn() -> Box<dyn Filter>,
}

/// Every rule, in the order they are applied.
pub const TABLE: [Rule; 2] = [
    Rule {
        name: judged_positive::NAME,
        about: "the passage is judged relevant for the query",
        make: || Box::new(judged_positive::JudgedPositive),
    },
    Rule {
        name: same_text::NAME,
        about: "the passage has the text of the query or of a positive",
        make: || Box::new(same_text::SameText),
    },
];

/// A name that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a filter ({}), found {found:?}", TABLE.map(|rule| rule.name).join(", "))]
pub struct UnknownFilter {
    found: String,
}

/// Rules applied one after the other.
pub struct Filters {
    rules: Vec<(&'static str, Box<dyn Filter>)>,
}

impl Filters {
    /// Every rule of the table.
    #[must_use]
    pub fn all() -> Self {
        Self { rules: TABLE.iter().map(|rule| (rule.name, (rule.make)())).collect() }
    }

    /// The rules called `names`, in the table's order.
    ///
    /// # Errors
    /// [`UnknownFilter`] for a name that is not in the table.
    pub fn named(names: &[&str]) -> Result<Self, UnknownFilter> {
        if let Some(name) = names.iter().find(|name| TABLE.iter().all(|rule| rule.name != **name)) {
            return Err(UnknownFilter { found: (*name).to_owned() });
        }
        let chosen = TABLE.iter().filter(|rule| names.contains(&rule.name));
        Ok(Self { rules: chosen.map(|rule| (rule.name, (rule.make)())).collect() })
    }

    /// A verdict for each candidate of `case`: the first drop in the order of rules, else keep.
    #[must_use]
    pub fn judge(&self, case: &Case) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Keep; case.candidates.len()];
        for (_, rule) in &self.rules {
            for (verdict, new) in verdicts.iter_mut().zip(rule.judge(case)) {
                if verdict.keeps() {
                    *verdict = new;
                }
            }
        }
        verdicts
    }

    /// A waterfall with a line for each rule, nothing counted yet.
    #[must_use]
    pub fn waterfall(&self) -> Waterfall {
        let dropped = self.rules.iter().map(|(name, _)| Dropped { rule: (*name).to_owned(), count: 0 }).collect();
        Waterfall { judged: 0, dropped, kept: 0 }
    }
}

/// How many candidates each rule dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waterfall {
    /// Candidates looked at.
    pub judged: u64,
    /// Dropped by rule, in the order of application; a candidate counts for the first only.
    pub dropped: Vec<Dropped>,
    /// Candidates no rule dropped.
    pub kept: u64,
}

/// One line of a [`Waterfall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The rule.
    pub rule: String,
    /// How many it dropped.
    pub count: u64,
}

impl Waterfall {
    /// Counts one verdict.
    pub fn count(&mut self, verdict: &Verdict) {
        self.judged += 1;
        let Verdict::Drop { rule, .. } = verdict else {
            self.kept += 1;
            return;
        };
        match self.dropped.iter_mut().find(|line| line.rule == *rule) {
            Some(line) => line.count += 1,
            None => self.dropped.push(Dropped { rule: rule.clone(), count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DocId, Passage, QueryId, Scores};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn document(id: &str, title: &str, text: &str) -> Result<Document, Box<dyn std::error::Error>> {
        Ok(Document { id: DocId::new(id)?, title: title.to_owned(), text: text.to_owned() })
    }

    /// Verdicts of `filters` for passages given as (id, text).
    fn judge(filters: &Filters, passages: &[(&str, &str)]) -> Result<Vec<Verdict>, Box<dyn std::error::Error>> {
        let query = Query { id: QueryId::new("q")?, text: "What  is\nIron?".to_owned() };
        let positives = [document("p1", "Iron", "A metal.")?, document("p2", "", "Fe, element 26")?];
        let candidates = passages
            .iter()
            .map(|(id, _)| {
                Ok(Candidate {
                    query: query.id.clone(),
                    passage: Passage::Corpus(DocId::new(id)?),
                    text: None,
                    source: "test".to_owned(),
                    rank: 1,
                    scores: Scores::default(),
                    provenance: serde_json::Value::Null,
                })
            })
            .collect::<Result<Vec<_>, crate::data::ids::InvalidId>>()?;
        let proposed: Vec<Proposed> =
            candidates.iter().zip(passages).map(|(candidate, (_, text))| Proposed { candidate, text }).collect();
        Ok(filters.judge(&Case { query: &query, positives: &positives, candidates: &proposed }))
    }

    fn rule(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Keep => "",
            Verdict::Drop { rule, .. } => rule,
        }
    }

    #[test]
    fn each_rule_of_the_table_keeps_a_plain_negative_and_drops_its_own_case() -> Outcome {
        for row in TABLE {
            let filters = Filters::named(&[row.name])?;
            let dropped = match row.name {
                "judged_positive" => ("p1", "another text"),
                "same_text" => ("d9", "iron a  METAL."),
                name => return Err(format!("add a case for {name} here").into()),
            };
            let verdicts = judge(&filters, &[("d1", "Copper is red."), dropped, ("d2", "iron is a metal.")])?;
            assert_eq!(verdicts.iter().map(rule).collect::<Vec<_>>(), ["", row.name, ""]);
        }
        Ok(())
    }

    #[test]
    fn the_first_rule_takes_the_drop_and_the_waterfall_adds_up() -> Outcome {
        let filters = Filters::all();
        let verdicts = judge(
            &filters,
            &[("p1", "Iron A metal."), ("q", "what is iron?"), ("d3", "fe, element 26"), ("d4", "Zinc")],
        )?;
        assert_eq!(verdicts.iter().map(rule).collect::<Vec<_>>(), ["judged_positive", "same_text", "same_text", ""]);
        let mut waterfall = filters.waterfall();
        for verdict in &verdicts {
            waterfall.count(verdict);
        }
        assert_eq!((waterfall.judged, waterfall.kept), (4, 1));
        assert_eq!(waterfall.dropped.iter().map(|line| line.count).collect::<Vec<_>>(), [1, 2]);
        assert!(Filters::named(&["same-text"]).is_err());
        Ok(())
    }
}
