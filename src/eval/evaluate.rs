//! A run against judgements: the hits of each query become grades, the grades metrics, the metrics means.

use super::dialect::{Counted, Gains, Row, SelfHits, Ties};
use super::metrics::{Graded, Ranked, Verdict, share};
use super::{Metric, Rules};
use crate::data::{DocId, Found, Lists, Qrels, QueryId};
use ahash::AHashMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values of metrics: means, and by query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean of each metric over the queries that count, 0 to 1.
    pub mean: BTreeMap<Metric, f64>,
    /// Number of queries that count.
    pub queries: usize,
    /// Judged queries with a relevant passage that have no list in the run; the dialect says whether they count 0 or
    /// are left out.
    pub missing: usize,
    /// Judged queries without a relevant passage; the dialect says whether they count 0 or are left out.
    pub unanswerable: usize,
    /// Queries of the run that are not judged; they never count.
    pub unjudged: usize,
    /// Hits removed because their id is the query's own.
    pub self_hits: usize,
    /// Hits with the query's own id that were kept.
    pub self_hits_kept: usize,
    /// Values by query, of those that count.
    pub per_query: BTreeMap<QueryId, BTreeMap<Metric, f64>>,
}

/// The metrics of `run` under `qrels`, by query and on average; `rules` say which queries count.
/// All means are 0 when none does.
#[must_use]
pub fn evaluate(run: &Lists<'_>, qrels: &Qrels, metrics: &[Metric], rules: &Rules) -> Evaluation {
    let judged: Vec<_> = qrels.iter().collect();
    let scored: Vec<Scored> = judged
        .par_iter()
        .map(|(query, grades)| score(query, run.get(query.as_str()), grades, (metrics, rules)))
        .collect();
    let count = |holds: fn(&Scored) -> bool| scored.iter().filter(|query| holds(query)).count();
    let missing = count(|query| query.answerable && !query.searched);
    let unanswerable = count(|query| !query.answerable);
    let self_hits = scored.iter().map(|query| query.self_hits).sum();
    let self_hits_kept = scored.iter().map(|query| query.self_hits_kept).sum();
    let per_query: BTreeMap<_, _> =
        judged.iter().zip(scored).filter_map(|((query, _), scored)| Some(((*query).clone(), scored.values?))).collect();
    let mean = |metric: &Metric| {
        let sum: f64 = per_query.values().map(|values| values[metric]).sum();
        (*metric, share(sum, per_query.len() as f64))
    };
    Evaluation {
        mean: metrics.iter().map(mean).collect(),
        queries: per_query.len(),
        missing,
        unanswerable,
        unjudged: run.iter().filter(|(query, _)| qrels.get(query).is_none()).count(),
        self_hits,
        self_hits_kept,
        per_query,
    }
}

/// What became of one judged query.
struct Scored {
    answerable: bool,
    searched: bool,
    self_hits: usize,
    self_hits_kept: usize,
    /// `None` when it does not count.
    values: Option<BTreeMap<Metric, f64>>,
}

fn score(
    query: &QueryId,
    hits: Option<&[Found<'_>]>,
    grades: &BTreeMap<DocId, i32>,
    (metrics, rules): (&[Metric], &Rules),
) -> Scored {
    let row = rules.dialect.row();
    let relevant = grades.values().filter(|&&grade| grade >= rules.relevant_from).count();
    let (answerable, searched) = (relevant > 0, hits.is_some());
    let counts = match row.counted {
        Counted::Answerable => answerable,
        Counted::Judged => true,
        Counted::Searched => searched,
    };
    if !counts {
        return Scored { answerable, searched, self_hits: 0, self_hits_kept: 0, values: None };
    }
    let grade = |grade: i32| Graded {
        gain: match row.gains {
            Gains::Graded => grade.max(0),
            Gains::Binary => i32::from(grade >= rules.relevant_from),
        },
        verdict: match grade {
            // Below 0 means "in nobody's pool", as in `trec_eval`.
            ..0 => Verdict::Unjudged,
            grade if grade >= rules.relevant_from => Verdict::Relevant,
            _ => Verdict::Irrelevant,
        },
    };
    let by_doc: AHashMap<&str, Graded> = grades.iter().map(|(doc, &value)| (doc.as_str(), grade(value))).collect();
    let unjudged = Graded { gain: 0, verdict: Verdict::Unjudged };
    let hits = hits.unwrap_or_default();
    let keeps_own = keeps_own(query, rules);
    let mut own = 0;
    let mut kept = Vec::with_capacity(hits.len());
    for hit in ordered(hits, row) {
        if hit.doc == query.as_str() {
            own += 1;
            if !keeps_own {
                continue;
            }
        }
        kept.push(by_doc.get(hit.doc).copied().unwrap_or(unjudged));
    }
    let mut ideal: Vec<i32> = by_doc.values().map(|graded| graded.gain).filter(|&gain| gain > 0).collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let ranked = Ranked { hits: &kept, ideal: &ideal, relevant, divisor: row.divisor };
    let values = metrics.iter().map(|metric| (*metric, metric.value(&ranked))).collect();
    let self_hits = hits.len() - kept.len();
    Scored { answerable, searched, self_hits, self_hits_kept: own - self_hits, values: Some(values) }
}

fn keeps_own(query: &QueryId, rules: &Rules) -> bool {
    match rules.dialect.row().self_hits {
        SelfHits::Keep => true,
        SelfHits::Remove => false,
        SelfHits::RemoveSameText => !rules.copies.contains(query),
    }
}

/// `hits`, which stand in rank order, with ties as `row` has them.
fn ordered<'h, 't>(hits: &'h [Found<'t>], row: &Row) -> Box<dyn Iterator<Item = &'h Found<'t>> + 'h> {
    match row.ties {
        Ties::GreaterId => Box::new(hits.iter()),
        Ties::SmallerId => {
            Box::new(hits.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()).flat_map(|tied| tied.iter().rev()))
        }
    }
}
