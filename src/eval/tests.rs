//! Our values against `trec_eval`'s own test data, `pytrec_eval`, BEIR and sentence-transformers.

use super::*;
use crate::data::ids::InvalidId;
use crate::data::{DocId, Hit, Lists, Qrels, QueryId, Run};
use serde_json::Value;
use std::path::{Path, PathBuf};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn metrics<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Vec<Metric>, MetricError> {
    names.into_iter().map(str::parse).collect()
}

fn rules(dialect: Dialect) -> Rules {
    Rules::new(dialect)
}

#[test]
fn a_querys_own_passage_and_which_queries_count_are_the_dialects_to_say() -> Outcome {
    let (mut run, mut qrels) = (Run::default(), Qrels::default());
    let hit = |id: &str, score| Ok::<_, InvalidId>(Hit { doc: DocId::new(id)?, score });
    run.insert(QueryId::new("a")?, vec![hit("a", 9.0)?, hit("b", 8.0)?]);
    run.insert(QueryId::new("nobody-judged")?, vec![hit("b", 8.0)?]);
    qrels.insert(QueryId::new("a")?, DocId::new("b")?, 1);
    qrels.insert(QueryId::new("none")?, DocId::new("b")?, 0);
    qrels.insert(QueryId::new("not-searched")?, DocId::new("b")?, 1);
    let mrr = "mrr".parse()?;
    let of = |rules: &Rules| evaluate(&run.lists(), &qrels, &[mrr], rules);
    let copy = Rules { copies: [QueryId::new("a")?].into(), ..rules(Dialect::Nearmiss) };
    for (rules, value, queries, removed) in [
        (&rules(Dialect::Nearmiss), 0.5, 2, 0),
        (&copy, 1.0, 2, 1),
        (&rules(Dialect::TrecEval), 0.5, 1, 0),
        (&rules(Dialect::TrecEvalComplete), 0.5, 3, 0),
        (&rules(Dialect::Beir), 1.0, 1, 1),
        (&rules(Dialect::SentenceTransformers), 0.5, 2, 0),
    ] {
        let found = of(rules);
        assert_eq!((found.queries, found.self_hits), (queries, removed), "{rules:?}");
        assert_eq!((found.missing, found.unanswerable, found.unjudged), (1, 1, 1), "{rules:?}");
        assert!((found.mean[&mrr] - value / queries as f64).abs() < 1e-12, "{rules:?}: {}", found.mean[&mrr]);
    }
    Ok(())
}

#[test]
fn an_empty_run_and_empty_judgements_give_zeros() -> Outcome {
    let asked = metrics(["ndcg@10", "hole@10"])?;
    let mut qrels = Qrels::default();
    for dialect in Dialect::ALL {
        let found = evaluate(&Lists::default(), &qrels, &asked, &rules(dialect));
        assert!(found.queries == 0 && found.mean.values().all(|&value| value == 0.0), "{dialect}");
    }
    qrels.insert(QueryId::new("a")?, DocId::new("b")?, 1);
    for dialect in Dialect::ALL {
        let found = evaluate(&Lists::default(), &qrels, &asked, &rules(dialect));
        assert_eq!((found.queries, found.missing), (usize::from(dialect.counts_missing()), 1), "{dialect}");
    }
    Ok(())
}

fn shared(name: &str) -> Option<PathBuf> {
    crate::shared::path(name)
}

/// `trec_eval`'s names for ours, with the letters it has for each.
const TREC: [(&str, &str); 37] = [
    ("ndcg@5", "ndcg_cut_5"),
    ("ndcg@10", "ndcg_cut_10"),
    ("ndcg@15", "ndcg_cut_15"),
    ("ndcg@20", "ndcg_cut_20"),
    ("ndcg@100", "ndcg_cut_100"),
    ("ndcg@1000", "ndcg_cut_1000"),
    ("ndcg", "ndcg"),
    ("recall@5", "recall_5"),
    ("recall@10", "recall_10"),
    ("recall@20", "recall_20"),
    ("recall@100", "recall_100"),
    ("recall@500", "recall_500"),
    ("recall@1000", "recall_1000"),
    ("recall", "set_recall"),
    ("precision@5", "P_5"),
    ("precision@10", "P_10"),
    ("precision@15", "P_15"),
    ("precision@30", "P_30"),
    ("precision@100", "P_100"),
    ("precision@200", "P_200"),
    ("precision@1000", "P_1000"),
    ("precision", "set_P"),
    ("map", "map"),
    ("map@5", "map_cut_5"),
    ("map@10", "map_cut_10"),
    ("map@20", "map_cut_20"),
    ("map@100", "map_cut_100"),
    ("map@1000", "map_cut_1000"),
    ("mrr", "recip_rank"),
    ("success@1", "success_1"),
    ("success@5", "success_5"),
    ("success@10", "success_10"),
    ("r_precision", "Rprec"),
    ("hole@5", "unj_5"),
    ("hole@10", "unj_10"),
    ("hole@20", "unj_20"),
    ("r_precision@100000", "Rprec_mult_1.00"),
];

/// Every value of `golden` that is a metric of ours, to its four decimals.
fn equals_trec_eval(found: &Evaluation, golden: &Path) -> Outcome {
    let text = std::fs::read_to_string(golden)?;
    let mut compared = 0;
    for line in text.lines() {
        let [name, query, expected] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        let Some((ours, _)) = TREC.iter().find(|(_, theirs)| *theirs == name) else { continue };
        let values = if query == "all" { &found.mean } else { &found.per_query[query] };
        assert_eq!(format!("{:.4}", values[&ours.parse::<Metric>()?]), expected, "{} {name} {query}", golden.display());
        compared += 1;
    }
    assert_eq!(compared, TREC.len() * 4, "{}", golden.display());
    Ok(())
}

/// `trec_eval`'s own test data: `aq` plain, `aql` with graded judgements and relevance from 2, `aqcM` with
/// the best 100 hits, `aqc` with `-c` from a run that is cut short: query 301, the first 84 lines of query 303, and
/// nothing of 302.
#[test]
fn values_are_trec_evals() -> Outcome {
    let Some(folder) = shared("fixtures/trec_eval") else { return Ok(()) };
    let asked = metrics(TREC.map(|(ours, _)| ours))?;
    let run = Run::read_trec(&folder.join("results.test"))?;
    let qrels = Qrels::read_trec(&folder.join("qrels.test"))?;
    for dialect in [Dialect::Nearmiss, Dialect::TrecEval, Dialect::TrecEvalComplete, Dialect::Beir] {
        let found = evaluate(&run.lists(), &qrels, &asked, &rules(dialect));
        equals_trec_eval(&found, &folder.join("out.test.aq"))?;
    }

    let graded = Qrels::read_trec(&folder.join("qrels.rel_level"))?;
    let level = Rules { relevant_from: 2, ..rules(Dialect::TrecEval) };
    equals_trec_eval(&evaluate(&run.lists(), &graded, &asked, &level), &folder.join("out.test.aql"))?;

    let text = std::fs::read_to_string(folder.join("results.test"))?;
    let of = |query| text.lines().filter(move |line| line.starts_with(query));
    let cut: Vec<&str> = of("301").chain(of("303").take(84)).collect();
    let scratch = tempfile::tempdir()?;
    std::fs::write(scratch.path().join("cut"), cut.join("\n"))?;
    let truncated = Run::read_trec(&scratch.path().join("cut"))?;
    let found = evaluate(&truncated.lists(), &qrels, &asked, &rules(Dialect::TrecEvalComplete));
    assert_eq!((found.queries, found.missing), (3, 1));
    equals_trec_eval(&found, &folder.join("out.test.aqc"))
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
    let asked = metrics(pairs.map(|(ours, _)| ours))?;
    for (name, queries) in [("scifact", 300), ("cranfield", 225)] {
        let run = Run::read_trec(&fixtures.join(format!("{name}.test.bm25.trec")))?;
        let qrels = Qrels::read_beir(&data.join(name).join("qrels/test.tsv"))?;
        let golden: Value =
            serde_json::from_slice(&std::fs::read(fixtures.join(format!("{name}.test.bm25.pytrec_eval.json")))?)?;
        let found = evaluate(&run.lists(), &qrels, &asked, &rules(Dialect::TrecEval));
        assert_eq!(found.queries, queries, "{name}");
        for (metric, (_, theirs)) in asked.iter().zip(pairs) {
            for (query, values) in &found.per_query {
                equal(values[metric], &golden["per_query"][query.as_str()][theirs], 1e-6)?;
            }
            equal(found.mean[metric], &golden["mean"][theirs], 1e-6)?;
        }
    }
    Ok(())
}

fn equal(ours: f64, theirs: &Value, bound: f64) -> Outcome {
    let expected = theirs.as_f64().ok_or_else(|| format!("{theirs} is no number"))?;
    assert!((ours - expected).abs() <= bound, "{ours} for {expected}");
    Ok(())
}

/// The peers' values on a made-up case with all that is odd, by `tests/peers/eval.py`.
const PEERS: &str = include_str!("../../tests/peers/eval.json");

#[test]
fn each_dialect_gives_its_tools_values() -> Outcome {
    let golden: Value = serde_json::from_str(PEERS)?;
    let (mut run, mut qrels) = (Run::default(), Qrels::default());
    for (query, hits) in golden["run"].as_object().into_iter().flatten() {
        let hit = |(doc, score): (&String, &Value)| {
            #[expect(clippy::cast_possible_truncation, reason = "quarters")]
            let score = score.as_f64().map(|score| score as f32);
            Ok::<_, InvalidId>(Hit { doc: DocId::new(doc)?, score: score.unwrap_or_default() })
        };
        run.insert(QueryId::new(query)?, hits.as_object().into_iter().flatten().map(hit).collect::<Result<_, _>>()?);
    }
    for (query, grades) in golden["qrels"].as_object().into_iter().flatten() {
        for (doc, grade) in grades.as_object().into_iter().flatten() {
            let grade = i32::try_from(grade.as_i64().ok_or("a grade")?)?;
            qrels.insert(QueryId::new(query)?, DocId::new(doc)?, grade);
        }
    }
    let dialects = golden["dialects"].as_object().ok_or("dialects")?;
    assert_eq!(dialects.len(), Dialect::ALL.len() - 1);
    let mut cases: Vec<(Rules, &Value)> = Vec::new();
    for (name, theirs) in dialects {
        cases.push((rules(name.parse()?), theirs));
    }
    cases.push((Rules { relevant_from: 2, ..rules(Dialect::TrecEval) }, &golden["relevant_from_2"]));
    for (rules, theirs) in cases {
        let means = theirs["mean"].as_object().ok_or("means")?;
        let asked = metrics(means.keys().map(String::as_str))?;
        let found = evaluate(&run.lists(), &qrels, &asked, &rules);
        for metric in &asked {
            // BEIR rounds to five digits and gives no values by query.
            let bound = if rules.dialect == Dialect::Beir { 6e-6 } else { 1e-9 };
            equal(found.mean[metric], &means[&metric.to_string()], bound)?;
            for (query, values) in theirs["per_query"].as_object().into_iter().flatten() {
                equal(found.per_query[query.as_str()][metric], &values[metric.to_string()], 1e-9)?;
            }
        }
        if let Some(per_query) = theirs["per_query"].as_object().filter(|_| rules.dialect != Dialect::TrecEvalComplete)
        {
            assert_eq!(found.queries, per_query.len(), "{}", rules.dialect);
        }
    }
    Ok(())
}
