//! What judges say, and how many candidates each of them dropped.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a judge says of one candidate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may be a negative.
    #[default]
    Keep,
    /// It may, but a person should know.
    Mark(Finding),
    /// It may not.
    Drop(Finding),
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the rule: a row of [`super::TABLE`].
    pub rule: String,
    /// What the rule measured.
    pub measured: f64,
    /// The most (or least) it allows.
    pub bound: f64,
}

impl Verdict {
    /// A drop by `rule`.
    #[must_use]
    pub fn drop(rule: &str, measured: f64, bound: f64) -> Self {
        Self::Drop(Finding { rule: rule.to_owned(), measured, bound })
    }

    /// A mark by `rule`.
    #[must_use]
    pub fn mark(rule: &str, measured: f64, bound: f64) -> Self {
        Self::Mark(Finding { rule: rule.to_owned(), measured, bound })
    }

    /// `drop` when `wrong`, else keep.
    pub(super) fn drop_if(wrong: bool, rule: &str, (measured, bound): (f64, f64)) -> Self {
        if wrong { Self::drop(rule, measured, bound) } else { Self::Keep }
    }

    /// True unless it is a [`Verdict::Drop`].
    #[must_use]
    pub fn keeps(&self) -> bool {
        !matches!(self, Self::Drop(_))
    }

    /// Name of the rule that dropped or marked it; "" for keep.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Keep => "",
            Self::Mark(finding) | Self::Drop(finding) => &finding.rule,
        }
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

/// A table: rule, candidates that came to it, dropped, share of those that came.
impl fmt::Display for Waterfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:16} {:>9} {:>9} {:>7}", "rule", "seen", "dropped", "share")?;
        for ((rule, seen, dropped, share), line) in self.steps().into_iter().zip(&self.dropped) {
            write!(f, "  {rule:16} {seen:>9} {dropped:>9} {share:>6.2}%")?;
            let marked = if line.marked > 0 { format!("  {} marked", line.marked) } else { String::new() };
            writeln!(f, "{marked}")?;
        }
        write!(f, "  {:16} {:>9}", "kept", self.kept)
    }
}

/// One line of a [`Waterfall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The rule.
    pub rule: String,
    /// How many it dropped.
    pub count: u64,
    /// How many it only marked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub marked: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Waterfall {
    /// Nothing counted yet; a line for each of `rules`.
    #[must_use]
    pub fn of(rules: &[&str]) -> Self {
        let dropped = rules.iter().map(|rule| Dropped { rule: (*rule).to_owned(), count: 0, marked: 0 }).collect();
        Self { judged: 0, dropped, kept: 0 }
    }

    /// Counts one verdict.
    pub fn count(&mut self, verdict: &Verdict) {
        self.judged += 1;
        self.kept += u64::from(verdict.keeps());
        if *verdict == Verdict::Keep {
            return;
        }
        let rule = verdict.rule();
        let place = self.dropped.iter().position(|line| line.rule == rule).unwrap_or_else(|| {
            self.dropped.push(Dropped { rule: rule.to_owned(), count: 0, marked: 0 });
            self.dropped.len() - 1
        });
        match verdict {
            Verdict::Mark(_) => self.dropped[place].marked += 1,
            _ => self.dropped[place].count += 1,
        }
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: Self) {
        self.judged += other.judged;
        self.kept += other.kept;
        for line in other.dropped {
            match self.dropped.iter_mut().find(|mine| mine.rule == line.rule) {
                Some(mine) => {
                    mine.count += line.count;
                    mine.marked += line.marked;
                }
                None => self.dropped.push(line),
            }
        }
    }

    /// Takes away what it had counted at `before`.
    pub fn subtract(&mut self, before: &Self) {
        self.judged -= before.judged;
        self.kept -= before.kept;
        for line in &before.dropped {
            if let Some(mine) = self.dropped.iter_mut().find(|mine| mine.rule == line.rule) {
                mine.count -= line.count;
                mine.marked -= line.marked;
            }
        }
    }

    /// The lines as rule, candidates that came to it, dropped, and dropped in percent of those that came.
    #[must_use]
    pub fn steps(&self) -> Vec<(&str, u64, u64, f64)> {
        let mut left = self.judged;
        let mut step = |line: &Dropped| {
            let seen = left;
            left -= line.count;
            (seen, line.count, if seen == 0 { 0.0 } else { 100.0 * line.count as f64 / seen as f64 })
        };
        let lines = self.dropped.iter().map(|line| (line.rule.as_str(), step(line)));
        lines.map(|(rule, (seen, count, share))| (rule, seen, count, share)).collect()
    }
}
