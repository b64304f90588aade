//! Negatives mined again while the encoder learns: the corpus and the queries embedded with its weights of that moment,
//! then the source `dense` over exact search, as `mine` has it.

use super::stages::{Workplace, similarity};
use super::{ExperimentError, Result};
use crate::data::{Candidate, Collection, Fault, Instance, QueryId, Seed, TrainingPassage};
use crate::encode::{BiEncoder, Role};
use crate::filter::Filters;
use crate::negatives::{self, Inputs, MiningSettings, Task};
use crate::retrieve::{DenseIndex, DenseRanker, Exact, Ranker};
use crate::train::RenewalSettings;
use crate::train::renewal::SOURCE;
use rand::Rng;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// What negatives are mined from, and for which instances.
pub(super) struct Miner<'m> {
    collection: &'m Collection,
    instances: &'m [Instance],
    settings: &'m RenewalSettings,
    tasks: Vec<Task>,
    texts: Vec<String>,
    /// Most negatives that give way in an instance.
    most: usize,
    seed: Seed,
}

impl<'m> Miner<'m> {
    /// For `instances`, whose queries `split` of `collection` judges.
    ///
    /// # Errors
    /// [`ExperimentError::Data`] when no negative gives way, or a query is not of the split.
    pub(super) fn new(
        collection: &'m Collection,
        split: &str,
        (instances, settings): (&'m [Instance], &'m RenewalSettings),
        seed: Seed,
    ) -> Result<Self> {
        let at = |found: String| Fault::new(Path::new("the instances"), "what `renewal` can mine for", found);
        let count = |instance| settings.gives_way(instance).into_iter().filter(|&way| way).count();
        let most = instances.iter().map(count).max().unwrap_or(0);
        if most == 0 {
            let found = format!("no negative of the source {}", settings.replace.join(", "));
            let hint = "name a source that the instances have under `renewal.replace`";
            return Err(crate::data::Error::from(at(found).hint(hint)).into());
        }
        let wanted: HashSet<&QueryId> = instances.iter().map(|instance| &instance.query_id).collect();
        let mut tasks = Task::all(collection, &collection.qrels(split)?)?;
        tasks.retain(|task| wanted.contains(&task.query.id));
        if tasks.len() < wanted.len() {
            let found = format!(
                "{} of {} queries that the split {split} does not judge",
                wanted.len() - tasks.len(),
                wanted.len()
            );
            return Err(
                crate::data::Error::from(at(found).hint("give the split that the instances were mined for")).into()
            );
        }
        Ok(Self { collection, instances, settings, tasks, texts: collection.corpus.contents()?, most, seed })
    }

    /// The instances with what `encoder` finds hard now; where it finds too few, the old ones stay.
    pub(super) fn renew(&self, encoder: &BiEncoder, step: usize, work: &Workplace<'_>) -> Result<Vec<Instance>> {
        let ids: Vec<QueryId> = self.tasks.iter().map(|task| task.query.id.clone()).collect();
        let queries: Vec<&str> = self.tasks.iter().map(|task| task.query.text.as_str()).collect();
        let passages: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let total = (queries.len() + passages.len()) as u64;
        work.watch.begin(&format!("embed for new negatives after step {step}"), total, "texts");
        let queries = Arc::new(encoder.encode(&queries, Role::Query, work.watch)?.vectors);
        let passages = Arc::new(encoder.encode(&passages, Role::Document, work.watch)?.vectors);
        work.watch.end();
        let (table, similarity) = (self.collection.corpus.ids().clone(), similarity(encoder));
        let index = DenseIndex::Exact(Exact::new(table.clone(), passages.clone(), similarity)?);
        let ranker = DenseRanker::new(index, similarity, (table, passages), (&ids, queries))?;
        let settings =
            MiningSettings { num_negatives: u32::try_from(self.most).unwrap_or(u32::MAX), ..self.settings.mine };
        let mut found: Vec<Candidate> = Vec::new();
        negatives::named("dense")?
            .make(Inputs {
                corpus: &self.collection.corpus,
                tasks: &self.tasks,
                filters: &Filters::new(&settings.filters()),
                settings,
                seed: Seed(self.seed.stream(&format!("train/renewal/{step}")).next_u64()),
                words: None,
                vectors: Some(&ranker as &dyn Ranker),
                run: None,
                judge: None,
            })?
            .propose(&self.tasks, &mut found)?;
        let mut of_query: BTreeMap<&QueryId, Vec<&Candidate>> = BTreeMap::new();
        for candidate in &found {
            of_query.entry(&candidate.query).or_default().push(candidate);
        }
        let none = Vec::new();
        self.instances
            .iter()
            .map(|instance| self.renewed(instance, of_query.get(&instance.query_id).unwrap_or(&none)))
            .collect()
    }

    fn renewed(&self, instance: &Instance, candidates: &[&Candidate]) -> Result<Instance> {
        let mut renewed = instance.clone();
        let ways = self.settings.gives_way(instance);
        let stays = instance.negatives.iter().zip(&ways).filter(|(_, way)| !**way);
        let stays: HashSet<_> = stays.map(|(negative, _)| negative.passage.clone()).collect();
        let mut fresh = candidates.iter().filter(|candidate| !stays.contains(&candidate.passage));
        for (negative, _) in renewed.negatives.iter_mut().zip(ways).filter(|(_, way)| *way) {
            if let Some(candidate) = fresh.next() {
                let text =
                    negatives::screen::text_of(candidate, &self.collection.corpus).map_err(ExperimentError::from)?;
                *negative = TrainingPassage {
                    passage: candidate.passage.clone(),
                    source: SOURCE.to_owned(),
                    text,
                    teacher: None,
                };
            }
        }
        Ok(renewed)
    }
}
