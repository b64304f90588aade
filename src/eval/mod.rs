//! How good a run is against judgements, by `trec_eval`'s definitions.
//!
//! Which queries count: those with at least one passage judged relevant. One that the run lacks
//! counts 0 (`trec_eval`'s `-c`; without it `trec_eval` leaves such queries out, which rewards silence).
//! Queries judged without any relevant passage are left out; `trec_eval` counts them 0. BEIR's
//! collections have none, so there the means agree.

pub mod metrics;

pub use metrics::{Metric, MetricError, evaluate};

use crate::data::QueryId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values of metrics: means, and by query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean of each metric over the queries that count, 0 to 1.
    pub mean: BTreeMap<Metric, f64>,
    /// Number of queries that count.
    pub queries: usize,
    /// Of these, how many have no list in the run; they count 0.
    pub missing: usize,
    /// Hits left out because their id is the query's own.
    pub self_hits: usize,
    /// Values by query.
    pub per_query: BTreeMap<QueryId, BTreeMap<Metric, f64>>,
}

/// What to do with a hit whose passage id equals the query's id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SelfHits {
    /// Leave it out, as BEIR does: in `ArguAna` and Quora a query is itself a passage.
    #[default]
    Drop,
    /// Count it like any other, as `trec_eval` does.
    Keep,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Collection, Query, Run};
    use crate::retrieve::bm25::LengthRule;
    use crate::retrieve::{Bm25, Bm25Settings, Searcher, recall};

    /// The whole line from a BEIR folder to metrics, against the published baseline and a run of
    /// another implementation (fixtures/bm25).
    #[test]
    #[expect(clippy::print_stderr, reason = "the measured values are what a reader of this test wants")]
    fn bm25_gives_the_fields_baseline() -> Result<(), Box<dyn std::error::Error>> {
        let (Some(data), Some(fixtures)) = (crate::shared::path("data"), crate::shared::path("fixtures/bm25")) else {
            return Ok(());
        };
        let (ndcg, found): (Metric, Metric) = ("ndcg@10".parse()?, "recall@100".parse()?);
        for (name, expected_ndcg, expected_recall) in [("scifact", 0.6789, 0.9253), ("cranfield", 0.3424, 0.7210)] {
            let collection = Collection::open(&data.join(name))?;
            let qrels = collection.qrels("test")?;
            let queries: Vec<Query> =
                qrels.iter().filter_map(|(query, _)| collection.queries.get(query.as_str()).cloned()).collect();
            let golden = Run::read_trec(&fixtures.join(format!("{name}.test.bm25.trec")))?;
            for length in [LengthRule::Exact, LengthRule::Lucene] {
                let index = Bm25::of_corpus(
                    &collection.corpus,
                    &Bm25Settings { length, ..Bm25Settings::default() },
                    &crate::data::Quiet,
                )?;
                let run = index.search(&queries, 100)?;
                let mean = evaluate(&run, &qrels, &[ndcg, found], SelfHits::Drop).mean;
                let overlap = recall(&head(&run), &head(&golden));
                eprintln!(
                    "{name} {length:?}: nDCG@10 {:.4} ({expected_ndcg}), R@100 {:.4} ({expected_recall}), top-10 overlap {overlap:.4}",
                    mean[&ndcg], mean[&found]
                );
                assert!((mean[&ndcg] - expected_ndcg).abs() < 0.006, "{name}: nDCG@10 {}", mean[&ndcg]);
                assert!((mean[&found] - expected_recall).abs() < 0.005, "{name}: R@100 {}", mean[&found]);
                assert!(overlap >= 0.95, "{name}: overlap {overlap}");
            }
        }
        Ok(())
    }

    fn head(run: &Run) -> Run {
        let mut head = Run::default();
        for (query, hits) in run.iter() {
            head.insert(query.clone(), hits.iter().take(10).cloned().collect());
        }
        head
    }
}
