//! The instances of an arm, with texts.

use super::{Arm, Error};
use crate::data::{Candidate, Corpus, Document, Fault, Instance, Passage, QueryId, TrainingPassage};
use crate::negatives::Task;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Which positives of a query get an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positives {
    /// One instance for each; queries with many weigh more. All share the query's negatives.
    #[default]
    All,
    /// One instance a query, with the first in the order of ids.
    First,
}

/// One instance per query of `queries` and positive, in the order of `tasks`, each with the arm's number of
/// negatives, in the order of its shares. Passages of the corpus have its text, written ones their own. A mix that changes
/// over training gives one in each of its passes, in the order in which they are to be trained on.
///
/// # Errors
/// [`Error::Short`] when a query of `queries` lacks negatives: choose them with [`super::common_queries`].
/// [`Error::Data`] when a candidate's passage is not in `corpus`, [`Error::NoText`].
pub fn instances(
    tasks: &[Task],
    arm: &Arm,
    queries: &BTreeSet<QueryId>,
    positives: Positives,
    corpus: &Corpus,
) -> Result<Vec<Instance>, Error> {
    arm.mix.check()?;
    let mut instances = Vec::new();
    for (task, moment) in moments(tasks, arm, queries) {
        let chosen = arm.pool.choose_at(&task.query.id, arm.mix, (arm.short, moment));
        let (chosen, _) = chosen.map_err(Error::Short)?;
        let negatives =
            chosen.into_iter().map(|candidate| negative(candidate, corpus)).collect::<Result<Vec<_>, Error>>()?;
        let count = match positives {
            Positives::All => task.positives.len(),
            Positives::First => 1,
        };
        instances.extend(task.positives.iter().take(count).map(|document| Instance {
            query_id: task.query.id.clone(),
            query: task.query.text.clone(),
            positive: positive(document),
            negatives: negatives.clone(),
        }));
    }
    Ok(instances)
}

/// The tasks of `queries` in their order, each with its moment of training.
fn moments<'t>(tasks: &'t [Task], arm: &Arm, queries: &BTreeSet<QueryId>) -> Vec<(&'t Task, f64)> {
    let own = tasks.iter().filter(|task| queries.contains(&task.query.id));
    let Some(course) = arm.mix.course() else { return own.map(|task| (task, 0.0)).collect() };
    let known: HashMap<&QueryId, &Task> = own.map(|task| (&task.query.id, task)).collect();
    let there = queries.iter().filter(|query| known.contains_key(query)).cloned().collect();
    course.moments(&there).into_iter().map(|(query, moment)| (known[query], moment)).collect()
}

fn positive(document: &Document) -> TrainingPassage {
    let passage = Passage::Corpus(document.id.clone());
    TrainingPassage { passage, source: "judged".to_owned(), text: document.content(), teacher: None }
}

fn negative(candidate: &Candidate, corpus: &Corpus) -> Result<TrainingPassage, Error> {
    let text = match &candidate.passage {
        Passage::Corpus(id) => corpus
            .get(id.as_str())?
            .ok_or_else(|| {
                Fault::new(Path::new(&candidate.source), "passages of this corpus", format!("unknown passage {id}"))
                    .hint("were the candidates made from another collection?")
            })
            .map_err(crate::data::Error::from)?
            .content(),
        Passage::Written(id) => candidate.text.clone().ok_or_else(|| Error::NoText(id.clone()))?,
    };
    Ok(TrainingPassage { passage: candidate.passage.clone(), source: candidate.source.clone(), text, teacher: None })
}
