//! A scripted engine drives every defect, the reflection, and both ways of giving up.

use super::checks::{Checked, check};
use super::defect::Defect;
use super::*;
use crate::data::{DocId, Document, Query, QueryId, Quiet};
use crate::generate::{Conversation, Ending, Finished, Prompt, Refusal, Reply, Turn, Usage};

pub(super) const QUERY: &str = "which metal melts at the lowest temperature";
pub(super) const POSITIVE: &str = "Mercury is the metal that melts at the lowest temperature, at minus 38.8 degrees Celsius, \
    so it is liquid in any ordinary room and was long used in thermometers and barometers.";
pub(super) const GOOD: [&str; 2] = [
    "Gallium is a metal that melts in the hand, at 29.8 degrees Celsius, so it is solid in a cool room \
        and was never common in thermometers for the weather.",
    "Tungsten is the metal that melts at the highest temperature, at 3422 degrees Celsius, \
        which is why it was long used for the filaments of lamps.",
];

pub(super) fn task(id: &str, query: &str) -> Task {
    let document = Document { id: DocId::new("d1").unwrap(), title: String::new(), text: POSITIVE.to_owned() };
    Task { query: Query { id: QueryId::new(id).unwrap(), text: query.to_owned() }, positives: vec![document] }
}

pub(super) fn settings() -> WrittenSettings {
    WrittenSettings { num_negatives: 2, ..WrittenSettings::default() }
}

pub(super) fn json_of(texts: &[&str]) -> String {
    let list: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
    json!({ "hard_negative_documents": list }).to_string()
}

pub(super) fn reply(text: &str) -> Reply {
    Reply { text: text.to_owned(), tokens: 9, ending: Ending::Complete }
}

/// Answers from a list, each conversation from its start; says what it was asked.
pub(super) struct Scripted {
    replies: Vec<Result<Reply, Refusal>>,
    pub(super) asked: Vec<String>,
    pub(super) prompts: Vec<Prompt>,
    finish: usize,
}

impl Scripted {
    pub(super) fn new(replies: &[String]) -> Self {
        let replies = replies.iter().map(|text| Ok(reply(text))).collect();
        Self { replies, asked: Vec::new(), prompts: Vec::new(), finish: usize::MAX }
    }

    fn talk(&mut self, writing: &mut Writing) -> (Usage, Option<Refusal>) {
        self.prompts.push(writing.opening());
        let mut usage = Usage { tokens_in: 100, ..Usage::default() };
        for reply in &self.replies {
            let reply = match reply {
                Ok(reply) => reply,
                Err(refusal) => return (usage, Some(refusal.clone())),
            };
            usage.replies += 1;
            usage.tokens_out += reply.tokens;
            match writing.reply(reply) {
                Turn::Say(message) => self.asked.push(message),
                Turn::Done | Turn::GiveUp => return (usage, None),
            }
        }
        panic!("more replies were wanted than the script has");
    }
}

impl Engine<Writing> for Scripted {
    fn identity(&self) -> Value {
        json!("scripted")
    }

    fn run(
        &mut self,
        conversations: &mut dyn Iterator<Item = Writing>,
        finished: &mut dyn FnMut(Finished<Writing>) -> data::Result<()>,
        _: &dyn Watch,
    ) -> Result<(), generate::Error> {
        for mut conversation in conversations {
            if self.finish == 0 {
                return Err(data::Error::Stopped.into());
            }
            self.finish -= 1;
            let (usage, refused) = self.talk(&mut conversation);
            finished(Finished { conversation, usage, refused })?;
        }
        Ok(())
    }
}

struct Outcome {
    candidates: Vec<Candidate>,
    summary: Summary,
    records: Vec<Record>,
    engine: Scripted,
}

fn run(mut engine: Scripted, settings: &WrittenSettings) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let (candidates, summary) = write(&[task("q1", QUERY)], &mut engine, &Brief::new(settings), &path, &Quiet).unwrap();
    let (_, records) = Journal::open(&path).unwrap();
    Outcome { candidates, summary, records, engine }
}

pub(super) fn ask(positive: &str) -> Ask {
    let prompt = PromptFile::find("plain", INPUTS).unwrap();
    Ask::new(QUERY, vec![positive.to_owned()], &prompt, &settings())
}

fn checked(text: &str) -> Checked {
    check(&reply(text), &ask(POSITIVE))
}

#[test]
fn each_defect_is_found_and_says_its_numbers() {
    let says = |text: &str, kind: &str, sentence: &str| {
        let defects = checked(text).defects;
        assert_eq!(defects.iter().map(Defect::kind).collect::<Vec<_>>(), [kind]);
        assert!(defects[0].to_string().contains(sentence), "{:?} in {}", sentence, defects[0]);
    };
    let with = |second: &str| json_of(&[GOOD[0], second]);
    let long = format!("{} {}", GOOD[1], "and so on ".repeat(20));
    says("Here they come.", "not-json", "no JSON in it");
    says("{\"hard_negative_documents\": [", "not-json", "EOF");
    says("{\"documents\": []}", "not-json", "hard_negative_documents");
    says(&json_of(&[GOOD[0]]), "count", "the answer has 1 passage; write exactly 2");
    says(
        &json_of(&[
            GOOD[0],
            GOOD[1],
            "Iron melts at 1538 degrees Celsius, as every smith knows, and zinc far below that, at 420.",
        ]),
        "count",
        "has 3",
    );
    says(
        &with("Zinc melts at 420 degrees."),
        "too-short",
        "passage 2 has 5 words, too few; the passage that answers has 31, write at least 16",
    );
    says(&with(&long), "too-long", "too many; the passage that answers has 31, write at most 62");
    says(&with(POSITIVE), "copies-positive", "100 % of it stands there word for word, at most 80 % may");
    says(&with("Which metal melts at the lowest temperature?"), "copies-query", "passage 2 only repeats the search");
    says(&with(&GOOD[0].to_uppercase()), "repeats", "passage 2 is the same as passage 1");
    let cut = Reply { ending: Ending::CutOff, ..reply("{") };
    assert_eq!(check(&cut, &ask(POSITIVE)).defects, [Defect::CutOff { tokens: 9 }]);
    let talked = checked(&format!("Sure! {}\nEnjoy.", json_of(&GOOD)));
    let taken: Vec<&str> = talked.good.iter().map(|good| good.text.as_str()).collect();
    assert_eq!((taken.as_slice(), talked.defects.as_slice()), (GOOD.as_slice(), [].as_slice()));
}

#[test]
fn short_and_empty_positives_leave_room_for_a_sentence() {
    assert_eq!(ask("Paris").words, 1..=12);
    assert_eq!(ask("").words, 1..=12);
}

#[test]
fn a_good_reply_becomes_candidates_with_their_provenance() {
    let outcome = run(Scripted::new(&[json_of(&GOOD)]), &settings());
    let [first, second] = &outcome.candidates[..] else { panic!("two candidates") };
    assert_eq!((first.text.as_deref(), second.text.as_deref()), (Some(GOOD[0]), Some(GOOD[1])));
    assert_eq!((first.source.as_str(), first.rank, second.rank), ("written", 1, 2));
    assert_eq!(first.passage, Passage::Written(written_id(GOOD[0])));
    assert!(written_id("abc").as_str() == "w-ba7816bf8f01cfea", "{}", written_id("abc"));
    for key in ["engine", "prompt", "prompt_digest", "seed", "attempts", "defects", "tokens_in", "tokens_out"] {
        assert!(first.provenance.get(key).is_some(), "{key} is not in {}", first.provenance);
    }
    let summary = outcome.summary;
    assert_eq!((summary.requests, summary.accepted, summary.accepted_at_once, summary.negatives), (1, 1, 1, 2));
    assert_eq!((summary.tokens_in, summary.tokens_out, summary.replies), (100, 9, 1));
}

#[test]
fn the_opening_holds_the_pair_and_a_bounded_schema() {
    let outcome = run(Scripted::new(&[json_of(&GOOD)]), &settings());
    let prompt = &outcome.engine.prompts[0];
    let user = &prompt.messages.last().unwrap().content;
    assert!(user.contains(QUERY) && user.contains(POSITIVE) && user.contains("16 to 62 words"), "{user}");
    let list = &prompt.schema.as_ref().unwrap()["properties"]["hard_negative_documents"];
    assert_eq!((list["minItems"].as_u64(), list["maxItems"].as_u64()), (Some(2), Some(2)));
    let text = &list["items"]["properties"]["text"];
    assert!(text["minLength"].as_u64() > Some(50) && text["maxLength"].as_u64() < Some(600), "{text}");

    let free = WrittenSettings { constraint: settings::ConstraintChoice::None, ..settings() };
    assert!(run(Scripted::new(&[json_of(&GOOD)]), &free).engine.prompts[0].schema.is_none());

    let syneg = WrittenSettings { prompt: "syneg".to_owned(), attributes: "scifact".to_owned(), ..settings() };
    let outcome = run(Scripted::new(&[json_of(&GOOD)]), &syneg);
    let schema = outcome.engine.prompts[0].schema.clone().unwrap();
    assert_eq!(schema["required"], json!(["reasoning", "hard_negative_documents"]));
    assert_eq!(outcome.records[0].attributes.len(), 3);
    let user = &outcome.engine.prompts[0].messages[0].content;
    assert!(user.contains(&outcome.records[0].attributes["domain_name"]), "{user}");
}

#[test]
fn a_defect_is_told_and_the_mended_reply_taken() {
    let bad = json_of(&[GOOD[0], "Zinc melts at 420 degrees."]);
    let outcome = run(Scripted::new(&[bad, json_of(&GOOD)]), &settings());
    assert!(outcome.engine.asked[0].contains("- passage 2 has 5 words, too few"), "{}", outcome.engine.asked[0]);
    assert_eq!(outcome.candidates.len(), 2);
    assert_eq!((outcome.summary.accepted, outcome.summary.accepted_at_once), (1, 0));
    assert_eq!(outcome.summary.defects, [("too-short".to_owned(), 1)].into());
    assert_eq!(outcome.records[0].attempts, 2);
}

#[test]
fn the_good_part_is_taken_when_it_is_enough_else_the_request_is_given_up() {
    let partly = json_of(&[GOOD[0], POSITIVE]);
    let outcome = run(Scripted::new(&[partly.clone(), partly.clone()]), &settings());
    assert_eq!((outcome.candidates.len(), outcome.summary.accepted_in_part), (1, 1));

    // The first reply is better than the second.
    let outcome = run(Scripted::new(&[partly.clone(), "no".to_owned()]), &settings());
    assert_eq!(outcome.candidates[0].text.as_deref(), Some(GOOD[0]));

    let all = WrittenSettings { least_accepted: 2, ..settings() };
    let outcome = run(Scripted::new(&[partly.clone(), partly.clone()]), &all);
    assert!(outcome.candidates.is_empty());
    assert_eq!(outcome.summary.given_up, [("copies-positive".to_owned(), 1)].into());
    let given_up = outcome.records[0].given_up.as_ref().unwrap();
    assert!(given_up.reasons[0].contains("word for word"), "{given_up:?}");
    assert_eq!(outcome.records[0].replies, [partly.clone(), partly.clone()]);

    let once = WrittenSettings { attempts: Some(1), ..all };
    assert!(run(Scripted::new(&[partly]), &once).engine.asked.is_empty());
}

#[test]
fn what_the_engine_refuses_is_given_up_with_its_reason() {
    let refusal = Refusal::PromptTooLong { prompt: 5000, reply: 1024, window: 4096 };
    let mut engine = Scripted::new(&[]);
    engine.replies = vec![Err(refusal.clone())];
    let outcome = run(engine, &settings());
    assert_eq!(outcome.summary.given_up, [("refused".to_owned(), 1)].into());
    assert_eq!(outcome.records[0].given_up.as_ref().unwrap().reasons, [refusal.to_string()]);

    // What was good before the refusal is kept.
    let mut engine = Scripted::new(&[json_of(&[GOOD[0], POSITIVE])]);
    engine.replies.push(Err(refusal));
    assert_eq!(run(engine, &settings()).candidates.len(), 1);
}

#[test]
fn a_second_start_goes_on_where_the_first_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole.jsonl", "broken.jsonl"].map(|name| folder.path().join(name));
    let tasks: Vec<Task> = (0..7).map(|n| task(&format!("q{n}"), &format!("{QUERY} {n}"))).collect();
    let scripted = || Scripted::new(&[json_of(&GOOD)]);
    let expected = write(&tasks, &mut scripted(), &Brief::new(&settings()), &whole, &Quiet).unwrap();

    for stop in [0, 3, 2] {
        let mut engine = Scripted { finish: stop, ..scripted() };
        let stopped = write(&tasks, &mut engine, &Brief::new(&settings()), &broken, &Quiet);
        assert!(matches!(stopped, Err(Error::Data(data::Error::Stopped))));
        // A torn last record, as after a kill.
        let mut text = std::fs::read_to_string(&broken).unwrap();
        text.push_str("{\"key\": \"to");
        std::fs::write(&broken, text).unwrap();
    }
    let mut last = scripted();
    assert_eq!(write(&tasks, &mut last, &Brief::new(&settings()), &broken, &Quiet).unwrap(), expected);
    assert_eq!(last.prompts.len(), 2, "only what was missing is asked");
    assert_eq!(std::fs::read_to_string(&broken).unwrap(), std::fs::read_to_string(&whole).unwrap());

    // Nothing is left to ask; another seed asks everything anew and leaves the old records alone.
    let mut idle = scripted();
    assert_eq!(write(&tasks, &mut idle, &Brief::new(&settings()), &broken, &Quiet).unwrap(), expected);
    assert!(idle.prompts.is_empty());
    let other = WrittenSettings { seed: data::Seed(2), ..settings() };
    let mut again = scripted();
    write(&tasks, &mut again, &Brief::new(&other), &broken, &Quiet).unwrap();
    assert_eq!(again.prompts.len(), 7);
    assert_ne!(again.prompts[0].seed, scripted_seed(&tasks[0], &settings()));
}

fn scripted_seed(task: &Task, settings: &WrittenSettings) -> data::Seed {
    let mut engine = Scripted::new(&[json_of(&GOOD)]);
    let folder = tempfile::tempdir().unwrap();
    write(std::slice::from_ref(task), &mut engine, &Brief::new(settings), &folder.path().join("j"), &Quiet).unwrap();
    engine.prompts[0].seed
}

#[test]
fn the_same_texts_are_asked_once_and_tasks_without_positives_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut bare = task("q3", QUERY);
    bare.positives.clear();
    let tasks = [task("q1", QUERY), task("q2", QUERY), bare];
    let mut engine = Scripted::new(&[json_of(&GOOD)]);
    let (candidates, summary) =
        write(&tasks, &mut engine, &Brief::new(&settings()), &folder.path().join("j"), &Quiet).unwrap();
    assert_eq!((engine.prompts.len(), candidates.len()), (1, 4));
    assert_eq!((candidates[2].query.as_str(), summary.requests, summary.without_positive), ("q2", 1, 1));
}

/// Asks to stop after some records, as Ctrl-C does.
#[cfg(feature = "llm")]
struct Stopping(std::sync::atomic::AtomicU64);

#[cfg(feature = "llm")]
impl Watch for Stopping {
    fn begin(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, count: u64) {
        self.0.fetch_sub(count, std::sync::atomic::Ordering::Relaxed);
    }
    fn end(&self) {}
    fn note(&self, _: &str) {}
    fn stopped(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed) == 0
    }
}

#[test]
fn settings_outside_their_range_are_named() {
    let refused = |settings: WrittenSettings| settings.check().unwrap_err().to_string();
    let error = refused(WrittenSettings { num_negatives: 0, ..settings() });
    assert_eq!(error, "written.num_negatives: expected 1 to 20, found 0");
    assert!(refused(WrittenSettings { least_accepted: 3, ..settings() }).contains("least_accepted"));
    assert!(refused(WrittenSettings { max_copied_share: f64::NAN, ..settings() }).contains("max_copied_share"));
    let unknown = toml::from_str::<WrittenSettings>("num_negativs = 3").unwrap_err().to_string();
    assert!(unknown.contains("num_negativs"), "{unknown}");
    assert_eq!(toml::from_str::<WrittenSettings>("").unwrap(), WrittenSettings::default());
}

#[test]
fn every_prompt_of_the_program_is_sound() {
    for name in crate::text::prompt::names() {
        let prompt = PromptFile::find(name, INPUTS).unwrap();
        assert_eq!(prompt.name, name);
    }
}

#[cfg(feature = "llm")]
#[test]
fn a_real_model_leaves_a_record_for_every_request_and_stops_between_them() {
    let Some(path) = crate::shared::path("models/stories260K/stories260K-f32.gguf") else { return };
    let engine_settings = generate::EngineSettings {
        chat_template: generate::ChatChoice::Plain,
        threads: Some(1),
        ..generate::EngineSettings::default()
    };
    let mut engine = generate::LlamaEngine::open(&path, engine_settings).unwrap();
    // Its 512 tokens cannot hold the whole prompt with two turns; a short prompt of the test's own can.
    let folder = tempfile::tempdir().unwrap();
    let prompt = folder.path().join("tiny.toml");
    let text = "name = \"tiny\"\nversion = 1\ndescription = \"for the test\"\ninputs = [\"query\", \"positive\"]\n\
        user = \"{query} {positive}\"\nreflection = \"{defects}\"\n";
    std::fs::write(&prompt, text).unwrap();
    let short = |id: &str, query: &str| {
        let mut task = task(id, query);
        task.positives[0].text = "The big red ball is in the park.".to_owned();
        task
    };
    let tasks = [short("q1", "Where is the ball?"), short("q2", "Who has a dog?"), short("q3", "What is red?")];
    let settings = WrittenSettings {
        prompt: prompt.to_str().unwrap().to_owned(),
        num_negatives: 1,
        max_tokens: 150,
        ..WrittenSettings::default()
    };
    let journal = folder.path().join("journal.jsonl");
    let stopping = Stopping(2.into());
    let stopped = write(&tasks, &mut engine, &Brief::new(&settings), &journal, &stopping);
    assert!(matches!(stopped, Err(Error::Data(data::Error::Stopped))));
    let (_, records) = Journal::open::<Record>(&journal).unwrap();
    assert_eq!(records.len(), 2);
    let (candidates, summary) = write(&tasks, &mut engine, &Brief::new(&settings), &journal, &Quiet).unwrap();
    assert_eq!(summary.requests, 3);
    assert_eq!(candidates.len() as u64, summary.negatives);
    let whole = write(&tasks, &mut engine, &Brief::new(&settings), &folder.path().join("other.jsonl"), &Quiet).unwrap();
    assert_eq!(whole.0, candidates, "a stop changes no text");
}
