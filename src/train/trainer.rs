//! The training loop, whatever is trained: batches, gradients, clipping, step, checkpoint.

use super::batches;
use super::checkpoint::{self, Position};
use super::contrast::Contrast;
use super::optimiser::{AdamW, Step, clipping};
use super::settings::TrainSettings;
use super::{Result, TrainError};
use crate::data::{Instance, Seed, Watch};
use crate::encode::parameters::Parameters;
use crate::encode::{BiEncoder, Gradients};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What happened in one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Counted from 1.
    pub step: usize,
    /// Mean loss over the batch, nats.
    pub loss: f32,
    /// Global L2 norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
}

/// A training run: how, from which seed, and where it can be taken up again.
pub struct Trainer<'t> {
    /// The settings, checked.
    pub settings: &'t TrainSettings,
    /// Decides the order of the instances, and what is dropped.
    pub seed: Seed,
    /// Folder of the checkpoint; removed by the caller when the result is safe.
    pub checkpoint: PathBuf,
}

/// What training did to the encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// One record a step, those before an interruption included.
    pub steps: Vec<StepRecord>,
    /// Texts cut to the maximal length, each counted once.
    pub truncated: usize,
}

/// A step among all of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Counted from 0.
    pub step: usize,
    /// All steps of the run.
    pub of: usize,
}

/// What is trained: weights, and how instances become gradients of them.
pub trait Pupil {
    /// Its weights.
    fn parameters(&self) -> &Parameters;

    /// Where it computes.
    fn device(&self) -> &Device;

    /// Number of instances.
    fn len(&self) -> usize;

    /// True when there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Texts cut to the maximal length, each counted once.
    fn truncated(&self) -> usize;

    /// Loss over the instances in `batch`, nats; its gradients are added to `gradients`.
    ///
    /// # Errors
    /// [`TrainError::Encode`], [`TrainError::Candle`]; [`TrainError::Detached`] when the loss does not depend on the rows.
    fn gradients(&mut self, batch: &[usize], moment: Moment, gradients: &mut Gradients) -> Result<f32>;
}

impl Trainer<'_> {
    /// Trains the weights of `encoder` in place, contrastively. A checkpoint left by an interrupted run of the same
    /// settings is taken up; the result is bit for bit that of an uninterrupted run.
    ///
    /// # Errors
    /// [`TrainError::Setting`], [`TrainError::NoInstances`], [`TrainError::Uneven`], [`TrainError::Unfit`]; as
    /// [`Trainer::teach`].
    pub fn train(&self, encoder: &BiEncoder, instances: &[Instance], watch: &dyn Watch) -> Result<Trained> {
        self.settings.check()?;
        self.teach(&mut Contrast::new(encoder, instances, self.settings, self.seed)?, watch)
    }

    /// Trains the weights of `pupil` in place; checkpoints as in [`Trainer::train`].
    ///
    /// # Errors
    /// [`TrainError::Gradient`] when after the first backward a variable has no finite gradient;
    /// [`TrainError::NotFinite`] when the loss or gradient stops being a number.
    pub fn teach(&self, pupil: &mut dyn Pupil, watch: &dyn Watch) -> Result<Trained> {
        let per_epoch = pupil.len().div_ceil(self.settings.batch_size);
        let total = per_epoch * self.settings.epochs;
        let (mut optimiser, mut steps) = match checkpoint::load(&self.checkpoint, pupil.parameters(), pupil.device())? {
            Some(Position { optimiser, steps }) => {
                watch.note(&format!("going on after step {} of {total}", steps.len()));
                (optimiser, steps)
            }
            None => (AdamW::new(pupil.parameters(), pupil.device())?, Vec::new()),
        };
        let mut gradients = Gradients::new(pupil.parameters(), pupil.device());
        watch.begin("train", total as u64, "steps");
        watch.advance(steps.len() as u64);
        for step in steps.len()..total {
            if watch.stopped() {
                checkpoint::save(&self.checkpoint, pupil.parameters(), &optimiser, &steps)?;
                watch.check()?;
            }
            let batch = batches::members(pupil.len(), self.settings.batch_size, step, self.seed);
            gradients.clear();
            let loss = pupil.gradients(&batch, Moment { step, of: total }, &mut gradients)?;
            let norms = gradients.norms()?;
            if step == 0 {
                check_gradients(pupil.parameters(), &norms)?;
            }
            let gradient_norm = norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
            if !loss.is_finite() || !gradient_norm.is_finite() {
                return Err(TrainError::NotFinite { step: step + 1, loss, gradient_norm });
            }
            let learning_rate = self.settings.learning_rate_at(step, total);
            let factor = clipping(gradient_norm, self.settings.max_gradient_norm);
            let weight_decay = self.settings.weight_decay;
            optimiser.step(pupil.parameters(), &gradients, Step { learning_rate, weight_decay, factor })?;
            steps.push(StepRecord { step: step + 1, loss, gradient_norm, learning_rate });
            if (step + 1) % self.settings.checkpoint_every == 0 && step + 1 < total {
                checkpoint::save(&self.checkpoint, pupil.parameters(), &optimiser, &steps)?;
            }
            watch.advance(1);
        }
        watch.end();
        Ok(Trained { steps, truncated: pupil.truncated() })
    }
}

/// A variable that no gradient reaches would silently never be trained. A bias may have none: that of the keys, which
/// softmax takes away again.
fn check_gradients(parameters: &Parameters, norms: &[f64]) -> Result<()> {
    let names = parameters.iter().map(|(name, _)| name);
    let without: Vec<String> = names
        .zip(norms)
        .filter(|(name, norm)| !norm.is_finite() || (**norm == 0.0 && !name.ends_with("bias")))
        .map(|(name, _)| name.to_owned())
        .collect();
    if without.is_empty() { Ok(()) } else { Err(TrainError::Gradient { without, of: norms.len() }) }
}
