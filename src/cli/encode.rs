//! `nearmiss encode`: vectors of a collection's passages or queries, one row each, in a file.

use super::arguments::PromptArguments;
use super::commands::open_encoder;
use crate::data::{Provenance, atomic};
use crate::encode::Role;
use crate::experiment::stages::{self, Texts, Workplace};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;

/// Which texts of the collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Side {
    /// All passages of corpus.jsonl, in its order.
    Corpus,
    /// All queries of queries.jsonl, in its order.
    Queries,
}

#[derive(Debug, Args)]
pub(super) struct Encode {
    /// BEIR folder (corpus.jsonl, queries.jsonl).
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Encoder folder or name.
    #[arg(long, value_name = "DIR")]
    pub encoder: PathBuf,
    #[command(flatten)]
    pub prompts: PromptArguments,
    /// Which texts.
    #[arg(long, value_enum, default_value = "corpus")]
    pub texts: Side,
    /// The vectors to write; their rows' identifiers go to <FILE>.ids, one a line.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Embeds, or finds the vectors in the store, and writes them with their identifiers and provenance.
pub(super) fn encode(work: &Workplace<'_>, arguments: &Encode) -> Result<()> {
    let collection = work.collection(&arguments.data)?;
    let encoder = open_encoder(work, Some(&arguments.encoder), &arguments.prompts)?.context("no encoder")?;
    let queries: Vec<String> = collection.queries.iter().map(|query| query.text.clone()).collect();
    let (ids, texts): (Vec<String>, Texts<'_>) = match arguments.texts {
        Side::Corpus => {
            let ids = collection.corpus.ids().iter().map(ToString::to_string).collect();
            (ids, Texts::corpus(work, &collection))
        }
        Side::Queries => {
            let ids = collection.queries.iter().map(|query| query.id.to_string()).collect();
            (ids, Texts { storage: work.storage, ..Texts::listed("queries", Role::Query, &queries) })
        }
    };
    let embedded = stages::embed(work, &encoder, &texts)?;
    let vectors = embedded.vectors;
    let mut names = arguments.out.clone().into_os_string();
    names.push(".ids");
    let names = PathBuf::from(names);
    atomic::write_file(&names, |out| {
        ids.iter().try_for_each(|id| writeln!(out, "{id}")).map_err(crate::data::Error::io("write", &names))
    })?;
    vectors.write(&arguments.out)?;
    let settings = json!({"role": texts.role, "prompt": encoder.encoder.settings().prompt(texts.role), "pooling": encoder.encoder.settings().pooling, "device": work.device_name, "precision": work.precision, "storage": work.storage});
    let mut provenance =
        Provenance::new("encode", settings).input("encoder", encoder.digest).input("texts", texts.digest.clone());
    provenance.counts = json!(embedded.truncation);
    provenance.write_beside(&arguments.out)?;
    work.watch.note(&format!(
        "{}: {} vectors of {} values",
        arguments.out.display(),
        vectors.len(),
        vectors.dimension()
    ));
    Ok(())
}
