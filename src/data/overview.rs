//! What is in a BEIR folder and what is wrong with it: counts, lengths, splits, overlaps, defects.
//! Nothing ends the look but a stop: a file that cannot be read is a defect among others. Texts are read once, in
//! blocks; what stays in memory is ids, lengths and one hash a passage.

use super::reading::Gate;
use super::{Corpus, Digest, DocId, Error, Qrels, Queries, QueryId, Reading, Result, Watch, packed};
use ahash::AHashMap;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Passages looked at between two looks at the wish to stop.
const BLOCK: usize = 4096;

/// Examples kept of a finding.
const EXAMPLES: usize = 5;

/// What [`overview`] found in a folder.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overview {
    /// The folder.
    pub folder: PathBuf,
    /// SHA-256 of the corpus's text, if it could be read.
    pub corpus: Option<Digest>,
    /// The passages (title, a space, body).
    pub passages: Texts,
    /// The queries.
    pub queries: Texts,
    /// Judgements by split, in the order of names.
    pub splits: Vec<Split>,
    /// What two splits share, pair by pair.
    pub overlaps: Vec<Overlap>,
    /// What makes the folder unusable as it is, or hides data.
    pub defects: Vec<Finding>,
    /// What is worth knowing before numbers from it are believed.
    pub remarks: Vec<Finding>,
}

/// Texts of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Texts {
    /// How many there are.
    pub count: usize,
    /// How many have no words.
    pub empty: usize,
    /// How many are the same as an earlier one.
    pub repeated: usize,
    /// Words, as white space divides them.
    pub words: Spread,
    /// Unicode characters.
    pub characters: Spread,
}

/// How a number is spread; all 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: u32,
    /// The lower median.
    pub median: u32,
    /// 95 of 100 are not greater.
    pub p95: u32,
    /// The largest.
    pub max: u32,
}

/// The judgements of one split.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Split {
    /// Its name: "train".
    pub name: String,
    /// Queries that are judged.
    pub queries: usize,
    /// Judged pairs of query and passage.
    pub judgements: usize,
    /// Pairs with a grade above 0.
    pub relevant: usize,
    /// Queries without any relevant passage.
    pub without_relevant: usize,
    /// Pairs by grade.
    pub grades: BTreeMap<i32, usize>,
}

/// What two splits share.
#[derive(Debug, Clone, Serialize)]
pub struct Overlap {
    /// The two splits.
    pub splits: [String; 2],
    /// Queries judged in both, by id.
    pub queries: usize,
    /// Relevant pairs of query and passage in both.
    pub pairs: usize,
    /// Query texts in both, whatever their ids; case and outer blanks aside.
    pub texts: usize,
}

/// Something found, how often, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is, as a plural: "queries of no text".
    pub what: String,
    /// How often.
    pub count: usize,
    /// The first few.
    pub examples: Vec<String>,
}

impl Finding {
    fn new(what: impl Into<String>, found: &[impl ToString]) -> Self {
        let examples = found.iter().take(EXAMPLES).map(ToString::to_string).collect();
        Self { what: what.into(), count: found.len(), examples }
    }
}

/// Looks at everything in the BEIR folder `folder`.
///
/// # Errors
/// [`Error::Stopped`]; [`Error::Io`] when the corpus changes under it.
pub fn overview(folder: &Path, watch: &dyn Watch) -> Result<Overview> {
    let mut seen = Overview { folder: folder.to_owned(), ..Overview::default() };
    let reading = Reading { watch, skip_bad_lines: u64::MAX };
    let corpus = seen.read(Corpus::open_with(&packed::find(folder, "corpus.jsonl"), &reading))?;
    if let Some(corpus) = &corpus {
        seen.corpus = Some(corpus.digest().clone());
        seen.bad_lines(&corpus.rejected().file, &corpus.rejected().lines);
        seen.look_at_passages(corpus, watch)?;
    }
    let path = packed::find(folder, "queries.jsonl");
    let mut gate = Gate::new(&path, u64::MAX);
    let queries = seen.read(Queries::read_with(&path, &mut gate))?.unwrap_or_default();
    seen.bad_lines(&path, &gate.into_rejected().lines);
    seen.look_at_queries(&queries, corpus.as_ref());

    let mut splits: BTreeMap<String, Qrels> = BTreeMap::new();
    for name in super::collection::splits(folder) {
        watch.check()?;
        let path = packed::find(&folder.join("qrels"), &format!("{name}.tsv"));
        let mut gate = Gate::new(&path, u64::MAX);
        let qrels = seen.read(Qrels::read_beir_with(&path, &mut gate, |_, _| Ok(())))?.unwrap_or_default();
        seen.bad_lines(&path, &gate.into_rejected().lines);
        seen.look_at_split(&name, &qrels, corpus.as_ref(), &queries);
        splits.insert(name, qrels);
    }
    if splits.is_empty() {
        seen.defects.push(Finding::new("splits missing", &["no qrels/<split>.tsv"]));
    }
    seen.compare_splits(&splits, &queries);
    let judged: BTreeSet<&QueryId> = splits.values().flat_map(Qrels::iter).map(|(query, _)| query).collect();
    let unjudged: Vec<&QueryId> = queries.iter().map(|query| &query.id).filter(|id| !judged.contains(id)).collect();
    seen.remark("queries that no split judges", &unjudged);
    Ok(seen)
}

impl Overview {
    /// True when nothing makes the folder unusable or hides data.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.defects.is_empty()
    }

    /// What was read; a file that cannot be is a defect.
    fn read<T>(&mut self, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(Error::Stopped) => Err(Error::Stopped),
            Err(error) => {
                let message = error.to_string();
                self.defects.push(Finding::new("files that cannot be used", &[message.lines().next().unwrap_or("")]));
                Ok(None)
            }
        }
    }

    fn defect(&mut self, what: impl Into<String>, found: &[impl ToString]) {
        if !found.is_empty() {
            self.defects.push(Finding::new(what, found));
        }
    }

    fn remark(&mut self, what: &str, found: &[impl ToString]) {
        if !found.is_empty() {
            self.remarks.push(Finding::new(what, found));
        }
    }

    fn bad_lines(&mut self, file: &Path, lines: &[super::reading::Rejected]) {
        let shown: Vec<String> = lines.iter().map(|bad| format!("line {}: {}", bad.line, bad.reason)).collect();
        let name = file.strip_prefix(&self.folder).unwrap_or(file).display().to_string();
        self.defect(format!("bad lines in {name}"), &shown);
    }

    fn look_at_passages(&mut self, corpus: &Corpus, watch: &dyn Watch) -> Result<()> {
        let mut lengths = Lengths::default();
        let mut hashes = Vec::with_capacity(corpus.len());
        watch.begin("look at the passages", corpus.len() as u64, "passages");
        for start in (0..corpus.len()).step_by(BLOCK) {
            watch.check()?;
            let rows = start..(start + BLOCK).min(corpus.len());
            let block = corpus.contents_of(rows)?;
            lengths.add(&block);
            hashes.par_extend(block.par_iter().map(|text| hash(text)));
            watch.advance(block.len() as u64);
        }
        watch.end();
        let mut repeated = Vec::new();
        let mut first_of: AHashMap<u64, usize> = AHashMap::with_capacity(hashes.len());
        for (row, hash) in hashes.into_iter().enumerate() {
            let first = *first_of.entry(hash).or_insert(row);
            if first != row && corpus.document(first)?.content() == corpus.document(row)?.content() {
                repeated.push(format!("{} = {}", corpus.ids().get(row), corpus.ids().get(first)));
            }
        }
        let empty: Vec<&str> = lengths.empty.iter().map(|&row| corpus.ids().get(row)).collect();
        self.passages = lengths.texts(repeated.len());
        self.remark("passages without a word", &empty);
        self.remark("passages with the text of an earlier one", &repeated);
        let odd: Vec<&str> = corpus.ids().iter().filter(|id| troublesome(id)).collect();
        self.remark(ODD_IDS, &odd);
        Ok(())
    }

    fn look_at_queries(&mut self, queries: &Queries, corpus: Option<&Corpus>) {
        let all: Vec<_> = queries.iter().collect();
        let mut lengths = Lengths::default();
        let texts: Vec<&str> = all.iter().map(|query| query.text.as_str()).collect();
        lengths.add(&texts);
        let mut first_of: AHashMap<&str, &QueryId> = AHashMap::new();
        let mut repeated = Vec::new();
        for query in &all {
            let first = *first_of.entry(query.text.as_str()).or_insert(&query.id);
            if *first != query.id {
                repeated.push(format!("{} = {first}", query.id));
            }
        }
        let empty: Vec<&QueryId> = lengths.empty.iter().map(|&place| &all[place].id).collect();
        self.queries = lengths.texts(repeated.len());
        self.remark("queries without a word", &empty);
        self.remark("queries with the text of an earlier one", &repeated);
        let odd: Vec<&QueryId> = all.iter().map(|query| &query.id).filter(|id| troublesome(id.as_str())).collect();
        self.remark(ODD_IDS, &odd);
        if let Some(corpus) = corpus {
            let both: Vec<&QueryId> =
                all.iter().map(|query| &query.id).filter(|id| corpus.row(id.as_str()).is_some()).collect();
            self.remark(
                "ids of both a query and a passage: tools that drop hits named like the query lose them",
                &both,
            );
        }
    }

    fn look_at_split(&mut self, name: &str, qrels: &Qrels, corpus: Option<&Corpus>, queries: &Queries) {
        let mut split = Split { name: name.to_owned(), queries: qrels.len(), ..Split::default() };
        let (mut no_query, mut no_passage) = (Vec::new(), Vec::new());
        for (query, judged) in qrels.iter() {
            if queries.get(query.as_str()).is_none() {
                no_query.push(query);
            }
            for (doc, &grade) in judged {
                split.judgements += 1;
                *split.grades.entry(grade).or_default() += 1;
                if corpus.is_some_and(|corpus| corpus.row(doc.as_str()).is_none()) {
                    no_passage.push(format!("{doc} (query {query})"));
                }
            }
            let relevant = qrels.relevant(query.as_str()).count();
            split.relevant += relevant;
            split.without_relevant += usize::from(relevant == 0);
        }
        self.defect(format!("queries of {name} that are not in queries.jsonl"), &no_query);
        self.defect(format!("judgements of {name} about passages that are not in the corpus"), &no_passage);
        if qrels.is_empty() {
            self.defect("splits without a judgement", &[name]);
        }
        self.splits.push(split);
    }

    fn compare_splits(&mut self, splits: &BTreeMap<String, Qrels>, queries: &Queries) {
        let parts: Vec<(&String, Parts<'_>)> =
            splits.iter().map(|(name, qrels)| (name, Parts::of(qrels, queries))).collect();
        for (place, (first, a)) in parts.iter().enumerate() {
            for (second, b) in &parts[place + 1..] {
                self.overlaps.push(Overlap {
                    splits: [(*first).clone(), (*second).clone()],
                    queries: a.queries.intersection(&b.queries).count(),
                    pairs: a.pairs.intersection(&b.pairs).count(),
                    texts: a.texts.intersection(&b.texts).count(),
                });
            }
        }
    }
}

const ODD_IDS: &str = "ids outside printable ASCII: other tools may read TREC files with them differently";

fn troublesome(id: &str) -> bool {
    !id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A hash that is the same in every process; equal texts are compared before they are called equal.
fn hash(text: &str) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(text)
}

/// What of a split can overlap with another.
struct Parts<'q> {
    queries: BTreeSet<&'q QueryId>,
    pairs: BTreeSet<(&'q QueryId, &'q DocId)>,
    texts: BTreeSet<String>,
}

impl<'q> Parts<'q> {
    fn of(qrels: &'q Qrels, queries: &Queries) -> Self {
        let ids = || qrels.iter().map(|(query, _)| query);
        Self {
            queries: ids().collect(),
            pairs: ids().flat_map(|query| qrels.relevant(query.as_str()).map(move |doc| (query, doc))).collect(),
            texts: ids()
                .filter_map(|query| Some(queries.get(query.as_str())?.text.trim().to_lowercase()))
                .filter(|text| !text.is_empty())
                .collect(),
        }
    }
}

/// Lengths of texts in order, and which have no words.
#[derive(Default)]
struct Lengths {
    words: Vec<u32>,
    characters: Vec<u32>,
    empty: Vec<usize>,
}

impl Lengths {
    fn add(&mut self, texts: &[impl AsRef<str> + Sync]) {
        let before = self.words.len();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let measure = |text: &str| (count(text.split_whitespace().count()), count(text.chars().count()));
        let lengths: Vec<(u32, u32)> = texts.par_iter().map(|text| measure(text.as_ref())).collect();
        self.empty.extend(lengths.iter().enumerate().filter(|(_, length)| length.0 == 0).map(|(row, _)| before + row));
        self.words.extend(lengths.iter().map(|length| length.0));
        self.characters.extend(lengths.iter().map(|length| length.1));
    }

    fn texts(self, repeated: usize) -> Texts {
        Texts {
            count: self.words.len(),
            empty: self.empty.len(),
            repeated,
            words: Spread::of(self.words),
            characters: Spread::of(self.characters),
        }
    }
}

impl Spread {
    fn of(mut values: Vec<u32>) -> Self {
        values.par_sort_unstable();
        let Some(last) = values.len().checked_sub(1) else { return Self::default() };
        // The value at or below which the share lies (nearest rank).
        let at = |hundredths: usize| values[(values.len() * hundredths).div_ceil(100).saturating_sub(1)];
        Self { min: values[0], median: at(50), p95: at(95), max: values[last] }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Quiet;
    use super::*;
    use std::fs;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn found(findings: &[Finding], what: &str) -> (usize, Vec<String>) {
        findings.iter().find(|f| f.what.starts_with(what)).map_or((0, Vec::new()), |f| (f.count, f.examples.clone()))
    }

    #[test]
    fn every_defect_is_counted_and_none_hides_another() -> Outcome {
        let folder = tempfile::tempdir()?;
        let folder = folder.path();
        fs::create_dir(folder.join("qrels"))?;
        fs::write(
            folder.join("corpus.jsonl"),
            "{\"_id\":\"a\",\"title\":\"One\",\"text\":\"two three\"}\n{broken\n{\"_id\":\"b\",\"text\":\" \"}\n\
             {\"_id\":\"a\",\"text\":\"again\"}\n{\"_id\":\"é\",\"text\":\"One two three\"}\n{\"_id\":\"q1\",\"text\":\"x\"}\n",
        )?;
        fs::write(
            folder.join("queries.jsonl"),
            "{\"_id\":\"q1\",\"text\":\"Which?\"}\n{\"text\":\"no id\"}\n{\"_id\":\"q2\",\"text\":\"which? \"}\n\
             {\"_id\":\"q3\",\"text\":\"\"}\n",
        )?;
        let head = "query-id\tcorpus-id\tscore\n";
        fs::write(folder.join("qrels/train.tsv"), format!("{head}q1\ta\t1\nq1\tgone\t2\nq9\ta\t0\nq1\ta\n"))?;
        fs::write(folder.join("qrels/test.tsv"), format!("{head}q1\ta\t1\nq2\tb\t1\nq1\ta\t1\n"))?;
        fs::write(folder.join("qrels/dev.tsv"), head)?;

        let seen = overview(folder, &Quiet)?;
        assert!(!seen.is_sound());
        assert_eq!(found(&seen.defects, "bad lines in corpus.jsonl").0, 2);
        assert_eq!(found(&seen.defects, "bad lines in queries.jsonl").0, 1);
        assert!(found(&seen.defects, "bad lines in qrels/train.tsv").1[0].starts_with("line 5: expected 3 columns"));
        assert!(found(&seen.defects, "bad lines in qrels/test.tsv").1[0].contains("q1 and a again"));
        assert_eq!(found(&seen.defects, "queries of train"), (1, vec!["q9".to_owned()]));
        assert_eq!(found(&seen.defects, "judgements of train"), (1, vec!["gone (query q1)".to_owned()]));
        assert_eq!(found(&seen.defects, "splits without"), (1, vec!["dev".to_owned()]));
        assert_eq!(found(&seen.remarks, "passages without a word"), (1, vec!["b".to_owned()]));
        assert_eq!(found(&seen.remarks, "passages with the text"), (1, vec!["é = a".to_owned()]));
        assert_eq!(found(&seen.remarks, "ids outside"), (1, vec!["é".to_owned()]));
        assert_eq!(found(&seen.remarks, "ids of both"), (1, vec!["q1".to_owned()]));
        assert_eq!(found(&seen.remarks, "queries that no split"), (1, vec!["q3".to_owned()]));
        assert_eq!((seen.passages.count, seen.passages.empty, seen.queries.count), (4, 1, 3));
        assert_eq!(seen.passages.words, Spread { min: 0, median: 1, p95: 3, max: 3 });
        let train = &seen.splits[2];
        assert_eq!((train.name.as_str(), train.queries, train.judgements, train.relevant), ("train", 2, 3, 2));
        assert_eq!(train.grades, BTreeMap::from([(0, 1), (1, 1), (2, 1)]));
        let both = &seen.overlaps[2];
        assert_eq!(
            (both.splits.clone(), both.queries, both.pairs, both.texts),
            (["test".into(), "train".into()], 1, 1, 1)
        );
        Ok(())
    }

    #[test]
    fn a_folder_without_files_is_told_of_file_by_file() -> Outcome {
        let folder = tempfile::tempdir()?;
        let seen = overview(folder.path(), &Quiet)?;
        let what: Vec<&str> = seen.defects.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(what, ["files that cannot be used", "files that cannot be used", "splits missing"]);
        Ok(())
    }

    #[test]
    fn the_bundled_collection_is_sound() -> Outcome {
        let seen = overview(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/elements"), &Quiet)?;
        assert!(seen.is_sound(), "{:?}", seen.defects);
        assert!(seen.overlaps.iter().all(|overlap| (overlap.queries, overlap.texts) == (0, 0)), "{:?}", seen.overlaps);
        Ok(())
    }
}
