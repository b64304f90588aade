//! A scripted engine and scripted meters drive the defects that need more than one text: language, refusal, leaks,
//! measured bands, queries, the first question.

use super::checks::check;
use super::defect::Defect;
use super::measured::NoBand;
use super::tests::{GOOD, POSITIVE, QUERY, Scripted, ask, json_of, reply, settings, task};
use super::*;
use crate::data::{Quiet, atomic::Journal};
use std::collections::BTreeMap;
use std::sync::Mutex;

const GERMAN: &str = "Das Quecksilber ist das Metall, das bei der niedrigsten Temperatur schmilzt, und deshalb ist es in \
    jedem gewöhnlichen Zimmer flüssig und wurde lange in Thermometern verwendet.";

/// Says `values` in turn; what it was asked is kept.
struct Script {
    measure: Measure,
    values: Mutex<Vec<Result<Vec<f64>, String>>>,
}

impl Meter for Script {
    fn measure(&self) -> Measure {
        self.measure
    }

    fn values(&self, _: &str, texts: &[&str]) -> Result<Vec<f64>, String> {
        let next = self.values.lock().unwrap().remove(0);
        if let Ok(values) = &next {
            assert_eq!(values.len(), texts.len(), "positive first, then the good ones: {texts:?}");
        }
        next
    }
}

fn target(measure: Measure, values: &[Result<&[f64], &str>]) -> Target {
    let values = values.iter().map(|value| value.map(<[f64]>::to_vec).map_err(str::to_owned)).collect();
    let meter = Arc::new(Script { measure, values: Mutex::new(values) });
    Target { meter, model: json!("script"), band: Band { least: 0.2, most: 0.7 } }
}

fn run(engine: &mut Scripted, brief: &Brief<'_>) -> (Vec<Candidate>, Summary) {
    let folder = tempfile::tempdir().unwrap();
    write(&[task("q1", QUERY)], engine, brief, &folder.path().join("j"), &Quiet).unwrap()
}

fn defects(text: &str) -> Vec<String> {
    check(&reply(text), &ask(POSITIVE)).defects.iter().map(|defect| format!("{}: {defect}", defect.kind())).collect()
}

#[test]
fn language_refusals_and_leaks_are_found() {
    let with = |second: &str| defects(&json_of(&[GOOD[0], second]));
    let german = with(GERMAN);
    assert!(german[0].starts_with("language: passage 2 is in German (certain by"), "{german:?}");
    assert!(german[0].ends_with("write in English") && german.len() == 1, "{german:?}");

    let refused = with("I'm sorry, but I cannot write passages that mislead a reader about any of these metals here.");
    assert_eq!(refused, ["refuses: passage 2 refuses (\"i cannot\"); write the text that was asked for"]);
    assert_eq!(
        defects("I cannot help with that."),
        ["refuses: the answer refuses (\"i cannot\"); write the text that was asked for"]
    );

    let leaked = with(
        "Each passage stands alone, is different from the others, and mercury is a metal that is used in many lamps.",
    );
    assert_eq!(
        leaked,
        [
            "leaks-prompt: passage 2 repeats the instructions (\"each passage stands alone is different from the others and\"); \
            write the text alone"
        ]
    );
}

#[test]
fn words_of_the_instructions_that_the_positive_has_too_are_no_leak() {
    let own = "A user searched for: this passage answers the search, and each passage stands alone here today.";
    let text = "Nobody knows why this passage answers the search, and each passage stands alone there too.";
    let found = check(&reply(&json_of(&[text, GOOD[0]])), &ask(own)).defects;
    assert!(found.iter().all(|defect| defect.kind() != "leaks-prompt"), "{found:?}");
}

#[test]
fn what_is_measured_outside_the_band_is_told_with_its_numbers() {
    let settings = settings();
    let values: [Result<&[f64], &str>; 2] = [Ok(&[0.95, 0.93, 0.1]), Ok(&[0.95, 0.5, 0.4])];
    let brief = Brief { targets: vec![target(Measure::Relevance, &values)].into(), ..Brief::new(&settings) };
    let mut engine = Scripted::new(&[json_of(&GOOD), json_of(&GOOD)]);
    let (candidates, summary) = run(&mut engine, &brief);
    let told = &engine.asked[0];
    assert!(
        told.contains(
            "- passage 1 answers the search: relevance 0.93, the passage that answers has 0.95, at most 0.70 may be; \
            keep the topic, change the fact asked for"
        ),
        "{told}"
    );
    assert!(told.contains("- passage 2 is too far from the search: relevance 0.10, at least 0.20 is wanted"), "{told}");
    let relevance: Vec<_> = candidates.iter().map(|candidate| candidate.scores.relevance).collect();
    assert_eq!(relevance, [Some(0.5), Some(0.4)], "the accepted reply's own values");
    assert_eq!(summary.defects, BTreeMap::from([("answers".to_owned(), 1), ("too-easy".to_owned(), 1)]));
    assert_eq!((summary.retried, summary.accepted_after_retry), (1, 1));
    assert!(summary.to_string().contains("1 accepted (0 at once, 1 of 1 after being told"), "{summary}");
}

#[test]
fn a_positive_below_the_band_bounds_it_and_an_encoder_is_a_second_measure() {
    let settings = WrittenSettings { attempts: Some(1), ..settings() };
    // The positive has 0.1: nothing above it passes, and it is no reason to call 0.05 and 0.1 too easy... below it is.
    let brief = Brief {
        targets: vec![
            target(Measure::Relevance, &[Ok(&[0.1, 0.1, 0.15])]),
            target(Measure::Cosine, &[Ok(&[0.9, 0.6])]),
        ]
        .into(),
        ..Brief::new(&settings)
    };
    let (candidates, summary) = run(&mut Scripted::new(&[json_of(&GOOD)]), &brief);
    assert_eq!(candidates.len(), 1);
    assert_eq!((candidates[0].scores.relevance, candidates[0].scores.cosine), (Some(0.1), Some(0.6)));
    assert_eq!(summary.defects, BTreeMap::from([("answers".to_owned(), 1)]));
}

#[test]
fn a_model_that_cannot_measure_takes_nothing() {
    let settings = WrittenSettings { attempts: Some(1), ..settings() };
    for values in [Err("no memory"), Ok(&[f64::NAN, 0.5, 0.5][..])] {
        let brief = Brief { targets: vec![target(Measure::Cosine, &[values])].into(), ..Brief::new(&settings) };
        let (candidates, summary) = run(&mut Scripted::new(&[json_of(&GOOD)]), &brief);
        assert!(candidates.is_empty());
        assert_eq!(summary.given_up, BTreeMap::from([("unmeasured".to_owned(), 1)]));
    }
}

#[test]
fn bands_leave_out_the_tails() {
    assert_eq!(Band::learn(vec![0.5; 19]), None);
    assert_eq!(Band::learn([vec![0.5; 19], vec![f64::NAN]].concat()), None);
    let values: Vec<f64> = (0..100).rev().map(f64::from).collect();
    assert_eq!(Band::learn(values), Some(Band { least: 5.0, most: 94.0 }));
}

#[test]
fn a_band_is_learned_from_mined_passages_query_by_query() {
    let texts: Vec<String> = (0..15).map(|n| n.to_string()).collect();
    let mined = || (0..3).map(|_| ("query", texts.as_slice()));
    let learn = |values: Vec<Result<Vec<f64>, String>>| {
        let meter = Arc::new(Script { measure: Measure::Cosine, values: Mutex::new(values) });
        Target::learn(meter, json!("script"), mined()).map(|target| target.band)
    };
    let row = |least: f64| Ok((0..15).map(|n| least + f64::from(n) / 100.0).collect());
    // 45 values, two left out at each end.
    let band = learn(vec![row(0.1), row(0.3), row(0.5)]).unwrap();
    assert!((band.least - 0.12).abs() < 1e-9 && (band.most - 0.62).abs() < 1e-9, "{band:?}");
    assert_eq!(learn(vec![row(0.1), Err("gone".to_owned())]), Err(NoBand::Unmeasured("gone".to_owned())));
    let meter = Arc::new(Script { measure: Measure::Cosine, values: Mutex::new(vec![row(0.1)]) });
    let few = Target::learn(meter, json!("script"), mined().take(1)).map(|target| target.band);
    assert_eq!(few, Err(NoBand::TooFew(15)));
}

#[test]
fn queries_are_counted_in_words_of_their_own_and_called_searches() {
    let prompt = PromptFile::find("queries", INPUTS).unwrap();
    let ask = Ask::new("", vec![POSITIVE.to_owned()], &prompt, &settings());
    let queries = |texts: &[&str]| {
        let list: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
        check(&reply(&json!({ "queries": list }).to_string()), &ask)
    };
    let good = queries(&["lowest melting metal", "which metal is liquid in a room"]);
    assert_eq!((good.good.len(), good.defects.len()), (2, 0));
    let bad = queries(&["mercury", "which metal is liquid in a room"]).defects;
    assert_eq!(bad[0].to_string(), "search 1 has 1 words, too few; write at least 2");
    let few = queries(&["lowest melting metal"]).defects;
    assert_eq!(few[0], Defect::Count { item: "search", asked: 2, found: 1 });
    assert_eq!(check(&reply(&json_of(&GOOD)), &ask).defects[0].kind(), "not-json");
}

#[test]
fn the_first_question_is_asked_once_and_its_answer_stands_in_every_request() {
    let settings = WrittenSettings { prompt: "drg-v1".to_owned(), ..settings() };
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("j");
    let tasks = [task("q1", QUERY), task("q2", "which metal is the heaviest")];
    let definition = "A hard negative is a passage that looks right.";
    // Each conversation begins the list anew: the question takes the first reply, requests refuse it and take the second.
    let script = || Scripted::new(&[definition.to_owned(), json_of(&GOOD)]);
    let settings = WrittenSettings { attempts: Some(2), ..settings };
    let mut engine = script();
    let (candidates, summary) = write(&tasks, &mut engine, &Brief::new(&settings), &journal, &Quiet).unwrap();
    assert_eq!((candidates.len(), summary.requests, engine.prompts.len()), (4, 2, 3));
    assert!(engine.prompts[0].schema.is_none());
    assert!(engine.prompts[0].messages[0].content.starts_with("What is a hard negative"));
    for prompt in &engine.prompts[1..] {
        let user = &prompt.messages[0].content;
        assert!(user.contains(definition) && !user.contains(POSITIVE), "{user}");
    }
    // A second start finds the answer in the journal, and asks nothing.
    let mut idle = script();
    assert_eq!(write(&tasks, &mut idle, &Brief::new(&settings), &journal, &Quiet).unwrap().0, candidates);
    assert!(idle.prompts.is_empty());
    assert_eq!(Journal::open::<Record>(&journal).unwrap().1.len(), 3);

    let silent =
        write(&tasks, &mut Scripted::new(&[String::new()]), &Brief::new(&settings), &folder.path().join("k"), &Quiet);
    assert!(silent.unwrap_err().to_string().contains("hint"));
}

#[test]
fn neighbours_and_switches_stand_in_the_grounded_prompt() {
    let shown = |position: &str| {
        let switches = BTreeMap::from([("wrong_answers".to_owned(), position.to_owned())]);
        let settings = WrittenSettings { prompt: "grounded".to_owned(), switches, num_neighbours: 1, ..settings() };
        let neighbours = [(QueryId::new("q1").unwrap(), vec!["Tin melts early.".to_owned(), "Second.".to_owned()])];
        let brief = Brief { neighbours: neighbours.into(), ..Brief::new(&settings) };
        let mut engine = Scripted::new(&[json_of(&GOOD)]);
        run(&mut engine, &brief);
        let previewed = preview(&task("q1", QUERY), &brief).unwrap();
        assert_eq!(previewed.len(), engine.prompts[0].messages.len());
        engine.prompts[0].messages[1].content.clone()
    };
    let forbidden = shown("forbid");
    assert!(forbidden.contains("- Tin melts early.") && !forbidden.contains("Second."), "{forbidden}");
    assert!(
        forbidden.contains("No passage may answer the search") && shown("allow").contains("wrong or partial answer")
    );
}

#[test]
fn papers_settings_hold_until_the_user_says_otherwise() {
    let completed =
        |prompt: &str, settings: WrittenSettings| settings.completed(&PromptFile::find(prompt, INPUTS).unwrap());
    let drg = completed("drg-v3", WrittenSettings::default());
    assert_eq!((drg.attempts, drg.num_negatives), (Some(1), 5));
    let sampling = serde_json::to_value(drg.sampling.unwrap()).unwrap();
    assert_eq!(
        (sampling["top_k"].as_u64(), sampling["temperature"].as_f64().map(|t| (t * 10.0).round())),
        (Some(20), Some(6.0))
    );
    assert_eq!(completed("drg-v3", WrittenSettings { attempts: Some(3), ..settings() }).attempts, Some(3));
    assert_eq!(completed("plain", settings()).attempts, Some(2));
    assert_eq!(completed("levels", settings()).num_negatives, 4);
}
