//! `nearmiss filter`: candidates through the rules; what stays, the ledger of all, and the waterfall of each source.

use super::arguments::{Data, PromptArguments};
use super::commands::open_encoder;
use super::mine::{BarName, ledger_beside};
use super::score::{judges_of_all, positives_beside, read_candidates};
use crate::data::{Candidate, Digest, Fault, Passage, Provenance, QueryId, jsonl};
use crate::experiment::chain::GaugeChoice;
use crate::experiment::relevance::{Standing, admit, stamp};
use crate::experiment::scoring::Embedded;
use crate::experiment::stages::Workplace;
use crate::filter::{FilterSettings, Filters, Leakage, Measure, Preset, Switch, TestData};
use crate::negatives::screen::{Evidence, screen};
use crate::negatives::{Fate, Task};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Filter {
    #[command(flatten)]
    pub data: Data,
    /// Candidate files; where two candidates are copies, the one that comes first stays.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE.jsonl")]
    pub candidates: Vec<PathBuf>,
    /// Scores of the positives, as `nearmiss score` writes them. [default: those beside the candidate files]
    #[arg(long, value_name = "FILE.jsonl")]
    pub positives: Option<PathBuf>,
    /// The score that bounds and margins are for.
    #[arg(long, value_enum, default_value = "cosine")]
    pub measure: MeasureName,
    /// A margin by NV-Retriever's name: topk-percpos-0.95 or topk-marginpos-0.05.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["absolute_margin", "relative_margin"])]
    pub preset: Option<Preset>,
    /// Candidates stay so much below the positive.
    #[arg(long)]
    pub absolute_margin: Option<f32>,
    /// The same as a share of the positive's score.
    #[arg(long)]
    pub relative_margin: Option<f32>,
    /// Which of several positives margins are measured from.
    #[arg(long, value_enum, default_value = "lowest")]
    pub bar: BarName,
    /// Highest score kept.
    #[arg(long, allow_negative_numbers = true)]
    pub max_score: Option<f32>,
    /// Lowest score kept.
    #[arg(long, allow_negative_numbers = true)]
    pub min_score: Option<f32>,
    /// Best ranks dropped.
    #[arg(long)]
    pub range_min: Option<u32>,
    /// Last rank kept.
    #[arg(long)]
    pub range_max: Option<u32>,
    /// Lowest probability of relevance dropped.
    #[arg(long)]
    pub max_relevance: Option<f32>,
    /// Believe a judge whose held-out AUC is below 0.8; candidates and provenance are stamped with it.
    #[arg(long)]
    pub force: bool,
    /// Least length in lengths of the positives.
    #[arg(long)]
    pub min_length_ratio: Option<f32>,
    /// Greatest length in lengths of the positives.
    #[arg(long)]
    pub max_length_ratio: Option<f32>,
    /// Drop other languages than the positives'.
    #[arg(long)]
    pub language: bool,
    /// Drop the passage with the query's id.
    #[arg(long)]
    pub same_id: bool,
    /// Share of common word triples from which a passage is a copy; 0 keeps copies.
    #[arg(long, default_value_t = 0.9)]
    pub near_duplicate: f32,
    /// Cosine from which a passage is a copy; needs --encoder.
    #[arg(long, requires = "encoder")]
    pub near_cosine: Option<f32>,
    /// Encoder folder or name, for --near-cosine.
    #[arg(long, value_name = "DIR")]
    pub encoder: Option<PathBuf>,
    #[command(flatten)]
    pub prompts: PromptArguments,
    /// Bound of a rule that has no option of its own.
    #[arg(long = "bound", value_name = "RULE=NUMBER", value_delimiter = ',', value_parser = bound)]
    pub bounds: Vec<(String, f32)>,
    /// Strings that answer queries: lines of {"query": id, "answers": [..]}; passages that hold one are dropped.
    #[arg(long, value_name = "FILE.jsonl")]
    pub answers: Option<PathBuf>,
    /// Split that must not get into training.
    #[arg(long, value_name = "SPLIT")]
    pub test_split: Option<String>,
    /// What becomes of candidates with data of --test-split.
    #[arg(long, value_enum, default_value = "mark")]
    pub leakage: LeakageName,
    /// The candidates to write; the ledger stands beside them as FILE.ledger.jsonl.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MeasureName {
    Cosine,
    Bm25,
    Relevance,
}

impl From<MeasureName> for Measure {
    fn from(name: MeasureName) -> Self {
        match name {
            MeasureName::Cosine => Self::Cosine,
            MeasureName::Bm25 => Self::Bm25,
            MeasureName::Relevance => Self::Relevance,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LeakageName {
    Mark,
    Block,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    query: QueryId,
    answers: Vec<String>,
}

fn bound(text: &str) -> Result<(String, f32), String> {
    let parted = text.split_once('=').and_then(|(rule, bound)| Some((rule.to_owned(), bound.parse().ok()?)));
    parted.ok_or_else(|| "expected RULE=NUMBER".to_owned())
}

impl Filter {
    fn settings(&self) -> FilterSettings {
        let switch = |on| if on { Switch::On } else { Switch::Off };
        FilterSettings {
            measure: self.measure.into(),
            preset: self.preset,
            same_id: switch(self.same_id),
            range_min: self.range_min,
            range_max: self.range_max,
            absolute_margin: self.absolute_margin,
            relative_margin: self.relative_margin,
            bar: self.bar.into(),
            max_score: self.max_score,
            min_score: self.min_score,
            max_relevance: self.max_relevance,
            min_length_ratio: self.min_length_ratio,
            max_length_ratio: self.max_length_ratio,
            language: switch(self.language),
            answers: switch(self.answers.is_some()),
            near_duplicate: Some(self.near_duplicate).filter(|&share| share != 0.0),
            near_cosine: self.near_cosine,
            leakage: self.test_split.as_ref().map(|_| match self.leakage {
                LeakageName::Mark => Leakage::Mark,
                LeakageName::Block => Leakage::Block,
            }),
            bounds: self.bounds.iter().cloned().collect(),
            ..FilterSettings::default()
        }
    }

    /// Files with the scores of positives.
    fn positives(&self) -> Vec<PathBuf> {
        match &self.positives {
            Some(path) => vec![path.clone()],
            None => self.candidates.iter().map(|path| positives_beside(path)).filter(|path| path.is_file()).collect(),
        }
    }
}

/// Filters and writes.
pub(super) fn run(work: &Workplace<'_>, arguments: &Filter) -> Result<()> {
    let settings = arguments.settings();
    if let Err((key, expected, found)) = settings.check() {
        bail!("--{}: expected {expected}, found {found}", key.replace('_', "-"));
    }
    let collection = work.collection(&arguments.data.data)?;
    let tasks = Task::all(&collection, &collection.qrels(&arguments.data.split)?)?;
    let told = json!({"filters": settings, "split": arguments.data.split, "test_split": arguments.test_split});
    let provenance = Provenance::new("filter", told)
        .input("corpus", collection.corpus_digest()?)
        .input("split", collection.split_digest(&arguments.data.split)?);
    let (candidates, mut provenance) = read_candidates(&arguments.candidates, provenance)?;
    let mut evidence = Evidence { measure: settings.measure, ..Evidence::default() };
    for path in arguments.positives() {
        for one in jsonl::read::<Candidate>(&path)? {
            if let Passage::Corpus(id) = one.passage {
                evidence.positives.insert((one.query, id), one.scores);
            }
        }
        provenance = provenance.input("positives", Digest::of_file(&path)?);
    }
    check_scores(&settings, &candidates, &evidence)?;
    let judges = judges_of_all(&arguments.candidates)?;
    provenance.settings["judges"] = json!(judges);
    let forced = if settings.trusts_relevance() { believed(work, arguments, &judges)? } else { None };
    if let Some(reason) = &forced {
        provenance.settings["forced"] = json!(reason);
    }
    if let Some(path) = &arguments.answers {
        evidence.answers = jsonl::read::<Answers>(path)?.into_iter().map(|one| (one.query, one.answers)).collect();
        provenance = provenance.input("answers", Digest::of_file(path)?);
    }
    if let Some(split) = &arguments.test_split {
        let test = Task::all(&collection, &collection.qrels(split)?)?;
        let texts = |task: &Task| task.positives.iter().map(crate::data::Document::content).collect();
        evidence.test = Some(TestData::new(test.iter().map(|task| (task.query.text.as_str(), texts(task)))));
        provenance = provenance.input("test", collection.split_digest(split)?);
    }
    if let Some(encoder) =
        open_encoder(work, arguments.encoder.as_deref(), &arguments.prompts)?.filter(|_| settings.near_cosine.is_some())
    {
        let embedded = Embedded::new(work, &encoder, &collection, (&tasks, &candidates))?;
        evidence.vectors = embedded.unit_vectors(&collection, &tasks, &candidates);
        provenance = provenance.input("encoder", encoder.digest);
    }
    let mut screened = screen(&tasks, candidates, &collection.corpus, &Filters::new(&settings), &evidence)?;
    if let Some(reason) = &forced {
        screened.entries.iter_mut().for_each(|entry| stamp(&mut entry.candidate, reason));
    }
    for (source, lines) in &screened.waterfalls {
        work.watch.note(&format!("{source}:\n{lines}"));
    }
    let kept = screened.entries.iter().filter(|entry| entry.fate != Fate::Dropped).map(|entry| &entry.candidate);
    jsonl::write(&arguments.out, kept)?;
    let ledger = ledger_beside(&arguments.out);
    jsonl::write(&ledger, &screened.entries)?;
    provenance.counts = serde_json::to_value(&screened.waterfalls)?;
    provenance.write_beside(&arguments.out)?;
    let kept: u64 = screened.waterfalls.values().map(|lines| lines.kept).sum();
    work.watch.note(&format!(
        "{}: {kept} of {} candidates; ledger: {}",
        arguments.out.display(),
        screened.entries.len(),
        ledger.display()
    ));
    Ok(())
}

/// What `--force` overrules, where thresholds are on the relevance of these judges.
fn believed(work: &Workplace<'_>, arguments: &Filter, judges: &[Standing]) -> Result<Option<String>> {
    let choice = if arguments.force { GaugeChoice::Force } else { GaugeChoice::Obey };
    let forced = admit(judges, choice)?;
    match (&forced, judges) {
        (Some(reason), _) => work.watch.note(&format!("forced: {reason}")),
        (None, []) => work.watch.note("relevance: the candidates' provenance names no judge, so its AUC is unknown"),
        (None, all) => all.iter().for_each(|one| work.watch.note(&one.line())),
    }
    Ok(forced)
}

/// Bounds that nothing can be measured by would keep everything without a word.
fn check_scores(settings: &FilterSettings, candidates: &[Candidate], evidence: &Evidence) -> Result<()> {
    let (margin, bound) = (settings.has_margin(), settings.measures());
    let measure = evidence.measure;
    let fault = |expected: String, found: &str| -> Result<()> {
        Err(crate::data::Error::from(
            Fault::new(Path::new("the candidates"), expected, found)
                .hint("run nearmiss score first, with --encoder for cosines, with --cross-encoder for relevance"),
        )
        .into())
    };
    if bound && !candidates.iter().any(|candidate| measure.of(&candidate.scores).is_some()) {
        return fault(format!("a {measure:?} score, which the bounds are for").to_lowercase(), "none in any candidate");
    }
    let relevant = candidates.iter().any(|candidate| candidate.scores.relevance.is_some());
    if settings.max_relevance.is_some() && !relevant {
        return fault("a relevance, which --max-relevance is for".to_owned(), "none in any candidate");
    }
    if margin && !evidence.positives.values().any(|scores| measure.of(scores).is_some()) {
        return fault(format!("a {measure:?} score of the positives, which the margin is from").to_lowercase(), "none");
    }
    Ok(())
}
