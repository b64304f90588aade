//! What a guide encoder thinks of a batch: the cosine of each query and passage, by which likely answers that nobody
//! judged are taken out of the negatives (`GISTEmbed`, Solatorio 2024, arXiv 2402.16829).

use super::Result;
use crate::data::{Instance, Watch};
use crate::encode::{BiEncoder, Role};
use std::collections::HashMap;

/// A guide's vectors of all texts of the instances, each distinct text once.
pub(super) struct Guided {
    queries: Vec<Vec<f32>>,
    passages: Vec<Vec<f32>>,
    /// For each instance, where its query stands, its positive and its negatives.
    places: Vec<(usize, Vec<usize>)>,
}

impl Guided {
    /// What `guide` makes of `instances`.
    ///
    /// # Errors
    /// As [`BiEncoder::encode`].
    pub(super) fn new(guide: &BiEncoder, instances: &[Instance], watch: &dyn Watch) -> Result<Self> {
        let (mut queries, mut passages) = (Texts::default(), Texts::default());
        let places = instances.iter().map(|instance| {
            let all = std::iter::once(&instance.positive).chain(&instance.negatives);
            (queries.place(&instance.query), all.map(|passage| passages.place(&passage.text)).collect())
        });
        let places = places.collect();
        watch.begin("ask the guide", (queries.0.len() + passages.0.len()) as u64, "texts");
        let unit = |texts: Texts<'_>, role| -> Result<Vec<Vec<f32>>> {
            let vectors = guide.encode(&texts.listed(), role, watch)?.vectors;
            Ok((0..vectors.len()).map(|row| to_unit(&vectors.row(row))).collect())
        };
        let all = Self { queries: unit(queries, Role::Query)?, passages: unit(passages, Role::Document)?, places };
        watch.end();
        Ok(all)
    }

    /// The cosine of each query and passage of a batch, `(B, C)` row-major: positives first, then the negatives instance by
    /// instance.
    pub(super) fn cosines(&self, batch: &[usize]) -> Vec<f32> {
        let passages = |member: &usize| &self.places[*member].1;
        let positives = batch.iter().map(|member| passages(member)[0]);
        let columns: Vec<usize> = positives.chain(batch.iter().flat_map(|m| passages(m)[1..].to_vec())).collect();
        let cosine = |query: &[f32], passage: &[f32]| query.iter().zip(passage).map(|(a, b)| a * b).sum();
        let rows = batch.iter().map(|member| &self.queries[self.places[*member].0]);
        rows.flat_map(|query| columns.iter().map(|&column| cosine(query, &self.passages[column]))).collect()
    }
}

fn to_unit(row: &[f32]) -> Vec<f32> {
    let length = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    row.iter().map(|value| value / length).collect()
}

/// Texts by the order of their first use.
#[derive(Default)]
struct Texts<'t>(HashMap<&'t str, usize>);

impl<'t> Texts<'t> {
    fn place(&mut self, text: &'t str) -> usize {
        let next = self.0.len();
        *self.0.entry(text).or_insert(next)
    }

    fn listed(self) -> Vec<&'t str> {
        let mut texts: Vec<(&str, usize)> = self.0.into_iter().collect();
        texts.sort_unstable_by_key(|&(_, place)| place);
        texts.into_iter().map(|(text, _)| text).collect()
    }
}
