//! `nearmiss inspect`: what is in a BEIR folder, and what is wrong with it. Exit 1 when something is.

use super::Verdict;
use super::commands::print;
use crate::data::overview::{Finding, Overview, Spread, Texts, overview};
use crate::data::{Error, Fault};
use crate::experiment::stages::Workplace;
use crate::report::table::align;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// BEIR folder (corpus.jsonl, queries.jsonl, qrels/).
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(work: &Workplace<'_>, arguments: &Inspect) -> Result<Verdict> {
    if !arguments.data.is_dir() {
        let fault =
            Fault::new(&arguments.data, "a BEIR folder (corpus.jsonl, queries.jsonl, qrels/)", "no such folder");
        return Err(Error::from(fault).into());
    }
    let seen = overview(&arguments.data, work.watch)?;
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&seen)?))?;
    } else {
        print(&page(&seen))?;
    }
    Ok(if seen.is_sound() { Verdict::Passed } else { Verdict::Failed })
}

fn page(seen: &Overview) -> String {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut texts = vec![row(&["texts", "count", "empty", "repeated", "words", "characters"])];
    texts.push(of_texts("passages", &seen.passages));
    texts.push(of_texts("queries", &seen.queries));
    let mut page = format!("{}\n\n{}", seen.folder.display(), align(&texts));
    page += "words and characters: smallest / median / 95th percentile / largest\n";

    let mut splits =
        vec![row(&["split", "queries", "judgements", "relevant", "grades (pairs)", "queries without relevant"])];
    for split in &seen.splits {
        let grades: Vec<String> = split.grades.iter().map(|(grade, pairs)| format!("{grade} ({pairs})")).collect();
        let counts = [split.queries, split.judgements, split.relevant].map(|count| count.to_string());
        let mut cells = vec![split.name.clone()];
        cells.extend(counts);
        cells.extend([grades.join(", "), split.without_relevant.to_string()]);
        splits.push(cells);
    }
    page += &format!("\n{}", align(&splits));

    if !seen.overlaps.is_empty() {
        let mut overlaps = vec![row(&["in both", "queries", "relevant pairs", "query texts"])];
        for overlap in &seen.overlaps {
            let counts = [overlap.queries, overlap.pairs, overlap.texts].map(|count| count.to_string());
            overlaps.push(std::iter::once(overlap.splits.join(", ")).chain(counts).collect());
        }
        page += &format!("\n{}", align(&overlaps));
    }
    page += &of_findings("broken", &seen.defects);
    page += &of_findings("worth knowing", &seen.remarks);
    if seen.is_sound() {
        page += "\nnothing is broken\n";
    }
    page
}

fn of_texts(name: &str, texts: &Texts) -> Vec<String> {
    let spread = |s: Spread| format!("{} / {} / {} / {}", s.min, s.median, s.p95, s.max);
    let counts = [texts.count, texts.empty, texts.repeated].map(|count| count.to_string());
    std::iter::once(name.to_owned()).chain(counts).chain([spread(texts.words), spread(texts.characters)]).collect()
}

fn of_findings(title: &str, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{title}:\n");
    for finding in findings {
        let more = if finding.count > finding.examples.len() { ", ..." } else { "" };
        text += &format!("  {}: {} ({}{more})\n", finding.what, finding.count, finding.examples.join(", "));
    }
    text
}
