//! How good a run is against judgements, and whether two runs differ.
//!
//! The metrics are `trec_eval`'s. Which queries count, and what else the field's tools do differently, is a
//! [`Dialect`]; the default scores every judged query that has a relevant passage, and one that the run lacks
//! counts 0 (without that, silence is rewarded). [`significance`] compares runs query by query.

pub mod dialect;
pub mod evaluate;
pub mod metrics;
pub mod probability;
pub mod significance;

pub use dialect::{Dialect, DialectError, Rules};
pub use evaluate::{Evaluation, evaluate};
pub use metrics::{Metric, MetricError};
pub use significance::{Comparison, compare};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod baseline {
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
                let mean = evaluate(&run.lists(), &qrels, &[ndcg, found], &Rules::new(Dialect::Beir)).mean;
                let overlap = recall(&head(&run), &head(&golden));
                eprintln!(
                    "{name} {length:?}: nDCG@10 {:.4} ({expected_ndcg}), R@100 {:.4} ({expected_recall}), top-10 overlap {overlap:.4}",
                    mean[&ndcg], mean[&found]
                );
                assert!((mean[&ndcg] - expected_ndcg).abs() <= 0.003, "{name}: nDCG@10 {}", mean[&ndcg]);
                assert!((mean[&found] - expected_recall).abs() <= 0.002, "{name}: R@100 {}", mean[&found]);
                assert!(overlap > 0.95, "{name}: overlap {overlap}");
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
