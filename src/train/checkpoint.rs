//! Where an interrupted training run goes on: weights, moments, the steps taken and the looks at it, as one folder that
//! is whole or absent. The order of instances follows from the seed and the step, so nothing else is needed.

use super::optimiser::AdamW;
use super::renewal::Renewed;
use super::trainer::StepRecord;
use super::validation::Check;
use super::{Result, TrainError};
use crate::data::{Error, Fault, atomic, jsonl};
use crate::encode::parameters::Parameters;
use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::path::Path;

/// Weights by name.
pub(super) type Weights = HashMap<String, Tensor>;

/// A run's state between two steps.
pub(super) struct Position {
    pub(super) optimiser: AdamW,
    pub(super) steps: Vec<StepRecord>,
    pub(super) checks: Vec<Check>,
    /// The weights at the best look, where it is past.
    pub(super) best: Option<Weights>,
    /// The instances, where they are no longer those of the start.
    pub(super) renewed: Option<Renewed>,
}

impl Position {
    /// Before the first step.
    pub(super) fn start(parameters: &Parameters, device: &Device) -> Result<Self> {
        let optimiser = AdamW::new(parameters, device)?;
        Ok(Self { optimiser, steps: Vec::new(), checks: Vec::new(), best: None, renewed: None })
    }

    pub(super) fn save(&self, place: &Path, parameters: &Parameters) -> Result<()> {
        let moments = self.optimiser.moments(parameters)?;
        atomic::write_folder(place, |folder| {
            parameters.write(&folder.join("weights.safetensors"))?;
            candle_core::safetensors::save(&moments, folder.join("moments.safetensors"))?;
            if let Some(best) = &self.best {
                candle_core::safetensors::save(best, folder.join("best.safetensors"))?;
            }
            jsonl::write(&folder.join("steps.jsonl"), &self.steps)?;
            jsonl::write(&folder.join("checks.jsonl"), &self.checks)?;
            jsonl::write(&folder.join("renewed.jsonl"), self.renewed.iter())?;
            Ok::<(), TrainError>(())
        })
    }

    /// The state in `place`, its weights put into `parameters`; nothing when there is none.
    pub(super) fn load(place: &Path, parameters: &Parameters, device: &Device) -> Result<Option<Self>> {
        if !atomic::settled(place)? {
            return Ok(None);
        }
        let steps: Vec<StepRecord> = jsonl::read(&place.join("steps.jsonl"))?;
        let checks: Vec<Check> = jsonl::read(&place.join("checks.jsonl"))?;
        let renewed = jsonl::read(&place.join("renewed.jsonl"))?.pop();
        let weights = candle_core::safetensors::load(place.join("weights.safetensors"), device)?;
        let moments = candle_core::safetensors::load(place.join("moments.safetensors"), device)?;
        let kept = place.join("best.safetensors");
        let best = kept.is_file().then(|| candle_core::safetensors::load(&kept, device)).transpose()?;
        put(parameters, &weights, place)?;
        let optimiser = AdamW::restored(parameters, moments, steps.len()).ok_or_else(|| broken(place))?;
        Ok(Some(Self { optimiser, steps, checks, best, renewed }))
    }
}

/// The weights as they are now, in memory of their own.
pub(super) fn weights(parameters: &Parameters) -> Result<Weights> {
    parameters.iter().map(|(name, weight)| Ok((name.to_owned(), weight.detach().copy()?))).collect()
}

/// Gives `parameters` the weights, which came from `place`.
pub(super) fn put(parameters: &Parameters, weights: &Weights, place: &Path) -> Result<()> {
    for (name, _) in parameters.iter() {
        parameters.set(name, weights.get(name).ok_or_else(|| broken(place))?)?;
    }
    Ok(())
}

fn broken(place: &Path) -> Error {
    Fault::new(place, "a whole checkpoint", "one that lacks tensors").hint("remove it to train from the start").into()
}
