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
    /// The folder of the encoder `name`: itself when it is a folder, else a bundled model, else a snapshot in the cache.
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
        if let (Some(cache), Some(text)) = (&self.hub_cache, name.to_str()) {
            let repository = hf_hub::Cache::new(cache.clone()).model(text.to_owned());
            if let Some(folder) = repository.get("config.json").as_deref().and_then(Path::parent) {
                return Ok(folder.to_owned());
            }
            looked.push(format!("the cache in {}", cache.display()));
        }
        Err(Fault::new(name, "an encoder folder with config.json", format!("none (looked for {})", looked.join(", ")))
            .hint("give the folder of a sentence-transformers or Hugging Face BERT model that lies on this machine"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_the_cache_by_its_ref() -> Result<(), Box<dyn std::error::Error>> {
        let cache = tempfile::tempdir()?;
        let repository = cache.path().join("models--org--tiny");
        let snapshot = repository.join("snapshots/abc");
        std::fs::create_dir_all(&snapshot)?;
        std::fs::create_dir_all(repository.join("refs"))?;
        std::fs::write(repository.join("refs/main"), "abc")?;
        std::fs::write(snapshot.join("config.json"), "{}")?;
        let places = ModelPlaces { bundled: None, hub_cache: Some(cache.path().to_owned()) };
        assert_eq!(places.encoder(Path::new("org/tiny"))?, snapshot);
        let error = places.encoder(Path::new("org/other")).err().ok_or("found")?.to_string();
        assert!(error.contains("org/other") && error.contains("the cache in"), "{error}");
        Ok(())
    }
}
