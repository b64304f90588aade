//! The metrics and their table; each is a function of one query's ranked grades.
//! nDCG has linear gain and log2 discount (Järvelin and Kekäläinen 2002, as `trec_eval`'s `ndcg_cut`); for all
//! others a grade above 0 is relevant. Negative and missing grades are 0.

use super::{Evaluation, SelfHits};
use crate::data::{DocId, Hit, Qrels, Run};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// One query as metrics see it.
struct Ranked<'g> {
    /// Grades of all hits in rank order; 0 where not judged.
    grades: &'g [i32],
    /// Grades above 0 of all judged passages, best first.
    ideal: &'g [i32],
    /// The depth asked for.
    depth: Option<usize>,
}

impl Ranked<'_> {
    fn cut<'l>(&self, list: &'l [i32]) -> &'l [i32] {
        &list[..self.depth.unwrap_or(list.len()).min(list.len())]
    }

    /// Ranks from 1 of the relevant hits within the depth.
    fn relevant_ranks(&self) -> impl Iterator<Item = usize> {
        (1..).zip(self.cut(self.grades)).filter(|&(_, &grade)| grade > 0).map(|(rank, _)| rank)
    }
}

/// One kind of metric: its name before the `@`, and its value.
struct Kind {
    name: &'static str,
    value: fn(&Ranked) -> f64,
}

/// A metric is one function below and one row here.
const KINDS: [Kind; 5] = [
    Kind { name: "ndcg", value: ndcg },
    Kind { name: "recall", value: recall },
    Kind { name: "mrr", value: reciprocal_rank },
    Kind { name: "map", value: average_precision },
    Kind { name: "precision", value: precision },
];

/// A metric and its depth, written `ndcg@10`, `recall@100`, `mrr`, `map`, `precision@5`; without a
/// depth the whole list counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Metric {
    kind: usize,
    depth: Option<NonZeroUsize>,
}

/// Why a text names no metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a metric ({}), each alone or with a depth from 1 as in ndcg@10, found {found:?}{}",
    names(),
    nearest(found)
)]
pub struct MetricError {
    found: String,
}

fn names() -> String {
    KINDS.map(|kind| kind.name).join(", ")
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
        let kind = KINDS.iter().position(|kind| kind.name == name).ok_or_else(wrong)?;
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
fn ndcg(query: &Ranked) -> f64 {
    let gain = |grades: &[i32]| -> f64 {
        (2_u32..).zip(query.cut(grades)).map(|(place, &grade)| f64::from(grade) / f64::from(place).log2()).sum()
    };
    share(gain(query.grades), gain(query.ideal))
}

/// Relevant hits within the depth over all relevant passages.
fn recall(query: &Ranked) -> f64 {
    share(query.relevant_ranks().count() as f64, query.ideal.len() as f64)
}

/// 1 / rank of the first relevant hit within the depth.
fn reciprocal_rank(query: &Ranked) -> f64 {
    query.relevant_ranks().next().map_or(0.0, |rank| 1.0 / rank as f64)
}

/// Precision at each relevant hit within the depth, over all relevant passages.
fn average_precision(query: &Ranked) -> f64 {
    let sum: f64 = (1..).zip(query.relevant_ranks()).map(|(found, rank): (usize, _)| found as f64 / rank as f64).sum();
    share(sum, query.ideal.len() as f64)
}

/// Relevant hits within the depth over the depth, also when the list is shorter.
fn precision(query: &Ranked) -> f64 {
    share(query.relevant_ranks().count() as f64, query.depth.unwrap_or(query.grades.len()) as f64)
}

fn share(part: f64, whole: f64) -> f64 {
    // An empty sum is -0.0; adding 0.0 makes it print as 0.
    if whole > 0.0 { part / whole + 0.0 } else { 0.0 }
}

/// The metrics of `run` under `qrels`, by query and on average; see [`super`] for which queries count.
/// All means are 0 when none does.
#[must_use]
pub fn evaluate(run: &Run, qrels: &Qrels, metrics: &[Metric], self_hits: SelfHits) -> Evaluation {
    let mut per_query = BTreeMap::new();
    let (mut missing, mut dropped) = (0, 0);
    for (query, judged) in qrels.iter() {
        let ideal = ideal(judged);
        if ideal.is_empty() {
            continue;
        }
        let hits = run.get(query.as_str());
        let counted = |hit: &&Hit| self_hits == SelfHits::Keep || hit.doc.as_str() != query.as_str();
        let grades: Vec<i32> =
            hits.iter().filter(counted).map(|hit| judged.get(&hit.doc).map_or(0, |&grade| grade.max(0))).collect();
        missing += usize::from(hits.is_empty());
        dropped += hits.len() - grades.len();
        let value = |metric: &Metric| {
            let depth = metric.depth.map(NonZeroUsize::get);
            (*metric, (KINDS[metric.kind].value)(&Ranked { grades: &grades, ideal: &ideal, depth }))
        };
        per_query.insert(query.clone(), metrics.iter().map(value).collect::<BTreeMap<_, _>>());
    }
    let mean = |metric: &Metric| {
        let sum: f64 = per_query.values().map(|values| values[metric]).sum();
        (*metric, share(sum, per_query.len() as f64))
    };
    let mean = metrics.iter().map(mean).collect();
    Evaluation { mean, queries: per_query.len(), missing, self_hits: dropped, per_query }
}

/// Grades above 0, best first.
fn ideal(judged: &BTreeMap<DocId, i32>) -> Vec<i32> {
    let mut grades: Vec<i32> = judged.values().copied().filter(|&grade| grade > 0).collect();
    grades.sort_unstable_by(|a, b| b.cmp(a));
    grades
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::QueryId;
    use std::path::PathBuf;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn metrics(names: &[&str]) -> Result<Vec<Metric>, MetricError> {
        names.iter().map(|name| name.parse()).collect()
    }

    #[test]
    fn every_row_parses_prints_and_stays_between_0_and_1() -> Outcome {
        let (mut run, mut qrels) = (Run::default(), Qrels::default());
        let query = QueryId::new("q")?;
        let doc = |i: i32| DocId::new(&format!("d{i}"));
        for i in 0..8 {
            qrels.insert(query.clone(), doc(i)?, i - 3);
        }
        run.insert(
            query,
            (4..20)
                .map(|i| Ok(Hit { doc: doc(i)?, score: i as f32 }))
                .collect::<Result<_, crate::data::ids::InvalidId>>()?,
        );
        for kind in KINDS {
            for name in [kind.name.to_owned(), format!("{}@5", kind.name)] {
                let metric: Metric = name.parse()?;
                assert_eq!(metric.to_string(), name);
                let json = serde_json::to_string(&BTreeMap::from([(metric, 0.5)]))?;
                assert_eq!(json, format!("{{\"{name}\":0.5}}"));
                assert_eq!(serde_json::from_str::<BTreeMap<Metric, f64>>(&json)?, BTreeMap::from([(metric, 0.5)]));
                let value = evaluate(&run, &qrels, &[metric], SelfHits::Drop).mean[&metric];
                assert!((0.0..=1.0).contains(&value), "{name}: {value}");
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

    #[test]
    fn a_querys_own_passage_is_dropped_only_when_told_and_unanswerable_queries_do_not_count() -> Outcome {
        let (mut run, mut qrels) = (Run::default(), Qrels::default());
        let hit = |id: &str, score| Ok::<_, crate::data::ids::InvalidId>(Hit { doc: DocId::new(id)?, score });
        run.insert(QueryId::new("a")?, vec![hit("a", 9.0)?, hit("b", 8.0)?]);
        qrels.insert(QueryId::new("a")?, DocId::new("b")?, 1);
        qrels.insert(QueryId::new("none")?, DocId::new("b")?, 0);
        let mrr = "mrr".parse()?;
        let dropped = evaluate(&run, &qrels, &[mrr], SelfHits::Drop);
        assert_eq!((dropped.queries, dropped.missing, dropped.self_hits), (1, 0, 1));
        assert!((dropped.mean[&mrr] - 1.0).abs() < 1e-12);
        let kept = evaluate(&run, &qrels, &[mrr], SelfHits::Keep);
        assert_eq!(kept.self_hits, 0);
        assert!((kept.mean[&mrr] - 0.5).abs() < 1e-12);
        Ok(())
    }

    fn shared(name: &str) -> Option<PathBuf> {
        crate::shared::path(name)
    }

    /// `trec_eval`'s names for ours, with the letters it has for each.
    const TREC: [(&str, &str); 15] = [
        ("ndcg@5", "ndcg_cut_5"),
        ("ndcg@10", "ndcg_cut_10"),
        ("ndcg@100", "ndcg_cut_100"),
        ("ndcg@1000", "ndcg_cut_1000"),
        ("ndcg", "ndcg"),
        ("recall@10", "recall_10"),
        ("recall@100", "recall_100"),
        ("recall", "set_recall"),
        ("precision@5", "P_5"),
        ("precision@10", "P_10"),
        ("precision@1000", "P_1000"),
        ("precision", "set_P"),
        ("map", "map"),
        ("map@10", "map_cut_10"),
        ("mrr", "recip_rank"),
    ];

    /// `trec_eval`'s own test data. `out.test.aqc` was made with `-c` from a run that is cut short: it has
    /// query 301, the first 84 lines of query 303, and nothing of 302.
    #[test]
    fn values_are_trec_evals() -> Outcome {
        let Some(folder) = shared("fixtures/trec_eval") else { return Ok(()) };
        let run = Run::read_trec(&folder.join("results.test"))?;
        let qrels = Qrels::read_trec(&folder.join("qrels.test"))?;
        let text = std::fs::read_to_string(folder.join("results.test"))?;
        let of = |query| text.lines().filter(move |line| line.starts_with(query));
        let cut: Vec<&str> = of("301").chain(of("303").take(84)).collect();
        let scratch = tempfile::tempdir()?;
        std::fs::write(scratch.path().join("cut"), cut.join("\n"))?;
        let truncated = Run::read_trec(&scratch.path().join("cut"))?;
        let asked = metrics(&TREC.map(|(ours, _)| ours))?;
        for (run, golden, missing) in [(&run, "out.test.aq", 0), (&truncated, "out.test.aqc", 1)] {
            let found = evaluate(run, &qrels, &asked, SelfHits::Keep);
            assert_eq!((found.queries, found.missing), (3, missing));
            let text = std::fs::read_to_string(folder.join(golden))?;
            let mut compared = 0;
            for line in text.lines() {
                let [name, query, expected] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
                let Some(at) = TREC.iter().position(|(_, theirs)| *theirs == name) else { continue };
                let value = match query {
                    "all" => found.mean[&asked[at]],
                    query => found.per_query[query][&asked[at]],
                };
                assert_eq!(format!("{value:.4}"), expected, "{golden} {name} {query}");
                compared += 1;
            }
            assert_eq!(compared, TREC.len() * 4, "{golden}");
        }
        Ok(())
    }

    /// `pytrec_eval` over the BM25 runs of whole collections, by query.
    #[test]
    fn values_are_pytrec_evals_on_whole_collections() -> Outcome {
        let (Some(fixtures), Some(data)) = (shared("fixtures/bm25"), shared("data")) else { return Ok(()) };
        let pairs = [
            ("ndcg@1", "ndcg_cut_1"),
            ("ndcg@10", "ndcg_cut_10"),
            ("ndcg@100", "ndcg_cut_100"),
            ("recall@10", "recall_10"),
            ("recall@100", "recall_100"),
            ("precision@5", "P_5"),
            ("map", "map"),
            ("map@10", "map_cut_10"),
            ("mrr", "recip_rank"),
        ];
        let asked = metrics(&pairs.map(|(ours, _)| ours))?;
        for (name, queries) in [("scifact", 300), ("cranfield", 225)] {
            let run = Run::read_trec(&fixtures.join(format!("{name}.test.bm25.trec")))?;
            let qrels = Qrels::read_beir(&data.join(name).join("qrels/test.tsv"))?;
            let golden: serde_json::Value =
                serde_json::from_slice(&std::fs::read(fixtures.join(format!("{name}.test.bm25.pytrec_eval.json")))?)?;
            let found = evaluate(&run, &qrels, &asked, SelfHits::Keep);
            assert_eq!(found.queries, queries, "{name}");
            for (metric, (_, theirs)) in asked.iter().zip(pairs) {
                for (query, values) in &found.per_query {
                    let expected = golden["per_query"][query.as_str()][theirs].as_f64().ok_or(theirs)?;
                    assert!(
                        (values[metric] - expected).abs() < 1e-6,
                        "{name} {query} {metric}: {} for {expected}",
                        values[metric]
                    );
                }
                let expected = golden["mean"][theirs].as_f64().ok_or(theirs)?;
                assert!((found.mean[metric] - expected).abs() < 1e-6, "{name} {metric}");
            }
        }
        Ok(())
    }
}
