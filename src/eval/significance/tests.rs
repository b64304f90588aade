//! The tests against `SciPy`'s values (`tests/peers/eval.py`), and their relations.

use super::*;
use crate::data::QueryId;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    tails: Vec<[f64; 3]>,
    holm: [Vec<f64>; 2],
}

#[derive(Deserialize)]
struct Case {
    differences: Vec<f64>,
    t: f64,
    exact: bool,
    randomisation: f64,
    interval: [f64; 2],
    effect: f64,
}

fn golden() -> Result<Golden, serde_json::Error> {
    let all: serde_json::Value = serde_json::from_str(include_str!("../../../tests/peers/eval.json"))?;
    serde_json::from_value(all["significance"].clone())
}

fn near(ours: f64, theirs: f64, bound: f64) {
    assert!((ours - theirs).abs() <= bound, "{ours} for {theirs}");
}

#[test]
fn tests_interval_and_effect_are_scipys() -> Outcome {
    for Case { differences, t, exact, randomisation, interval, effect } in golden()?.cases {
        near(student::paired(&differences), t, 1e-12);
        near(student::effect(&differences).ok_or("no effect")?, effect, 1e-12);
        let settings = Settings { resamples: 100_000, draws: 400_000, ..Settings::default() };
        let found = randomisation::test(&differences, settings.draws, settings.seed);
        assert_eq!(found.exact, exact);
        // Both drawn from 400,000: five standard errors of their difference.
        let error = 5.0 * (2.0 * randomisation * (1.0 - randomisation) / 4e5).sqrt();
        near(found.p, randomisation, if exact { 1e-12 } else { error });
        let width = interval[1] - interval[0];
        for (ours, theirs) in bootstrap::interval(&differences, &settings).into_iter().zip(interval) {
            near(ours, theirs, 0.02 * width);
        }
    }
    Ok(())
}

#[test]
fn the_t_distributions_tail_is_scipys() -> Outcome {
    for [t, freedom, p] in golden()?.tails {
        let found = student::tail(t, freedom);
        assert!((found - p).abs() <= 1e-9 * p.max(1e-300) + 1e-15, "t {t}, {freedom} degrees: {found:e} for {p:e}");
    }
    Ok(())
}

#[test]
fn holm_is_the_definitions() -> Outcome {
    let [raw, corrected] = golden()?.holm;
    for (ours, theirs) in holm(&raw).into_iter().zip(corrected) {
        near(ours, theirs, 1e-15);
    }
    assert!(holm(&[]).is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn holm_keeps_the_order_and_never_lowers(raw in proptest::collection::vec(0.0..=1.0_f64, 0..20)) {
        let corrected = holm(&raw);
        for (index, &value) in corrected.iter().enumerate() {
            prop_assert!(value >= raw[index] && value <= 1.0);
            for (other, &greater) in corrected.iter().enumerate().filter(|&(other, _)| raw[other] >= raw[index]) {
                prop_assert!(value <= greater, "{index} {other}");
            }
        }
    }
}

/// An evaluation with these values of one metric, for queries q0, q1 ...
fn evaluation(metric: Metric, values: &[f64]) -> Result<Evaluation, crate::data::ids::InvalidId> {
    let value =
        |(index, &value): (usize, &f64)| Ok((QueryId::new(&format!("q{index}"))?, BTreeMap::from([(metric, value)])));
    Ok(Evaluation {
        mean: BTreeMap::from([(metric, mean(values))]),
        queries: values.len(),
        missing: 0,
        unanswerable: 0,
        unjudged: 0,
        self_hits: 0,
        self_hits_kept: 0,
        per_query: values.iter().enumerate().map(value).collect::<Result<_, _>>()?,
    })
}

#[test]
fn swapped_runs_mirror_and_other_pairs_change_only_the_correction() -> Outcome {
    let metric: Metric = "ndcg@10".parse()?;
    let values = |shift: u32| (0..60).map(|i| f64::from((i * 7 + shift * i % 5) % 11) / 10.0).collect::<Vec<_>>();
    let runs = [0, 1, 3].map(|shift| evaluation(metric, &values(shift)));
    let runs: Vec<Evaluation> = runs.into_iter().collect::<Result<_, _>>()?;
    let of = |pairs: &[(usize, usize)]| compare(&runs, pairs, &[metric], &Settings::default());
    let all = of(&[(0, 1), (0, 2), (1, 2)]);
    let (forth, back) = (&of(&[(0, 1)])[0], &of(&[(1, 0)])[0]);
    assert!(!forth.exact, "the drawn test is the one that could depend on order");
    near(forth.difference, -back.difference, 0.0);
    near(forth.randomisation.p, back.randomisation.p, 0.0);
    near(forth.student.p, back.student.p, 0.0);
    assert_eq!((forth.wins, forth.ties, forth.losses), (back.losses, back.ties, back.wins));
    near(all[0].randomisation.p, forth.randomisation.p, 0.0);
    assert_eq!(all[0].interval.map(f64::to_bits), forth.interval.map(f64::to_bits));
    for comparison in &all {
        assert!(comparison.randomisation.holm >= comparison.randomisation.p);
        assert!(comparison.student.holm >= comparison.student.p);
        assert_eq!(comparison.wins + comparison.ties + comparison.losses, comparison.queries);
    }
    Ok(())
}

#[test]
fn runs_that_are_equal_or_share_no_queries_are_no_cause_for_alarm() -> Outcome {
    let metric: Metric = "map".parse()?;
    let (same, one) = (evaluation(metric, &[0.2, 0.4, 0.9])?, evaluation(metric, &[0.5])?);
    let found = compare(&[same.clone(), same.clone(), one], &[(0, 1), (0, 2)], &[metric], &Settings::default());
    assert_eq!(found.len(), 1, "a pair with a single query in common is left out");
    assert_eq!((found[0].ties, found[0].effect, found[0].exact), (3, None, true));
    near(found[0].randomisation.p, 1.0, 0.0);
    near(found[0].student.p, 1.0, 0.0);
    let shifted = evaluation(metric, &[0.3, 0.5, 1.0])?;
    let found = &compare(&[same, shifted], &[(0, 1)], &[metric], &Settings::default())[0];
    near(found.student.p, 0.0, 0.0);
    near(found.randomisation.p, 0.25, 1e-15);
    Ok(())
}
