//! Mixes over hand-made candidates, and the line from mining to instances over `data/elements`.

use super::*;
use crate::data::{Candidate, Collection, Corpus, DocId, Instance, Passage, Query, Quiet, Scores, Seed, WrittenId};
use crate::filter::Filters;
use crate::negatives::{Inputs, MiningSettings, Task, named};
use crate::retrieve::{Bm25, Bm25Settings};
use std::collections::{HashMap, HashSet};
use std::path::Path;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn candidate(query: &str, source: &str, rank: u32, passage: &str) -> Result<Candidate, Box<dyn std::error::Error>> {
    let written = source == "written";
    Ok(Candidate {
        query: QueryId::new(query)?,
        passage: if written {
            Passage::Written(WrittenId::new(passage)?)
        } else {
            Passage::Corpus(DocId::new(passage)?)
        },
        text: written.then(|| format!("written {passage}")),
        source: source.to_owned(),
        rank,
        scores: Scores::default(),
        provenance: serde_json::Value::Null,
    })
}

/// q1 has plenty; q2 is short of `written`; q3 has of `dense` only what `bm25` has too.
fn pool() -> Result<Pool, Box<dyn std::error::Error>> {
    let rows = [
        ("q1", "bm25", 9, "d3"),
        ("q1", "bm25", 2, "d2"),
        ("q1", "bm25", 4, "d4"),
        ("q1", "dense", 1, "d2"),
        ("q1", "dense", 2, "d5"),
        ("q1", "written", 1, "w1"),
        ("q1", "written", 2, "w2"),
        ("q2", "bm25", 1, "d2"),
        ("q2", "bm25", 2, "d3"),
        ("q2", "dense", 1, "d4"),
        ("q3", "bm25", 1, "d2"),
        ("q3", "bm25", 2, "d3"),
        ("q3", "dense", 1, "d3"),
        ("q3", "dense", 2, "d2"),
        ("q3", "written", 1, "w3"),
    ];
    rows.into_iter().map(|(q, s, r, p)| candidate(q, s, r, p)).collect()
}

fn world(folder: &Path) -> Result<(Corpus, Vec<Task>), Box<dyn std::error::Error>> {
    let path = folder.join("corpus.jsonl");
    let lines = (0..6).map(|i| format!("{{\"_id\":\"d{i}\",\"title\":\"T{i}\",\"text\":\"body\"}}\n"));
    std::fs::write(&path, lines.collect::<String>())?;
    let corpus = Corpus::open(&path)?;
    let positives = vec![corpus.document(0)?, corpus.document(1)?];
    let task = |id| {
        let query = Query { id: QueryId::new(id)?, text: format!("text of {id}") };
        Ok::<_, data::ids::InvalidId>(Task { query, positives: positives.clone() })
    };
    let tasks = vec![task("q1")?, task("q2")?, task("q3")?];
    Ok((corpus, tasks))
}

fn hybrid(shares: &[(&str, usize)]) -> Mix {
    Mix::Hybrid { shares: shares.iter().map(|(source, count)| Share::new(source, *count)).collect() }
}

fn passages(instance: &Instance) -> Vec<String> {
    instance.negatives.iter().map(|negative| negative.passage.to_string()).collect()
}

#[test]
fn shares_stand_in_order_by_rank_and_no_passage_stands_twice() -> Outcome {
    let (folder, pool) = (tempfile::tempdir()?, pool()?);
    let (corpus, tasks) = world(folder.path())?;
    let mix = hybrid(&[("written", 1), ("bm25", 2), ("dense", 1)]);
    let arm = Arm { name: "all", mix: &mix, pool: &pool };
    let queries = BTreeSet::from([QueryId::new("q1")?]);
    let made = instances(&tasks, &arm, &queries, Positives::All, &corpus)?;
    assert_eq!(made.len(), 2, "one for each positive");
    for (instance, positive) in made.iter().zip(["T0 body", "T1 body"]) {
        assert_eq!((instance.query.as_str(), instance.positive.text.as_str()), ("text of q1", positive));
        assert_eq!(instance.positive.source, "judged");
        // dense has d2 first, which bm25 took.
        assert_eq!(passages(instance), ["w1", "d2", "d4", "d5"]);
        assert_eq!(instance.negatives[0].text, "written w1");
        assert_eq!(instance.negatives[1].text, "T2 body");
    }
    let first = instances(&tasks, &arm, &queries, Positives::First, &corpus)?;
    assert_eq!(first, made[..1]);
    Ok(())
}

#[test]
fn arms_share_the_queries_all_can_serve_and_the_rest_is_accounted_for() -> Outcome {
    let (folder, pool) = (tempfile::tempdir()?, pool()?);
    let (corpus, tasks) = world(folder.path())?;
    let (pure, mixed, both) = (
        Mix::Pure(Share::new("bm25", 2)),
        hybrid(&[("bm25", 1), ("written", 1)]),
        hybrid(&[("bm25", 2), ("dense", 1)]),
    );
    let arms = [
        Arm { name: "pure", mix: &pure, pool: &pool },
        Arm { name: "mixed", mix: &mixed, pool: &pool },
        Arm { name: "both", mix: &both, pool: &pool },
    ];
    let common = common_queries(tasks.iter().map(|task| &task.query.id), &arms)?;
    assert_eq!(common.queries, BTreeSet::from([QueryId::new("q1")?]));
    let dropped: Vec<(&str, &str, String)> = common
        .dropped
        .iter()
        .flat_map(|(query, all)| all.iter().map(|s| (query.as_str(), s.arm.as_str(), s.shortage.to_string())))
        .collect();
    assert_eq!(
        dropped,
        [
            ("q2", "mixed", "query q2: expected 1 candidates of source written, found 0".to_owned()),
            ("q3", "both", "query q3: expected 1 candidates of source dense, found 0".to_owned()),
        ]
    );
    for arm in &arms {
        let made = instances(&tasks, arm, &common.queries, Positives::First, &corpus)?;
        assert_eq!(made.len(), 1);
        assert!(made.iter().all(|instance| instance.negatives.len() == arm.mix.negatives()), "{}", arm.name);
    }
    let all = tasks.iter().map(|task| task.query.id.clone()).collect();
    assert!(matches!(instances(&tasks, &arms[1], &all, Positives::All, &corpus), Err(Error::Short(_))));
    Ok(())
}

#[test]
fn a_mix_reads_from_settings_and_an_impossible_one_is_refused() -> Outcome {
    assert_eq!(
        toml::from_str::<Mix>("kind = \"pure\"\nsource = \"bm25\"\ncount = 5")?,
        Mix::Pure(Share::new("bm25", 5))
    );
    let text = "kind = \"hybrid\"\nshares = [{ source = \"written\", count = 1 }, { source = \"bm25\", count = 2 }]";
    assert_eq!(toml::from_str::<Mix>(text)?, hybrid(&[("written", 1), ("bm25", 2)]));
    assert!(toml::from_str::<Mix>("kind = \"pure\"\nsource = \"bm25\"\ncout = 5").is_err());
    let pool = pool()?;
    for wrong in [hybrid(&[]), hybrid(&[("a", 0)]), hybrid(&[("a", 1), ("a", 2)])] {
        let arm = Arm { name: "x", mix: &wrong, pool: &pool };
        assert!(common_queries([], &[arm]).is_err(), "{wrong:?}");
    }
    assert_eq!(pool.sources(), ["bm25", "dense", "written"]);
    Ok(())
}

#[test]
fn a_passage_that_is_gone_is_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (corpus, tasks) = world(folder.path())?;
    let pool: Pool = [candidate("q1", "bm25", 1, "d77")?].into_iter().collect();
    let mix = Mix::Pure(Share::new("bm25", 1));
    let arm = Arm { name: "x", mix: &mix, pool: &pool };
    let queries = BTreeSet::from([QueryId::new("q1")?]);
    let error = instances(&tasks, &arm, &queries, Positives::All, &corpus).err().ok_or("an error was due")?;
    assert!(error.to_string().contains("unknown passage d77"), "{error}");
    Ok(())
}

#[test]
fn mined_candidates_of_the_elements_become_instances_of_every_arm() -> Outcome {
    let collection = Collection::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/elements"))?;
    let tasks = Task::all(&collection, &collection.qrels("train")?)?;
    let (filters, settings) = (Filters::default(), MiningSettings { num_negatives: 6, ..MiningSettings::default() });
    let mut candidates: Vec<Candidate> = Vec::new();
    for source in ["random", "bm25"] {
        let words = Bm25::of_corpus(&collection.corpus, &Bm25Settings::default(), &Quiet)?;
        let inputs = Inputs {
            corpus: &collection.corpus,
            tasks: &tasks,
            filters: &filters,
            settings,
            seed: Seed(1),
            words: Some(&words),
            vectors: None,
            run: None,
        };
        named(source)?.make(inputs)?.propose(&tasks, &mut candidates)?;
    }
    let pool: Pool = candidates.into_iter().collect();
    let mixes =
        [Mix::Pure(Share::new("random", 4)), Mix::Pure(Share::new("bm25", 4)), hybrid(&[("bm25", 3), ("random", 1)])];
    let arms = mixes.each_ref().map(|mix| Arm { name: "arm", mix, pool: &pool });
    let common = common_queries(tasks.iter().map(|task| &task.query.id), &arms)?;
    assert_eq!(common.queries.len() + common.dropped.len(), tasks.len());
    assert!(common.queries.len() * 10 > tasks.len() * 9, "{:?}", common.dropped);
    let positives: HashMap<_, HashSet<_>> =
        tasks.iter().map(|t| (&t.query.id, t.positives.iter().map(|p| p.id.clone()).collect())).collect();
    for arm in &arms {
        let made = instances(&tasks, arm, &common.queries, Positives::All, &collection.corpus)?;
        assert_eq!(made.len(), common.queries.iter().map(|query| positives[query].len()).sum::<usize>());
        for instance in made {
            assert_eq!(instance.negatives.len(), 4);
            for negative in &instance.negatives {
                let Passage::Corpus(id) = &negative.passage else {
                    return Err("mined passages are the corpus's".into());
                };
                assert!(!positives[&instance.query_id].contains(id) && !negative.text.is_empty());
            }
        }
    }
    Ok(())
}
