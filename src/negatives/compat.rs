//! Which ranks of a ranking are looked at: ours, and as two other tools look, so that from the same scores the same
//! passages are taken. What they do after the filters is in [`super::select`].

use super::{Compat, Inputs, MiningSettings, SourceError, Task};
use crate::data::{Corpus, DocId, Document};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The window of ranks of every query.
pub(super) struct Windows {
    settings: MiningSettings,
    /// Most positives of any query.
    positives: usize,
    /// Passages whose text stands earlier in the corpus: both tools keep each text once.
    repeated: HashSet<DocId>,
}

impl Windows {
    pub(super) fn of(inputs: &Inputs<'_>) -> Result<Self, SourceError> {
        let repeated = match inputs.settings.compat {
            Compat::Nearmiss => HashSet::new(),
            _ => repeated(inputs.corpus)?,
        };
        Ok(Self { settings: inputs.settings, positives: most_positives(inputs.tasks), repeated })
    }

    /// How deep the search goes.
    pub(super) fn depth(&self) -> usize {
        self.last() + self.repeated.len()
    }

    /// Last rank looked at, repeated texts not counted.
    fn last(&self) -> usize {
        let last = self.settings.range_max as usize;
        // There, positives do not use up the range: as many more are searched for.
        if self.settings.compat == Compat::SentenceTransformers { last + self.positives } else { last }
    }

    /// Those of a ranking that are looked at, with their ranks from 1, repeated texts not counted.
    pub(super) fn cut<T>(&self, list: Vec<T>, id: impl Fn(&T) -> &DocId) -> impl Iterator<Item = (u32, T)> {
        // There, the range's start counts what filters leave.
        let first = if self.settings.compat == Compat::SentenceTransformers { 0 } else { self.settings.range_min };
        let once = list.into_iter().filter(move |item| self.repeated.is_empty() || !self.repeated.contains(id(item)));
        (1..).zip(once).take(self.last()).skip(first as usize)
    }
}

/// The tasks as sentence-transformers takes them: queries of one text are one query, whose positives are those of all.
#[must_use]
pub fn pooled(tasks: &[Task]) -> Vec<Task> {
    let mut positives: HashMap<&str, BTreeMap<&DocId, &Document>> = HashMap::new();
    for task in tasks {
        let of_text = positives.entry(&task.query.text).or_default();
        of_text.extend(task.positives.iter().map(|document| (&document.id, document)));
    }
    let of = |task: &Task| positives[task.query.text.as_str()].values().map(|&document| document.clone()).collect();
    tasks.iter().map(|task| Task { query: task.query.clone(), positives: of(task) }).collect()
}

fn most_positives(tasks: &[Task]) -> usize {
    tasks.iter().map(|task| task.positives.len()).max().unwrap_or(0)
}

/// Passages whose text, byte for byte, stands earlier in the corpus.
fn repeated(corpus: &Corpus) -> Result<HashSet<DocId>, SourceError> {
    let texts = corpus.contents()?;
    let mut seen = HashSet::new();
    Ok(texts.iter().enumerate().filter(|(_, text)| !seen.insert(*text)).map(|(row, _)| corpus.ids().id(row)).collect())
}
