//! The bundled generator, real learned text: chat template, schema, acceptance, reflection and giving up.

use super::*;
use crate::data::{Collection, Quiet};
use crate::generate::{EngineSettings, LlamaEngine};
use crate::text::measure::words;

const MODEL: &str = "models/elements-writer.gguf";

fn engine() -> LlamaEngine {
    let settings = EngineSettings { threads: Some(1), ..EngineSettings::default() };
    LlamaEngine::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL), settings).unwrap()
}

fn collection() -> Collection {
    Collection::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/elements")).unwrap()
}

/// Every tenth task of the test side, which the generator was not trained on.
fn tasks(collection: &Collection) -> Vec<Task> {
    let all = Task::all(collection, &collection.qrels("test").unwrap()).unwrap();
    all.into_iter().step_by(10).collect()
}

fn settings() -> WrittenSettings {
    let (prompt, attributes) = ("short".to_owned(), "element".to_owned());
    WrittenSettings { prompt, attributes, num_negatives: 3, ..WrittenSettings::default() }
}

fn written(settings: &WrittenSettings) -> (Vec<Candidate>, Summary, Vec<Record>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let tasks = tasks(&collection());
    let (candidates, summary) = write(&tasks, &mut engine(), &Brief::new(settings), &journal, &Quiet).unwrap();
    let (_, records) = Journal::open::<Record>(&journal).unwrap();
    (candidates, summary, records)
}

#[test]
fn it_writes_new_passages_for_queries_it_never_saw() {
    let (candidates, summary, _) = written(&settings());
    assert_eq!(summary.requests, 10);
    assert!(summary.accepted >= 8, "{summary}");
    let folded = |text: &str| words(text).join(" ");
    let corpus: HashSet<String> = collection().corpus.contents().unwrap().iter().map(|text| folded(text)).collect();
    let copies = candidates.iter().filter(|c| corpus.contains(&folded(c.text.as_deref().unwrap_or_default()))).count();
    assert!(candidates.len() >= 20 && copies == 0, "{copies} of {} stand in the corpus", candidates.len());
}

#[test]
fn it_is_told_what_is_wrong_and_what_it_cannot_mend_is_given_up() {
    // Nearly nothing may be common with the positive: its near misses keep the positive's wording.
    let strict = WrittenSettings { max_copied_share: 0.02, least_accepted: 3, ..settings() };
    let (_, summary, records) = written(&strict);
    assert!(summary.retried > 0 && summary.defects.contains_key("copies-positive"), "{summary}");
    let given_up = records.iter().find(|record| record.given_up.is_some()).unwrap();
    assert_eq!((given_up.attempts, given_up.replies.len()), (2, 2));
    let reasons = &given_up.given_up.as_ref().unwrap().reasons;
    assert!(!reasons.is_empty() && given_up.texts.is_empty(), "{reasons:?}");
    // The schema holds in both turns.
    for reply in records.iter().flat_map(|record| &record.replies) {
        let value: Value = serde_json::from_str(reply).unwrap_or_else(|error| panic!("{error}: {reply}"));
        assert_eq!(value["hard_negative_documents"].as_array().map(Vec::len), Some(3), "{reply}");
    }
}

#[test]
fn without_the_schema_it_still_answers_in_its_form() {
    let free = WrittenSettings { constraint: settings::ConstraintChoice::None, ..settings() };
    let (_, summary, _) = written(&free);
    assert!(summary.accepted >= 5, "{summary}");
}

#[test]
fn it_foretells_passages_better_than_three_bytes_do() {
    let collection = collection();
    let bar = gauge::Bar::of(collection.corpus.contents().unwrap(), data::Seed(1));
    let texts: Vec<&str> = bar.passages.iter().map(String::as_str).collect();
    let bits = engine().bits(&texts, &Quiet).unwrap().per_byte();
    assert!(bits < bar.bits_per_byte, "{bits} against {}", bar.bits_per_byte);
}
