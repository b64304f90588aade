//! `nearmiss pull`: a model from a Hugging Face hub into the cache, from where all commands find it by its name.

use super::commands::{model_places, print};
use crate::data::Watch;
use crate::model::pull::{Hub, Lock, is_wanted};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// Name of the model: org/model.
    pub name: String,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main", value_name = "NAME")]
    pub revision: String,
    /// Files to fetch, by their paths in the model. [default: those that an encoder is read from]
    #[arg(long, num_args = 1.., value_name = "PATH")]
    pub file: Vec<String>,
    /// Only print size, SHA-256 and address of each file, to be carried by hand.
    #[arg(long)]
    pub list: bool,
    /// Take what the revision stands for now, not the commit in the lock file.
    #[arg(long)]
    pub update: bool,
    /// File that keeps commit and SHA-256 of what was fetched.
    #[arg(long, default_value = "models/lock.json", value_name = "FILE")]
    pub lock: PathBuf,
}

/// Fetches, or prints what there is to fetch.
pub(super) fn run(watch: &dyn Watch, arguments: &Pull) -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if variable("HF_HUB_OFFLINE")
        .is_some_and(|value| !["0", "false", "no", "off"].contains(&value.to_lowercase().as_str()))
    {
        bail!(
            "HF_HUB_OFFLINE is set: nothing is fetched\n  hint: unset it, or carry the files by hand into models/{}",
            arguments.name
        );
    }
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
    let hub = Hub::new(&endpoint, variable("HF_TOKEN"));
    let mut lock = Lock::read(&arguments.lock)?;
    let locked = lock.get(&arguments.name, &arguments.revision).map(|locked| locked.commit.clone());
    let revision = locked.filter(|_| !arguments.update).unwrap_or_else(|| arguments.revision.clone());
    let wanted = |path: &str| {
        if arguments.file.is_empty() { is_wanted(path) } else { arguments.file.iter().any(|file| file == path) }
    };
    let mut listing = hub.list(&arguments.name, &revision, &wanted)?;
    listing.revision.clone_from(&arguments.revision);
    if let Some(missing) = arguments.file.iter().find(|file| listing.files.iter().all(|one| one.path != **file)) {
        bail!("--file: {} has no file {missing}", arguments.name);
    }
    if arguments.list {
        let line = |file: &crate::model::pull::RemoteFile| {
            let size = file.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
            format!("{size}\t{}\t{}\t{}\n", file.sha256.as_deref().unwrap_or("-"), file.path, file.address)
        };
        print(&listing.files.iter().map(line).collect::<String>())?;
        watch.note(&format!("on the other machine, put them under models/{} by these paths", arguments.name));
        return Ok(());
    }
    let cache = model_places().hub_cache.context("no place for the cache\n  hint: set HF_HUB_CACHE or HF_HOME")?;
    let snapshot = hub.fetch(&listing, &cache, &mut lock, watch)?;
    lock.write(&arguments.lock)?;
    watch.note(&format!(
        "{} at {}: {} files in {}",
        arguments.name,
        listing.commit,
        listing.files.len(),
        snapshot.display()
    ));
    Ok(())
}
