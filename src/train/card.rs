//! What a training run came to, as plain data, and the model card that says it: `README.md` of the encoder's folder.

use super::settings::TrainSettings;
use super::statistics::RunStatistics;
use super::trainer::Trained;
use super::validation::Curve;
use crate::data::{Instance, Provenance, QueryId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// A finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Instances that were trained on.
    pub instances: usize,
    /// Their queries.
    pub queries: usize,
    /// Their negatives by source.
    pub negatives: BTreeMap<String, usize>,
    /// Queries that were held out to look at the encoder with.
    pub held_out: usize,
    /// Steps there would have been without early stopping.
    pub planned: usize,
    /// Texts cut to the maximal length, each counted once.
    pub truncated: usize,
    /// What the numbers of the steps say.
    pub statistics: RunStatistics,
    /// The looks at held-out queries, where there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

impl TrainingSummary {
    /// Of a run on `instances` that held out so many queries.
    #[must_use]
    pub fn new(instances: &[Instance], held_out: usize, trained: &Trained) -> Self {
        let mut negatives = BTreeMap::new();
        for negative in instances.iter().flat_map(|instance| &instance.negatives) {
            *negatives.entry(negative.source.clone()).or_default() += 1;
        }
        let queries: HashSet<&QueryId> = instances.iter().map(|instance| &instance.query_id).collect();
        Self {
            instances: instances.len(),
            queries: queries.len(),
            negatives,
            held_out,
            planned: trained.planned,
            truncated: trained.truncated,
            statistics: RunStatistics::of(&trained.steps),
            curve: trained.curve.clone(),
        }
    }

    /// Lines for people: steps, the looks, what the gradients were made of.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.statistics.steps < self.planned {
            lines.push(format!("ended after {} of {} steps: no more gain", self.statistics.steps, self.planned));
        }
        lines.extend(self.curve.as_ref().map(Curve::summary));
        lines.extend(self.statistics.lines());
        lines
    }
}

/// What a card is made from.
pub struct Card<'c> {
    /// Name of the encoder that training began with.
    pub base: &'c str,
    /// How it was trained.
    pub settings: &'c TrainSettings,
    /// What the run came to.
    pub summary: &'c TrainingSummary,
    /// What it was made from.
    pub provenance: &'c Provenance,
}

/// The model card, Markdown with the head that model hubs read.
///
/// # Errors
/// When settings or provenance have no JSON form.
pub fn card(card: &Card) -> serde_json::Result<String> {
    let Card { base, settings, summary, provenance } = card;
    let mut text = String::from(
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\ntags:\n- sentence-transformers\n- sentence-similarity\n- feature-extraction\n---\n# A dense retriever trained on hard negatives\n\n",
    );
    text += &format!(
        "Made from `{base}` by {}. Load it with `SentenceTransformer(\"this folder\")`.\n\n## Data\n\n",
        provenance.program
    );
    text += &format!("{} instances of {} queries", summary.instances, summary.queries);
    if summary.held_out > 0 {
        text += &format!("; {} queries were held out", summary.held_out);
    }
    text += ".\n\n| source of negatives | negatives | share of the softmax weight | dead |\n|---|---|---|---|\n";
    for (source, count) in &summary.negatives {
        let weight = summary.statistics.sources.get(source).copied().unwrap_or_default();
        text += &format!("| {source} | {count} | {:.1} % | {:.1} % |\n", 100.0 * weight.share, 100.0 * weight.dead);
    }
    text += "\n## Training\n\n";
    for line in summary.lines() {
        text += &format!("- {line}\n");
    }
    if let Some(curve) = &summary.curve {
        text += &format!("\n| after step | {} |\n|---|---|\n", curve.measure);
        for check in &curve.checks {
            text += &format!("| {} | {:.4} |\n", check.step, check.value);
        }
    }
    text += &format!("\nSettings:\n\n```json\n{}\n```\n", serde_json::to_string_pretty(settings)?);
    text += &format!("\n## Provenance\n\n```json\n{}\n```\n", serde_json::to_string_pretty(provenance)?);
    Ok(text)
}
