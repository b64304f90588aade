//! How much of an exact search an approximate one finds, and how far a graph must be walked to find a given share.

#[cfg(feature = "hnsw")]
use super::{Error, Exact, Hnsw, Result};
use crate::data::{Hit, Run};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Queries that a gauge is taken over, at most: exact search over all of them is what HNSW is there to avoid.
pub const SAMPLE: usize = 200;

/// What a gauge says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gauge {
    /// Share of the exact best `k` that were found, mean over the queries, 0 to 1.
    pub recall: f64,
    /// Hits compared.
    pub k: usize,
    /// Queries it was taken over.
    pub queries: usize,
    /// Candidates kept in a search (ef).
    pub expansion: usize,
}

impl std::fmt::Display for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { recall, k, queries, expansion } = self;
        write!(
            f,
            "HNSW finds {recall:.4} of what exact search finds (recall@{k} over {queries} queries, expansion {expansion})"
        )
    }
}

/// `count` of `all`, evenly spread; all where there are no more.
pub fn sample<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(all.len());
    (0..count).map(move |place| &all[place * all.len() / count])
}

/// Share of the passages in `truth` that `found` has too, mean over the queries of `truth`, 0 to 1; 1 when there is
/// nothing to find.
#[must_use]
pub fn recall(found: &Run, truth: &Run) -> f64 {
    of_lists(truth.iter().map(|(query, hits)| (found.get(query.as_str()), hits)))
}

/// As [`recall`], of pairs of what was found and what was there to find.
fn of_lists<'h>(pairs: impl Iterator<Item = (&'h [Hit], &'h [Hit])>) -> f64 {
    let shares: Vec<f64> = pairs
        .filter(|(_, hits)| !hits.is_empty())
        .map(|(found, hits)| {
            let had: HashSet<_> = found.iter().map(|hit| &hit.doc).collect();
            hits.iter().filter(|hit| had.contains(&hit.doc)).count() as f64 / hits.len() as f64
        })
        .collect();
    if shares.is_empty() { 1.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 }
}

/// How much of what `exact` finds `graph` finds, over the vectors `queries`. With a `target` the graph's expansion is
/// raised or lowered first, to the least in steps of a half that reaches it.
///
/// # Errors
/// [`Error::Recall`] when an expansion of 32 times `k` does not reach the target; [`Error::Hnsw`].
#[cfg(feature = "hnsw")]
pub fn gauge(graph: &Hnsw, exact: &Exact, queries: &[&[f32]], k: usize, target: Option<f64>) -> Result<Gauge> {
    let truth = exact.best(queries, k);
    let at = |expansion: usize| {
        graph.expand(expansion);
        let found = graph.best(queries, k)?;
        let recall = of_lists(found.iter().zip(&truth).map(|(found, truth)| (&**found, &**truth)));
        Ok::<_, Error>(Gauge { recall, k, queries: queries.len(), expansion })
    };
    let Some(target) = target else { return at(graph.expansion()) };
    let most = (32 * k).max(512);
    let mut expansion = k.max(16);
    loop {
        let gauge = at(expansion)?;
        if gauge.recall >= target {
            return Ok(gauge);
        }
        if expansion >= most {
            return Err(Error::Recall { target, gauge });
        }
        expansion = (expansion + expansion / 2).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DocId, QueryId};

    #[test]
    fn recall_is_the_mean_share_found() -> Result<(), Box<dyn std::error::Error>> {
        let list = |ids: &str| -> Vec<Hit> {
            ids.chars().filter_map(|c| Some(Hit { doc: DocId::new(&c.to_string()).ok()?, score: 1.0 })).collect()
        };
        let (mut found, mut truth) = (Run::default(), Run::default());
        truth.insert(QueryId::new("1")?, list("abcd"));
        truth.insert(QueryId::new("2")?, list("ab"));
        truth.insert(QueryId::new("3")?, list(""));
        found.insert(QueryId::new("1")?, list("dxyc"));
        assert!((recall(&found, &truth) - 0.25).abs() < 1e-12);
        assert!((recall(&truth, &truth) - 1.0).abs() < 1e-12);
        assert!((recall(&found, &Run::default()) - 1.0).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn a_sample_is_spread_over_all() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(sample(&all, 4).copied().collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(sample(&all, 40).count(), 10);
        assert_eq!(sample(&[0; 0], 4).count(), 0);
    }
}
