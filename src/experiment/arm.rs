//! One arm of a recipe: how many negatives of which source, how they are mixed, and what its filters are.

use crate::filter::{FilterSettings, Measure};
use crate::mix::{Course, EasyToHard, Mix, Ratio, RatioOf, Schedule, Share};
use crate::negatives::{self, MiningSettings, Needs, written};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::data::Seed;

/// One arm: a name, and negatives per query by source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmRecipe {
    /// Its name; no white space or slash.
    pub name: String,
    /// How many negatives of which source: `{ bm25 = 1, written = 1 }`. The sum is the same in all arms; mixes but
    /// hybrid look at the sum alone.
    pub negatives: BTreeMap<String, usize>,
    /// How they are mixed: hybrid, direct, ratio, schedule or easy-to-hard. Default hybrid: so many of each in every
    /// instance.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mix: MixName,
    /// Of a ratio: negatives of `ratio_source` for each of the other source (or instance), above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// What the ratio is of: `rest`, the other source's negatives, or `instances`. Default rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_of: Option<RatioOf>,
    /// Of a ratio and a schedule: the source that the numbers tell of. Default `written`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_source: Option<String>,
    /// Of a schedule: the share of `ratio_source` in the negatives over training, 0 to 1, at moments of equal distance
    /// with straight lines between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<f64>,
    /// Of easy-to-hard: the score that says how hard a negative is, cosine, bm25 or relevance. Default none: its rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Measure>,
    /// Its filters, in place of the recipe's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<FilterSettings>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How an arm's negatives are mixed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MixName {
    /// So many of each source in every instance; of one source alone, pure.
    #[default]
    Hybrid,
    /// Any of all sources' candidates, pooled.
    Direct,
    /// Two sources in a proportion.
    Ratio,
    /// Two sources whose shares change over training.
    Schedule,
    /// From easy negatives to hard ones over training.
    EasyToHard,
}

/// What is wrong with an arm: key, expected, found.
pub type Wrong = (&'static str, String, String);

impl ArmRecipe {
    /// The mix it stands for: draws by `seed`, `passes` over the queries where it changes over training.
    ///
    /// # Errors
    /// The key that does not fit.
    pub fn mix(&self, seed: Seed, passes: usize) -> Result<Mix, Wrong> {
        let (count, course) = (self.count(), Course { passes, seed });
        let sources = || self.negatives.keys().cloned().collect();
        self.check_keys()?;
        Ok(match self.mix {
            MixName::Hybrid => {
                let shares: Vec<Share> =
                    self.negatives.iter().map(|(source, &count)| Share::new(source, count)).collect();
                match <[Share; 1]>::try_from(shares) {
                    Ok([share]) => Mix::Pure(share),
                    Err(shares) => Mix::Hybrid { shares },
                }
            }
            MixName::Direct => Mix::Direct { sources: sources(), count, seed },
            MixName::EasyToHard => Mix::EasyToHard(EasyToHard { sources: sources(), count, by: self.by, course }),
            MixName::Ratio => {
                let (source, rest) = self.pair()?;
                let absent = || ("ratio", "a number above 0".to_owned(), "none".to_owned());
                let (ratio, of) = (self.ratio.ok_or_else(absent)?, self.ratio_of.unwrap_or(RatioOf::Rest));
                Mix::Ratio(Ratio { source, rest, count, ratio, of, seed })
            }
            MixName::Schedule => {
                let (source, rest) = self.pair()?;
                Mix::Schedule(Schedule { source, rest, count, shares: self.shares.clone(), course })
            }
        })
    }

    /// Negatives of an instance.
    #[must_use]
    pub fn count(&self) -> usize {
        self.negatives.values().sum()
    }

    /// A key that its mix does not read would be passed over in silence.
    fn check_keys(&self) -> Result<(), Wrong> {
        let ratio = self.mix == MixName::Ratio;
        let keys = [
            ("ratio", self.ratio.is_some(), ratio),
            ("ratio_of", self.ratio_of.is_some(), ratio),
            ("ratio_source", self.ratio_source.is_some(), ratio || self.mix == MixName::Schedule),
            ("shares", !self.shares.is_empty(), self.mix == MixName::Schedule),
            ("by", self.by.is_some(), self.mix == MixName::EasyToHard),
        ];
        match keys.into_iter().find(|(_, given, read)| *given && !read) {
            Some((key, ..)) => {
                Err((key, format!("a key that the mix {} reads", self.mix_name()), "another mix's".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// The source that numbers tell of, and the other.
    fn pair(&self) -> Result<(String, String), Wrong> {
        let told = self.ratio_source.as_deref().unwrap_or(written::SOURCE);
        let others: Vec<&String> = self.negatives.keys().filter(|source| *source != told).collect();
        match (self.negatives.contains_key(told), &others[..]) {
            (true, [rest]) => Ok((told.to_owned(), (*rest).clone())),
            _ => Err((
                "ratio_source",
                "one of the arm's two sources".to_owned(),
                format!("{told:?} of {}", self.describe()),
            )),
        }
    }

    fn mix_name(&self) -> String {
        serde_json::to_value(self.mix).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }

    /// "bm25 1 + written 1"; of other mixes "2 of bm25, written (direct)".
    #[must_use]
    pub fn describe(&self) -> String {
        if self.mix == MixName::Hybrid {
            return self
                .negatives
                .iter()
                .map(|(source, count)| format!("{source} {count}"))
                .collect::<Vec<_>>()
                .join(" + ");
        }
        let sources: Vec<&str> = self.negatives.keys().map(String::as_str).collect();
        let numbers = match (self.mix, self.ratio) {
            (MixName::Ratio, Some(ratio)) => format!(" {ratio}"),
            (MixName::Schedule, _) => format!(" {:?}", self.shares),
            _ => String::new(),
        };
        format!("{} of {} ({}{numbers})", self.count(), sources.join(", "), self.mix_name())
    }

    /// True when it needs the generator.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.negatives.contains_key(written::SOURCE)
    }

    /// True when one of its sources ranks by a cross-encoder.
    #[must_use]
    pub fn is_judged(&self, mine: &MiningSettings) -> bool {
        let ranks = |source: &String| negatives::named(source).is_ok_and(|row| row.needs(Needs::Judge, mine));
        self.negatives.keys().any(ranks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(text: &str) -> Result<ArmRecipe, toml::de::Error> {
        toml::from_str(&format!("name = \"a\"\nnegatives = {{ bm25 = 2, written = 1 }}\n{text}"))
    }

    #[test]
    fn each_mix_is_made_of_its_keys_and_refuses_others() -> Result<(), Box<dyn std::error::Error>> {
        let mixed = |text: &str| -> Result<Result<Mix, Wrong>, toml::de::Error> { Ok(arm(text)?.mix(Seed(1), 2)) };
        assert!(matches!(mixed("")?, Ok(Mix::Hybrid { shares }) if shares.len() == 2));
        assert!(matches!(mixed("mix = \"direct\"")?, Ok(Mix::Direct { count: 3, .. })));
        let ratio = mixed("mix = \"ratio\"\nratio = 0.7\nratio_of = \"instances\"")?;
        assert!(matches!(ratio, Ok(Mix::Ratio(ratio)) if ratio.source == "written" && ratio.of == RatioOf::Instances));
        let schedule = mixed("mix = \"schedule\"\nshares = [0.0, 1.0]\nratio_source = \"bm25\"")?;
        assert!(matches!(schedule, Ok(Mix::Schedule(told)) if told.source == "bm25" && told.rest == "written"));
        let hard = mixed("mix = \"easy-to-hard\"\nby = \"cosine\"")?;
        assert!(matches!(&hard, Ok(mix) if mix.course().is_some_and(|course| course.passes == 2)));
        let refused = |text: &str| -> Result<&'static str, toml::de::Error> {
            Ok(mixed(text)?.err().map_or("nothing", |(key, ..)| key))
        };
        assert_eq!(refused("ratio = 0.7")?, "ratio");
        assert_eq!(refused("mix = \"ratio\"")?, "ratio");
        assert_eq!(refused("mix = \"direct\"\nshares = [0.5]")?, "shares");
        assert_eq!(refused("mix = \"ratio\"\nratio = 0.7\nratio_source = \"dense\"")?, "ratio_source");
        assert_eq!(
            arm("mix = \"schedule\"\nshares = [0.0, 1.0]")?.describe(),
            "3 of bm25, written (schedule [0.0, 1.0])"
        );
        Ok(())
    }
}
