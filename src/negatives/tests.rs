//! The table of mined sources over a small collection whose rankings are known.

use super::*;
use crate::data::{Candidate, Collection, DocId, Passage, QueryId, Quiet};
use crate::encode::Vectors;
use crate::retrieve::{Bm25, Bm25Settings, Dense, DenseIndex, Exact, Similarity};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Twelve passages about iron in falling density, a copy of the positive (d1) among them (d3), two
/// queries; q2 has two positives, q3 none.
fn collection(folder: &Path) -> Result<Collection, Box<dyn std::error::Error>> {
    let line = |i: usize| {
        let text = match i {
            3 => "IRON iron  iron is a metal".to_owned(),
            1 => "iron iron iron is a metal".to_owned(),
            _ => format!("{} number {i} {}", "iron ".repeat(1 + (i % 4)), "other words ".repeat(i)),
        };
        format!("{}\n", serde_json::json!({"_id": format!("d{i}"), "title": "", "text": text}))
    };
    std::fs::write(folder.join("corpus.jsonl"), (0..12).map(line).collect::<String>())?;
    let queries = ["q1", "q2", "q3"].map(|id| format!("{}\n", serde_json::json!({"_id": id, "text": "iron number"})));
    std::fs::write(folder.join("queries.jsonl"), queries.concat())?;
    std::fs::create_dir(folder.join("qrels"))?;
    let qrels = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td5\t0\nq2\td1\t1\nq2\td2\t2\nq3\td2\t0\n";
    std::fs::write(folder.join("qrels/train.tsv"), qrels)?;
    Ok(Collection::open(folder)?)
}

/// A searcher whose vectors are the first passages' directions, so that every passage has a score.
fn dense(collection: &Collection, tasks: &[Task]) -> Result<Box<dyn Searcher>, Box<dyn std::error::Error>> {
    let count = collection.corpus.len();
    let passages = (0..count).flat_map(|i| [1.0, i as f32 / 10.0]).collect();
    let index = Exact::new(collection.corpus.ids().clone(), Arc::new(Vectors::new(2, passages)), Similarity::Cosine)?;
    let ids: Vec<QueryId> = tasks.iter().map(|task| task.query.id.clone()).collect();
    let queries = Vectors::new(2, ids.iter().flat_map(|_| [1.0, 0.0]).collect());
    Ok(Box::new(Dense::new(DenseIndex::Exact(index), &ids, Arc::new(queries))?))
}

struct Proposal {
    candidates: Vec<Candidate>,
    report: Report,
}

fn propose(name: &str, settings: MiningSettings) -> Result<Proposal, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let collection = collection(folder.path())?;
    let tasks = Task::all(&collection, &collection.qrels("train")?)?;
    assert_eq!(tasks.iter().map(|t| t.positives.len()).collect::<Vec<_>>(), [1, 2], "q3 has no positive");
    let (filters, seed) = (Filters::all(), Seed(1));
    let searcher: Option<Box<dyn Searcher>> = match named(name)?.needs {
        Needs::Vectors => Some(dense(&collection, &tasks)?),
        Needs::Words => Some(Box::new(Bm25::of_corpus(&collection.corpus, &Bm25Settings::default(), &Quiet)?)),
        Needs::Nothing => None,
    };
    let inputs = Inputs { corpus: &collection.corpus, filters: &filters, settings, seed, searcher };
    let mut source = named(name)?.make(inputs)?;
    let mut candidates = Vec::new();
    source.propose(&tasks, &mut candidates)?;
    Ok(Proposal { candidates, report: source.report() })
}

#[test]
fn every_source_proposes_as_many_as_asked_and_never_a_positive_or_its_copy() -> Outcome {
    for row in TABLE {
        let settings = MiningSettings { num_negatives: 4, ..MiningSettings::default() };
        let Proposal { candidates, report } = propose(row.name, settings)?;
        for query in ["q1", "q2"] {
            let own: Vec<&Candidate> = candidates.iter().filter(|c| c.query.as_str() == query).collect();
            assert_eq!(own.len(), 4, "{} {query}", row.name);
            assert!(own.iter().all(|c| c.source == row.name && c.text.is_none()));
            assert!(own.is_sorted_by_key(|c| c.rank) && own[0].rank >= 1);
            let passages: HashSet<&Passage> = own.iter().map(|c| &c.passage).collect();
            assert_eq!(passages.len(), 4, "{}: no passage twice", row.name);
            for excluded in ["d1", "d3"] {
                assert!(!passages.contains(&Passage::Corpus(DocId::new(excluded)?)), "{} {query} {excluded}", row.name);
            }
        }
        assert!(report.short.is_empty());
        assert_eq!((report.queries, report.proposed), (2, 8));
        let counted: u64 = report.waterfall.dropped.iter().map(|line| line.count).sum();
        assert_eq!(report.waterfall.judged, report.waterfall.kept + counted);
        assert_eq!(propose(row.name, settings)?.candidates, candidates, "{} again", row.name);
    }
    Ok(())
}

#[test]
fn every_source_reports_who_got_too_few() -> Outcome {
    for row in TABLE {
        let settings = MiningSettings { num_negatives: 50, ..MiningSettings::default() };
        let Proposal { candidates, report } = propose(row.name, settings)?;
        let found: Vec<u32> = report.short.iter().map(|short| short.found).collect();
        // Twelve passages less positives and the copy.
        assert_eq!(found, [10, 9], "{}", row.name);
        assert_eq!(candidates.len(), 19, "{}", row.name);
        let drops: Vec<_> = report.waterfall.dropped.iter().map(|line| (line.rule.as_str(), line.count)).collect();
        assert_eq!(drops, [("judged_positive", 3), ("same_text", 2)], "{}", row.name);
    }
    Ok(())
}

#[test]
fn ranges_are_raw_ranks_and_scores_are_the_sources_own() -> Outcome {
    // By cosine the passages rank d0, d1 ... d11; d1 is a positive of both, d2 of q2, d3 a copy of d1.
    let settings = MiningSettings { range_min: 1, range_max: 6, num_negatives: 2 };
    let Proposal { candidates, report } = propose("dense", settings)?;
    let seen: Vec<_> = candidates.iter().map(|c| (c.query.to_string(), c.passage.to_string(), c.rank)).collect();
    let expected = [("q1", "d2", 3), ("q1", "d4", 5), ("q2", "d4", 5), ("q2", "d5", 6)];
    assert_eq!(seen, expected.map(|(q, d, r)| (q.to_owned(), d.to_owned(), r)));
    assert!(candidates.iter().all(|c| c.scores.cosine.is_some() && c.scores.bm25.is_none()));
    assert_eq!(report.waterfall.judged, 10);
    let bm25 = propose("bm25", settings)?.candidates;
    assert!(bm25.iter().all(|c| c.scores.bm25.is_some_and(|s| s > 0.0) && (2..=6).contains(&c.rank)));
    Ok(())
}

#[test]
fn random_negatives_of_a_query_do_not_depend_on_the_others() -> Outcome {
    let folder = tempfile::tempdir()?;
    let collection = collection(folder.path())?;
    let tasks = Task::all(&collection, &collection.qrels("train")?)?;
    let filters = Filters::all();
    let draw = |tasks: &[Task], seed| -> Result<Vec<Candidate>, SourceError> {
        let settings = MiningSettings::default();
        let inputs = Inputs { corpus: &collection.corpus, filters: &filters, settings, seed, searcher: None };
        let mut candidates = Vec::new();
        named("random")?.make(inputs)?.propose(tasks, &mut candidates)?;
        Ok(candidates)
    };
    let all = draw(&tasks, Seed(1))?;
    assert_eq!(draw(&tasks[1..], Seed(1))?, all[3..]);
    assert_ne!(draw(&tasks, Seed(2))?, all);
    Ok(())
}

#[test]
fn what_cannot_be_made_says_why() -> Outcome {
    let Err(error) = named("bm52") else { return Err("an error was due".into()) };
    assert!(error.to_string().contains("random, bm25, dense"), "{error}");
    let refused = |settings| propose("random", settings).err().map(|e| e.to_string()).unwrap_or_default();
    let settings = MiningSettings::default();
    assert!(refused(MiningSettings { num_negatives: 0, ..settings }).contains("`num_negatives`"));
    assert!(refused(MiningSettings { range_min: 100, ..settings }).contains("above range_min = 100"));
    let folder = tempfile::tempdir()?;
    let collection = collection(folder.path())?;
    let filters = Filters::all();
    for row in TABLE {
        let inputs = Inputs { corpus: &collection.corpus, filters: &filters, settings, seed: Seed(1), searcher: None };
        assert_eq!(row.make(inputs).is_err(), row.needs != Needs::Nothing, "{}", row.name);
    }
    assert!(serde_json::from_str::<MiningSettings>(r#"{"range_mix": 1}"#).is_err());
    Ok(())
}
