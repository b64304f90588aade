//! The training loop: batches, loss, gradients, clipping, step, checkpoint.
//!
//! The trunk gives a row for each text of a batch; from them on candle's backward finds the slopes along the rows, and
//! [`Learner`] carries those back to the weights. A batch whose activations would not fit the memory given goes through
//! the trunk in parts, forward twice: the same gradient ([`Learner`] says why).

use super::batches::{self, TokenizedInstances};
use super::checkpoint::{self, Position};
use super::loss::{Comparisons, info_nce};
use super::optimiser::{AdamW, Step, clipping};
use super::settings::TrainSettings;
use super::{Result, TrainError};
use crate::data::{Instance, Seed, Watch};
use crate::encode::{self, BiEncoder, Dropping, Gradients, Learner, Mode, Sequence};
use candle_core::{Tensor, Var};
use rand::Rng;
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
    /// Decides the order of the instances.
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

impl Trainer<'_> {
    /// Trains the weights of `encoder` in place. A checkpoint left by an interrupted run of the same settings is
    /// taken up; the result is bit for bit that of an uninterrupted run.
    ///
    /// # Errors
    /// [`TrainError::NoInstances`], [`TrainError::Uneven`]; [`TrainError::Gradient`] when after the first backward a
    /// variable has no finite gradient; [`TrainError::NotFinite`] when the loss or gradient stops being a number.
    pub fn train(&self, encoder: &BiEncoder, instances: &[Instance], watch: &dyn Watch) -> Result<Trained> {
        let texts = TokenizedInstances::new(encoder, instances)?;
        let per_epoch = instances.len().div_ceil(self.settings.batch_size);
        let total = per_epoch * self.settings.epochs;
        let (mut optimiser, mut steps) = match checkpoint::load(&self.checkpoint, encoder)? {
            Some(Position { optimiser, steps }) => {
                watch.note(&format!("going on after step {} of {total}", steps.len()));
                (optimiser, steps)
            }
            None => (AdamW::new(encoder.parameters(), encoder.device())?, Vec::new()),
        };
        let mut learner = encoder.learner(self.settings.precision)?;
        let mut gradients = Gradients::new(encoder.parameters(), encoder.device());
        watch.begin("train", total as u64, "steps");
        watch.advance(steps.len() as u64);
        for step in steps.len()..total {
            if watch.stopped() {
                checkpoint::save(&self.checkpoint, encoder, &optimiser, &steps)?;
                watch.check()?;
            }
            let batch = batches::members(instances.len(), self.settings.batch_size, step, self.seed);
            gradients.clear();
            let loss = self.gradients((encoder, &mut learner), &texts, (&batch, step), &mut gradients)?;
            let norms = gradients.norms()?;
            if step == 0 {
                check_gradients(encoder, &norms)?;
            }
            let gradient_norm = norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
            if !loss.is_finite() || !gradient_norm.is_finite() {
                return Err(TrainError::NotFinite { step: step + 1, loss, gradient_norm });
            }
            let learning_rate = self.settings.learning_rate_at(step, total);
            let factor = clipping(gradient_norm, self.settings.max_gradient_norm);
            let weight_decay = self.settings.weight_decay;
            optimiser.step(encoder.parameters(), &gradients, Step { learning_rate, weight_decay, factor })?;
            steps.push(StepRecord { step: step + 1, loss, gradient_norm, learning_rate });
            if (step + 1) % self.settings.checkpoint_every == 0 && step + 1 < total {
                checkpoint::save(&self.checkpoint, encoder, &optimiser, &steps)?;
            }
            watch.advance(1);
        }
        watch.end();
        Ok(Trained { steps, truncated: texts.truncated })
    }

    /// Loss of the batch, nats; its gradients are added to `gradients`. `step` decides what is dropped.
    ///
    /// # Errors
    /// [`TrainError::Encode`], [`TrainError::Candle`]; [`TrainError::Detached`] when the loss does not depend on the rows.
    pub fn gradients(
        &self,
        (encoder, learner): (&BiEncoder, &mut Learner<'_>),
        texts: &TokenizedInstances,
        (batch, step): (&[usize], usize),
        gradients: &mut Gradients,
    ) -> Result<f32> {
        let sequences: Vec<Sequence<'_>> =
            texts.sequences(batch).into_iter().map(|ids| Sequence { ids, sides: None }).collect();
        let key = self.seed.stream(&format!("train/dropout/step {step}")).next_u64();
        let dropping = Some(Dropping { share: self.settings.dropout, key });
        let parts = learner.parts(&sequences, self.settings.activation_memory << 20);
        let (rows, recording) = if let [all] = &parts[..] {
            let (rows, recording) = learner.record(&sequences, all, dropping)?;
            (rows, Some(recording))
        } else {
            let rows: encode::Result<Vec<Tensor>> =
                parts.iter().map(|part| learner.rows(&sequences, part, dropping)).collect();
            (Tensor::cat(&rows?, 0)?, None)
        };
        // In the order of the parts; `found_at` says where a sequence's row stands.
        let mut found_at = vec![0u32; sequences.len()];
        for (row, &place) in (0..).zip(parts.iter().flatten()) {
            found_at[place] = row;
        }
        let found_at = Tensor::new(found_at, encoder.device())?;
        let rows = Var::from_tensor(&rows)?;
        let vectors = encoder.finish(rows.as_tensor().index_select(&found_at, 0)?, Mode::Training)?;
        let (queries, passages) = (batch.len(), sequences.len() - batch.len());
        let comparisons = Comparisons::new(batch.len(), texts.negatives, self.settings.in_batch, |query, column| {
            texts.answers(batch, query, column)
        });
        let (queries, passages) = (vectors.narrow(0, 0, queries)?, vectors.narrow(0, queries, passages)?);
        let loss = info_nce(&queries, &passages, &comparisons, self.settings.temperature)?;
        let store = loss.backward()?;
        for (index, (_, variable)) in encoder.parameters().iter().enumerate() {
            if let Some(gradient) = store.get(variable) {
                gradients.add(index, gradient)?;
            }
        }
        let slopes = store.get(rows.as_tensor()).ok_or(TrainError::Detached)?.detach();
        if let Some(recording) = recording {
            learner.carry_back(recording, &slopes, gradients)?;
            return Ok(loss.to_scalar()?);
        }
        let mut start = 0;
        for part in parts {
            let (_, recording) = learner.record(&sequences, &part, dropping)?;
            learner.carry_back(recording, &slopes.narrow(0, start, part.len())?, gradients)?;
            start += part.len();
        }
        Ok(loss.to_scalar()?)
    }
}

/// A variable that no gradient reaches would silently never be trained. A bias may have none: that of the keys, which
/// softmax takes away again.
fn check_gradients(encoder: &BiEncoder, norms: &[f64]) -> Result<()> {
    let names = encoder.parameters().iter().map(|(name, _)| name);
    let without: Vec<String> = names
        .zip(norms)
        .filter(|(name, norm)| !norm.is_finite() || (**norm == 0.0 && !name.ends_with("bias")))
        .map(|(name, _)| name.to_owned())
        .collect();
    if without.is_empty() { Ok(()) } else { Err(TrainError::Gradient { without, of: norms.len() }) }
}
