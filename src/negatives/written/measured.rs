//! What needs a model to measure: how near a written text is to its query, by a cross-encoder (relevance) or an encoder
//! (cosine). A text must lie in the band that mined negatives have, and below its positive: above, it answers; below,
//! it is too easy.

use super::checks::{Ask, Checked};
use super::defect::{Defect, Item};
use crate::data::Quiet;
use crate::encode::cross_encoder::Scale;
use crate::encode::{BiEncoder, CrossEncoder, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// Share of the mined negatives left out at each end of the band.
const TAIL: f64 = 0.05;
/// Fewest mined negatives a band is learned from: fewer have no tails to speak of.
pub const FEWEST: usize = 20;
/// Mined negatives a band is learned from, at most, but for the last query's.
const SAMPLE: usize = 500;

/// What is measured of a query and a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Probability of relevance by a cross-encoder, 0 to 1.
    Relevance,
    /// Cosine of an encoder's vectors, -1 to 1.
    Cosine,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relevance => "relevance",
            Self::Cosine => "cosine",
        })
    }
}

/// A model that measures.
pub trait Meter: Send + Sync {
    /// What it measures.
    fn measure(&self) -> Measure;

    /// Its value for `query` and each of `texts`, in order.
    ///
    /// # Errors
    /// What the model says.
    fn values(&self, query: &str, texts: &[&str]) -> Result<Vec<f64>, String>;
}

impl Meter for CrossEncoder {
    fn measure(&self) -> Measure {
        Measure::Relevance
    }

    fn values(&self, query: &str, texts: &[&str]) -> Result<Vec<f64>, String> {
        let pairs: Vec<(&str, &str)> = texts.iter().map(|&text| (query, text)).collect();
        let scored = self.score(&pairs, Scale::Relevance, &Quiet).map_err(|error| error.to_string())?;
        // One label: its probability; several: that of the last, as in entailment models "relevant" is.
        Ok(scored.scores.iter().map(|row| f64::from(row.last().copied().unwrap_or_default())).collect())
    }
}

impl Meter for BiEncoder {
    fn measure(&self) -> Measure {
        Measure::Cosine
    }

    fn values(&self, query: &str, texts: &[&str]) -> Result<Vec<f64>, String> {
        let encode = |texts: &[&str], role| self.encode(texts, role, &Quiet).map_err(|error| error.to_string());
        let asked = encode(&[query], Role::Query)?.vectors;
        let told = encode(texts, Role::Document)?.vectors;
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
        };
        Ok((0..told.len()).map(|row| cosine(&asked.row(0), &told.row(row))).collect())
    }
}

/// Values that mined negatives have, without the outermost 5 % at each end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Smallest.
    pub least: f64,
    /// Largest.
    pub most: f64,
}

impl Band {
    /// The band of `values`; None when they are fewer than [`FEWEST`] or not all finite.
    #[must_use]
    pub fn learn(mut values: Vec<f64>) -> Option<Self> {
        if values.len() < FEWEST || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count times a share"
        )]
        let cut = (values.len() as f64 * TAIL) as usize;
        Some(Self { least: values[cut], most: values[values.len() - 1 - cut] })
    }
}

/// Why no band could be learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBand {
    /// The model failed.
    #[error("{0}")]
    Unmeasured(String),
    /// There are too few mined negatives, or not all their values are finite.
    #[error("expected at least {FEWEST} mined negatives of the split's queries, found {0}")]
    TooFew(usize),
}

/// A model with the band its values must lie in.
#[derive(Clone)]
pub struct Target {
    /// The model.
    pub meter: Arc<dyn Meter>,
    /// Digest of its weights and settings.
    pub model: Value,
    /// The band.
    pub band: Band,
}

impl Target {
    /// `meter`, whose weights and settings `model` stands for, with the band of what it gives `mined`: queries, each
    /// with its mined negatives.
    ///
    /// # Errors
    /// [`NoBand`].
    pub fn learn<'m>(
        meter: Arc<dyn Meter>,
        model: Value,
        mined: impl IntoIterator<Item = (&'m str, &'m [String])>,
    ) -> Result<Self, NoBand> {
        let mut values = Vec::new();
        for (query, texts) in mined {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            values.extend(meter.values(query, &texts).map_err(NoBand::Unmeasured)?);
            if values.len() >= SAMPLE {
                break;
            }
        }
        let found = values.len();
        let band = Band::learn(values).ok_or(NoBand::TooFew(found))?;
        Ok(Self { meter, model, band })
    }

    /// What of it decides a judgement, for keys and provenance.
    #[must_use]
    pub fn identity(&self) -> Value {
        json!({ "measure": self.meter.measure(), "model": self.model, "band": self.band })
    }

    /// Takes out of `checked` what lies outside the band, and notes the value of what stays.
    pub fn judge(&self, ask: &Ask, checked: &mut Checked) {
        if checked.good.is_empty() || ask.positives.is_empty() {
            return;
        }
        let measure = self.meter.measure();
        let texts: Vec<&str> = ask
            .positives
            .iter()
            .map(String::as_str)
            .chain(checked.good.iter().map(|good| good.text.as_str()))
            .collect();
        let values = match self.meter.values(&ask.query, &texts) {
            Ok(values) if values.len() == texts.len() && values.iter().all(|value| value.is_finite()) => values,
            Ok(_) => return fail(checked, measure, "not a number for each text"),
            Err(reason) => return fail(checked, measure, &reason),
        };
        let (positives, own) = values.split_at(ask.positives.len());
        let positive = positives.iter().copied().fold(f64::INFINITY, f64::min);
        // A positive the model itself misjudges must not make every text wrong.
        let (most, least) = (self.band.most.min(positive), self.band.least.min(positive));
        let mut values = own.iter().copied();
        let mut defects = Vec::new();
        checked.good.retain_mut(|good| {
            let value = values.next().unwrap_or_default();
            let item = Item { name: ask.item, number: good.place as usize };
            #[expect(clippy::cast_possible_truncation, reason = "scores of candidates are f32")]
            let noted = Some(value as f32);
            match measure {
                Measure::Relevance => good.scores.relevance = noted,
                Measure::Cosine => good.scores.cosine = noted,
            }
            if value > most {
                defects.push(Defect::Answers { item, measure, value, positive, most });
            } else if value < least {
                defects.push(Defect::TooEasy { item, measure, value, least });
            }
            (least..=most).contains(&value)
        });
        checked.defects.extend(defects);
    }
}

fn fail(checked: &mut Checked, measure: Measure, reason: &str) {
    checked.good.clear();
    checked.defects.push(Defect::Unmeasured { measure, reason: reason.to_owned() });
}
