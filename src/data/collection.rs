//! A BEIR folder: where its files are, opened together.

use super::reading::{Gate, RejectedLines};
use super::{Corpus, Digest, Error, Fault, Qrels, Queries, Reading, Result, packed};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A collection: passages, queries, and judgements by split.
pub struct Collection {
    folder: PathBuf,
    /// All passages.
    pub corpus: Corpus,
    /// All queries, of every split.
    pub queries: Queries,
    /// Judgements by split, where bad lines may be passed over.
    lenient: BTreeMap<String, Qrels>,
    rejected: Vec<RejectedLines>,
}

impl Collection {
    /// The collection in `folder` (`corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`; each plain, `.gz` or `.zst`).
    ///
    /// # Errors
    /// [`Error::Input`] when `folder` is no BEIR folder; the parsers' errors.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_with(folder, &Reading::strict())
    }

    /// As [`Collection::open`], as `reading` says. Where bad lines may be passed over, those of the judgements are
    /// looked for at once: a judgement of a query or passage that is not there is one.
    ///
    /// # Errors
    /// As [`Collection::open`]; [`Error::Input`] when more lines of a file are bad than may be; [`Error::Stopped`].
    pub fn open_with(folder: &Path, reading: &Reading<'_>) -> Result<Self> {
        let missing: Vec<&str> = ["corpus.jsonl", "queries.jsonl", "qrels"]
            .into_iter()
            .filter(|name| !packed::find(folder, name).exists())
            .collect();
        if !missing.is_empty() {
            let found =
                if folder.is_dir() { format!("no {}", missing.join(", no ")) } else { "no such folder".to_owned() };
            return Err(Fault::new(folder, "a BEIR folder (corpus.jsonl, queries.jsonl, qrels/)", found)
                .hint("give the folder that holds corpus.jsonl, for example --data data/elements")
                .into());
        }
        let queries = packed::find(folder, "queries.jsonl");
        let mut gate = Gate::new(&queries, reading.skip_bad_lines);
        let mut collection = Self {
            folder: folder.to_owned(),
            corpus: Corpus::open_with(&packed::find(folder, "corpus.jsonl"), reading)?,
            queries: Queries::read_with(&queries, &mut gate)?,
            lenient: BTreeMap::new(),
            rejected: Vec::new(),
        };
        if reading.skip_bad_lines > 0 {
            collection.rejected = vec![collection.corpus.rejected(), gate.into_rejected()];
            for split in collection.splits() {
                let path = collection.qrels_path(&split);
                let mut gate = Gate::new(&path, reading.skip_bad_lines);
                let qrels = Qrels::read_beir_with(&path, &mut gate, |query, doc| collection.knows(query, doc))?;
                collection.lenient.insert(split, qrels);
                collection.rejected.push(gate.into_rejected());
            }
        }
        Ok(collection)
    }

    /// The lines of each file that were passed over.
    #[must_use]
    pub fn rejected(&self) -> &[RejectedLines] {
        &self.rejected
    }

    fn knows(&self, query: &str, doc: &str) -> Result<(), (&'static str, String)> {
        if self.queries.get(query).is_none() {
            return Err(("queries of queries.jsonl", format!("unknown query {query}")));
        }
        if self.corpus.row(doc).is_none() {
            return Err(("passages of corpus.jsonl", format!("unknown passage {doc} (query {query})")));
        }
        Ok(())
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
        let qrels = match self.lenient.get(split) {
            Some(qrels) => qrels.clone(),
            None => Qrels::read_beir_with(&path, &mut Gate::new(&path, 0), |query, doc| self.knows(query, doc))?,
        };
        if qrels.is_empty() {
            return Err(Fault::new(&path, "at least one judgement", "none").into());
        }
        Ok(qrels)
    }

    /// Names of the splits that have judgements, sorted.
    #[must_use]
    pub fn splits(&self) -> Vec<String> {
        splits(&self.folder)
    }

    /// Digest of the corpus's text; known since it was opened.
    ///
    /// # Errors
    /// None today: the digest is known since the corpus was opened.
    pub fn corpus_digest(&self) -> Result<Digest> {
        Ok(self.corpus.digest().clone())
    }

    /// Digest of the queries and of the judgements of `split`, unpacked.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn split_digest(&self, split: &str) -> Result<Digest> {
        let queries = Digest::of_bytes(&packed::read(&packed::find(&self.folder, "queries.jsonl"))?);
        let qrels = Digest::of_bytes(&packed::read(&self.qrels_path(split))?);
        Ok(Digest::of_bytes(format!("{queries}{qrels}").as_bytes()))
    }

    fn qrels_path(&self, split: &str) -> PathBuf {
        packed::find(&self.folder.join("qrels"), &format!("{split}.tsv"))
    }
}

/// Names of the splits in the BEIR folder `folder`, sorted.
pub(super) fn splits(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join("qrels"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
            Some(plain.strip_suffix(".tsv")?.to_owned())
        })
        .collect();
    names.sort();
    names.dedup();
    names
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
