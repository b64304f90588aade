//! `nearmiss why`: one query for a person: its positives, each candidate with scores as bars, what became of it and by
//! which rule, and how BM25 came to its score.

use super::arguments::Data;
use super::bm25::{Bm25Arguments, table};
use super::commands::print;
use crate::data::error::excerpt;
use crate::data::{Candidate, Collection, Instance, Passage, Scores, jsonl};
use crate::experiment::stages::{self, Workplace};
use crate::filter::Verdict;
use crate::negatives::screen::text_of;
use crate::negatives::{Entry, Fate, Task};
use anyhow::{Context, Result};
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Why {
    /// The query's id.
    pub query: String,
    #[command(flatten)]
    pub data: Data,
    /// Ledgers, as `mine` and `filter` write them; of a passage and source that stands in several, the last says what
    /// became of it.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE.ledger.jsonl")]
    pub ledger: Vec<PathBuf>,
    /// Instances, to show what was taken into training.
    #[arg(long, value_name = "FILE.jsonl")]
    pub instances: Option<PathBuf>,
    /// Scores of positives, as `score` writes them, to stand beside them.
    #[arg(long, num_args = 1.., value_name = "FILE.positives.jsonl")]
    pub positives: Vec<PathBuf>,
    /// Candidates shown of each source, the best ones first.
    #[arg(long, default_value_t = 10)]
    pub top: usize,
    /// Take the BM25 scores apart of so many passages.
    #[arg(long, default_value_t = 1)]
    pub explain: usize,
    #[command(flatten)]
    pub bm25: Bm25Arguments,
}

/// Prints the history of a query's candidates.
pub(super) fn run(work: &Workplace<'_>, arguments: &Why) -> Result<()> {
    let collection = work.collection(&arguments.data.data)?;
    let tasks = Task::all(&collection, &collection.qrels(&arguments.data.split)?)?;
    let task = tasks
        .iter()
        .find(|task| task.query.id.as_str() == arguments.query)
        .with_context(|| format!("no query {} with a positive in split {}", arguments.query, arguments.data.split))?;
    let entries = history(arguments)?;
    let used = used(arguments)?;
    let mut text = format!("query {}  {}\n\n", task.query.id, task.query.text);
    let scored = positives(arguments)?;
    let known = entries.iter().map(|entry| &entry.candidate).chain(&scored);
    let highest = known.filter_map(|candidate| candidate.scores.bm25).fold(0.0_f32, f32::max);
    for positive in &task.positives {
        let _ = writeln!(text, "positive {}  {}", positive.id, excerpt(&positive.content(), 100));
        let passage = Passage::Corpus(positive.id.clone());
        if let Some(one) = scored.iter().find(|one| one.passage == passage) {
            let _ = writeln!(text, "       {}", bars(&one.scores, highest));
        }
    }
    let mut sources: Vec<&str> = entries.iter().map(|entry| entry.candidate.source.as_str()).collect();
    sources.dedup();
    for source in sources {
        let own: Vec<&Entry> = entries.iter().filter(|entry| entry.candidate.source == source).collect();
        let _ = writeln!(text, "\n{source}: {} candidates", own.len());
        for entry in own.iter().take(arguments.top) {
            let passage = excerpt(&text_of(&entry.candidate, &collection.corpus)?, 60);
            let taken = if used.contains(&entry.candidate.passage) { "  in training" } else { "" };
            let _ = writeln!(
                text,
                "{:>5}  {:24} {:34} {}{taken}\n       {passage}",
                entry.candidate.rank,
                entry.candidate.passage.to_string(),
                bars(&entry.candidate.scores, highest),
                fate(entry)
            );
        }
        if own.len() > arguments.top {
            let _ = writeln!(text, "       and {} more", own.len() - arguments.top);
        }
    }
    text.push_str(&explained(work, arguments, (&collection, task), &entries)?);
    print(&text)
}

/// The query's entries by source as they came in, each passage of a source once, with the last fate.
fn history(arguments: &Why) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for path in &arguments.ledger {
        for entry in jsonl::read::<Entry>(path)? {
            let new = &entry.candidate;
            if new.query.as_str() != arguments.query {
                continue;
            }
            let same = |old: &Candidate| old.passage == new.passage && old.source == new.source;
            match entries.iter_mut().find(|old| same(&old.candidate)) {
                Some(old) => *old = entry,
                None => entries.push(entry),
            }
        }
    }
    entries.sort_by_key(|entry| (entry.candidate.source.clone(), entry.candidate.rank));
    Ok(entries)
}

/// The query's positives with their scores, where files have them.
fn positives(arguments: &Why) -> Result<Vec<Candidate>> {
    let mut all = Vec::new();
    for path in &arguments.positives {
        all.extend(jsonl::read::<Candidate>(path)?.into_iter().filter(|one| one.query.as_str() == arguments.query));
    }
    Ok(all)
}

fn used(arguments: &Why) -> Result<Vec<Passage>> {
    let Some(path) = &arguments.instances else { return Ok(Vec::new()) };
    let instances = jsonl::read::<Instance>(path)?;
    let own = instances.into_iter().filter(|instance| instance.query_id.as_str() == arguments.query);
    Ok(own.flat_map(|instance| instance.negatives).map(|negative| negative.passage).collect())
}

fn fate(entry: &Entry) -> String {
    let forced = entry.candidate.provenance.get("forced").and_then(|reason| reason.as_str());
    forced.map_or_else(|| ruled(entry), |reason| format!("{} (forced: {reason})", ruled(entry)))
}

fn ruled(entry: &Entry) -> String {
    match (&entry.verdict, entry.fate) {
        (Verdict::Drop(found), _) => {
            format!("dropped by {}: {} (bound {})", found.rule, rounded(found.measured), rounded(found.bound))
        }
        (Verdict::Mark(found), fate) => format!("{fate:?}, marked by {}", found.rule).to_lowercase(),
        (Verdict::Keep, Fate::Spare) => "kept by every rule, not taken".to_owned(),
        (Verdict::Keep, _) => "proposed".to_owned(),
    }
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Each known score as a bar of ten and its value; BM25 in shares of the `highest`.
fn bars(scores: &Scores, highest: f32) -> String {
    let share = |value: f32, of: f32| if of > 0.0 { (value / of).clamp(0.0, 1.0) } else { 0.0 };
    let parts = [("bm25", scores.bm25, highest), ("cosine", scores.cosine, 1.0), ("relevance", scores.relevance, 1.0)];
    let known = parts.into_iter().filter_map(|(name, score, of)| Some((name, score?, of)));
    let shown: Vec<String> =
        known.map(|(name, score, of)| format!("{name} {} {score:.3}", bar(share(score, of)))).collect();
    shown.join("  ")
}

fn bar(share: f32) -> String {
    let full = (0..10).filter(|&tenth| share > (tenth as f32 + 0.5) / 10.0).count();
    format!("{}{}", "█".repeat(full), "·".repeat(10 - full))
}

fn explained(
    work: &Workplace<'_>,
    arguments: &Why,
    (collection, task): (&Collection, &Task),
    entries: &[Entry],
) -> Result<String> {
    let mut text = String::new();
    let kept = entries.iter().filter(|entry| entry.fate != Fate::Dropped);
    let passages = kept.filter_map(|entry| match &entry.candidate.passage {
        Passage::Corpus(id) if entry.candidate.scores.bm25.is_some() => Some(id),
        _ => None,
    });
    let passages: Vec<_> = passages.take(arguments.explain).collect();
    if passages.is_empty() {
        return Ok(text);
    }
    let index = stages::bm25(work, collection, &arguments.bm25.settings())?;
    for id in passages {
        let document = collection.corpus.get(id.as_str())?.with_context(|| format!("no passage {id} in the corpus"))?;
        let _ = write!(text, "\nBM25 of {id}\n{}", table(&index.explain(&task.query.text, &document)));
    }
    Ok(text)
}
