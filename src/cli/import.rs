//! `nearmiss import`: a BEIR folder from MS MARCO or TREC files, or candidates from the training files of other tools.

use super::export::{ExportMeasure, form};
use super::progress::say;
use crate::data::import::{Forms, import};
use crate::data::reading::Gate;
use crate::data::{Digest, Provenance, Reading};
use crate::experiment::stages::Workplace;
use crate::mix::export::{Form, Place};
use crate::mix::import::{self as candidates, Targets};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Passages, by tabs: id text, id title text, or id url title text. Every file may be .gz or .zst.
    #[arg(long, value_name = "FILE.tsv", required_unless_present_any = ["text_triples", "from"])]
    pub collection: Option<PathBuf>,
    /// Queries, by tabs: id text. Several files are one set.
    #[arg(long, value_name = "FILE.tsv", num_args = 1.., required_unless_present_any = ["text_triples", "from"])]
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
    /// Training instances of another tool, in this form of `nearmiss export`; their negatives become candidates.
    #[arg(long, value_name = "FORM", value_parser = form, requires_all = ["file", "data"],
          conflicts_with_all = ["collection", "queries", "qrels", "triples", "text_triples"])]
    pub from: Option<&'static Form>,
    /// With --from: the file, JSON lines or Parquet, or the folder of a form that has several.
    #[arg(long, value_name = "PATH", requires = "from")]
    pub file: Option<PathBuf>,
    /// With --from: the BEIR folder whose queries and passages they are about.
    #[arg(long, value_name = "DIR", requires = "from")]
    pub data: Option<PathBuf>,
    /// With --from: the source of the candidates. [default: the form's name]
    #[arg(long, value_name = "NAME", requires = "from")]
    pub source: Option<String>,
    /// With --from: what the file's scores are, if it has some.
    #[arg(long, value_enum, default_value = "cosine", requires = "from")]
    pub measure: ExportMeasure,
    /// The folder to make; with --from the candidates, FILE.jsonl, with the positives beside them.
    #[arg(long, value_name = "PATH")]
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
    if let (Some(form), Some(file), Some(data)) = (arguments.from, &arguments.file, &arguments.data) {
        return import_candidates(work, arguments, form, (file, data));
    }
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
        (None, None) => bail!("expected --collection, --text-triples or --from, found none"),
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

/// Candidates and positives from the file of another tool, with their provenance.
fn import_candidates(
    work: &Workplace<'_>,
    arguments: &Import,
    form: &'static Form,
    (file, data): (&Path, &Path),
) -> Result<()> {
    let collection = work.collection(data)?;
    let place = Place::of(file)?;
    let main = form.main_file(&place);
    let source = arguments.source.as_deref().unwrap_or(form.name);
    let how = candidates::Import { form, place: &place, source, measure: arguments.measure.into() };
    let mut gate = Gate::new(&main, work.skip_bad_lines);
    let positives = super::score::positives_beside(&arguments.out);
    let counts = how.run(&collection, &mut gate, &Targets { candidates: &arguments.out, positives: &positives })?;
    gate.into_rejected().write_beside(work.watch).context("cannot keep the bad lines")?;
    let settings =
        json!({"form": form.name, "source": source, "measure": how.measure, "skip_bad_lines": work.skip_bad_lines});
    let mut provenance = Provenance::new("import", settings)
        .input("corpus", collection.corpus_digest()?)
        .input("instances", Digest::of_file(&main)?);
    provenance.counts = json!(counts);
    provenance.write_beside(&arguments.out)?;
    say(&format!(
        "{}: {} negatives of {} rows, {} of them no passage of {}; {} positives, {} unknown ones left out\n  hint: \
         nearmiss filter drops what is judged a positive or stands twice",
        arguments.out.display(),
        counts.negatives,
        counts.rows,
        counts.unknown,
        data.display(),
        counts.positives,
        counts.unknown_positives,
    ));
    Ok(())
}
