//! The metrics and their table; each is a function of one query's ranked grades.
//! nDCG has linear gain and log2 discount (Järvelin and Kekäläinen 2002, as `trec_eval`'s `ndcg_cut`); for all
//! others a passage is relevant or not. Grades below 0 and missing ones gain nothing and are not judged.

use super::dialect::Divisor;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// What the judgements say of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Unjudged,
    Irrelevant,
    Relevant,
}

/// A hit as metrics see it: its gain, 0 and up, and its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Graded {
    pub gain: i32,
    pub verdict: Verdict,
}

/// One query as metrics see it.
pub(super) struct Ranked<'g> {
    /// All hits in rank order.
    pub hits: &'g [Graded],
    /// Gains above 0 of all judged passages, best first.
    pub ideal: &'g [i32],
    /// Number of relevant passages.
    pub relevant: usize,
    /// What average precision divides by.
    pub divisor: Divisor,
}

impl Ranked<'_> {
    fn head(&self, depth: Option<usize>) -> &[Graded] {
        cut(self.hits, depth)
    }

    /// Ranks from 1 of the relevant hits within the depth.
    fn relevant_ranks(&self, depth: Option<usize>) -> impl Iterator<Item = usize> {
        let relevant = |&(_, hit): &(usize, &Graded)| hit.verdict == Verdict::Relevant;
        (1..).zip(self.head(depth)).filter(relevant).map(|(rank, _)| rank)
    }
}

fn cut<T>(list: &[T], depth: Option<usize>) -> &[T] {
    &list[..depth.unwrap_or(list.len()).min(list.len())]
}

/// Which of two values of a metric speaks for a run.
enum Better {
    Higher,
    Lower,
}

/// One kind of metric: its name before the `@`, its other names in the field, and its value at a depth.
struct Kind {
    name: &'static str,
    also: &'static [&'static str],
    better: Better,
    value: fn(&Ranked, Option<usize>) -> f64,
}

/// A metric is one function below and one row here.
const KINDS: [Kind; 9] = [
    Kind { name: "ndcg", also: &[], better: Better::Higher, value: ndcg },
    Kind { name: "recall", also: &[], better: Better::Higher, value: recall },
    Kind { name: "mrr", also: &["recip_rank"], better: Better::Higher, value: reciprocal_rank },
    Kind { name: "map", also: &[], better: Better::Higher, value: average_precision },
    Kind { name: "precision", also: &["p"], better: Better::Higher, value: precision },
    Kind { name: "success", also: &["hit_rate", "accuracy"], better: Better::Higher, value: success },
    Kind { name: "r_precision", also: &["rprec"], better: Better::Higher, value: r_precision },
    Kind { name: "judged", also: &[], better: Better::Higher, value: judged },
    Kind { name: "hole", also: &[], better: Better::Lower, value: hole },
];

/// A metric and its depth, written `ndcg@10`, `recall@100`, `mrr`, `map`, `precision@5`; without a
/// depth the whole list counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Metric {
    kind: usize,
    depth: Option<NonZeroUsize>,
}

impl Metric {
    /// `value` with its sign turned where the smaller is better: the greater result speaks for a run.
    #[must_use]
    pub fn merit(self, value: f64) -> f64 {
        match KINDS[self.kind].better {
            Better::Higher => value,
            Better::Lower => -value,
        }
    }

    pub(super) fn value(self, query: &Ranked) -> f64 {
        (KINDS[self.kind].value)(query, self.depth.map(NonZeroUsize::get))
    }
}

/// Why a text names no metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a metric ({}), each alone or with a depth from 1 as in ndcg@10, found {found:?}{}",
    KINDS.map(|kind| kind.name).join(", "),
    nearest(found)
)]
pub struct MetricError {
    found: String,
}

fn nearest(found: &str) -> String {
    let name = found.split('@').next().unwrap_or(found).to_lowercase();
    let close = KINDS.iter().map(|kind| (strsim::jaro_winkler(kind.name, &name), kind.name));
    match close.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((likeness, name)) if likeness > 0.7 => format!("\n  hint: did you mean {name}?"),
        _ => String::new(),
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, MetricError> {
        let wrong = || MetricError { found: text.to_owned() };
        let (name, depth) = match text.split_once('@') {
            Some((name, depth)) => (name, Some(depth.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let kind = KINDS.iter().position(|kind| kind.name == name || kind.also.contains(&name)).ok_or_else(wrong)?;
        Ok(Self { kind, depth })
    }
}

impl TryFrom<String> for Metric {
    type Error = MetricError;
    fn try_from(text: String) -> Result<Self, MetricError> {
        text.parse()
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KINDS[self.kind].name)?;
        self.depth.map_or(Ok(()), |depth| write!(f, "@{depth}"))
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Discounted gain over the ideal list's, both cut at the depth.
fn ndcg(query: &Ranked, depth: Option<usize>) -> f64 {
    let discounted = |gains: &mut dyn Iterator<Item = i32>| -> f64 {
        let worth = (2_u32..).zip(gains).filter(|&(_, gain)| gain > 0);
        worth.map(|(place, gain)| f64::from(gain) / f64::from(place).log2()).sum()
    };
    let found = discounted(&mut query.head(depth).iter().map(|hit| hit.gain));
    share(found, discounted(&mut cut(query.ideal, depth).iter().copied()))
}

/// Relevant hits within the depth over all relevant passages.
fn recall(query: &Ranked, depth: Option<usize>) -> f64 {
    share(query.relevant_ranks(depth).count() as f64, query.relevant as f64)
}

/// 1 / rank of the first relevant hit within the depth.
fn reciprocal_rank(query: &Ranked, depth: Option<usize>) -> f64 {
    query.relevant_ranks(depth).next().map_or(0.0, |rank| 1.0 / rank as f64)
}

/// Precision at each relevant hit within the depth, over all relevant passages.
fn average_precision(query: &Ranked, depth: Option<usize>) -> f64 {
    let found = (1..).zip(query.relevant_ranks(depth));
    let sum: f64 = found.map(|(found, rank): (usize, _)| found as f64 / rank as f64).sum();
    let divisor = match (query.divisor, depth) {
        (Divisor::RelevantWithinDepth, Some(depth)) => query.relevant.min(depth),
        _ => query.relevant,
    };
    share(sum, divisor as f64)
}

/// Relevant hits within the depth over the depth, also when the list is shorter.
fn precision(query: &Ranked, depth: Option<usize>) -> f64 {
    share(query.relevant_ranks(depth).count() as f64, depth.unwrap_or(query.hits.len()) as f64)
}

/// 1 when a relevant hit is within the depth, else 0.
fn success(query: &Ranked, depth: Option<usize>) -> f64 {
    f64::from(u8::from(query.relevant_ranks(depth).next().is_some()))
}

/// Precision among as many hits as there are relevant passages, or within the depth if that is less.
fn r_precision(query: &Ranked, depth: Option<usize>) -> f64 {
    precision(query, Some(depth.map_or(query.relevant, |depth| depth.min(query.relevant))))
}

/// Share of the hits within the depth that are judged, relevant or not; 0 without hits.
fn judged(query: &Ranked, depth: Option<usize>) -> f64 {
    share_of(query.head(depth), |verdict| verdict != Verdict::Unjudged)
}

/// Share of the hits within the depth that nobody judged: 1 - judged, but 0 without hits.
fn hole(query: &Ranked, depth: Option<usize>) -> f64 {
    share_of(query.head(depth), |verdict| verdict == Verdict::Unjudged)
}

fn share_of(hits: &[Graded], counts: fn(Verdict) -> bool) -> f64 {
    share(hits.iter().filter(|hit| counts(hit.verdict)).count() as f64, hits.len() as f64)
}

pub(super) fn share(part: f64, whole: f64) -> f64 {
    // An empty sum is -0.0; adding 0.0 makes it print as 0.
    if whole > 0.0 { part / whole + 0.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn every_metric() -> Result<Vec<Metric>, MetricError> {
        let depths = ["", "@1", "@3", "@10", "@1000"];
        KINDS.iter().flat_map(|kind| depths.map(|depth| format!("{}{depth}", kind.name).parse())).collect()
    }

    #[test]
    fn every_row_parses_and_prints_by_its_name() -> Outcome {
        for kind in KINDS {
            for (name, depth) in std::iter::once(&kind.name).chain(kind.also).zip(["", "@5"].iter().cycle()) {
                let metric: Metric = format!("{name}{depth}").parse()?;
                assert_eq!(metric.to_string(), format!("{}{depth}", kind.name));
                let json = serde_json::to_string(&BTreeMap::from([(metric, 0.5)]))?;
                assert_eq!(json, format!("{{\"{metric}\":0.5}}"));
                assert_eq!(serde_json::from_str::<BTreeMap<Metric, f64>>(&json)?, BTreeMap::from([(metric, 0.5)]));
            }
        }
        Ok(())
    }

    #[test]
    fn what_names_no_metric_is_told_the_nearest() {
        for wrong in ["ndgc@10", "ndcg@0", "ndcg@", "ndcg@x", "", "NDCG"] {
            assert!(wrong.parse::<Metric>().is_err(), "{wrong}");
        }
        let message = "ndgc@10".parse::<Metric>().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains("\"ndgc@10\"") && message.contains("did you mean ndcg?"), "{message}");
    }

    proptest! {
        #[test]
        fn values_lie_between_0_and_1_and_the_ideal_order_is_the_best(
            grades in proptest::collection::vec(-2..5_i32, 0..30),
            unjudged in 0..20_usize,
            missed in proptest::collection::vec(1..5_i32, 0..10),
            within in proptest::bool::ANY,
        ) {
            let verdict = |grade| if grade > 0 { Verdict::Relevant } else { Verdict::Irrelevant };
            let mut hits: Vec<Graded> =
                grades.iter().map(|&grade| Graded { gain: grade.max(0), verdict: verdict(grade) }).collect();
            let middle = hits.len() / 2;
            let hole = Graded { gain: 0, verdict: Verdict::Unjudged };
            hits.splice(middle..middle, std::iter::repeat_n(hole, unjudged));
            let mut ideal: Vec<i32> = grades.iter().chain(&missed).copied().filter(|&grade| grade > 0).collect();
            ideal.sort_unstable_by(|a, b| b.cmp(a));
            let divisor = if within { Divisor::RelevantWithinDepth } else { Divisor::Relevant };
            let query = Ranked { hits: &hits, ideal: &ideal, relevant: ideal.len(), divisor };
            let mut best = hits.clone();
            best.sort_by_key(|hit| (-hit.gain, hit.verdict == Verdict::Unjudged));
            let best = Ranked { hits: &best, ideal: &ideal, relevant: ideal.len(), divisor };
            for metric in every_metric().map_err(|error| TestCaseError::fail(error.to_string()))? {
                let (value, most) = (metric.value(&query), metric.value(&best));
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{metric}: {value}");
                if metric.to_string().starts_with("hole") {
                    prop_assert!(most <= value, "{metric}: {most} against {value}");
                    let judged = judged(&query, metric.depth.map(NonZeroUsize::get));
                    prop_assert!(hits.is_empty() || (value + judged - 1.0).abs() < 1e-12);
                } else {
                    prop_assert!(most >= value - 1e-12, "{metric}: {most} against {value}");
                }
                let perfect = missed.is_empty() && !ideal.is_empty();
                if perfect && ["ndcg", "ndcg@3", "map", "r_precision", "mrr", "success@1"].contains(&metric.to_string().as_str()) {
                    prop_assert!((most - 1.0).abs() < 1e-12, "{metric}: {most} for the ideal order");
                }
            }
        }
    }
}
