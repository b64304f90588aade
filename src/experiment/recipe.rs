//! The experiment file: which collection, encoder and generator, which arms, which settings.
//! Unknown keys are errors that name the nearest known one.

use crate::data::{Error, Fault, Result, Seed};
use crate::eval::Metric;
use crate::filter::{FilterSettings, Switch};
use crate::generate::EngineSettings;
use crate::mix::Positives;
use crate::negatives::MiningSettings;
use crate::negatives::written::settings::BandChoice;
use crate::negatives::written::{self, WrittenSettings};
use crate::retrieve::Bm25Settings;
#[cfg(feature = "hnsw")]
use crate::retrieve::HnswSettings;
use crate::train::TrainSettings;
use crate::train::loss::Needs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use super::arm::ArmRecipe;

/// The judge that is trained on the training queries.
pub const TRAIN: &str = "train";

/// An experiment: everything that decides its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name, in reports and run tags; no white space.
    pub name: String,
    /// The BEIR folder.
    pub data: PathBuf,
    /// Folder or name of the encoder that is trained.
    pub encoder: PathBuf,
    /// GGUF file of the generator; arms with written negatives are left out when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<PathBuf>,
    /// Cross-encoder whose scores the losses that distil learn from; default none. A folder, or a name as for `encoder`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Encoder that takes likely answers out of the negatives in training, by `train.guide_margin`. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guide: Option<PathBuf>,
    /// Cross-encoder for thresholds on relevance, and for the source `cross-encoder`: `train`, which trains one in two folds
    /// of the training queries, from `encoder`; or a folder or name. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    /// What it is trained on: negatives per query by source, at most `mine.num_negatives` each. Default
    /// `{ bm25 = 2, random = 1 }`. Harder ones make it finer, and teach it unjudged answers as none.
    #[serde(default = "judge_negatives", skip_serializing_if = "is_judge_default")]
    pub judge_negatives: BTreeMap<String, usize>,
    /// How it is trained, default as the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_train: Option<TrainSettings>,
    /// Filters of the arms that have none of their own, default none. Negatives that go are made up for from the
    /// `num_negatives` of `[mine]` and `[written]`, so that these must be higher than what arms take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<FilterSettings>,
    /// What a reader must know of the generator's text; shown in the rows it served. Default "".
    #[serde(default)]
    pub generator_note: String,
    /// Seeds; each arm is trained once with each. Default 1, 2, 3. Fewer than three say little of the spread.
    #[serde(default = "seeds")]
    pub seeds: Vec<Seed>,
    /// Split whose queries are trained on, default `train`.
    #[serde(default = "train_split")]
    pub train_split: String,
    /// Split whose queries are scored, default `test`.
    #[serde(default = "test_split")]
    pub test_split: String,
    /// Positives a query brings to training: all, or the first. Default all.
    #[serde(default)]
    pub positives: Positives,
    /// How dense negatives are found: auto, exact or hnsw. Default auto: what costs less.
    #[serde(default)]
    pub dense: DenseChoice,
    /// Hits kept per test query, 1 and up, default 100; metrics look no deeper.
    #[serde(default = "depth")]
    pub depth: usize,
    /// Metrics of the table, the first one leading. Default ndcg@10, recall@100.
    #[serde(default = "metrics")]
    pub metrics: Vec<Metric>,
    /// The arms, in the order of the table.
    #[serde(rename = "arm")]
    pub arms: Vec<ArmRecipe>,
    /// Parameters of BM25.
    #[serde(default)]
    pub bm25: Bm25Settings,
    /// Shape of the HNSW graph.
    #[cfg(feature = "hnsw")]
    #[serde(default)]
    pub hnsw: HnswSettings,
    /// Which ranks are mined.
    #[serde(default)]
    pub mine: MiningSettings,
    /// How negatives are written.
    #[serde(default)]
    pub written: WrittenSettings,
    /// How the generator is loaded.
    #[serde(default)]
    pub engine: EngineSettings,
    /// How the encoder is trained.
    #[serde(default)]
    pub train: TrainSettings,
}

/// How the nearest passages of a query are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenseChoice {
    /// What costs less for these numbers of passages and queries.
    #[default]
    Auto,
    /// Every passage is compared.
    Exact,
    /// A graph is walked (usearch); its recall against exact search is printed.
    #[cfg(feature = "hnsw")]
    Hnsw,
}

fn seeds() -> Vec<Seed> {
    vec![Seed(1), Seed(2), Seed(3)]
}

fn train_split() -> String {
    "train".to_owned()
}

fn test_split() -> String {
    "test".to_owned()
}

fn judge_negatives() -> BTreeMap<String, usize> {
    [("bm25", 2), ("random", 1)].into_iter().map(|(source, count)| (source.to_owned(), count)).collect()
}

fn is_judge_default(negatives: &BTreeMap<String, usize>) -> bool {
    *negatives == judge_negatives()
}

fn depth() -> usize {
    100
}

fn metrics() -> Vec<Metric> {
    ["ndcg@10", "recall@100"].iter().filter_map(|name| name.parse().ok()).collect()
}

impl Recipe {
    /// The recipe in `path`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line and key that is unknown, missing or out of range.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let recipe = Self::parse(&text, path)?;
        recipe.check(path)?;
        Ok(recipe)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Fault> {
        from_toml(text, path, "a recipe")
    }

    /// Checks what single keys cannot say; `path` is named in the message.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn check(&self, path: &Path) -> Result<()> {
        let fault = |key: &str, expected: &str, found: String| Err(Fault::new(path, expected, found).key(key).into());
        let plain = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '/');
        if !plain(&self.name) {
            return fault("name", "a name without white space and slash", format!("{:?}", self.name));
        }
        if self.seeds.is_empty() {
            return fault("seeds", "at least one seed", "none".into());
        }
        if self.depth == 0 {
            return fault("depth", "1 or more", "0".into());
        }
        if self.metrics.is_empty() {
            return fault("metrics", "at least one metric", "none".into());
        }
        if let Err(wrong) = self.train.check() {
            let fault = Fault::new(path, wrong.expected, wrong.found).key(format!("train.{}", wrong.key));
            return Err(wrong.hint.map_or(fault.clone(), |hint| fault.hint(hint)).into());
        }
        if let Ok(row) = self.train.loss.row()
            && row.needs == Needs::Teacher
            && self.teacher.is_none()
        {
            return fault("teacher", &format!("a cross-encoder, for the loss {}", row.name), "none".into());
        }
        if self.written.band == BandChoice::Teacher && self.teacher.is_none() {
            return fault("teacher", "a cross-encoder, for written.band", "none".into());
        }
        if let Err(error) = self.written.check() {
            return fault("written", "settings in their ranges", error.to_string());
        }
        if let Err(error) = self.mine.check() {
            return fault("mine", "settings in their ranges", error.to_string());
        }
        let Some(first) = self.arms.first() else {
            return fault("arm", "at least one [[arm]]", "none".into());
        };
        let per_query = first.count();
        let mut names: Vec<&str> = Vec::new();
        for arm in &self.arms {
            if !plain(&arm.name) || names.contains(&arm.name.as_str()) {
                return fault("arm.name", "names without white space and slash, each once", format!("{:?}", arm.name));
            }
            names.push(&arm.name);
            if arm.count() != per_query {
                let found = format!("{} in {}, {per_query} in {}", arm.count(), arm.name, first.name);
                return fault("arm.negatives", "the same number of negatives per query in every arm", found);
            }
            self.check_sources(&arm.negatives, &arm.name, path)?;
            if let Err((key, expected, found)) = arm.mix(self.seeds[0], self.train.epochs) {
                return fault(&format!("arm.{key}"), &expected, format!("{found} in {}", arm.name));
            }
            self.check_judged(arm, path)?;
        }
        self.judge.as_ref().map_or(Ok(()), |_| self.check_sources(&self.judge_negatives, "of the judge", path))
    }

    /// Whether `arm` has the judge it needs, and filters that can be.
    fn check_judged(&self, arm: &ArmRecipe, path: &Path) -> Result<()> {
        let fault = |key: &str, expected: &str, found: String| Err(Fault::new(path, expected, found).key(key).into());
        let by_relevance = arm.by == Some(crate::filter::Measure::Relevance);
        let filters = self.filters_of(arm);
        let thresholds = filters.is_some_and(FilterSettings::trusts_relevance);
        if self.judge.is_none() && (by_relevance || thresholds || arm.is_judged(&self.mine)) {
            let expected = format!("\"{TRAIN}\" or a cross-encoder, for the arm {}", arm.name);
            return fault("judge", &expected, "none".into());
        }
        let Some(filters) = filters else { return Ok(()) };
        if let Err((key, expected, found)) = filters.check() {
            return fault(&format!("filters.{key}"), expected, found);
        }
        if filters.answers == Switch::On {
            return fault("filters.answers", "off: recipes know no answers, nearmiss filter takes a file", "on".into());
        }
        Ok(())
    }

    /// Whether each source is one, and offers as many as are taken from it.
    fn check_sources(&self, negatives: &BTreeMap<String, usize>, whose: &str, path: &Path) -> Result<()> {
        let fault = |key: &str, expected: &str, found: String| Err(Fault::new(path, expected, found).key(key).into());
        if negatives.is_empty() || negatives.values().any(|&count| count == 0) {
            let found = negatives.iter().map(|(source, count)| format!("{source} {count}")).collect::<Vec<_>>();
            return fault("arm.negatives", "a count of 1 or more for each source", format!("{found:?}"));
        }
        for (source, &count) in negatives {
            let offered = if source == written::SOURCE { self.written.num_negatives } else { self.mine.num_negatives };
            if source != written::SOURCE
                && let Err(error) = crate::negatives::named(source)
            {
                return fault("arm.negatives", "a source of negatives", format!("{source} ({error})"));
            }
            if count > offered as usize {
                let key = if source == written::SOURCE { "written.num_negatives" } else { "mine.num_negatives" };
                let expected = format!("at least the {count} that arm {whose} takes from {source}");
                return fault(key, &expected, offered.to_string());
            }
        }
        Ok(())
    }

    /// The filters of `arm`: its own, or the recipe's.
    #[must_use]
    pub fn filters_of<'r>(&'r self, arm: &'r ArmRecipe) -> Option<&'r FilterSettings> {
        arm.filters.as_ref().or(self.filters.as_ref())
    }
}

/// The value in `text`, which is what `path` holds and should be `what`.
///
/// # Errors
/// The line and the key; for an unknown key the nearest known one.
pub(crate) fn from_toml<T: serde::de::DeserializeOwned>(text: &str, path: &Path, what: &str) -> Result<T, Fault> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() as u64 + 1);
        let message = error.message().to_owned();
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let fault = match (message.starts_with("unknown"), names.as_slice()) {
            (true, [unknown, known @ ..]) if !known.is_empty() => {
                let near = known.iter().max_by(|a, b| strsim::jaro(a, unknown).total_cmp(&strsim::jaro(b, unknown)));
                Fault::new(path, "a known key", "no such key").key(*unknown).hint(format!(
                    "did you mean `{}`? Known here: {}",
                    near.copied().unwrap_or_default(),
                    known.join(", ")
                ))
            }
            _ => Fault::new(path, what, message.replace('\n', "; ")),
        };
        line.map_or(fault.clone(), |line| fault.line(line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str =
        "name = \"x\"\ndata = \"d\"\nencoder = \"e\"\n[[arm]]\nname = \"a\"\nnegatives = { bm25 = 1 }\n";

    fn message_of(text: &str) -> String {
        let path = Path::new("recipe.toml");
        Recipe::parse(text, path)
            .map_err(Error::from)
            .and_then(|r| r.check(path))
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn defaults_fill_a_minimal_recipe() -> Result<(), Fault> {
        let recipe = Recipe::parse(MINIMAL, Path::new("r"))?;
        assert_eq!(recipe.seeds, [Seed(1), Seed(2), Seed(3)]);
        assert_eq!(recipe.metrics.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ndcg@10", "recall@100"]);
        assert_eq!(message_of(MINIMAL), "");
        Ok(())
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        let text = MINIMAL.replace("encoder = \"e\"\n", "encoder = \"e\"\nseed = [1]\n");
        let message = message_of(&text);
        assert!(message.starts_with("recipe.toml:4: `seed`: expected a known key, found no such key\n  hint: did you mean `seeds`? Known here: name, data, encoder"), "{message}");
        let nested = message_of(&format!("{MINIMAL}[train]\nlearning_rte = 1e-5\n"));
        assert!(
            nested.contains("recipe.toml:8: `learning_rte`") && nested.contains("did you mean `learning_rate`"),
            "{nested}"
        );
    }

    #[test]
    fn arms_of_different_size_and_unknown_sources_are_refused() {
        let uneven = message_of(&format!("{MINIMAL}[[arm]]\nname = \"b\"\nnegatives = {{ bm25 = 1, random = 1 }}\n"));
        assert!(
            uneven.contains("expected the same number of negatives per query in every arm, found 2 in b, 1 in a"),
            "{uneven}"
        );
        let unknown = message_of(&MINIMAL.replace("bm25 = 1", "bm52 = 1"));
        assert!(unknown.contains("bm52") && unknown.contains("random"), "{unknown}");
        let arm = |lines: &str| message_of(&format!("{MINIMAL}{lines}\n"));
        let unjudged = arm("filters = { max_relevance = 0.1 }");
        assert!(
            unjudged.contains("`judge`: expected \"train\" or a cross-encoder, for the arm a, found none"),
            "{unjudged}"
        );
        assert_eq!(message_of(&format!("judge = \"train\"\n{MINIMAL}filters = {{ max_relevance = 0.1 }}\n")), "");
        assert!(arm("filters = { near_duplicate = 2.0 }").contains("`filters.near_duplicate`"));
        assert!(arm("filters = { answers = \"on\" }").contains("`filters.answers`"));
        assert!(arm("filters = { preset = \"topk-95\" }").contains("topk-percpos-0.95"));
        assert!(arm("filters = { max_relevanc = 0.1 }").contains("did you mean `max_relevance`"));
        assert!(arm("mix = \"ratio\"").contains("`arm.ratio_source`"), "{}", arm("mix = \"ratio\""));
        let loss = |lines: &str| message_of(&format!("{MINIMAL}[train.loss]\n{lines}\n"));
        assert!(loss("betta = 1.0").contains("did you mean `beta`"), "{}", loss("betta = 1.0"));
        let foreign = loss("name = \"decoupled\"\nbeta = 1.0");
        assert!(foreign.contains("`train.loss.beta`: expected what decoupled reads"), "{foreign}");
        assert!(loss("name = \"infonce\"").contains("did you mean `info-nce`"));
        assert!(loss("name = \"margin-mse\"").contains("`teacher`: expected a cross-encoder, for the loss margin-mse"));
        assert_eq!(loss("name = \"debiased\"\nbeta = 1.0"), "");
        let band = |choice: &str| message_of(&format!("{MINIMAL}[written]\nband = \"{choice}\"\n"));
        assert!(
            band("teacher").contains("`teacher`: expected a cross-encoder, for written.band"),
            "{}",
            band("teacher")
        );
        assert_eq!(band("encoder"), "");
        assert!(
            message_of(&format!("{MINIMAL}[train]\nepochs = 0\n"))
                .contains("`train.epochs`: expected 1 or more, found 0")
        );
    }
}
