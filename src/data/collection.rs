//! A BEIR folder: where its files are, opened together.

use super::{Corpus, Digest, Error, Fault, Qrels, Queries, Result};
use std::path::{Path, PathBuf};

/// A collection: passages, queries, and judgements by split.
pub struct Collection {
    folder: PathBuf,
    /// All passages.
    pub corpus: Corpus,
    /// All queries, of every split.
    pub queries: Queries,
}

impl Collection {
    /// The collection in `folder` (`corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`).
    ///
    /// # Errors
    /// [`Error::Input`] when `folder` is no BEIR folder; the parsers' errors.
    pub fn open(folder: &Path) -> Result<Self> {
        let missing: Vec<&str> =
            ["corpus.jsonl", "queries.jsonl", "qrels"].into_iter().filter(|name| !folder.join(name).exists()).collect();
        if !missing.is_empty() {
            let found =
                if folder.is_dir() { format!("no {}", missing.join(", no ")) } else { "no such folder".to_owned() };
            return Err(Fault::new(folder, "a BEIR folder (corpus.jsonl, queries.jsonl, qrels/)", found)
                .hint("give the folder that holds corpus.jsonl, for example --data data/elements")
                .into());
        }
        Ok(Self {
            folder: folder.to_owned(),
            corpus: Corpus::open(&folder.join("corpus.jsonl"))?,
            queries: Queries::read(&folder.join("queries.jsonl"))?,
        })
    }

    /// The judgements of `split` ("train", "dev", "test").
    ///
    /// # Errors
    /// [`Error::Input`] when the split is not there, is empty, or names a query or passage that does not exist.
    pub fn qrels(&self, split: &str) -> Result<Qrels> {
        let path = self.qrels_path(split);
        if !path.is_file() {
            return Err(Fault::new(&path, "the judgements of this split", "no such file")
                .hint(format!("splits at hand: {}", self.splits().join(", ")))
                .into());
        }
        let qrels = Qrels::read_beir(&path)?;
        if qrels.is_empty() {
            return Err(Fault::new(&path, "at least one judgement", "none").into());
        }
        for (query, judged) in qrels.iter() {
            if self.queries.get(query.as_str()).is_none() {
                return Err(Fault::new(&path, "queries of queries.jsonl", format!("unknown query {query}")).into());
            }
            if let Some(doc) = judged.keys().find(|doc| self.corpus.row(doc.as_str()).is_none()) {
                return Err(Fault::new(
                    &path,
                    "passages of corpus.jsonl",
                    format!("unknown passage {doc} (query {query})"),
                )
                .into());
            }
        }
        Ok(qrels)
    }

    /// Names of the splits that have judgements, sorted.
    #[must_use]
    pub fn splits(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.join("qrels"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".tsv")?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// Digest of `corpus.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn corpus_digest(&self) -> Result<Digest> {
        Digest::of_file(&self.folder.join("corpus.jsonl"))
    }

    /// Digest of the queries and of the judgements of `split`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn split_digest(&self, split: &str) -> Result<Digest> {
        let queries = Digest::of_file(&self.folder.join("queries.jsonl"))?;
        let qrels = Digest::of_file(&self.qrels_path(split))?;
        Ok(Digest::of_bytes(format!("{queries}{qrels}").as_bytes()))
    }

    fn qrels_path(&self, split: &str) -> PathBuf {
        self.folder.join("qrels").join(format!("{split}.tsv"))
    }
}

/// Both are needed to say what went wrong when a record names a passage that is gone.
///
/// # Errors
/// [`Error::Input`] when `id` is not in the corpus.
pub fn require_document(corpus: &Corpus, id: &str, named_by: &Path) -> Result<super::Document, Error> {
    corpus.get(id)?.ok_or_else(|| {
        Fault::new(named_by, "passages of this corpus", format!("unknown passage {id}"))
            .hint("was this file made from another collection?")
            .into()
    })
}
