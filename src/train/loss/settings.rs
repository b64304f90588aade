//! Which loss, and its numbers.

use super::matryoshka::Matryoshka;
use super::{Loss, Row, TABLE, named};
use crate::train::InvalidSetting;
use serde::{Deserialize, Serialize};

/// Who is told from whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directions {
    /// The positive from other passages, for each query.
    #[default]
    QueryToPassage,
    /// That, and the query from the other queries, for each positive. Better for symmetric tasks; it needs other queries'
    /// passages in the batch.
    Both,
}

/// A loss of [`TABLE`] and its numbers. A number that the loss does not read must not be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossSettings {
    /// Its name, default `info-nce`.
    pub name: String,
    /// `info-nce`: `query-to-passage` or `both`, default the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directions: Option<Directions>,
    /// `info-nce`: α, 0 and up, default 0; 9 in `LLaVE`. Higher gives the nearest negatives more of the gradient, unjudged
    /// answers among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardness_strength: Option<f64>,
    /// `debiased`: share of the negatives that are unjudged answers, 0 to below 1, default 0.1. Higher forgives near
    /// negatives, until none is left; 0 takes all at their word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_prior: Option<f64>,
    /// `debiased`: β, 0 and up, default 0; 1 in the paper. Higher gives the nearest negatives more of the gradient. It
    /// multiplies similarities over τ: at a low temperature little is much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// `causal-neg`: temperature of its entropy term, above 0, default 0.1 (the paper's). Lower looks at the nearest only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_temperature: Option<f64>,
    /// `causal-neg`: λ, 0 and up, default 0.05 (the paper's). Higher spreads written negatives at the cost of the contrast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_weight: Option<f64>,
    /// `listwise-kl`: the teacher's scores are divided by it, above 0, default 1. Higher makes the teacher less sure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_temperature: Option<f64>,
    /// Any loss: dimensions to which vectors are cut as well, each from 1 to D, each once; default none: D alone. More
    /// makes cut vectors better and whole ones a little worse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matryoshka_dims: Vec<usize>,
    /// Weight of each of them, above 0, default 1 each. D has to stand among the dimensions to count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matryoshka_weights: Vec<f64>,
}

/// What a number may be, and whether one is.
type Range = (&'static str, fn(f64) -> bool);

impl Default for LossSettings {
    fn default() -> Self {
        Self::named(TABLE[0].name)
    }
}

impl LossSettings {
    /// The loss called `name`, with its defaults.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            directions: None,
            hardness_strength: None,
            positive_prior: None,
            beta: None,
            entropy_temperature: None,
            entropy_weight: None,
            teacher_temperature: None,
            matryoshka_dims: Vec::new(),
            matryoshka_weights: Vec::new(),
        }
    }

    /// The row of the loss.
    ///
    /// # Errors
    /// An unknown name; the hint is the nearest known one.
    pub fn row(&self) -> Result<&'static Row, InvalidSetting> {
        named(&self.name).ok_or_else(|| {
            let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
            let near = names.iter().max_by(|a, b| strsim::jaro(a, &self.name).total_cmp(&strsim::jaro(b, &self.name)));
            let near = near.copied().unwrap_or_default();
            InvalidSetting::new("name", format!("one of {}", names.join(", ")), format!("{:?}", self.name))
                .hint(format!("did you mean `{near}`?"))
        })
    }

    /// Checks the ranges, and that every number given is one that the loss reads.
    ///
    /// # Errors
    /// The first key that is out of range, or that another loss reads.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let row = self.row()?;
        let above: Range = ("a number above 0", |value| value > 0.0 && value.is_finite());
        let from: Range = ("0 or more", |value| value >= 0.0 && value.is_finite());
        let share: Range = ("a share from 0 to below 1", |value| (0.0..1.0).contains(&value));
        let any: Range = ("anything", |_| true);
        let given = [
            ("directions", self.directions.map(|_| 0.0), any),
            ("hardness_strength", self.hardness_strength, from),
            ("positive_prior", self.positive_prior, share),
            ("beta", self.beta, from),
            ("entropy_temperature", self.entropy_temperature, above),
            ("entropy_weight", self.entropy_weight, from),
            ("teacher_temperature", self.teacher_temperature, above),
        ];
        for (key, value, (range, holds)) in given {
            let Some(value) = value else { continue };
            if !row.reads.contains(&key) {
                let readers: Vec<&str> = TABLE.iter().filter(|r| r.reads.contains(&key)).map(|r| r.name).collect();
                let reads = if row.reads.is_empty() { "no such number".to_owned() } else { row.reads.join(", ") };
                let found = format!("a number of {}", readers.join(", "));
                return Err(InvalidSetting::new(key, format!("what {} reads ({reads})", row.name), found));
            }
            if !holds(value) {
                return Err(InvalidSetting::new(key, range, value.to_string()));
            }
        }
        let dims = &self.matryoshka_dims;
        if dims.iter().enumerate().any(|(place, dim)| *dim == 0 || dims[..place].contains(dim)) {
            return Err(InvalidSetting::new("matryoshka_dims", "numbers from 1, each once", format!("{dims:?}")));
        }
        let weights = &self.matryoshka_weights;
        if !weights.is_empty() && (weights.len() != dims.len() || !weights.iter().all(|&weight| (above.1)(weight))) {
            let expected = format!("{} numbers above 0, one for each of matryoshka_dims", dims.len());
            return Err(InvalidSetting::new("matryoshka_weights", expected, format!("{weights:?}")));
        }
        Ok(())
    }

    /// The loss over vectors of `width` dimensions.
    ///
    /// # Errors
    /// An unknown name, or dimensions above the width.
    pub fn of_width(&self, width: usize) -> Result<Box<dyn Loss>, InvalidSetting> {
        let inner = (self.row()?.make)(self);
        if self.matryoshka_dims.is_empty() {
            return Ok(inner);
        }
        if let Some(wide) = self.matryoshka_dims.iter().find(|&&dim| dim > width) {
            let expected = format!("numbers up to {width}, the encoder's width");
            return Err(InvalidSetting::new("loss.matryoshka_dims", expected, wide.to_string()));
        }
        let weights = self.matryoshka_weights.iter().copied().chain(std::iter::repeat(1.0));
        let mut widths: Vec<(usize, f64)> = self.matryoshka_dims.iter().copied().zip(weights).collect();
        widths.sort_by_key(|&(width, _)| std::cmp::Reverse(width));
        Ok(Box::new(Matryoshka { inner, widths }))
    }
}
