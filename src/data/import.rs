//! A BEIR folder from the files of MS MARCO or TREC, streamed: what stays in memory is ids and judgements.
//! The folder is filled under another name, opened (which checks it and leaves its index), and only then renamed.

use super::collection::Collection;
use super::jsonl;
use super::reading::{Gate, RejectedLines};
use super::{
    Candidate, Digest, DocId, Document, Error, Fault, Passage, Provenance, Qrels, Query, QueryId, Reading, Result,
    Scores, atomic, beir, msmarco,
};
use ahash::{AHashMap, AHashSet};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Source of the negatives that triples bring.
pub const SOURCE: &str = "triples";

/// Lines read between two words to the watch.
const STEP: u64 = 10_000;

/// The files to import.
#[derive(Debug, Clone)]
pub enum Forms {
    /// Passages, queries and judgements in files of their own.
    Files {
        /// `id text`, `id title text` or `id url title text`, by tabs.
        collection: PathBuf,
        /// `id text`, by a tab; several files are one set.
        queries: Vec<PathBuf>,
        /// TREC qrels of each split.
        qrels: Vec<(String, PathBuf)>,
        /// Triples of ids, with the split their positives are judgements of.
        triples: Option<(String, PathBuf)>,
    },
    /// Triples of texts, which are passages, queries and judgements at once; with the split they make.
    TextTriples(String, PathBuf),
}

/// How much was imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Passages.
    pub passages: u64,
    /// Queries.
    pub queries: u64,
    /// Judgements of all splits.
    pub judgements: u64,
    /// Negatives in `triples.jsonl`.
    pub negatives: u64,
    /// Bad lines that were passed over.
    pub rejected: u64,
}

/// Makes the BEIR folder `out` from `forms`, with its provenance beside it.
///
/// # Errors
/// [`Error::Input`] when `out` is there already, naming the line that is bad, or an id that is unknown or stands twice;
/// [`Error::Io`]; [`Error::Stopped`].
pub fn import(forms: &Forms, out: &Path, reading: &Reading<'_>) -> Result<Imported> {
    if out.exists() {
        return Err(Fault::new(out, "a folder that is not there yet", "one that is")
            .hint("give another name with --out, or remove it")
            .into());
    }
    let mut counts = Imported::default();
    let mut provenance = Provenance::new("import", json!({"skip_bad_lines": reading.skip_bad_lines}));
    for (role, path) in inputs(forms) {
        provenance = provenance.input(&role, Digest::of_file(path)?);
    }
    atomic::write_folder(out, |folder| {
        let mut importer = Importer { folder, reading, counts: &mut counts };
        match forms {
            Forms::Files { collection, queries, qrels, triples } => {
                importer.passages(collection)?;
                importer.queries(queries)?;
                importer.judgements(qrels, triples.as_ref())?;
            }
            Forms::TextTriples(split, path) => importer.text_triples(split, path)?,
        }
        check(folder, reading)
    })?;
    provenance.counts = json!(counts);
    provenance.write_beside(out)?;
    Ok(counts)
}

fn inputs(forms: &Forms) -> Vec<(String, &Path)> {
    match forms {
        Forms::TextTriples(_, path) => vec![("triples".to_owned(), path)],
        Forms::Files { collection, queries, qrels, triples } => {
            let mut inputs = vec![("collection".to_owned(), collection.as_path())];
            inputs.extend((1..).zip(queries).map(|(number, path)| (format!("queries {number}"), path.as_path())));
            inputs.extend(qrels.iter().map(|(split, path)| (format!("qrels {split}"), path.as_path())));
            inputs.extend(triples.iter().map(|(_, path)| ("triples".to_owned(), path.as_path())));
            inputs
        }
    }
}

/// Everything that will be read later is read once, and the index left in the folder.
fn check(folder: &Path, reading: &Reading<'_>) -> Result<()> {
    let collection = Collection::open_with(folder, &Reading { watch: reading.watch, skip_bad_lines: 0 })?;
    collection.splits().iter().try_for_each(|split| collection.qrels(split).map(|_| ()))
}

struct Importer<'i> {
    folder: &'i Path,
    reading: &'i Reading<'i>,
    counts: &'i mut Imported,
}

impl Importer<'_> {
    fn begin(&self, task: &str, path: &Path) -> Result<()> {
        self.reading.watch.begin(task, count_lines(path)?, "lines");
        Ok(())
    }

    /// Tells of one more of `count`; fails when the user wants to stop.
    fn advance(&self, count: u64) -> Result<()> {
        if count.is_multiple_of(STEP) {
            self.reading.watch.advance(STEP);
            self.reading.watch.check()?;
        }
        Ok(())
    }

    fn end(&mut self, gate: Gate) -> Result<()> {
        self.reading.watch.end();
        let RejectedLines { file, lines } = gate.into_rejected();
        if !lines.is_empty() {
            self.counts.rejected += lines.len() as u64;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            jsonl::write(&self.folder.join(format!("{name}.rejected.jsonl")), &lines)?;
        }
        Ok(())
    }

    fn passages(&mut self, from: &Path) -> Result<()> {
        let path = self.folder.join("corpus.jsonl");
        let mut gate = Gate::new(from, self.reading.skip_bad_lines);
        let mut seen = Seen::default();
        let mut count = 0;
        self.begin("import passages", from)?;
        atomic::write_file(&path, |out| {
            msmarco::each_passage(from, &mut gate, |document| {
                seen.first(document.id.as_str(), from)?;
                count += 1;
                self.advance(count)?;
                beir::write_passage(out, &document, &path)
            })
        })?;
        self.counts.passages = count;
        self.end(gate)
    }

    fn queries(&mut self, from: &[PathBuf]) -> Result<()> {
        let path = self.folder.join("queries.jsonl");
        let mut seen = Seen::default();
        let mut count = 0;
        let mut gates = Vec::new();
        atomic::write_file(&path, |out| {
            for from in from {
                let mut gate = Gate::new(from, self.reading.skip_bad_lines);
                self.begin("import queries", from)?;
                msmarco::each_query(from, &mut gate, |query| {
                    seen.first(query.id.as_str(), from)?;
                    count += 1;
                    self.advance(count)?;
                    beir::write_query(out, &query, &path)
                })?;
                gates.push(gate);
            }
            Ok::<(), Error>(())
        })?;
        self.counts.queries = count;
        gates.into_iter().try_for_each(|gate| self.end(gate))
    }

    fn judgements(&mut self, qrels: &[(String, PathBuf)], triples: Option<&(String, PathBuf)>) -> Result<()> {
        for (split, from) in qrels {
            self.write_split(split, &Qrels::read_trec(from)?)?;
        }
        if let Some((split, from)) = triples {
            let positives = self.triples(from)?;
            if !qrels.iter().any(|(judged, _)| judged == split) {
                self.write_split(split, &positives)?;
            }
        }
        Ok(())
    }

    fn write_split(&mut self, split: &str, qrels: &Qrels) -> Result<()> {
        self.counts.judgements += qrels.iter().map(|(_, judged)| judged.len() as u64).sum::<u64>();
        beir::write_qrels(&self.folder.join("qrels").join(format!("{split}.tsv")), qrels)
    }

    /// Writes the negatives of a file of id triples; gives its positives.
    fn triples(&mut self, from: &Path) -> Result<Qrels> {
        let mut positives = Qrels::default();
        let mut gate = Gate::new(from, self.reading.skip_bad_lines);
        self.begin("import triples", from)?;
        self.negatives(|importer, write| {
            let mut count = 0;
            msmarco::each_triple(from, &mut gate, |triple| {
                count += 1;
                importer.advance(count)?;
                write(triple.query.clone(), triple.negative)?;
                positives.insert(triple.query, triple.positive, 1);
                Ok(())
            })
        })?;
        self.end(gate)?;
        Ok(positives)
    }

    /// Writes `triples.jsonl` from the pairs that `fill` gives: a query and a passage that does not answer it.
    fn negatives(
        &mut self,
        fill: impl FnOnce(&Self, &mut dyn FnMut(QueryId, DocId) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let path = self.folder.join("triples.jsonl");
        let mut ranks: AHashMap<QueryId, u32> = AHashMap::new();
        let mut count = 0;
        atomic::write_file(&path, |out| {
            let mut write = |query: QueryId, doc: DocId| {
                let rank = ranks.entry(query.clone()).or_default();
                *rank += 1;
                count += 1;
                let candidate = Candidate {
                    query,
                    passage: Passage::Corpus(doc),
                    text: None,
                    source: SOURCE.to_owned(),
                    rank: *rank,
                    scores: Scores::default(),
                    provenance: serde_json::Value::Null,
                };
                serde_json::to_writer(&mut *out, &candidate)
                    .map_err(|error| Error::io("write", &path)(error.into()))?;
                out.write_all(b"\n").map_err(Error::io("write", &path))
            };
            fill(self, &mut write)
        })?;
        self.counts.negatives = count;
        Ok(())
    }

    /// Everything from triples of texts: an id is made from the digest of the text.
    fn text_triples(&mut self, split: &str, from: &Path) -> Result<()> {
        let [corpus, queries] = ["corpus.jsonl", "queries.jsonl"].map(|name| self.folder.join(name));
        let mut gate = Gate::new(from, self.reading.skip_bad_lines);
        let (mut documents, mut asked, mut qrels) = (Seen::default(), Seen::default(), Qrels::default());
        let (mut lines, mut passages) = (0, 0);
        self.begin("import triples", from)?;
        atomic::write_file(&corpus, |corpus_out| {
            atomic::write_file(&queries, |queries_out| {
                self.negatives(|importer, write| {
                    msmarco::each_text_triple(from, &mut gate, |triple| {
                        lines += 1;
                        importer.advance(lines)?;
                        let query =
                            Query { id: made_id("q", triple.query, QueryId::new), text: triple.query.to_owned() };
                        if asked.add(query.id.as_str()) {
                            beir::write_query(queries_out, &query, &queries)?;
                        }
                        let [positive, negative] = [triple.positive, triple.negative].map(|text| Document {
                            id: made_id("d", text, DocId::new),
                            title: String::new(),
                            text: text.to_owned(),
                        });
                        for document in [&positive, &negative] {
                            if documents.add(document.id.as_str()) {
                                passages += 1;
                                beir::write_passage(corpus_out, document, &corpus)?;
                            }
                        }
                        qrels.insert(query.id.clone(), positive.id, 1);
                        write(query.id, negative.id)
                    })
                })
            })
        })?;
        (self.counts.passages, self.counts.queries) = (passages, qrels.len() as u64);
        self.write_split(split, &qrels)?;
        self.end(gate)
    }
}

/// `kind` and the first 16 digits of the digest of `text`: 64 bits, of which a billion texts share one with odds of 3 in 100.
fn made_id<I>(kind: &str, text: &str, new: impl Fn(&str) -> Result<I, super::ids::InvalidId>) -> I {
    let id = format!("{kind}-{}", Digest::of_bytes(text.as_bytes()).short(16));
    new(&id).expect("letters, a dash and digits are an identifier")
}

/// Ids that came by, as 128 bits of their digest: a third of the memory of the ids.
#[derive(Default)]
struct Seen(AHashSet<u128>);

impl Seen {
    /// True when `id` is new.
    fn add(&mut self, id: &str) -> bool {
        let digest = Digest::of_bytes(id.as_bytes());
        self.0.insert(u128::from_str_radix(digest.short(32), 16).expect("hexadecimal digits"))
    }

    fn first(&mut self, id: &str, file: &Path) -> Result<()> {
        if self.add(id) { Ok(()) } else { Err(Fault::new(file, "ids that occur once", format!("{id} again")).into()) }
    }
}

/// Lines of a plain or packed file, counted at the speed of the disk: progress needs a total.
fn count_lines(path: &Path) -> Result<u64> {
    let mut reader = super::packed::open(path)?.0;
    let mut count = 0;
    loop {
        let block = reader.fill_buf().map_err(Error::io("read", path))?;
        if block.is_empty() {
            return Ok(count);
        }
        count += memchr::memchr_iter(b'\n', block).count() as u64;
        let length = block.len();
        reader.consume(length);
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
