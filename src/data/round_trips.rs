//! What is written reads back the same, in every format and with texts that break naive writers: tabs, line breaks,
//! quotes, control characters, other scripts, emoji; plain and packed.

use super::reading::Gate;
use super::{
    Candidate, Collection, Digest, DocId, Document, Instance, Passage, Provenance, Qrels, Query, QueryId, Result, Run,
    Scores, Store, TrainingPassage, atomic, beir, jsonl, msmarco,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::BTreeMap;

/// Endings of names: plain and packed files.
const ENDINGS: [&str; 3] = ["", ".gz", ".zst"];

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ \\t\\n\\r\"\\\\a-c{},é日\u{1f600}\u{2028}\u{0}]{0,20}"]
}

fn id() -> impl Strategy<Value = String> {
    "[!-~é日\u{1f600}]{1,8}".prop_filter("identifiers hold no white space", |id| super::ids::check(id).is_ok())
}

/// Documents with ids that occur once.
fn documents() -> impl Strategy<Value = Vec<Document>> {
    proptest::collection::btree_map(id(), (text(), text()), 1..8).prop_map(|all| {
        let document =
            |(id, (title, text)): (String, (String, String))| Some(Document { id: DocId::new(&id).ok()?, title, text });
        all.into_iter().filter_map(document).collect()
    })
}

fn queries() -> impl Strategy<Value = Vec<Query>> {
    proptest::collection::btree_map(id(), text(), 1..8).prop_map(|all| {
        all.into_iter().filter_map(|(id, text)| Some(Query { id: QueryId::new(&id).ok()?, text })).collect()
    })
}

/// Judgements of some of `queries` and `documents`, drawn by `grades`.
fn qrels_of(queries: &[Query], documents: &[Document], grades: &[i32]) -> Qrels {
    let mut qrels = Qrels::default();
    for (place, &grade) in grades.iter().enumerate() {
        let (query, document) = (&queries[place % queries.len()], &documents[place * 7 % documents.len()]);
        qrels.insert(query.id.clone(), document.id.clone(), grade);
    }
    qrels
}

fn passage() -> impl Strategy<Value = Passage> {
    id().prop_map(|id| Passage::Corpus(DocId::new(&id).expect("checked by the strategy")))
}

fn training_passage() -> impl Strategy<Value = TrainingPassage> {
    (passage(), text(), text(), proptest::option::of(score()))
        .prop_map(|(passage, source, text, teacher)| TrainingPassage { passage, source, text, teacher })
}

fn query_id() -> impl Strategy<Value = QueryId> {
    id().prop_map(|id| QueryId::new(&id).expect("checked by the strategy"))
}

fn score() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("scores are finite", |score| score.is_finite())
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let scores = (proptest::option::of(score()), proptest::option::of(score()), proptest::option::of(score()));
    (query_id(), passage(), proptest::option::of(text()), text(), any::<u32>(), scores).prop_map(
        |(query, passage, text, source, rank, (bm25, cosine, relevance))| Candidate {
            query,
            passage,
            text,
            source,
            rank,
            scores: Scores { bm25, cosine, relevance },
            provenance: serde_json::Value::Null,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn beir_folders(
        documents in documents(), queries in queries(), grades in proptest::collection::vec(any::<i32>(), 1..12),
        ending in proptest::sample::select(&ENDINGS[..]),
    ) {
        let folder = tempfile::tempdir()?;
        let qrels = qrels_of(&queries, &documents, &grades);
        let [corpus, asked] = ["corpus", "queries"].map(|name| folder.path().join(format!("{name}.jsonl{ending}")));
        atomic::write_file(&corpus, |out| documents.iter().try_for_each(|d| beir::write_passage(out, d, &corpus)))
            .map_err(failed)?;
        atomic::write_file(&asked, |out| queries.iter().try_for_each(|q| beir::write_query(out, q, &asked)))
            .map_err(failed)?;
        beir::write_qrels(&folder.path().join(format!("qrels/dev.tsv{ending}")), &qrels).map_err(failed)?;
        let collection = Collection::open(folder.path()).map_err(failed)?;
        let read: Vec<Document> =
            (0..collection.corpus.len()).map(|row| collection.corpus.document(row)).collect::<Result<_>>().map_err(failed)?;
        prop_assert_eq!(read, documents);
        prop_assert_eq!(collection.queries.iter().cloned().collect::<Vec<_>>(), queries);
        prop_assert_eq!(collection.splits(), ["dev"]);
        prop_assert_eq!(collection.qrels("dev").map_err(failed)?, qrels);
    }

    #[test]
    fn ms_marco_files(
        documents in documents(), queries in queries(), grades in proptest::collection::vec(any::<i32>(), 1..12),
        ending in proptest::sample::select(&ENDINGS[..]),
    ) {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(format!("file.tsv{ending}"));
        atomic::write_file(&path, |out| documents.iter().try_for_each(|d| msmarco::write_passage(out, d, &path)))
            .map_err(failed)?;
        let mut read = Vec::new();
        msmarco::each_passage(&path, &mut Gate::new(&path, 0), |d| { read.push((d.id, d.text)); Ok(()) }).map_err(failed)?;
        let due: Vec<_> = documents.iter().map(|d| (d.id.clone(), msmarco::on_one_line(&d.content()))).collect();
        prop_assert_eq!(read, due);

        atomic::write_file(&path, |out| queries.iter().try_for_each(|q| msmarco::write_query(out, q, &path)))
            .map_err(failed)?;
        let mut read = Vec::new();
        msmarco::each_query(&path, &mut Gate::new(&path, 0), |q| { read.push((q.id, q.text)); Ok(()) }).map_err(failed)?;
        let due: Vec<_> = queries.iter().map(|q| (q.id.clone(), msmarco::on_one_line(&q.text))).collect();
        prop_assert_eq!(read, due);

        let qrels = qrels_of(&queries, &documents, &grades);
        msmarco::write_qrels(&path, &qrels).map_err(failed)?;
        prop_assert_eq!(Qrels::read_trec(&path).map_err(failed)?, qrels);
    }

    #[test]
    fn candidates_and_instances(
        candidates in proptest::collection::vec(candidate(), 0..6),
        query_id in query_id(), query in text(), positive in training_passage(),
        negatives in proptest::collection::vec(training_passage(), 0..4),
        ending in proptest::sample::select(&ENDINGS[..]),
    ) {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(format!("records.jsonl{ending}"));
        jsonl::write(&path, &candidates).map_err(failed)?;
        prop_assert_eq!(jsonl::read::<Candidate>(&path).map_err(failed)?, candidates);
        let instances = vec![Instance { query_id, query, positive, negatives }];
        jsonl::write(&path, &instances).map_err(failed)?;
        prop_assert_eq!(jsonl::read::<Instance>(&path).map_err(failed)?, instances);
    }

    #[test]
    fn runs(hits in proptest::collection::btree_map(id(), score(), 1..12), ending in proptest::sample::select(&ENDINGS[..])) {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(format!("a.trec{ending}"));
        let hits = hits.into_iter().map(|(id, score)| Ok(super::Hit { doc: DocId::new(&id)?, score }));
        let mut run = Run::default();
        let query = QueryId::new("q").map_err(failed)?;
        run.insert(query, hits.collect::<Result<_, super::ids::InvalidId>>().map_err(failed)?);
        run.write_trec(&path, "tag").map_err(failed)?;
        prop_assert_eq!(Run::read_trec(&path).map_err(failed)?, run);
    }

    #[test]
    fn provenance_in_the_store(
        stage in "[a-z]{1,8}", settings in proptest::collection::btree_map(text(), text(), 0..4), count in any::<u64>(),
        inputs in proptest::collection::btree_map(text(), text(), 0..4),
    ) {
        let folder = tempfile::tempdir()?;
        let store = Store::new(folder.path());
        let mut due = Provenance::new(&stage, serde_json::json!(settings));
        due.inputs = inputs.into_iter().map(|(role, text)| (role, Digest::of_bytes(text.as_bytes()))).collect::<BTreeMap<_, _>>();
        let count_it = |_: &std::path::Path, provenance: &mut Provenance| { provenance.counts = count.into(); Ok::<(), super::Error>(()) };
        let first = store.get_or_make(due.clone(), count_it).map_err(failed)?;
        let again = store.get_or_make(due.clone(), count_it).map_err(failed)?;
        prop_assert_eq!((first.fresh, again.fresh, &first.place), (true, false, &again.place));
        due.counts = count.into();
        let text = std::fs::read_to_string(first.file("provenance.json"))?;
        prop_assert_eq!(serde_json::from_str::<Provenance>(&text).map_err(failed)?, due);
    }
}
