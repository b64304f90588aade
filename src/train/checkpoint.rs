//! Where an interrupted training run goes on: weights, moments and the steps taken, as one folder that is
//! whole or absent. The order of instances follows from the seed and the step, so nothing else is needed.

use super::optimiser::AdamW;
use super::trainer::StepRecord;
use super::{Result, TrainError};
use crate::data::{Error, Fault, atomic, jsonl};
use crate::encode::parameters::Parameters;
use candle_core::Device;
use std::path::Path;

/// A run's state between two steps.
pub(super) struct Position {
    pub(super) optimiser: AdamW,
    pub(super) steps: Vec<StepRecord>,
}

pub(super) fn save(place: &Path, parameters: &Parameters, optimiser: &AdamW, steps: &[StepRecord]) -> Result<()> {
    atomic::write_folder(place, |folder| {
        parameters.write(&folder.join("weights.safetensors"))?;
        candle_core::safetensors::save(&optimiser.moments(parameters)?, folder.join("moments.safetensors"))?;
        jsonl::write(&folder.join("steps.jsonl"), steps)?;
        Ok::<(), TrainError>(())
    })
}

/// The state in `place`, its weights put into `parameters`; nothing when there is none.
pub(super) fn load(place: &Path, parameters: &Parameters, device: &Device) -> Result<Option<Position>> {
    if !place.is_dir() {
        return Ok(None);
    }
    let steps: Vec<StepRecord> = jsonl::read(&place.join("steps.jsonl"))?;
    let mut weights = candle_core::safetensors::load(place.join("weights.safetensors"), device)?;
    let moments = candle_core::safetensors::load(place.join("moments.safetensors"), device)?;
    let broken = || {
        Error::from(
            Fault::new(place, "a whole checkpoint", "one that lacks tensors").hint("remove it to train from the start"),
        )
    };
    for (name, _) in parameters.iter() {
        parameters.set(name, &weights.remove(name).ok_or_else(broken)?)?;
    }
    let optimiser = AdamW::restored(parameters, moments, steps.len()).ok_or_else(broken)?;
    Ok(Some(Position { optimiser, steps }))
}
