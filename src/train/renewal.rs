//! Negatives that follow the encoder while it learns: after every so many steps they are mined again with the weights as
//! they are then (ANCE, Xiong et al. 2020, arXiv 2007.00808). How they are found comes in as a function: this layer does
//! not search.

use super::settings::InvalidSetting;
use super::{Result, Validation};
use crate::data::Instance;
use crate::encode::BiEncoder;
use crate::negatives::{MiningSettings, Sampling};
use serde::{Deserialize, Serialize};

/// Name of the source that renewed negatives have.
pub const SOURCE: &str = "renewed";

/// When negatives are mined again, which, and from where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalSettings {
    /// Steps between two minings, 1 and up. Default 100. Fewer follow the encoder closely and embed the corpus more often.
    pub every: usize,
    /// Sources whose negatives give way; what others gave stays. Default `dense`.
    pub replace: Vec<String>,
    /// Ranks and draws, as `mine` has them; the number is that of the negatives that give way. Default any of the best 200
    /// (ANCE's). A lower `range_max` gives harder negatives, and more that are answers.
    pub mine: MiningSettings,
}

impl Default for RenewalSettings {
    fn default() -> Self {
        let mine = MiningSettings { range_max: 200, sampling: Sampling::Random, ..MiningSettings::default() };
        Self { every: 100, replace: vec!["dense".to_owned()], mine }
    }
}

impl RenewalSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first key that is out of range.
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        if self.every == 0 {
            return Err(InvalidSetting::new("every", "1 or more", "0"));
        }
        if self.replace.is_empty() {
            return Err(InvalidSetting::new("replace", "a source of the instances' negatives", "none"));
        }
        self.mine.check().map_err(|wrong| InvalidSetting::new("mine", "what `mine` takes", wrong.to_string()))
    }

    /// For each negative of `instance`, whether it gives way.
    #[must_use]
    pub fn gives_way(&self, instance: &Instance) -> Vec<bool> {
        instance.negatives.iter().map(|negative| self.replace.contains(&negative.source)).collect()
    }
}

/// What accompanies a run.
#[derive(Clone, Copy, Default)]
pub struct Alongside<'a> {
    /// Looks at held-out queries.
    pub validation: Option<&'a Validation<'a>>,
    /// New negatives.
    pub renewal: Option<&'a Renewal<'a>>,
    /// An encoder whose likely answers are no negatives, which with `TrainSettings::guide_margin` says what is likely.
    pub guide: Option<&'a BiEncoder>,
}

/// New negatives on the way.
pub struct Renewal<'r> {
    /// Steps between two, 1 and up.
    pub every: usize,
    /// The instances, as many as before and in the same order, with negatives for what is trained as it is after so many
    /// steps.
    pub renew: &'r dyn Fn(usize) -> Result<Vec<Instance>>,
}

/// Instances as they were last renewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Renewed {
    /// After so many steps.
    pub(super) step: usize,
    /// All of them.
    pub(super) instances: Vec<Instance>,
}
