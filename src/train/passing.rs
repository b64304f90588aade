//! One batch through a trunk and back: candle's backward finds the slopes of the loss along the trunk's rows, [`Learner`]
//! carries those to the weights. A batch whose activations would not fit the memory given goes through the trunk in
//! parts, forward twice (`GradCache`, Gao et al. 2021, arXiv 2101.06983): the same gradient, bit for bit.

use super::settings::TrainSettings;
use super::{Result, TrainError};
use crate::data::Seed;
use crate::encode::parameters::Parameters;
use crate::encode::{self, Dropping, Gradients, Learner, Sequence};
use candle_core::{Tensor, Var};
use rand::Rng;

/// What is dropped in `step`.
pub(super) fn dropping(settings: &TrainSettings, seed: Seed, step: usize) -> Dropping {
    let key = seed.stream(&format!("train/dropout/step {step}")).next_u64();
    Dropping { share: settings.dropout, key }
}

/// The value of `loss`, a scalar of the sequences' rows `(B, D)`; adds its gradients to those of `parameters`: of the
/// trunk, and of what the loss itself is made of. At most `memory` bytes of activations are held.
///
/// # Errors
/// What `loss` returns; [`TrainError::Detached`] when it does not depend on the rows.
pub(super) fn learn(
    (learner, parameters): (&mut Learner<'_>, &Parameters),
    sequences: &[Sequence<'_>],
    (dropping, memory): (Dropping, usize),
    loss: impl FnOnce(&Tensor) -> Result<Tensor>,
    gradients: &mut Gradients,
) -> Result<f32> {
    let dropping = Some(dropping);
    let parts = learner.parts(sequences, memory);
    let (rows, recording) = if let [all] = &parts[..] {
        let (rows, recording) = learner.record(sequences, all, dropping)?;
        (rows, Some(recording))
    } else {
        let rows: encode::Result<Vec<Tensor>> =
            parts.iter().map(|part| learner.rows(sequences, part, dropping)).collect();
        (Tensor::cat(&rows?, 0)?, None)
    };
    // In the order of the parts; `found_at` says where a sequence's row stands.
    let mut found_at = vec![0u32; sequences.len()];
    for (row, &place) in (0..).zip(parts.iter().flatten()) {
        found_at[place] = row;
    }
    let found_at = Tensor::new(found_at, rows.device())?;
    let rows = Var::from_tensor(&rows)?;
    let value = loss(&rows.as_tensor().index_select(&found_at, 0)?)?;
    let store = value.backward()?;
    for (index, (_, variable)) in parameters.iter().enumerate() {
        if let Some(gradient) = store.get(variable) {
            gradients.add(index, gradient)?;
        }
    }
    let slopes = store.get(rows.as_tensor()).ok_or(TrainError::Detached)?.detach();
    if let Some(recording) = recording {
        learner.carry_back(recording, &slopes, gradients)?;
        return Ok(value.to_scalar()?);
    }
    let mut start = 0;
    for part in parts {
        let (_, recording) = learner.record(sequences, &part, dropping)?;
        learner.carry_back(recording, &slopes.narrow(0, start, part.len())?, gradients)?;
        start += part.len();
    }
    Ok(value.to_scalar()?)
}
