//! `nearmiss eval`: TREC runs against judgements, and against each other.

use super::commands::print;
use super::progress::say;
use crate::data::{Digest, Error, Fault, Provenance, Qrels, RunFile, Seed, atomic};
use crate::eval::dialect::copies;
use crate::eval::significance::Settings;
use crate::eval::{Dialect, Evaluation, Metric, Rules, compare, evaluate};
use crate::experiment::stages::Workplace;
use crate::report::scores::{Scores, Style};
use anyhow::{Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Eval {
    /// BEIR folder with the judgements; its texts tell whether a query is itself a passage.
    #[arg(long, value_name = "DIR", requires = "split", required_unless_present = "qrels", conflicts_with = "qrels")]
    data: Option<PathBuf>,
    /// Split of the folder.
    #[arg(long, requires = "data")]
    split: Option<String>,
    /// Judgements alone, in TREC's or BEIR's form, instead of --data and --split.
    #[arg(long, value_name = "FILE")]
    qrels: Option<PathBuf>,
    /// TREC runs; may be given several times.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE.trec")]
    run: Vec<PathBuf>,
    /// Metrics: ndcg, map, mrr, recall, precision, success, `r_precision`, judged, hole; with @k those of the best k.
    #[arg(long, value_delimiter = ',', default_value = "ndcg@10,recall@100,mrr@10,map", value_name = "NAME@K,NAME@K")]
    metrics: Vec<Metric>,
    /// Whose rules: which queries count, what is done with a query's own passage, ties, gains.
    #[arg(long, default_value = Dialect::default().name(), value_parser = dialects(), value_name = "NAME")]
    dialect: Dialect,
    /// Lowest grade that is relevant (`trec_eval`'s -l).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..), value_name = "GRADE")]
    relevant_from: i32,
    /// Which pairs of runs are compared.
    #[arg(long, value_enum, default_value = "all")]
    compare: Pairs,
    /// Level of significance of the marks; intervals cover 1 - alpha.
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    alpha: f64,
    /// Sign patterns drawn by the randomisation test where they cannot all be counted.
    #[arg(long, default_value_t = Settings::default().draws, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    draws: u32,
    /// Resamples of the bootstrap.
    #[arg(long, default_value_t = Settings::default().resamples, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    resamples: u32,
    /// Seed of both.
    #[arg(long, default_value_t = Seed(1))]
    seed: Seed,
    /// Also write the values of every query: a table (.tsv) or records (.json).
    #[arg(long, value_name = "FILE", value_parser = tsv_or_json)]
    per_query: Option<PathBuf>,
    /// How tables are written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Print JSON with the values of every query instead of tables.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// Which runs are compared with which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pairs {
    /// Every run with every other.
    All,
    /// Every run with the first: fewer comparisons to correct for.
    First,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Markdown,
    Latex,
}

impl From<Format> for Style {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Markdown => Self::Markdown,
            Format::Latex => Self::Latex,
        }
    }
}

fn dialects() -> impl TypedValueParser<Value = Dialect> {
    let known = Dialect::ALL.map(|dialect| PossibleValue::new(dialect.name()).help(dialect.differs()));
    PossibleValuesParser::new(known).try_map(|name| name.parse::<Dialect>())
}

fn tsv_or_json(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let known = path.extension().is_some_and(|ending| ending == "tsv" || ending == "json");
    if known { Ok(path) } else { Err("expected a file that ends in .tsv or .json".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|&share: &f64| share > 0.0 && share < 1.0);
    share.ok_or_else(|| "expected a number above 0 and below 1".to_owned())
}

/// Scores the runs, compares them, prints, and writes what was asked for.
pub(super) fn run(work: &Workplace<'_>, arguments: &Eval) -> Result<()> {
    let (qrels, rules) = judgements(work, arguments)?;
    let mut metrics = arguments.metrics.clone();
    let mut seen = HashSet::new();
    metrics.retain(|metric| seen.insert(*metric));
    let mut evaluations = Vec::new();
    for path in &arguments.run {
        evaluations.push(score(path, &qrels, &metrics, &rules)?);
    }
    let count = evaluations.len();
    let pairs: Vec<(usize, usize)> = match arguments.compare {
        Pairs::All => (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second))).collect(),
        Pairs::First => (1..count).map(|second| (0, second)).collect(),
    };
    let settings = Settings {
        draws: arguments.draws,
        resamples: arguments.resamples,
        confidence: 1.0 - arguments.alpha,
        seed: arguments.seed,
    };
    let comparisons = compare(&evaluations, &pairs, &metrics, &settings);
    if comparisons.len() < pairs.len() * metrics.len() {
        say("pairs of runs that share fewer than two queries are not compared");
    }
    if let Some(path) = &arguments.per_query {
        write_per_query(path, arguments, &evaluations, &metrics)?;
    }
    let names = names(&arguments.run);
    let scores = Scores {
        names: &names,
        evaluations: &evaluations,
        metrics: &metrics,
        comparisons: &comparisons,
        alpha: arguments.alpha,
    };
    if arguments.json {
        let runs: Vec<_> =
            arguments.run.iter().zip(&evaluations).map(|(run, e)| json!({"run": run, "evaluation": e})).collect();
        let all = json!({
            "dialect": rules.dialect,
            "relevant_from": rules.relevant_from,
            "runs": runs,
            "significance": settings,
            "comparisons": comparisons,
        });
        return print(&format!("{}\n", serde_json::to_string_pretty(&all)?));
    }
    print(&page(&scores, &rules, &settings, arguments))
}

/// The judgements, and the rules with what the collection knows of its queries.
fn judgements(work: &Workplace<'_>, arguments: &Eval) -> Result<(Qrels, Rules)> {
    let mut rules = Rules { relevant_from: arguments.relevant_from, ..Rules::new(arguments.dialect) };
    let qrels = match (&arguments.data, &arguments.split, &arguments.qrels) {
        (Some(data), Some(split), _) => {
            let collection = work.collection(data)?;
            let qrels = collection.qrels(split)?;
            rules.copies = copies(&collection, &qrels)?;
            qrels
        }
        (_, _, Some(path)) => {
            let qrels = Qrels::read(path)?;
            if qrels.is_empty() {
                return Err(Error::from(Fault::new(path, "at least one judgement", "none")).into());
            }
            qrels
        }
        _ => bail!("expected --data with --split, or --qrels"),
    };
    Ok((qrels, rules))
}

/// The scores of the run in `path`; what a mean hides is said.
fn score(path: &Path, qrels: &Qrels, metrics: &[Metric], rules: &Rules) -> Result<Evaluation> {
    let file = RunFile::read(path)?;
    let lists = file.lists()?;
    if lists.is_empty() {
        return Err(Error::from(Fault::new(path, "a TREC run", "an empty file")).into());
    }
    let found = evaluate(&lists, qrels, metrics, rules);
    if found.queries == 0 {
        let fault = Fault::new(path, "queries that are judged", "none")
            .hint("were run and judgements made from the same queries and split?");
        return Err(Error::from(fault).into());
    }
    let shown = path.display();
    let fate = |counts: bool| if counts { "count 0" } else { "are left out" };
    if found.missing > 0 {
        let (missing, all) = (found.missing, qrels.len() - found.unanswerable);
        let fate = fate(rules.dialect.counts_missing());
        say(&format!("{shown}: {missing} of {all} judged queries are not in the run and {fate}"));
    }
    if found.unanswerable > 0 {
        let fate = fate(rules.dialect.counts_unanswerable());
        say(&format!("{shown}: {} judged queries have no relevant passage and {fate}", found.unanswerable));
    }
    if found.unjudged > 0 {
        say(&format!("{shown}: {} queries of the run are not judged and do not count", found.unjudged));
    }
    if found.self_hits > 0 {
        say(&format!("{shown}: {} hits with their query's own id are removed", found.self_hits));
    }
    if found.self_hits_kept > 0 && rules.dialect == Dialect::Nearmiss {
        say(&format!(
            "{shown}: {} hits have their query's own id but not, as far as is known, its text, and are kept\n  hint: --dialect beir removes them; only --data gives texts to compare",
            found.self_hits_kept
        ));
    }
    Ok(found)
}

/// Both tables, and under them what they mean.
fn page(scores: &Scores<'_>, rules: &Rules, settings: &Settings, arguments: &Eval) -> String {
    let style = arguments.format.into();
    let mut text = scores.means(style);
    let mut notes = Vec::new();
    let (least, most) = scores
        .evaluations
        .iter()
        .fold((usize::MAX, 0), |(least, most), found| (least.min(found.queries), most.max(found.queries)));
    let queries = if least == most { format!("{most} queries") } else { format!("{least} to {most} queries") };
    notes.push(format!("{queries}; dialect {}: {}", rules.dialect, rules.dialect.differs()));
    if rules.relevant_from > 1 {
        notes.push(format!("relevant from grade {}", rules.relevant_from));
    }
    if !scores.comparisons.is_empty() {
        text.push('\n');
        text.push_str(&scores.comparisons(style));
        notes.extend(legend(scores, settings));
    }
    let (before, after) = match style {
        Style::Text => ("", "\n"),
        Style::Markdown => ("\n", "\n"),
        Style::Latex => ("% ", "\n"),
    };
    if style == Style::Text {
        text.push('\n');
    }
    for note in notes {
        text.push_str(&format!("{before}{note}{after}"));
    }
    text
}

fn legend(scores: &Scores<'_>, settings: &Settings) -> [String; 2] {
    let family = scores.comparisons.iter().filter(|c| c.metric == scores.comparisons[0].metric).count();
    let of = if family == 1 { "1 comparison".to_owned() } else { format!("the {family} comparisons") };
    let drawn = scores.comparisons.iter().any(|comparison| !comparison.exact);
    let how = if drawn {
        format!("{} draws, p = (b + 1) / (draws + 1), exact up to 30 queries that differ", settings.draws)
    } else {
        "exact: every sign pattern counted".to_owned()
    };
    [
        format!(
            "a letter beside a value: better than that run, randomisation test, Holm over {of} of a metric, below {}",
            scores.alpha
        ),
        format!(
            "p: Fisher's paired randomisation test, two-sided ({how}); p (t): paired t test; interval: percentile bootstrap of the mean difference, {} resamples, seed {}; w/t/l: queries better, equal, worse; d_z: mean difference / its standard deviation",
            settings.resamples, settings.seed
        ),
    ]
}

/// File names without ending where these differ, else the paths.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let stems: Vec<String> =
        paths.iter().map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned()).collect();
    let different: HashSet<&String> = stems.iter().collect();
    if different.len() == paths.len() {
        return stems;
    }
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// One row a run and query, with provenance beside the file.
fn write_per_query(path: &Path, arguments: &Eval, evaluations: &[Evaluation], metrics: &[Metric]) -> Result<()> {
    let rows = arguments.run.iter().zip(evaluations).flat_map(|(run, found)| {
        found.per_query.iter().map(move |(query, values)| (run.display().to_string(), query, values))
    });
    let text = if path.extension().is_some_and(|ending| ending == "json") {
        let records: Vec<_> =
            rows.map(|(run, query, values)| json!({"run": run, "query": query, "values": values})).collect();
        format!("{}\n", serde_json::to_string_pretty(&records)?)
    } else {
        let line = |cells: Vec<String>| format!("\t{}\n", cells.join("\t"));
        let mut text = format!("run\tquery{}", line(metrics.iter().map(Metric::to_string).collect()));
        for (run, query, values) in rows {
            text.push_str(&format!("{run}\t{query}"));
            text.push_str(&line(metrics.iter().map(|metric| values[metric].to_string()).collect()));
        }
        text
    };
    atomic::write_file(path, |out| out.write_all(text.as_bytes()).map_err(Error::io("write", path)))?;
    let settings = json!({
        "dialect": arguments.dialect,
        "relevant_from": arguments.relevant_from,
        "metrics": metrics,
        "split": arguments.split,
    });
    let mut provenance = Provenance::new("eval", settings);
    match (&arguments.data, &arguments.split, &arguments.qrels) {
        (Some(data), Some(split), _) => {
            provenance = provenance.input("qrels", Digest::of_file(&data.join("qrels").join(format!("{split}.tsv")))?);
        }
        (_, _, Some(qrels)) => provenance = provenance.input("qrels", Digest::of_file(qrels)?),
        _ => {}
    }
    for run in &arguments.run {
        provenance = provenance.input(&run.display().to_string(), Digest::of_file(run)?);
    }
    Ok(provenance.write_beside(path)?)
}
