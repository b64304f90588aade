//! BM25 on the command line: its settings, `index`, and `explain`.

use super::commands::print;
use crate::data::error::excerpt;
use crate::experiment::stages::{self, Workplace};
use crate::retrieve::bm25::{Explanation, FieldPart};
use crate::retrieve::{Bm25Settings, LengthRule, TitleRule};
use crate::text::AnalyserSettings;
use crate::text::analyser::{Stemming, StopWords};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::fmt::Write;
use std::path::PathBuf;

/// How BM25 scores.
#[derive(Debug, Args)]
#[command(next_help_heading = "BM25")]
pub(super) struct Bm25Arguments {
    /// Saturation of term frequency, from 0.
    #[arg(long, default_value_t = 0.9)]
    pub k1: f64,
    /// Length normalisation, 0 to 1.
    #[arg(long, default_value_t = 0.4)]
    pub b: f64,
    /// Passage lengths as they are, or rounded as Lucene stores them; published numbers carry that rounding.
    #[arg(long, value_enum, default_value = "exact")]
    pub length: Length,
    /// Titles as part of the text, or a field scored by itself.
    #[arg(long, value_enum, default_value = "flat")]
    pub title: Title,
    /// What a match in the title counts beside one in the body, with --title field.
    #[arg(long, default_value_t = 1.0)]
    pub title_weight: f64,
    /// How text becomes terms: english, another language (german, french ...), whitespace, or 2-grams and the like
    /// for languages without spaces.
    #[arg(long, default_value = "english")]
    pub analyser: AnalyserSettings,
    /// Stop list, instead of the analyser's: none, lucene, or a language.
    #[arg(long, value_name = "NAME")]
    pub stop_words: Option<StopWords>,
    /// Stemmer, instead of the analyser's: none, porter, or a language (english is Porter's second).
    #[arg(long, value_name = "NAME")]
    pub stemmer: Option<Stemming>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Length {
    Exact,
    Lucene,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Title {
    Flat,
    Field,
}

impl Bm25Arguments {
    pub fn settings(&self) -> Bm25Settings {
        let own = self.analyser;
        let analyser = AnalyserSettings {
            stop_words: self.stop_words.unwrap_or(own.stop_words),
            stemmer: self.stemmer.unwrap_or(own.stemmer),
            ..own
        };
        Bm25Settings {
            k1: self.k1,
            b: self.b,
            length: match self.length {
                Length::Exact => LengthRule::Exact,
                Length::Lucene => LengthRule::Lucene,
            },
            title: match self.title {
                Title::Flat => TitleRule::Flat,
                Title::Field => TitleRule::Field,
            },
            title_weight: self.title_weight,
            analyser,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Index {
    /// BEIR folder (corpus.jsonl, queries.jsonl, qrels/).
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// BEIR folder (corpus.jsonl, queries.jsonl, qrels/).
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Query, by its id.
    #[arg(long, value_name = "ID", required_unless_present = "text", conflicts_with = "text")]
    pub query: Option<String>,
    /// Query, by its text.
    #[arg(long)]
    pub text: Option<String>,
    /// Passage, by its id.
    #[arg(long, value_name = "ID")]
    pub doc: String,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Builds the index into the store, or says that it is there.
pub(super) fn index(work: &Workplace<'_>, arguments: &Index) -> Result<()> {
    let collection = work.collection(&arguments.data)?;
    let index = stages::bm25(work, &collection, &arguments.bm25.settings())?;
    work.watch.note(&format!("ready: {} passages, {} terms", index.len(), index.vocabulary()));
    Ok(())
}

/// Prints the parts of a score.
pub(super) fn explain(work: &Workplace<'_>, arguments: &Explain) -> Result<()> {
    let collection = work.collection(&arguments.data)?;
    let text = match (&arguments.text, &arguments.query) {
        (Some(text), _) => text.clone(),
        (None, id) => {
            let id = id.as_deref().unwrap_or_default();
            let query = collection.queries.get(id);
            query.with_context(|| format!("{}: no query {id} in queries.jsonl", arguments.data.display()))?.text.clone()
        }
    };
    let document = collection.corpus.get(&arguments.doc)?;
    let document = document
        .with_context(|| format!("{}: no passage {} in corpus.jsonl", arguments.data.display(), arguments.doc))?;
    let index = stages::bm25(work, &collection, &arguments.bm25.settings())?;
    let explanation = index.explain(&text, &document);
    if arguments.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&explanation)?));
    }
    print(&format!("query    {text}\npassage  {}\n\n{}", excerpt(&document.content(), 400), table(&explanation)))
}

/// The parts as a table, the formula's names at its head.
pub(super) fn table(explanation: &Explanation) -> String {
    let of = |part: &FieldPart| {
        format!(
            "{:>4} {:>8} {:>7.3} {:>6} {:>8.2} {:>7} {:>9.4}",
            part.count,
            part.frequency,
            part.idf,
            part.length,
            part.average,
            part.weight,
            part.weight * part.score
        )
    };
    let fields = explanation.terms.first().map_or(1, |term| term.fields.len());
    let names: &[&str] = if fields == 1 { &["text"] } else { &["title", "body"] };
    let width = explanation.terms.iter().map(|term| term.term.chars().count()).max().unwrap_or(0).max(4);
    let mut text = format!(
        "{:width$} {:5} {:>4} {:>8} {:>7} {:>6} {:>8} {:>7} {:>9}\n",
        "term", "field", "tf", "df", "idf", "length", "average", "weight", "adds"
    );
    for term in &explanation.terms {
        for (name, part) in names.iter().zip(&term.fields) {
            let times =
                if term.query_count > 1 { format!("  × {} in the query", term.query_count) } else { String::new() };
            let _ = writeln!(text, "{:width$} {name:5} {}{times}", term.term, of(part));
        }
    }
    if let Some(part) = explanation.terms.first().and_then(|term| term.fields.first()) {
        let _ = writeln!(text, "\n{} passages; score {:.6}", part.passages, explanation.score);
    } else {
        text.push_str("\nno term of the query is left after the analyser; score 0\n");
    }
    text
}
