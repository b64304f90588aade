//! What training knows of passages beside their texts: where they came from, who wrote them, a teacher's scores.

use super::loss::{Needs, Row};
use super::{InBatch, Result, TrainError, TrainSettings};
use crate::data::{Instance, Passage, TrainingPassage};

/// Facts of the instances' passages, in the order of a batch's columns.
pub(super) struct Annotations {
    teacher: Vec<Vec<f32>>,
    written: Vec<Vec<bool>>,
    sources: Vec<Vec<usize>>,
    names: Vec<String>,
}

impl Annotations {
    /// The facts of `instances`, which must be enough for the loss of `row`.
    ///
    /// # Errors
    /// [`TrainError::Unfit`] naming the first query that lacks something.
    pub(super) fn new(instances: &[Instance], settings: &TrainSettings, row: &'static Row) -> Result<Self> {
        let mut teacher = Vec::with_capacity(instances.len());
        for instance in instances {
            let lacks = |expected, found, hint| TrainError::Unfit {
                loss: row.name,
                query: instance.query_id.to_string(),
                expected,
                found,
                hint,
            };
            if instance.negatives.is_empty() && (row.needs == Needs::Teacher || settings.in_batch == InBatch::None) {
                let hint = "give every instance a negative, or take in-batch negatives with info-nce";
                return Err(lacks("at least one passage against the positive", "none", hint));
            }
            let scores: Option<Vec<f32>> = passages(instance).map(|passage| passage.teacher).collect();
            match (scores, row.needs) {
                (Some(scores), Needs::Teacher) => teacher.push(scores),
                (_, Needs::Vectors) => {}
                (None, Needs::Teacher) => {
                    let hint = "let a cross-encoder score them: --teacher, or `teacher` in the recipe";
                    return Err(lacks("a teacher's score for each passage", "a passage without", hint));
                }
            }
        }
        let is_written = |passage: &TrainingPassage| matches!(passage.passage, Passage::Written(_));
        let written = instances.iter().map(|instance| passages(instance).map(is_written).collect()).collect();
        let mut names: Vec<String> =
            instances.iter().flat_map(passages).map(|passage| passage.source.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let number = |passage: &TrainingPassage| names.partition_point(|name| *name < passage.source);
        let sources = instances.iter().map(|instance| passages(instance).map(number).collect()).collect();
        Ok(Self { teacher, written, sources, names })
    }

    /// The teacher's scores of a batch, `(B, 1 + H)`; empty where the loss needs none.
    pub(super) fn teacher(&self, batch: &[usize]) -> Vec<f32> {
        if self.teacher.is_empty() {
            Vec::new()
        } else {
            batch.iter().flat_map(|&b| &self.teacher[b]).copied().collect()
        }
    }

    /// Which columns of a batch were written by a model, C flags.
    pub(super) fn written(&self, batch: &[usize]) -> Vec<bool> {
        columns(&self.written, batch)
    }

    /// The source of each column of a batch, as its place in [`Annotations::names`].
    pub(super) fn sources(&self, batch: &[usize]) -> Vec<usize> {
        columns(&self.sources, batch)
    }

    /// Names of all sources, sorted.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

/// The positive and the negatives.
fn passages(instance: &Instance) -> impl Iterator<Item = &TrainingPassage> {
    std::iter::once(&instance.positive).chain(&instance.negatives)
}

/// Facts by instance in the order of a batch's columns: the positives', then the negatives' instance by instance.
fn columns<T: Copy>(facts: &[Vec<T>], batch: &[usize]) -> Vec<T> {
    let positives = batch.iter().map(|&b| facts[b][0]);
    positives.chain(batch.iter().flat_map(|&b| facts[b][1..].iter().copied())).collect()
}
