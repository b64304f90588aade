//! How much of an exact search an approximate one finds.

use crate::data::Run;
use std::collections::HashSet;

/// Share of the passages in `truth` that `found` has too, mean over the queries of `truth`, 0 to 1;
/// 1 when there is nothing to find. Gauge it on a sample of queries: exact search over all of them
/// is what HNSW is there to avoid.
#[must_use]
pub fn recall(found: &Run, truth: &Run) -> f64 {
    let shares: Vec<f64> = truth
        .iter()
        .filter(|(_, hits)| !hits.is_empty())
        .map(|(query, hits)| {
            let had: HashSet<_> = found.get(query.as_str()).iter().map(|hit| &hit.doc).collect();
            hits.iter().filter(|hit| had.contains(&hit.doc)).count() as f64 / hits.len() as f64
        })
        .collect();
    if shares.is_empty() { 1.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DocId, Hit, QueryId};

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
        Ok(())
    }
}
