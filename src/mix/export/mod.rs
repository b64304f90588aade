//! Instances in the forms that trainers read: each form is a writer, and a reader that the export is compared with
//! before it counts as done. A form is one row of [`TABLE`].

mod retrieval;
mod sentence_transformers;
mod trainers;

use crate::data::{Corpus, Document, Fault, Instance, Passage, QueryId, TrainingPassage, atomic};
use serde_json::{Map, Value};
use std::collections::HashMap;
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
    write: fn(&Export<'_>, &Path) -> Result<()>,
    read: fn(&Path) -> Result<Vec<Fact>>,
    facts: Facts,
}

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
    /// Each pair once, in any order, by texts.
    Set,
    /// Each pair once, in any order, by ids.
    Ids,
}

use Facts::{Ids, Lists, PlainTriplets, Positives, Set, Triplets};
use {retrieval as r, sentence_transformers as st, trainers as t};

const fn row(
    (name, about): (&'static str, &'static str),
    write: fn(&Export<'_>, &Path) -> Result<()>,
    read: fn(&Path) -> Result<Vec<Fact>>,
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
    row(("tevatron-old", "passages with title and text"), t::write_tevatron_old, t::read_tevatron_old, Lists),
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

impl Form {
    /// Writes the export into the folder `out`, reads it back, and compares; the folder is whole or absent. The number
    /// of facts compared.
    ///
    /// # Errors
    /// [`crate::data::Error::Input`] when instances do not fit the form, a score is missing, or what was read back is
    /// not what was written.
    pub fn export(&self, export: &Export<'_>, out: &Path) -> Result<usize> {
        let mut count = 0;
        atomic::write_folder(out, |folder| {
            (self.write)(export, folder)?;
            let (mut read, mut due) = ((self.read)(folder)?, self.due(export.instances));
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

    /// What must be read back.
    fn due(&self, instances: &[Instance]) -> Vec<Fact> {
        let plain = |text: &str| if self.facts == PlainTriplets { spaced(text) } else { text.to_owned() };
        let fact = |instance: &Instance, passage: &TrainingPassage, label| match self.facts {
            Ids => (instance.query_id.to_string(), passage.passage.to_string(), label),
            _ => (plain(&instance.query), plain(&passage.text), label),
        };
        let mut facts = Vec::new();
        for instance in instances {
            let positive = fact(instance, &instance.positive, 1);
            let negatives = instance.negatives.iter().map(|negative| fact(instance, negative, 0));
            match self.facts {
                Positives => facts.push(positive),
                Triplets | PlainTriplets => facts.extend(negatives.flat_map(|negative| [positive.clone(), negative])),
                Lists | Set | Ids => facts.extend(std::iter::once(positive).chain(negatives)),
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
    fn even(&self, out: &Path) -> Result<usize> {
        let count = self.instances.first().map_or(0, |instance| instance.negatives.len());
        match self.instances.iter().find(|instance| instance.negatives.len() != count) {
            Some(other) => {
                let found = format!("{} for query {}", other.negatives.len(), other.query_id);
                let fault = Fault::new(out, format!("{count} negatives in every instance"), found);
                Err(fault.hint("choose a form without columns, or mix with --short drop").into())
            }
            None => Ok(count),
        }
    }
}

/// Tabs and line breaks as spaces.
fn spaced(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

/// Writes objects, one a line.
fn write_lines(path: &Path, lines: impl IntoIterator<Item = Result<Value>>) -> Result<()> {
    let lines: Vec<Value> = lines.into_iter().collect::<Result<_>>()?;
    crate::data::jsonl::write(path, &lines)
}

/// Objects, one a line.
fn read_lines(path: &Path) -> Result<Vec<Map<String, Value>>> {
    crate::data::jsonl::read(path)
}

/// The string under `key`, "" where there is none: the comparison finds it.
fn text(object: &Map<String, Value>, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The list of strings under `key`.
fn texts(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = object.get(key).and_then(Value::as_array);
    list.map_or(Vec::new(), |all| all.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect())
}

#[cfg(test)]
mod tests;
