//! Mixes of every kind over random pools, and what changes over training.

use super::*;
use crate::data::{Candidate, DocId, Passage, Scores};
use crate::filter::Measure;
use proptest::prelude::*;
use std::collections::HashSet;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A candidate of q with that cosine.
fn candidate(query: &str, source: &str, (rank, passage): (u32, u32)) -> Result<Candidate, data::ids::InvalidId> {
    Ok(Candidate {
        query: QueryId::new(query)?,
        passage: Passage::Corpus(DocId::new(&format!("d{passage}"))?),
        text: None,
        source: source.to_owned(),
        rank,
        scores: Scores { cosine: Some((passage % 17) as f32 / 17.0), ..Scores::default() },
        provenance: serde_json::Value::Null,
    })
}

fn course(passes: usize) -> Course {
    Course { passes, seed: Seed(3) }
}

fn schedule(shares: &[f64], count: usize) -> Schedule {
    let (source, rest) = ("written".to_owned(), "bm25".to_owned());
    Schedule { source, rest, count, shares: shares.to_vec(), course: course(1) }
}

/// A mix of each kind with `count` negatives.
fn every(count: usize) -> Vec<Mix> {
    let sources = || vec!["bm25".to_owned(), "written".to_owned()];
    let (source, rest) = ("written".to_owned(), "bm25".to_owned());
    let ratio = |of| Ratio { source: source.clone(), rest: rest.clone(), count, ratio: 0.7, of, seed: Seed(3) };
    vec![
        Mix::Pure(Share::new("bm25", count)),
        Mix::Hybrid { shares: vec![Share::new("written", 1), Share::new("bm25", count)] },
        Mix::Direct { sources: sources(), count, seed: Seed(3) },
        Mix::Ratio(ratio(RatioOf::Rest)),
        Mix::Ratio(ratio(RatioOf::Instances)),
        Mix::Schedule(schedule(&[0.0, 1.0, 0.25], count)),
        Mix::EasyToHard(EasyToHard { sources: sources(), count, by: Some(Measure::Cosine), course: course(2) }),
        Mix::EasyToHard(EasyToHard { sources: sources(), count, by: None, course: course(2) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_common_is_served_in_full_at_every_moment(
        words in proptest::collection::vec(0_u32..12, 0..9),
        written in proptest::collection::vec(0_u32..12, 0..9),
        count in 1_usize..5,
    ) {
        let failed = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
        let listed = |source: &str, passages: &[u32]| -> Result<Vec<Candidate>, TestCaseError> {
            (1..).zip(passages).map(|(rank, &passage)| candidate("q", source, (rank, passage)).map_err(|e| failed(&e))).collect()
        };
        let pool: Pool = listed("bm25", &words)?.into_iter().chain(listed("written", &written)?).collect();
        let query = QueryId::new("q").map_err(|error| failed(&error))?;
        for mix in every(count) {
            let arm = Arm { name: "a", mix: &mix, pool: &pool, short: Shortfall::Drop };
            let common = common_queries([&query], &[arm]).map_err(|error| failed(&error))?;
            if common.queries.is_empty() {
                prop_assert_eq!(common.dropped.len(), 1);
                continue;
            }
            for step in 0..=20 {
                let moment = f64::from(step) / 20.0;
                let chosen = pool.choose_at(&query, &mix, (Shortfall::Drop, moment));
                let (chosen, supply) = chosen.map_err(|short| failed(&format!("{mix:?} at {moment}: {short}")))?;
                prop_assert_eq!((chosen.len(), supply), (mix.negatives(), Supply::Full));
                let passages: HashSet<&Passage> = chosen.iter().map(|one| &one.passage).collect();
                prop_assert_eq!(passages.len(), chosen.len(), "a passage stands twice");
            }
        }
    }
}

#[test]
fn shares_run_straight_between_their_corners() -> Outcome {
    let told = schedule(&[0.0, 1.0, 0.5], 4);
    for (moment, share) in [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 0.75), (1.0, 0.5)] {
        let parts = |q: usize| -> Result<usize, data::ids::InvalidId> {
            let parts = told.parts(&QueryId::new(&format!("q{q}"))?, moment);
            assert_eq!(parts.iter().map(|part| part.count).sum::<usize>(), 4);
            Ok(parts.iter().find(|part| part.source == "written").map_or(0, |part| part.count))
        };
        let all = (0..500).map(parts).collect::<Result<Vec<_>, _>>()?.into_iter().sum::<usize>();
        // A share of 4 is whole at these moments but for 0.75 · 4 = 3: no draw is left.
        assert!((all as f64 / 2000.0 - share).abs() < 1e-9, "{moment}: {all}");
    }
    assert!(schedule(&[0.5], 3).check().is_ok() && schedule(&[], 3).check().is_err());
    assert!(schedule(&[0.5, 1.5], 3).check().is_err() && schedule(&[0.5], 0).check().is_err());
    Ok(())
}

#[test]
fn negatives_get_harder_and_every_pass_takes_every_query() -> Outcome {
    let all = (1..=16).map(|rank| candidate("q", "bm25", (rank, rank))).collect::<Result<Vec<_>, _>>()?;
    let pool: Pool = all.into_iter().collect();
    let (query, sources) = (QueryId::new("q")?, vec!["bm25".to_owned()]);
    let mix = |by| Mix::EasyToHard(EasyToHard { sources: sources.clone(), count: 4, by, course: course(3) });
    let of = |by, moment| -> Result<Vec<u32>, String> {
        let chosen = pool.choose_at(&query, &mix(by), (Shortfall::Drop, moment));
        Ok(chosen.map_err(|short| short.to_string())?.0.iter().map(|one| one.rank).collect())
    };
    // Cosine grows with the number of the passage here; the rank says the opposite.
    assert_eq!(
        (of(Some(Measure::Cosine), 0.0)?, of(Some(Measure::Cosine), 1.0)?),
        (vec![1, 2, 3, 4], vec![13, 14, 15, 16])
    );
    assert_eq!((of(None, 0.0)?, of(None, 1.0)?), (vec![16, 15, 14, 13], vec![4, 3, 2, 1]));
    assert!(of(Some(Measure::Relevance), 0.5).is_err(), "nobody scored it");
    let queries: BTreeSet<QueryId> = (0..9).map(|q| QueryId::new(&format!("q{q}"))).collect::<Result<_, _>>()?;
    let moments = course(3).moments(&queries);
    assert_eq!((moments.len(), moments[0].1, moments[26].1), (27, 0.0, 1.0));
    assert!(moments.windows(2).all(|pair| pair[0].1 < pair[1].1));
    let mut orders = moments.chunks(9).map(|pass| pass.iter().map(|(query, _)| *query).collect::<Vec<_>>());
    let first = orders.next().ok_or("three passes")?;
    assert_eq!(first.iter().copied().collect::<BTreeSet<_>>(), queries.iter().collect());
    assert!(orders.all(|other| other != first && other.len() == 9));
    Ok(())
}
