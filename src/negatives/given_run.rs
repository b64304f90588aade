//! Negatives from a TREC run that another program made. Its score stands as `score` in a candidate's provenance:
//! what it measures is not known here. A positive's score is the run's where it stands there; margins use those.

use super::ranked::{Listed, Lister, Ranked};
use super::{Inputs, NegativeSource, SourceError, Task};
use crate::data::{Run, Scores};
use serde_json::json;

pub(super) const NAME: &str = "run";

struct Given<'a>(&'a Run);

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let run = inputs.run.ok_or(SourceError::Missing(NAME, "a TREC run"))?;
    Ok(Box::new(Ranked::new(NAME, Given(run), &inputs)?))
}

impl Lister for Given<'_> {
    fn lists(&self, tasks: &[Task], depth: usize) -> Result<Vec<Vec<Listed>>, SourceError> {
        let list = |task: &Task| {
            let hits = self.0.get(task.query.id.as_str()).iter().take(depth);
            hits.map(|hit| Listed {
                doc: hit.doc.clone(),
                score: Some(hit.score),
                scores: Scores::default(),
                note: json!({"score": hit.score}),
            })
            .collect()
        };
        Ok(tasks.iter().map(list).collect())
    }

    fn positives(&self, tasks: &[Task]) -> Result<Vec<Vec<f32>>, SourceError> {
        let of_task = |task: &Task| {
            let hits = self.0.get(task.query.id.as_str());
            let score = |id| hits.iter().find(|hit| hit.doc == id).map(|hit| hit.score);
            task.positives.iter().filter_map(|positive| score(positive.id.clone())).collect()
        };
        Ok(tasks.iter().map(of_task).collect())
    }
}
