//! What decides BM25's scores.

use crate::retrieve::{Error, Result};
use crate::text::AnalyserSettings;
use serde::{Deserialize, Serialize};

/// Parameters of BM25; the defaults are those of the literature's baselines (Lucene as BEIR runs it).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bm25Settings {
    /// Saturation of term frequency, 0 and up, default 0.9. Lower counts a term's presence only, higher lets
    /// passages that repeat a term win.
    pub k1: f64,
    /// Length normalisation, 0 to 1, default 0.4. Lower favours long passages, higher short ones.
    pub b: f64,
    /// How exactly passage lengths are known, default `exact`.
    pub length: LengthRule,
    /// Whether a title is part of the text, default `flat`.
    pub title: TitleRule,
    /// What a match in the title counts beside one in the body, 0 and up, default 1; only with `title = "field"`.
    /// Higher finds what is named, lower what is told.
    pub title_weight: f64,
    /// How text becomes terms, default English.
    pub analyser: AnalyserSettings,
}

impl Default for Bm25Settings {
    fn default() -> Self {
        Self {
            k1: 0.9,
            b: 0.4,
            length: LengthRule::Exact,
            title: TitleRule::Flat,
            title_weight: 1.0,
            analyser: AnalyserSettings::default(),
        }
    }
}

impl Bm25Settings {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |key, expected, found: f64| Err(Error::Setting { key, expected, found: found.to_string() });
        if !(self.k1 >= 0.0 && self.k1.is_finite()) {
            return refuse("k1", "a number from 0", self.k1);
        }
        if !(0.0..=1.0).contains(&self.b) {
            return refuse("b", "a number from 0 to 1", self.b);
        }
        if !(self.title_weight >= 0.0 && self.title_weight.is_finite()) {
            return refuse("title_weight", "a number from 0", self.title_weight);
        }
        #[expect(clippy::float_cmp, reason = "the default, as it stands")]
        if self.title == TitleRule::Flat && self.title_weight != 1.0 {
            return refuse("title_weight", "1, since a flat title has no weight of its own", self.title_weight);
        }
        Ok(())
    }

    /// The weights of the fields of a passage.
    pub(super) fn fields(&self) -> Vec<f64> {
        match self.title {
            TitleRule::Flat => vec![1.0],
            TitleRule::Field => vec![self.title_weight, 1.0],
        }
    }
}

/// Whether a title is part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TitleRule {
    /// Title, a space, body: one text (BEIR's "flat").
    Flat,
    /// Title and body are scored each with its own statistics, and the scores added (BEIR's "multifield").
    Field,
}

/// How exactly passage lengths are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LengthRule {
    /// The number of terms.
    Exact,
    /// The number of terms rounded down to what Lucene's one-byte norm holds: exact to 39, then 4 bits. Published
    /// numbers carry this rounding.
    Lucene,
}

impl LengthRule {
    pub(super) fn of(self, terms: u32) -> u32 {
        match self {
            Self::Exact => terms,
            Self::Lucene => lucene_length(terms),
        }
    }
}

/// `SmallFloat.byte4ToInt(SmallFloat.intToByte4(length))` of Lucene.
fn lucene_length(length: u32) -> u32 {
    // 255 - longToInt4(Integer.MAX_VALUE): so many small lengths are stored as they are.
    const FREE: u32 = 24;
    if length < FREE {
        return length;
    }
    let value = length - FREE;
    // Four significant bits, the first implied from 8 up.
    let cut = (32 - value.leading_zeros()).saturating_sub(4);
    FREE + (value >> cut << cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Lucene/SmallFloat`: 24 stored as they are, then a float of 3 explicit mantissa bits.
    #[test]
    fn lucenes_lengths_are_its_own() {
        let pairs =
            [(0, 0), (23, 23), (39, 39), (40, 40), (41, 40), (55, 54), (100, 96), (200, 200), (215, 200), (1000, 984)];
        for (length, stored) in pairs {
            assert_eq!(lucene_length(length), stored, "{length}");
        }
    }

    #[test]
    fn settings_outside_their_range_are_refused_by_name() {
        let wrong = |change: fn(&mut Bm25Settings)| {
            let mut settings = Bm25Settings::default();
            change(&mut settings);
            settings.check().err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(wrong(|_| ()), "");
        assert!(wrong(|s| s.b = 1.5).contains("`b`"));
        assert!(wrong(|s| s.k1 = f64::NAN).contains("`k1`"));
        assert!(wrong(|s| s.title_weight = 2.0).contains("`title_weight`"));
        assert_eq!(wrong(|s| (s.title, s.title_weight) = (TitleRule::Field, 2.0)), "");
        assert!(serde_json::from_str::<Bm25Settings>(r#"{"k": 1}"#).is_err());
    }
}
