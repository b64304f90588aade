//! Looks at an encoder while it is trained: how well it finds the passages of queries that it is not trained on.

use super::Result;
use super::stages::{judged_queries, similarity};
use crate::data::id_table::IdTable;
use crate::data::{Collection, Instance, Qrels, QueryId, Run, Watch};
use crate::encode::{BiEncoder, Role};
use crate::eval::{Dialect, Metric, Rules, evaluate};
use crate::retrieve::Exact;
use crate::train::settings::Measure;
use crate::train::validation::{self, Better};
use crate::train::{TrainError, TrainSettings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Queries that are not trained on, and the passages that theirs are looked for among.
pub(super) struct HeldOut<'h> {
    instances: &'h [Instance],
    settings: &'h TrainSettings,
    queries: BTreeMap<QueryId, String>,
    ids: Arc<IdTable>,
    texts: Vec<String>,
    qrels: Qrels,
}

impl<'h> HeldOut<'h> {
    /// The pool are the passages of `all` instances, each once; `held` are those of the held-out queries.
    pub(super) fn of_instances(all: &[Instance], held: &'h [Instance], settings: &'h TrainSettings) -> Self {
        let mut pool: BTreeMap<String, &str> = BTreeMap::new();
        for passage in all.iter().flat_map(|instance| std::iter::once(&instance.positive).chain(&instance.negatives)) {
            pool.insert(passage.passage.to_string(), &passage.text);
        }
        let ids = Arc::new(IdTable::new(pool.keys().map(String::as_str)));
        let mut qrels = Qrels::default();
        let mut queries = BTreeMap::new();
        for instance in held {
            queries.insert(instance.query_id.clone(), instance.query.clone());
            if let Some(row) = ids.row(&instance.positive.passage.to_string()) {
                qrels.insert(instance.query_id.clone(), ids.id(row), 1);
            }
        }
        let texts = pool.into_values().map(str::to_owned).collect();
        Self { instances: held, settings, queries, ids, texts, qrels }
    }

    /// The pool is the whole corpus; the queries are those that `split` judges.
    ///
    /// # Errors
    /// [`super::ExperimentError::Data`] when the split is not there or does not fit.
    pub(super) fn of_split(collection: &Collection, split: &str, settings: &'h TrainSettings) -> Result<Self> {
        let (queries, qrels) = judged_queries(collection, split)?;
        let queries = queries.into_iter().map(|query| (query.id, query.text)).collect();
        let (ids, texts) = (collection.corpus.ids().clone(), collection.corpus.contents()?);
        Ok(Self { instances: &[], settings, queries, ids, texts, qrels })
    }

    /// Number of queries.
    pub(super) fn len(&self) -> usize {
        self.queries.len()
    }

    /// What a look measures, over what.
    pub(super) fn measure(&self) -> String {
        let (queries, passages) = (self.queries.len(), self.texts.len());
        match self.settings.validation {
            Measure::Ndcg => {
                let depth = self.settings.validation_depth;
                format!("nDCG@{depth} of {queries} held-out queries over {passages} passages")
            }
            Measure::Loss => format!("loss of {queries} held-out queries"),
        }
    }

    /// Which values of it are good.
    pub(super) fn better(&self) -> Better {
        if self.settings.validation == Measure::Loss { Better::Lower } else { Better::Higher }
    }

    /// What it is now.
    pub(super) fn value(&self, encoder: &BiEncoder, watch: &dyn Watch) -> Result<f64> {
        if self.settings.validation == Measure::Loss {
            return Ok(validation::loss(encoder, self.instances, self.settings, watch)?);
        }
        let depth = self.settings.validation_depth;
        let texts: Vec<&str> = self.queries.values().map(String::as_str).collect();
        let queries = encoder.encode(&texts, Role::Query, watch)?.vectors;
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let passages = encoder.encode(&texts, Role::Document, watch)?.vectors;
        let index = Exact::new(self.ids.clone(), Arc::new(passages), similarity(encoder))?;
        let rows: Vec<_> = (0..queries.len()).map(|row| queries.row(row)).collect();
        let rows: Vec<&[f32]> = rows.iter().map(AsRef::as_ref).collect();
        let mut run = Run::default();
        for (query, hits) in self.queries.keys().zip(index.best(&rows, depth)) {
            run.insert(query.clone(), hits);
        }
        let metric: Metric =
            format!("ndcg@{depth}").parse().map_err(|error| TrainError::Validation(Box::new(error)))?;
        let rules = Rules::new(Dialect::default());
        Ok(evaluate(&run.lists(), &self.qrels, &[metric], &rules).mean[&metric])
    }
}
