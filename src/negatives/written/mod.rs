//! Negatives written by a local model: requests from tasks, records in a journal, candidates out.
//! The journal is the truth: each request is appended as it ends, under a key made from its
//! content, and a start finds there what an earlier one finished. Records of other prompts, models
//! or settings in the same file are left alone.
//! Simple on purpose: one request a task, about its first positive; negatives are not compared
//! across requests.

pub mod checks;
pub mod conversation;
pub mod defect;
mod definition;
pub mod gauge;
pub mod journal;
pub mod measured;
pub mod round_trip;
pub mod settings;

pub use conversation::Writing;
pub use gauge::Gauge;
pub use journal::{Record, Summary, ThisStart};
pub use measured::{Band, Measure, Meter, Target};
pub use settings::WrittenSettings;

use super::Task;
use crate::data::{self, Candidate, Digest, Passage, QueryId, Watch, WrittenId, atomic::Journal};
use crate::generate::{self, Conversation, Engine, Message};
use crate::text::prompt::PromptFile;
use checks::Ask;
use conversation::{Frame, INPUTS};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Name of this source in candidates.
pub const SOURCE: &str = "written";

/// What stops the writing; what the journal holds stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading, writing, a prompt file, or a stop that was asked for.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// The model cannot go on.
    #[error(transparent)]
    Engine(generate::Error),
    /// The model answered the prompt's first question with nothing.
    #[error(
        "the model answers the prompt's first question with nothing\n  hint: it is no model for this prompt; choose another of the two"
    )]
    NoDefinition,
    /// A setting is out of its range.
    #[error("written.{setting}: expected {expected}, found {found}")]
    Settings {
        /// The setting.
        setting: &'static str,
        /// Its range.
        expected: String,
        /// Its value.
        found: f64,
    },
}

impl From<generate::Error> for Error {
    fn from(error: generate::Error) -> Self {
        match error {
            generate::Error::Data(error) => Self::Data(error),
            other => Self::Engine(other),
        }
    }
}

/// What a run is told beside its tasks.
#[derive(Default)]
pub struct Brief<'b> {
    /// What the user set.
    pub settings: Cow<'b, WrittenSettings>,
    /// Mined passages by query, for prompts that show them; the first [`WrittenSettings::num_neighbours`] are shown.
    pub neighbours: HashMap<QueryId, Vec<String>>,
    /// Models that measure each text, with the bands they must lie in.
    pub targets: Arc<[Target]>,
    /// Why the generator should not have been used, where the user insisted; stands in the provenance of every text.
    pub forced: Option<String>,
    /// Filled in by [`write()`]: what this start did.
    pub this_start: Cell<ThisStart>,
}

impl<'b> Brief<'b> {
    /// Only settings: nothing is shown beside the pair, and nothing is measured by a model.
    #[must_use]
    pub fn new(settings: &'b WrittenSettings) -> Self {
        Self { settings: Cow::Borrowed(settings), ..Self::default() }
    }

    fn neighbours_of(&self, task: &Task, settings: &WrittenSettings) -> &[String] {
        let all = self.neighbours.get(&task.query.id).map_or(&[][..], Vec::as_slice);
        &all[..all.len().min(settings.num_neighbours as usize)]
    }
}

/// Writes negatives for `tasks`, going on where `journal` stops: the candidates, in the order of
/// the tasks, and the counts over all their requests, earlier starts included.
///
/// # Errors
/// [`Error::Data`] with [`data::Error::Stopped`] when the user asked to stop; [`Error::Settings`];
/// [`Error::Engine`]; [`Error::Data`] when the prompt or the journal is not usable.
pub fn write(
    tasks: &[Task],
    engine: &mut dyn Engine<Writing>,
    brief: &Brief<'_>,
    journal: &Path,
    watch: &dyn Watch,
) -> Result<(Vec<Candidate>, Summary), Error> {
    brief.settings.check()?;
    let prompt = Arc::new(PromptFile::find(&brief.settings.prompt, INPUTS)?);
    let settings = &brief.settings.completed(&prompt);
    let identity = engine.identity();
    let (mut journal, records) = Journal::open::<Record>(journal)?;
    let definition = definition::ask(engine, (&prompt, settings), (&mut journal, &records), watch)?;
    let plan = plan(tasks, (&prompt, &definition), &identity, (settings, brief));
    let wanted: HashSet<&Digest> = plan.iter().map(|request| &request.key).collect();
    let mut done: HashMap<Digest, Record> = records
        .into_iter()
        .filter(|record| wanted.contains(&record.key))
        .map(|record| (record.key.clone(), record))
        .collect();

    let mut seen = HashSet::new();
    let pending: Vec<&Request<'_>> =
        plan.iter().filter(|request| !done.contains_key(&request.key) && seen.insert(&request.key)).collect();
    watch.begin("write negatives", wanted.len() as u64, "queries");
    watch.advance(done.len() as u64);
    let frame = Frame {
        settings: Arc::new(settings.clone()),
        pool: prompt.pool(&settings.attributes)?,
        switches: prompt.switched(&settings.switches)?,
        prompt: prompt.clone(),
        definition,
        targets: brief.targets.clone(),
    };
    let mut writings = pending.iter().map(|request| {
        let ask = Ask::new(&request.task.query.text, contents(request.task), &prompt, settings);
        Writing::new(
            &frame,
            request.key.clone(),
            request.task.query.id.clone(),
            (ask, brief.neighbours_of(request.task, settings)),
        )
    });
    let mut this_start = ThisStart::default();
    let mut finished = |finished| {
        let record = Writing::record(finished);
        journal.append(&record)?;
        this_start.requests += 1;
        this_start.tokens_out += u64::from(record.usage.tokens_out);
        done.insert(record.key.clone(), record);
        watch.advance(1);
        Ok(())
    };
    let ran = engine.run(&mut writings, &mut finished, watch);
    watch.end();
    ran?;
    let mut constant = json!({ "engine": identity, "prompt": prompt.name, "prompt_version": prompt.version, "prompt_digest": prompt.digest });
    if let (Some(reason), Some(object)) = (&brief.forced, constant.as_object_mut()) {
        object.insert("forced".to_owned(), json!(reason));
    }
    brief.this_start.set(this_start);
    Ok(gather(&plan, tasks.len(), &done, (&constant, settings)))
}

/// The messages a model is given first for `task`; attributes are drawn as for no model in particular.
///
/// # Errors
/// [`Error::Data`] when the prompt is not usable.
pub fn preview(task: &Task, brief: &Brief<'_>) -> Result<Vec<Message>, Error> {
    let prompt = Arc::new(PromptFile::find(&brief.settings.prompt, INPUTS)?);
    let settings = &brief.settings.completed(&prompt);
    let frame = Frame {
        settings: Arc::new(settings.clone()),
        pool: prompt.pool(&settings.attributes)?,
        switches: prompt.switched(&settings.switches)?,
        prompt: prompt.clone(),
        definition: "(the model's own answer)".to_owned(),
        targets: Arc::default(),
    };
    let ask = Ask::new(&task.query.text, contents(task), &prompt, settings);
    let key = Digest::of_json(&json!(["written preview", task.query.text, settings]));
    let writing = Writing::new(&frame, key, task.query.id.clone(), (ask, brief.neighbours_of(task, settings)));
    Ok(writing.opening().messages)
}

/// A task that has a positive, and the key of its request.
struct Request<'t> {
    task: &'t Task,
    key: Digest,
}

fn plan<'t>(
    tasks: &'t [Task],
    (prompt, definition): (&PromptFile, &str),
    identity: &Value,
    (settings, brief): (&WrittenSettings, &Brief<'_>),
) -> Vec<Request<'t>> {
    let targets: Vec<Value> = brief.targets.iter().map(Target::identity).collect();
    let shows_neighbours = prompt.inputs.iter().any(|input| input == "neighbours");
    let key = |task: &Task| {
        let neighbours = if shows_neighbours { brief.neighbours_of(task, settings) } else { &[] };
        Digest::of_json(&json!([
            "written 2",
            task.query.text,
            contents(task),
            prompt.digest,
            identity,
            settings,
            neighbours,
            definition,
            targets
        ]))
    };
    tasks.iter().filter(|task| !task.positives.is_empty()).map(|task| Request { task, key: key(task) }).collect()
}

fn contents(task: &Task) -> Vec<String> {
    task.positives.iter().map(data::Document::content).collect()
}

fn gather(
    plan: &[Request<'_>],
    tasks: usize,
    done: &HashMap<Digest, Record>,
    (constant, settings): (&Value, &WrittenSettings),
) -> (Vec<Candidate>, Summary) {
    let mut candidates = Vec::new();
    let mut summary = Summary { without_positive: (tasks - plan.len()) as u64, ..Summary::default() };
    let mut counted = HashSet::new();
    for request in plan {
        let Some(record) = done.get(&request.key) else { continue };
        if counted.insert(&request.key) {
            summary.add(record, settings.num_negatives as usize);
        }
        let mut provenance = constant.clone();
        if let Some(object) = provenance.as_object_mut() {
            object.insert("request".to_owned(), json!(record.key));
            object.insert("seed".to_owned(), json!(record.seed));
            object.insert("attributes".to_owned(), json!(record.attributes));
            object.insert("attempts".to_owned(), json!(record.attempts));
            object.insert("defects".to_owned(), json!(record.defects));
            object.insert("tokens_in".to_owned(), json!(record.usage.tokens_in));
            object.insert("tokens_out".to_owned(), json!(record.usage.tokens_out));
        }
        candidates.extend(record.texts.iter().map(|accepted| Candidate {
            query: request.task.query.id.clone(),
            passage: Passage::Written(written_id(&accepted.text)),
            text: Some(accepted.text.clone()),
            source: SOURCE.to_owned(),
            rank: accepted.place,
            scores: accepted.scores,
            provenance: provenance.clone(),
        }));
    }
    (candidates, summary)
}

/// The identifier of a written passage: `w-` and the first 16 hexadecimal digits of its text's digest.
///
/// # Panics
/// Never: hexadecimal digits make a valid identifier.
#[must_use]
pub fn written_id(text: &str) -> WrittenId {
    let id = format!("w-{}", Digest::of_bytes(text.as_bytes()).short(16));
    WrittenId::new(&id).expect("hexadecimal digits make a valid identifier")
}

#[cfg(test)]
#[cfg(feature = "llm")]
mod bundled_tests;
#[cfg(test)]
mod defect_tests;
#[cfg(test)]
mod tests;
