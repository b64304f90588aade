//! Instances in the forms that trainers read: each form is a writer, and a reader that the export is compared with
//! before it counts as done. A form is one row of [`TABLE`].

mod parquet;
mod retrieval;
mod said;
mod sentence_transformers;
mod table;
mod trainers;

pub use said::{About, Named, Said};
pub use table::{Format, Place};

use crate::data::msmarco::on_one_line;
use crate::data::reading::Gate;
use crate::data::{Corpus, Document, Fault, Instance, Passage, QueryId, TrainingPassage, atomic};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Result of an export.
pub type Result<T, E = crate::data::Error> = std::result::Result<T, E>;

/// What is exported.
pub struct Export<'e> {
    /// The instances, in order.
    pub instances: &'e [Instance],
    /// Scores by query and passage, positives' too; none where the form is to be without.
    pub scores: Option<&'e HashMap<(QueryId, Passage), f32>>,
    /// The corpus, for titles.
    pub corpus: &'e Corpus,
}

/// One thing a form says: this passage does (1) or does not (0) answer this query. Texts, or ids where the form has
/// only those.
pub type Fact = (String, String, u8);

/// One row of the table of forms.
pub struct Form {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for help texts.
    pub about: &'static str,
    write: fn(&Export<'_>, &Place) -> Result<()>,
    read: fn(&Place, &mut Gate, Each<'_>) -> Result<()>,
    facts: Facts,
}

/// Takes what rows say, one by one.
pub type Each<'e> = &'e mut dyn FnMut(Said) -> Result<()>;

/// What of the instances a form keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Facts {
    /// Positives alone.
    Positives,
    /// The positive again with each negative.
    Triplets,
    /// The same, tabs and line breaks as spaces.
    PlainTriplets,
    /// The positive, then its negatives.
    Lists,
    /// The same of titles and bodies, whose outer blanks do not count.
    Titled,
    /// Each pair once, in any order, by texts of titles and bodies.
    Set,
    /// Each pair once, in any order, by ids.
    Ids,
}

use Facts::{Ids, Lists, PlainTriplets, Positives, Set, Titled, Triplets};
use {retrieval as r, sentence_transformers as st, trainers as t};

const fn row(
    (name, about): (&'static str, &'static str),
    write: fn(&Export<'_>, &Place) -> Result<()>,
    read: fn(&Place, &mut Gate, Each<'_>) -> Result<()>,
    facts: Facts,
) -> Form {
    Form { name, about, write, read, facts }
}

/// Every form.
pub const TABLE: [Form; 12] = [
    row(("pair", "sentence-transformers: anchor, positive"), st::write_pair, st::read_pair, Positives),
    row(("triplet", "the same with one negative"), st::write_triplet, st::read_triplet, Triplets),
    row(("n-tuple", "the same with negative_1 .. negative_n"), st::write_tuple, st::read_tuple, Lists),
    row(("labeled-pair", "anchor, document, label"), st::write_labeled, st::read_labeled, Lists),
    row(("labeled-list", "anchor, documents, labels"), st::write_list, st::read_list, Lists),
    row(("flagembedding", "query, pos, neg"), t::write_flag, t::read_flag, Lists),
    row(("tevatron", "ids, and a corpus"), t::write_tevatron, t::read_tevatron, Lists),
    row(("tevatron-old", "passages with title and text"), t::write_tevatron_old, t::read_tevatron_old, Titled),
    row(("pylate", "ids and scores, queries, documents"), t::write_pylate, t::read_pylate, Lists),
    row(("tsv", "query, positive, negative"), r::write_tsv, r::read_tsv, PlainTriplets),
    row(("beir", "a BEIR folder, negatives judged 0"), r::write_beir, r::read_beir, Set),
    row(("trec", "qrels with negatives judged 0"), r::write_trec, r::read_trec, Ids),
];

/// The form called `name`.
#[must_use]
pub fn named(name: &str) -> Option<&'static Form> {
    static FORMS: [Form; TABLE.len()] = TABLE;
    FORMS.iter().find(|form| form.name == name)
}

/// Forms whose readers know no Parquet.
const NO_PARQUET: [&str; 4] = ["flagembedding", "tsv", "beir", "trec"];

impl Form {
    /// Writes the export into the folder `out`, reads it back, and compares; the folder is whole or absent. The number
    /// of facts compared.
    ///
    /// # Errors
    /// [`crate::data::Error::Input`] when instances do not fit the form, the form's readers know no such format, a score
    /// is missing, or what was read back is not what was written.
    pub fn export(&self, export: &Export<'_>, format: Format, out: &Path) -> Result<usize> {
        if format == Format::Parquet && NO_PARQUET.contains(&self.name) {
            let fault = Fault::new(out, "a form whose readers know Parquet", self.name);
            return Err(fault.hint("leave --format out").into());
        }
        let mut count = 0;
        atomic::write_folder(out, |folder| {
            let place = Place::new(folder, format);
            (self.write)(export, &place)?;
            let (mut read, mut due) = (self.facts(&place)?, self.due(export.instances));
            if matches!(self.facts, Set | Ids) {
                for facts in [&mut read, &mut due] {
                    facts.sort();
                    facts.dedup();
                }
            }
            if read != due {
                let at = read.iter().zip(&due).position(|(a, b)| a != b).unwrap_or_else(|| read.len().min(due.len()));
                let shown = |facts: &[Fact]| facts.get(at).map_or("nothing".to_owned(), |fact| format!("{fact:?}"));
                let expected = format!("{} facts, number {at} being {}", due.len(), shown(&due));
                return Err(crate::data::Error::from(Fault::new(
                    out,
                    expected,
                    format!("{} and {}", read.len(), shown(&read)),
                )));
            }
            count = due.len();
            Ok(())
        })?;
        Ok(count)
    }

    /// Hands what every row of `place` says to `each`; bad rows, and those that `each` refuses, pass through `gate`.
    ///
    /// # Errors
    /// [`crate::data::Error::Input`] with the file, line and key that is wrong; [`crate::data::Error::Io`].
    pub fn read(&self, place: &Place, gate: &mut Gate, each: Each<'_>) -> Result<()> {
        (self.read)(place, gate, each)
    }

    /// The file with the instances.
    #[must_use]
    pub fn main_file(&self, place: &Place) -> std::path::PathBuf {
        match self.name {
            "tsv" => place.file(table::MAIN, "tsv"),
            "beir" => place.file(retrieval::QRELS, "tsv"),
            "trec" => place.file(table::MAIN, "qrels"),
            _ => place.table(table::MAIN),
        }
    }

    /// What is read back.
    fn facts(&self, place: &Place) -> Result<Vec<Fact>> {
        let mut facts = Vec::new();
        let mut gate = Gate::new(&self.main_file(place), 0);
        self.read(place, &mut gate, &mut |said| {
            let name = |named: &Named| {
                let name = if self.facts == Ids { &named.id } else { &named.text };
                self.plain(name.as_deref().unwrap_or_default())
            };
            let query = name(&said.query);
            facts.extend(said.passages.iter().map(|about| (query.clone(), name(&about.passage), about.label)));
            Ok(())
        })?;
        Ok(facts)
    }

    /// A text as far as the form keeps it.
    fn plain(&self, text: &str) -> String {
        match self.facts {
            PlainTriplets => on_one_line(text),
            Titled | Set => text.trim().to_owned(),
            _ => text.to_owned(),
        }
    }

    /// What must be read back.
    fn due(&self, instances: &[Instance]) -> Vec<Fact> {
        let fact = |instance: &Instance, passage: &TrainingPassage, label| match self.facts {
            Ids => (instance.query_id.to_string(), passage.passage.to_string(), label),
            _ => (self.plain(&instance.query), self.plain(&passage.text), label),
        };
        // In judgements a passage is one or the other: what is a positive anywhere is one.
        let judged: HashSet<_> = match self.facts {
            Set | Ids => instances.iter().map(|one| (&one.query_id, &one.positive.passage)).collect(),
            _ => HashSet::new(),
        };
        let mut facts = Vec::new();
        for instance in instances {
            let positive = fact(instance, &instance.positive, 1);
            let negatives =
                instance.negatives.iter().filter(|one| !judged.contains(&(&instance.query_id, &one.passage)));
            let negatives = negatives.map(|negative| fact(instance, negative, 0));
            match self.facts {
                Positives => facts.push(positive),
                Triplets | PlainTriplets => facts.extend(negatives.flat_map(|negative| [positive.clone(), negative])),
                Lists | Titled | Set | Ids => facts.extend(std::iter::once(positive).chain(negatives)),
            }
        }
        facts
    }
}

impl Export<'_> {
    /// Scores of the positive and of each negative; nothing where the export is without.
    fn scores_of(&self, instance: &Instance) -> Result<Option<Vec<f32>>> {
        let Some(scores) = self.scores else { return Ok(None) };
        let score = |one: &TrainingPassage| {
            scores.get(&(instance.query_id.clone(), one.passage.clone())).copied().ok_or_else(|| {
                let found = format!("none of {} for query {}", one.passage, instance.query_id);
                Fault::new(Path::new("--scores"), "a score of every passage", found)
                    .hint("give the file that nearmiss score wrote, and the positives beside it")
            })
        };
        let all = std::iter::once(&instance.positive).chain(&instance.negatives).map(score);
        Ok(Some(all.collect::<std::result::Result<_, Fault>>()?))
    }

    /// The passage with title and body; a written one has no title.
    fn document(&self, one: &TrainingPassage) -> Result<(String, String)> {
        let of_corpus = match &one.passage {
            Passage::Corpus(id) => self.corpus.get(id.as_str())?,
            Passage::Written(_) => None,
        };
        Ok(match of_corpus {
            Some(Document { title, text, .. }) => (title, text),
            None => (String::new(), one.text.clone()),
        })
    }

    /// H, the number of negatives of every instance.
    fn even(&self, out: &Place) -> Result<usize> {
        let count = self.instances.first().map_or(0, |instance| instance.negatives.len());
        match self.instances.iter().find(|instance| instance.negatives.len() != count) {
            Some(other) => {
                let found = format!("{} for query {}", other.negatives.len(), other.query_id);
                let path = out.table(table::MAIN);
                let fault = Fault::new(&path, format!("{count} negatives in every instance"), found);
                Err(fault.hint("choose a form without columns, or mix with --short drop").into())
            }
            None => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests;
