//! `nearmiss import`: a BEIR folder from MS MARCO or TREC files.

use super::progress::say;
use crate::data::Reading;
use crate::data::import::{Forms, import};
use crate::experiment::stages::Workplace;
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Passages, by tabs: id text, id title text, or id url title text. Every file may be .gz or .zst.
    #[arg(long, value_name = "FILE.tsv", required_unless_present = "text_triples")]
    pub collection: Option<PathBuf>,
    /// Queries, by tabs: id text. Several files are one set.
    #[arg(long, value_name = "FILE.tsv", num_args = 1.., required_unless_present = "text_triples")]
    pub queries: Vec<PathBuf>,
    /// Judgements of a split in TREC form: query 0 passage grade. Once for each split.
    #[arg(long, value_name = "SPLIT=FILE", value_parser = split_and_file)]
    pub qrels: Vec<(String, PathBuf)>,
    /// Triples of ids: query positive negative. The negatives become candidates in <DIR>/triples.jsonl, the positives
    /// judgements of the split, unless --qrels brings that split.
    #[arg(long, value_name = "SPLIT=FILE", value_parser = split_and_file)]
    pub triples: Option<(String, PathBuf)>,
    /// Triples of texts: query positive negative, by tabs; instead of all other files.
    #[arg(long, value_name = "SPLIT=FILE", value_parser = split_and_file,
          conflicts_with_all = ["collection", "queries", "qrels", "triples"])]
    pub text_triples: Option<(String, PathBuf)>,
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

fn split_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\', '.']);
    match text.split_once('=') {
        Some((split, file)) if plain(split) && !file.is_empty() => Ok((split.to_owned(), PathBuf::from(file))),
        _ => Err("expected SPLIT=FILE, for example train=qrels.train.tsv".to_owned()),
    }
}

pub(super) fn run(work: &Workplace<'_>, arguments: &Import) -> Result<()> {
    let forms = match (&arguments.text_triples, &arguments.collection) {
        (Some((split, path)), _) => Forms::TextTriples(split.clone(), path.clone()),
        (None, Some(collection)) => {
            if arguments.qrels.is_empty() && arguments.triples.is_none() {
                bail!(
                    "expected judgements, found neither --qrels nor --triples\n  hint: for example --qrels dev=qrels.dev.tsv"
                );
            }
            Forms::Files {
                collection: collection.clone(),
                queries: arguments.queries.clone(),
                qrels: arguments.qrels.clone(),
                triples: arguments.triples.clone(),
            }
        }
        (None, None) => bail!("expected --collection or --text-triples, found neither"),
    };
    let reading = Reading { watch: work.watch, skip_bad_lines: work.skip_bad_lines };
    let counts = import(&forms, &arguments.out, &reading)?;
    say(&format!(
        "{}: {} passages, {} queries, {} judgements, {} negatives{}",
        arguments.out.display(),
        counts.passages,
        counts.queries,
        counts.judgements,
        counts.negatives,
        if counts.rejected > 0 {
            format!("; {} bad lines passed over, in *.rejected.jsonl there", counts.rejected)
        } else {
            String::new()
        }
    ));
    Ok(())
}
