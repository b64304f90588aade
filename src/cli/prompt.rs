//! `nearmiss prompt`: which prompts there are, and exactly what a model sees of one.

use super::commands::print;
use super::generate::neighbours;
use super::tune::EngineArguments;
use crate::experiment::stages::Workplace;
use crate::generate::{Message, Role};
use crate::negatives::Task;
use crate::negatives::written::conversation::INPUTS;
use crate::negatives::written::{Brief, WrittenSettings, preview};
use crate::text::measure::words;
use crate::text::prompt::{Origin, PromptFile, Writes, names};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Prompt {
    /// List the prompts of the program.
    List,
    /// Print what the model is given for one query, with token counts where a generator is named.
    Show(Box<Show>),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Prompt: a name from `nearmiss prompt list`, or a TOML file.
    pub name: String,
    /// BEIR folder.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Split with the query's judgements.
    #[arg(long, default_value = "train")]
    pub split: String,
    /// The query; for prompts that write queries a passage. [default: the first of the split]
    #[arg(long, value_name = "ID")]
    pub query: Option<String>,
    /// The model whose chat template and tokens are shown.
    #[arg(long, value_name = "FILE.gguf")]
    pub generator: Option<PathBuf>,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// Pool of attributes.
    #[arg(long, default_value = "general")]
    pub attributes: String,
    /// Positions of switches.
    #[arg(long, value_delimiter = ',', value_name = "NAME=POSITION")]
    pub switches: Vec<String>,
    /// Texts asked for.
    #[arg(long, default_value_t = 5)]
    pub num_negatives: u32,
    /// Mined candidates, for prompts that show neighbours.
    #[arg(long, value_name = "FILE.jsonl")]
    pub mined: Option<PathBuf>,
    /// Seed of the draws.
    #[arg(long, default_value_t = crate::data::Seed(1))]
    pub seed: crate::data::Seed,
}

/// Lists or shows.
pub(super) fn run(work: &Workplace<'_>, command: &Prompt) -> Result<()> {
    match command {
        Prompt::List => list(),
        Prompt::Show(arguments) => show(work, arguments),
    }
}

fn list() -> Result<()> {
    let mut text = String::new();
    for name in names() {
        let prompt = PromptFile::find(name, INPUTS)?;
        text += &format!("{name} (version {}): {}\n", prompt.version, prompt.description);
        text += &format!("    takes {}\n", prompt.inputs.join(", "));
        let worded = |origin| {
            let blocks = prompt.blocks.iter().filter(|block| block.origin == origin);
            blocks.map(|block| block.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        if !worded(Origin::Paper).is_empty() {
            text +=
                &format!("    in the paper's words: {}; in ours: {}\n", worded(Origin::Paper), worded(Origin::Ours));
        }
        let pools = |origin| {
            prompt.pools().filter(|(_, of)| *of == origin).map(|(pool, _)| pool).collect::<Vec<_>>().join(", ")
        };
        for (origin, whose) in [(Origin::Paper, "the paper's"), (Origin::Ours, "ours")] {
            if !pools(origin).is_empty() {
                text += &format!("    attributes, {whose}: {}\n", pools(origin));
            }
        }
        for (switch, positions) in prompt.switches() {
            let known: Vec<&str> = positions.positions.keys().map(String::as_str).collect();
            text += &format!("    switch {switch}: {}, default {}\n", known.join(" or "), positions.default);
        }
    }
    print(&text)
}

fn show(work: &Workplace<'_>, arguments: &Show) -> Result<()> {
    let collection = work.collection(&arguments.data)?;
    let settings = WrittenSettings {
        prompt: arguments.name.clone(),
        attributes: arguments.attributes.clone(),
        switches: super::generate::switches(&arguments.switches)?,
        num_negatives: arguments.num_negatives,
        seed: arguments.seed,
        ..WrittenSettings::default()
    };
    settings.check()?;
    let prompt = PromptFile::find(&arguments.name, INPUTS)?;
    let task = match (prompt.reply.writes, &arguments.query) {
        (Writes::Queries, id) => {
            let corpus = &collection.corpus;
            let row = match id {
                Some(id) => {
                    corpus.row(id).with_context(|| format!("no passage {id} in {}", arguments.data.display()))?
                }
                None => 0,
            };
            super::queries::task_of(&corpus.document(row)?)?
        }
        (_, id) => {
            let tasks = Task::all(&collection, &collection.qrels(&arguments.split)?)?;
            let found = tasks.into_iter().find(|task| id.as_ref().is_none_or(|id| task.query.id.as_str() == id));
            found.with_context(|| {
                format!("no judged query {} in split {}", id.as_deref().unwrap_or("at all"), arguments.split)
            })?
        }
    };
    let mined = arguments.mined.as_deref();
    let brief = Brief { neighbours: neighbours(mined, &collection)?, ..Brief::new(&settings) };
    let messages = preview(&task, &brief)?;
    if !prompt.first.is_empty() {
        print(&format!("(asked once, before all requests; its answer is put in below)\n{}\n\n", prompt.first))?;
    }
    match &arguments.generator {
        None => print(&bare(&messages)),
        Some(file) => print(&laid_out(file, arguments, &messages)?),
    }
}

/// The messages under their roles, with words counted.
fn bare(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        text += &format!("[{role}, {} words]\n{}\n\n", words(&message.content).len(), message.content);
    }
    text + "(--generator FILE.gguf shows the chat template's part too, and counts tokens)\n"
}

#[cfg(feature = "llm")]
fn laid_out(file: &std::path::Path, arguments: &Show, messages: &[Message]) -> Result<String> {
    use crate::generate::chat::Segment;
    let engine = crate::generate::LlamaEngine::open(file, arguments.engine.settings()?)?;
    let layout = engine.layout(messages)?;
    let texts = layout.segments.iter().map(|segment| match segment {
        Segment::Template(text) | Segment::Content(text) => text.as_str(),
    });
    let counts: Vec<String> = messages
        .iter()
        .map(|message| {
            let alone = engine.layout(std::slice::from_ref(message)).ok().and_then(|layout| layout.tokens.ok());
            format!("{} {}", message.role.as_str(), alone.map_or("?".to_owned(), |tokens| tokens.to_string()))
        })
        .collect();
    let total = layout.tokens.map_or_else(|refusal| format!("refused: {refusal}"), |tokens| format!("{tokens} tokens"));
    let mut text: String = texts.collect();
    text += &format!("\n\n({total}; each message alone with its template: {})\n", counts.join(", "));
    Ok(text)
}

#[cfg(not(feature = "llm"))]
fn laid_out(_: &std::path::Path, arguments: &Show, _: &[Message]) -> Result<String> {
    arguments.engine.settings()?;
    Err(crate::experiment::ExperimentError::NoGenerator.into())
}
