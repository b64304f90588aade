//! From a model's name to files on this machine; never to the network.

use crate::data::Fault;
use std::path::{Path, PathBuf};

/// Where models may lie, in the order they are looked for.
#[derive(Debug, Clone, Default)]
pub struct ModelPlaces {
    /// Folder with one folder per bundled model.
    pub bundled: Option<PathBuf>,
    /// Root of the Hugging Face cache (`HF_HUB_CACHE`, or `hub` under `HF_HOME`).
    pub hub_cache: Option<PathBuf>,
}

impl ModelPlaces {
    /// The folder of the encoder `name`: itself when it is a folder, else a bundled model, else a snapshot in the cache:
    /// of its branch `main`, or of the branch, tag or commit that stands behind an `@`.
    ///
    /// # Errors
    /// [`Fault`] that names every place that was looked at.
    pub fn encoder(&self, name: &Path) -> Result<PathBuf, Fault> {
        if name.join("config.json").is_file() {
            return Ok(name.to_owned());
        }
        let mut looked = vec![format!("{}", name.join("config.json").display())];
        if let Some(folder) = self.bundled.as_ref().map(|bundled| bundled.join(name)) {
            if folder.join("config.json").is_file() {
                return Ok(folder);
            }
            looked.push(format!("{}", folder.display()));
        }
        let mut hint =
            "give the folder of a sentence-transformers or Hugging Face model that lies on this machine".to_owned();
        if let (Some(cache), Some(text)) = (&self.hub_cache, name.to_str()) {
            let (model, revision) = text.split_once('@').unwrap_or((text, "main"));
            if let Some(folder) = snapshot(cache, model, revision) {
                if folder.join("config.json").is_file() {
                    return Ok(folder);
                }
                looked.push(format!("{}", folder.display()));
            } else {
                looked.push(format!("the cache in {}", cache.display()));
            }
            if is_hub_name(model) && !name.is_dir() {
                hint += &format!(", or fetch it: nearmiss pull {text}");
            }
        }
        Err(Fault::new(name, "an encoder folder with config.json", format!("none (looked for {})", looked.join(", ")))
            .hint(hint))
    }
}

/// True for names such as `org/model` and `model`, which a hub may have.
#[must_use]
pub fn is_hub_name(name: &str) -> bool {
    let part = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part.chars().all(known) && !part.starts_with(['.', '-']) && !part.contains("..")
    };
    name.len() <= 96 && name.split('/').count() <= 2 && name.split('/').all(part)
}

/// The folder of a model in a cache: `models--org--name`.
#[must_use]
pub fn repository(cache: &Path, model: &str) -> PathBuf {
    cache.join(format!("models--{}", model.replace('/', "--")))
}

/// The snapshot that `revision` (a branch, tag or commit) of `model` stands for, if the cache has it.
fn snapshot(cache: &Path, model: &str, revision: &str) -> Option<PathBuf> {
    if !is_hub_name(model) || revision.is_empty() || revision.contains("..") {
        return None;
    }
    let repository = repository(cache, model);
    let commit = std::fs::read_to_string(repository.join("refs").join(revision));
    let commit = commit.map_or_else(|_| revision.to_owned(), |text| text.trim().to_owned());
    // What a ref holds comes from elsewhere: it names one folder, not a path.
    let single = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
    Some(repository.join("snapshots").join(commit)).filter(|folder| single && folder.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_the_cache_by_its_ref_or_commit() -> Result<(), Box<dyn std::error::Error>> {
        let cache = tempfile::tempdir()?;
        let repository = cache.path().join("models--org--tiny");
        for (reference, commit) in [("main", "abc"), ("v2", "def")] {
            let snapshot = repository.join("snapshots").join(commit);
            std::fs::create_dir_all(&snapshot)?;
            std::fs::create_dir_all(repository.join("refs"))?;
            std::fs::write(repository.join("refs").join(reference), commit)?;
            std::fs::write(snapshot.join("config.json"), "{}")?;
        }
        let places = ModelPlaces { bundled: None, hub_cache: Some(cache.path().to_owned()) };
        for (name, commit) in [("org/tiny", "abc"), ("org/tiny@v2", "def"), ("org/tiny@def", "def")] {
            assert_eq!(places.encoder(Path::new(name))?, repository.join("snapshots").join(commit), "{name}");
        }
        for name in ["org/other", "org/tiny@v3", "org/tiny@../../x", "../org/tiny"] {
            let error = places.encoder(Path::new(name)).err().ok_or("found")?.to_string();
            assert!(error.contains(name) && error.contains("the cache in"), "{error}");
        }
        std::fs::write(repository.join("refs/main"), "../../..")?;
        assert!(places.encoder(Path::new("org/tiny")).is_err(), "a ref that leads elsewhere");
        let error = places.encoder(Path::new("org/other")).err().ok_or("found")?.to_string();
        assert!(error.contains("nearmiss pull org/other"), "{error}");
        Ok(())
    }
}
