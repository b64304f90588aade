//! What the user decides about mining; keys as in sentence-transformers' `mine_hard_negatives`.

use super::{Needs, SourceError};
use crate::filter::{Bar, FilterSettings, TextRule};
use crate::retrieve::Fusion;
use serde::{Deserialize, Serialize};

/// Which candidates of a source are proposed, and how many. Ranges are raw ranks: what filters drop still takes its
/// rank. Settings at their default are left out of what is written, so that keys of the store stay as they were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiningSettings {
    /// Best passages skipped, 0 and up, default 0. Lower lets in more false negatives (relevant but
    /// not judged), higher gives easier negatives. Not used by sources that draw (`random` ...).
    pub range_min: u32,
    /// Last rank looked at, from 1, above `range_min`, default 100. Lower runs short of passages, higher
    /// gives easier negatives once the best are dropped. Not used by sources that draw.
    pub range_max: u32,
    /// Negatives per query, 1 and up, default 3. Lower gives a weaker signal per query, higher makes
    /// training dearer and takes worse-ranked passages.
    pub num_negatives: u32,
    /// Which of those that filters keep are proposed, default top: the hardest, and the most false negatives.
    #[serde(skip_serializing_if = "is_default")]
    pub sampling: Sampling,
    /// Softmax sampling draws in proportion to exp(score / temperature); above 0, in the unit of the source's score,
    /// default 0.05. Lower is nearer to top, higher to random.
    #[serde(skip_serializing_if = "is_default_temperature")]
    pub temperature: f32,
    /// Highest score, in the unit of the source's, default none. Lower gives easier negatives. Not used by sources
    /// without scores, as the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_score: Option<f32>,
    /// Lowest score, default none. Higher runs short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    /// Negatives score so much below the positive, 0 and up, default none. Higher gives fewer and easier ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_margin: Option<f32>,
    /// The same as a share of the positive's score, 0 to 1; safe for negative scores. Default none; 0.05 is
    /// NV-Retriever's TopK-PercPos at 95 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_margin: Option<f32>,
    /// Which of several positives margins are measured from, default lowest.
    #[serde(skip_serializing_if = "is_default")]
    pub bar: Bar,
    /// Whose rules decide, default ours.
    #[serde(skip_serializing_if = "is_default")]
    pub compat: Compat,
    /// How `fusion` joins the rankings, default reciprocal ranks with k = 60.
    #[serde(skip_serializing_if = "is_default")]
    pub fusion: Fusion,
    /// How `simans` weighs candidates, default the paper's formula.
    #[serde(skip_serializing_if = "is_default")]
    pub simans: SimAns,
    /// Whose best passages `cross-encoder` orders anew: bm25 or dense. Default bm25. Dense finds passages without the
    /// query's words.
    #[serde(skip_serializing_if = "is_default")]
    pub pool: Pool,
    /// How many of them, from 1, default 100. Fewer is faster and leaves out what the pool ranks low.
    #[serde(skip_serializing_if = "is_default_depth")]
    pub pool_depth: u32,
    /// `random-length` draws passages whose length is within this share of the positives' mean; above 0, default 0.25.
    /// Lower runs short, higher is `random`.
    #[serde(skip_serializing_if = "is_default_band")]
    pub length_band: f32,
}

const TEMPERATURE: f32 = 0.05;
const BAND: f32 = 0.25;
const POOL_DEPTH: u32 = 100;

impl Default for MiningSettings {
    fn default() -> Self {
        Self {
            range_min: 0,
            range_max: 100,
            num_negatives: 3,
            sampling: Sampling::default(),
            temperature: TEMPERATURE,
            max_score: None,
            min_score: None,
            absolute_margin: None,
            relative_margin: None,
            bar: Bar::default(),
            compat: Compat::default(),
            fusion: Fusion::default(),
            simans: SimAns::default(),
            pool: Pool::default(),
            pool_depth: POOL_DEPTH,
            length_band: BAND,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_default_temperature(value: &f32) -> bool {
    *value == TEMPERATURE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_default_band(value: &f32) -> bool {
    *value == BAND
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_default_depth(value: &u32) -> bool {
    *value == POOL_DEPTH
}

/// A ranking whose best passages are ordered anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// BM25's.
    #[default]
    Bm25,
    /// The encoder's.
    Dense,
}

impl Pool {
    pub(super) fn needs(self) -> Needs {
        match self {
            Self::Bm25 => Needs::Words,
            Self::Dense => Needs::Vectors,
        }
    }
}

/// Which candidates are taken of those that filters keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// The best.
    #[default]
    Top,
    /// Any, all alike.
    Random,
    /// In proportion to the softmax of their scores.
    Softmax,
}

/// Whose selection is made from the same scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Ours.
    #[default]
    Nearmiss,
    /// `mine_hard_negatives` of sentence-transformers 6: `range_min` and `range_max` count what filters left, the
    /// search goes as much deeper as a query has positives at most, texts that occur twice count once, and only byte
    /// equality with a positive excludes.
    SentenceTransformers,
    /// `hn_mine.py` of `FlagEmbedding` 1.4: raw ranks from `range_min` up to `range_max`, a random draw where more are
    /// left than asked for, filled with random passages where fewer are.
    #[serde(rename = "flagembedding")]
    FlagEmbedding,
}

/// Weights of `SimANS` (2210.11773): candidates whose score is about the positive's are drawn most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimAns {
    /// The formula, default the paper's.
    pub formula: SimAnsFormula,
    /// a of the paper's formula, above 0, default 1, for scores in the tens (dot products). Higher draws nearer to the
    /// positive's score; for cosines 100 has about that reach. Not used by the released formula.
    pub a: f32,
    /// b of the paper's formula, in the unit of the score, default 0. Below 0 draws below the positive's score: easier
    /// and fewer false negatives. Not used by the released formula.
    pub b: f32,
}

impl Default for SimAns {
    fn default() -> Self {
        Self { formula: SimAnsFormula::default(), a: 1.0, b: 0.0 }
    }
}

/// Two formulas go by one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SimAnsFormula {
    /// exp(-a (s - s⁺ - b)²), equation 5 of the paper.
    #[default]
    Paper,
    /// exp(-3 |s - s⁺|), as in the authors' code.
    Released,
}

impl SimAns {
    /// Natural logarithm of the weight of a candidate with `score` beside a positive with `positive`.
    #[must_use]
    pub fn log_weight(&self, score: f32, positive: f32) -> f64 {
        let difference = f64::from(score) - f64::from(positive);
        match self.formula {
            SimAnsFormula::Paper => -f64::from(self.a) * (difference - f64::from(self.b)).powi(2),
            SimAnsFormula::Released => -3.0 * difference.abs(),
        }
    }
}

impl MiningSettings {
    /// The filters that the source's candidates must pass.
    #[must_use]
    pub fn filters(&self) -> FilterSettings {
        FilterSettings {
            same_text: match self.compat {
                Compat::Nearmiss => TextRule::Folded,
                Compat::SentenceTransformers => TextRule::Positives,
                Compat::FlagEmbedding => TextRule::QueryAndPositives,
            },
            absolute_margin: self.absolute_margin,
            relative_margin: self.relative_margin,
            bar: self.bar,
            max_score: self.max_score,
            min_score: self.min_score,
            ..FilterSettings::default()
        }
    }

    /// Whether the positives must be scored too.
    #[must_use]
    pub fn has_margin(&self) -> bool {
        self.absolute_margin.is_some() || self.relative_margin.is_some()
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SourceError::Setting`] with the first key that is outside.
    pub fn check(&self) -> Result<(), SourceError> {
        let refuse = |key, expected: &str, found: String| {
            Err(SourceError::Setting { key, expected: expected.to_owned(), found })
        };
        if self.num_negatives == 0 {
            return refuse("num_negatives", "a number from 1", "0".to_owned());
        }
        if self.range_max <= self.range_min {
            let expected = format!("a rank above range_min = {}", self.range_min);
            return refuse("range_max", &expected, self.range_max.to_string());
        }
        if self.pool_depth == 0 {
            return refuse("pool_depth", "a number from 1", "0".to_owned());
        }
        if self.temperature <= 0.0 || !self.temperature.is_finite() {
            return refuse("temperature", "a number above 0", self.temperature.to_string());
        }
        if self.length_band <= 0.0 || !self.length_band.is_finite() {
            return refuse("length_band", "a share above 0", self.length_band.to_string());
        }
        if !self.fusion.is_valid() {
            return refuse("fusion", "a k above 0, or a weight from 0 to 1", format!("{:?}", self.fusion));
        }
        if self.simans.a <= 0.0 || !self.simans.a.is_finite() || !self.simans.b.is_finite() {
            return refuse("simans", "an a above 0 and a finite b", format!("{:?}", self.simans));
        }
        match self.filters().check() {
            Err((key, expected, found)) => refuse(key, expected, found),
            Ok(()) => Ok(()),
        }
    }
}
