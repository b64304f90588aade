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
    let arm = Arm { name: "all", mix: &mix, pool: &pool, short: Shortfall::Drop };
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
        Arm { name: "pure", mix: &pure, pool: &pool, short: Shortfall::Drop },
        Arm { name: "mixed", mix: &mixed, pool: &pool, short: Shortfall::Drop },
        Arm { name: "both", mix: &both, pool: &pool, short: Shortfall::Drop },
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
        let arm = Arm { name: "x", mix: &wrong, pool: &pool, short: Shortfall::Drop };
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
    let arm = Arm { name: "x", mix: &mix, pool: &pool, short: Shortfall::Drop };
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
            judge: None,
        };
        named(source)?.make(inputs)?.propose(&tasks, &mut candidates)?;
    }
    let pool: Pool = candidates.into_iter().collect();
    let mixes =
        [Mix::Pure(Share::new("random", 4)), Mix::Pure(Share::new("bm25", 4)), hybrid(&[("bm25", 3), ("random", 1)])];
    let arms = mixes.each_ref().map(|mix| Arm { name: "arm", mix, pool: &pool, short: Shortfall::Drop });
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

#[test]
fn a_direct_mix_draws_from_all_alike_and_the_same_again() -> Outcome {
    let rows = (0..400).flat_map(|q| (1..=4).flat_map(move |r| [(q, "bm25", r, "d"), (q, "written", r, "w")]));
    let rows = rows.map(|(q, source, r, p)| candidate(&format!("q{q}"), source, r, &format!("{p}{r}")));
    let pool: Pool = rows.collect::<Result<Vec<_>, _>>()?.into_iter().collect();
    let mix = |seed| Mix::Direct { sources: vec!["bm25".to_owned(), "written".to_owned()], count: 2, seed: Seed(seed) };
    let draw = |seed| -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let mut all = Vec::new();
        for q in 0..400 {
            let chosen = pool.choose(&QueryId::new(&format!("q{q}"))?, &mix(seed)).map_err(|s| s.to_string())?;
            assert!(chosen.len() == 2 && chosen[0].passage != chosen[1].passage);
            all.push(chosen.iter().map(|c| c.source.as_str()).collect::<Vec<_>>().join(" "));
        }
        Ok(all)
    };
    let all = draw(1)?;
    // Both of one kind with 2 · 4/8 · 3/7 = 3/7: 171 of 400, standard deviation 10.
    let one_kind = all.iter().filter(|kinds| ["bm25 bm25", "written written"].contains(&kinds.as_str())).count();
    assert!((130..212).contains(&one_kind), "{one_kind}");
    assert_eq!(draw(1)?, all);
    assert_ne!(draw(2)?, all);
    Ok(())
}

#[test]
fn a_ratio_holds_in_the_mean_under_both_readings() -> Outcome {
    for (of, ratio, expected) in [(RatioOf::Rest, 0.7, 3.0 * 0.7 / 1.7), (RatioOf::Instances, 1.4, 1.4)] {
        let (source, rest) = ("written".to_owned(), "bm25".to_owned());
        let mix = Ratio { source, rest, count: 3, ratio, of, seed: Seed(1) };
        let mut written = 0;
        for q in 0..2000 {
            let shares = mix.shares(&QueryId::new(&format!("q{q}"))?);
            assert_eq!(shares.iter().map(|share| share.count).sum::<usize>(), 3);
            written += shares.iter().filter(|share| share.source == "written").map(|share| share.count).sum::<usize>();
        }
        // Standard deviation at most 0.011.
        assert!((written as f64 / 2000.0 - expected).abs() < 0.05, "{of:?}: {written}");
        assert!(mix.check().is_ok() && Ratio { ratio: -1.0, ..mix.clone() }.check().is_err());
        assert_eq!(Ratio { ratio: 3.5, ..mix }.check().is_err(), of == RatioOf::Instances);
    }
    Ok(())
}

type Taken = Option<(Vec<String>, Supply)>;

#[test]
fn short_supply_follows_the_stated_rule() -> Outcome {
    // q2 has no written one; q3 has of dense only what bm25 has too.
    let (pool, mix) = (pool()?, hybrid(&[("bm25", 1), ("written", 1)]));
    let of = |query: &str, rule| -> Result<Taken, Box<dyn std::error::Error>> {
        let chosen = pool.choose_by(&QueryId::new(query)?, &mix, rule).ok();
        Ok(chosen.map(|(chosen, supply)| (chosen.iter().map(|c| c.passage.to_string()).collect(), supply)))
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for rule in [Shortfall::Drop, Shortfall::Fewer, Shortfall::Fill("dense")] {
        assert_eq!(of("q1", rule)?, Some((named(&["d2", "w1"]), Supply::Full)), "{rule:?}");
    }
    assert_eq!(of("q2", Shortfall::Drop)?, None);
    assert_eq!(of("q2", Shortfall::Fewer)?, Some((named(&["d2"]), Supply::Short)));
    assert_eq!(of("q2", Shortfall::Fill("dense"))?, Some((named(&["d2", "d4"]), Supply::Short)));
    assert_eq!(of("q2", Shortfall::Fill("random"))?, None);
    assert_eq!(of("q9", Shortfall::Fewer)?, None);
    Ok(())
}
