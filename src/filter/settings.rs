//! Which rules are on, and their bounds.

use super::TABLE;
use crate::data::Scores;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// On or off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// The rule is applied.
    On,
    /// It is not.
    #[default]
    Off,
}

/// When two texts are the same, and which texts a candidate must not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextRule {
    /// Without regard to case and runs of white space; the query's and the positives'.
    #[default]
    Folded,
    /// Byte for byte; the positives' (sentence-transformers).
    Positives,
    /// Byte for byte; the query's and the positives' (`FlagEmbedding`).
    QueryAndPositives,
}

/// Which positive a margin is measured from, where a query has several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bar {
    /// The lowest-scored: strictest, as in sentence-transformers.
    #[default]
    Lowest,
    /// The highest-scored: most lenient.
    Highest,
    /// The mean of their scores.
    Mean,
}

impl Bar {
    /// The bar over `scores`; nothing where there are none.
    #[must_use]
    pub fn of(self, scores: &[f32]) -> Option<f32> {
        let (first, rest) = scores.split_first()?;
        Some(match self {
            Self::Lowest => rest.iter().fold(*first, |a, &b| a.min(b)),
            Self::Highest => rest.iter().fold(*first, |a, &b| a.max(b)),
            Self::Mean => scores.iter().sum::<f32>() / scores.len() as f32,
        })
    }
}

/// Which score bounds and margins are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Cosine of the encoder's vectors.
    #[default]
    Cosine,
    /// BM25.
    Bm25,
    /// Probability of relevance by a cross-encoder.
    Relevance,
}

impl Measure {
    /// That score of `scores`.
    #[must_use]
    pub fn of(self, scores: &Scores) -> Option<f32> {
        match self {
            Self::Cosine => scores.cosine,
            Self::Bm25 => scores.bm25,
            Self::Relevance => scores.relevance,
        }
    }
}

/// What happens to a candidate that would bring test data into training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leakage {
    /// It is kept and marked.
    Mark,
    /// It is dropped.
    Block,
}

/// Bounds of all rules; one that is `None` leaves its rule off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterSettings {
    /// The score that bounds and margins are for where candidates have several, default cosine. A source that mines has a
    /// score of its own, and does not look at it.
    pub measure: Measure,
    /// Whether a passage with the query's id goes, default off. On is right where queries are passages (`ArguAna`, Quora);
    /// elsewhere equal ids are chance, and good negatives go.
    pub same_id: Switch,
    /// When a passage has the text of the query or of a positive, default folded. Byte equality lets in more copies.
    pub same_text: TextRule,
    /// Best ranks that go, 0 and up, default none. Lower lets in more unjudged answers, higher leaves easier negatives.
    pub range_min: Option<u32>,
    /// Last rank kept, from 1, default none. Lower leaves fewer, higher easier ones.
    pub range_max: Option<u32>,
    /// Candidates keep this far below the positive, in the unit of the score, 0 and up, default none. Lower lets in more
    /// unjudged answers, higher leaves fewer and easier ones.
    pub absolute_margin: Option<f32>,
    /// As `absolute_margin`, as a share of the positive's score: a candidate goes when its score is above `p - |p| m`.
    pub relative_margin: Option<f32>,
    /// A margin by NV-Retriever's name, `topk-percpos-0.95` or `topk-marginpos-0.05`, in place of the two; default none.
    pub preset: Option<Preset>,
    /// Which of several positives margins are measured from, default lowest.
    pub bar: Bar,
    /// Highest score kept, default none. Lower leaves easier ones, higher more unjudged answers.
    pub max_score: Option<f32>,
    /// Lowest score kept, default none. Lower leaves easy ones, higher runs short.
    pub min_score: Option<f32>,
    /// Lowest probability of relevance that goes, 0 to 1, default none; `RocketQA` (2010.08191) uses 0.1. Lower drops good
    /// negatives, higher lets in unjudged answers. Candidates without that score stay.
    pub max_relevance: Option<f32>,
    /// Least length of a candidate in lengths of the positives (mean characters), above 0, default none. Lower lets in
    /// stubs, higher runs short.
    pub min_length_ratio: Option<f32>,
    /// Greatest such length, default none. Lower runs short, higher lets in texts that are cut in training.
    pub max_length_ratio: Option<f32>,
    /// Whether passages in another language than the positives' go, default off. Short texts are often not recognised;
    /// they stay.
    pub language: Switch,
    /// Whether passages that hold an answer string go, default off; it needs answers, which few collections have.
    pub answers: Switch,
    /// Least share of common word triples (Jaccard) of a near-duplicate, above 0 to 1, default none. Lower drops
    /// passages that only share phrases, higher lets in copies with changes.
    pub near_duplicate: Option<f32>,
    /// Least cosine of a near-duplicate, -1 to 1, default none; it needs vectors. Lower drops good negatives.
    pub near_cosine: Option<f32>,
    /// What becomes of candidates with test data, default none: nobody looks. It needs a test split.
    pub leakage: Option<Leakage>,
    /// Bounds of rules that have no key of their own, by the rule's name; default none. What a bound means, its rule says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<String, f32>,
}

/// A preset that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected topk-percpos-SHARE or topk-marginpos-MARGIN, found {0:?}\n  hint: NV-Retriever's are topk-percpos-0.95 and topk-marginpos-0.05"
)]
pub struct InvalidPreset(String);

/// A margin by the name NV-Retriever (2407.15831, section 3.2) gives it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Preset {
    /// `topk-percpos-0.95`: candidates stay below 95 % of the positive's score.
    PercPos(f32),
    /// `topk-marginpos-0.05`: candidates stay 0.05 below the positive's score.
    MarginPos(f32),
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PercPos(share) => write!(f, "topk-percpos-{share}"),
            Self::MarginPos(margin) => write!(f, "topk-marginpos-{margin}"),
        }
    }
}

impl From<Preset> for String {
    fn from(preset: Preset) -> Self {
        preset.to_string()
    }
}

impl TryFrom<String> for Preset {
    type Error = InvalidPreset;
    fn try_from(name: String) -> Result<Self, InvalidPreset> {
        name.parse()
    }
}

impl FromStr for Preset {
    type Err = InvalidPreset;
    fn from_str(name: &str) -> Result<Self, InvalidPreset> {
        let value = |text: &str| text.parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
        let share = name.strip_prefix("topk-percpos-").and_then(value).map(Self::PercPos);
        share
            .or_else(|| name.strip_prefix("topk-marginpos-").and_then(value).map(Self::MarginPos))
            .ok_or_else(|| InvalidPreset(name.to_owned()))
    }
}

impl FilterSettings {
    /// The same with a preset's margin.
    #[must_use]
    pub fn with(self, preset: Preset) -> Self {
        match preset {
            // 1 - 0.95 is taken in f64, so that the margin is the f32 nearest 0.05.
            Preset::PercPos(share) => Self { relative_margin: Some(one_less(share)), ..self },
            Preset::MarginPos(margin) => Self { absolute_margin: Some(margin), ..self },
        }
    }

    /// The margins, a preset's among them: absolute and relative.
    #[must_use]
    pub fn margins(&self) -> (Option<f32>, Option<f32>) {
        match self.preset {
            Some(preset) => {
                let settings = Self::default().with(preset);
                (settings.absolute_margin, settings.relative_margin)
            }
            None => (self.absolute_margin, self.relative_margin),
        }
    }

    /// Whether bounds or margins on [`FilterSettings::measure`] are set.
    #[must_use]
    pub fn measures(&self) -> bool {
        self.has_margin() || self.max_score.or(self.min_score).is_some()
    }

    /// Whether a margin from the positive is set.
    #[must_use]
    pub fn has_margin(&self) -> bool {
        self.margins() != (None, None)
    }

    /// Whether a threshold on the probability of relevance is set.
    #[must_use]
    pub fn trusts_relevance(&self) -> bool {
        self.max_relevance.is_some() || (self.measure == Measure::Relevance && self.measures())
    }

    /// The first key that is outside its range, with the range and what was found.
    ///
    /// # Errors
    /// (key, expected, found).
    pub fn check(&self) -> Result<(), (&'static str, &'static str, String)> {
        let within = |key, expected, value: Option<f32>, fits: fn(f32) -> bool| match value {
            Some(found) if !fits(found) => Err((key, expected, found.to_string())),
            _ => Ok(()),
        };
        if let (Some(min), Some(max)) = (self.range_min, self.range_max)
            && max <= min
        {
            return Err(("range_max", "a rank above range_min", max.to_string()));
        }
        // A rule that a bound under its name does not turn on knows nothing of it.
        let turned_on = |name: &str, bound: f32| {
            let alone = Self { bounds: BTreeMap::from([(name.to_owned(), bound)]), ..Self::default() };
            let row = TABLE.iter().find(|row| row.name == name);
            bound.is_finite()
                && row.is_some_and(|row| (row.make)(&Self::default()).is_none() && (row.make)(&alone).is_some())
        };
        if let Some((name, bound)) = self.bounds.iter().find(|(name, bound)| !turned_on(name, **bound)) {
            return Err((
                "bounds",
                "finite bounds of rules that have no key of their own",
                format!("{name} = {bound}"),
            ));
        }
        if self.preset.is_some() && self.absolute_margin.or(self.relative_margin).is_some() {
            return Err(("preset", "a preset or a margin", "both".to_owned()));
        }
        within("absolute_margin", "a number from 0", self.absolute_margin, |m| m >= 0.0 && m.is_finite())?;
        within("relative_margin", "a share from 0 to 1", self.relative_margin, |m| (0.0..=1.0).contains(&m))?;
        within("max_score", "a finite number", self.max_score, f32::is_finite)?;
        within("min_score", "a finite number", self.min_score, f32::is_finite)?;
        within("max_relevance", "a probability, 0 to 1", self.max_relevance, |m| (0.0..=1.0).contains(&m))?;
        within("min_length_ratio", "a ratio above 0", self.min_length_ratio, |m| m > 0.0 && m.is_finite())?;
        within("max_length_ratio", "a ratio above 0", self.max_length_ratio, |m| m > 0.0 && m.is_finite())?;
        within("near_duplicate", "a share above 0, to 1", self.near_duplicate, |m| m > 0.0 && m <= 1.0)?;
        within("near_cosine", "a cosine, -1 to 1", self.near_cosine, |m| (-1.0..=1.0).contains(&m))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the margin is kept as f32")]
fn one_less(share: f32) -> f32 {
    // The decimal the person wrote, not its f32 neighbour.
    let share: f64 = share.to_string().parse().unwrap_or_else(|_| f64::from(share));
    (1.0 - share) as f32
}
