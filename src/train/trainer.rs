//! The training loop: batches, loss, gradients over all cores, clipping, step, checkpoint.
//!
//! The vectors of a batch are computed in chunks side by side; the loss is taken over all of them, and its
//! gradient with respect to each chunk's vectors is carried back through that chunk alone. This is the exact
//! gradient, and since chunks do not depend on the number of threads, neither does the result.
//! Simple on purpose: no dropout, no validation; the whole batch's graph is held in memory.

use super::annotations::Annotations;
use super::batches::{self, TokenizedInstances};
use super::checkpoint::{self, Position};
use super::loss::{Batch, Comparisons, Loss};
use super::optimiser::{AdamW, clip};
use super::settings::TrainSettings;
use super::{Result, TrainError};
use crate::data::{Instance, Seed, Watch};
use crate::encode::packing::{PackedBatch, group_by_length};
use crate::encode::{BiEncoder, Mode, workers};
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Tokens a chunk holds at most; fixed, because it decides the order of summation.
const TOKENS_PER_CHUNK: usize = 2048;

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
    /// taken up; without dropout the result is bit for bit that of an uninterrupted run.
    ///
    /// # Errors
    /// [`TrainError::NoInstances`], [`TrainError::Uneven`]; [`TrainError::Gradient`] when after the first backward a
    /// variable has no finite gradient; [`TrainError::NotFinite`] when the loss or gradient stops being a number.
    pub fn train(&self, encoder: &BiEncoder, instances: &[Instance], watch: &dyn Watch) -> Result<Trained> {
        self.settings.check()?;
        let loss = self.settings.loss.of_width(encoder.width())?;
        let annotations = Annotations::new(instances, self.settings, self.settings.loss.row()?)?;
        let texts = TokenizedInstances::new(encoder, instances)?;
        let per_epoch = instances.len().div_ceil(self.settings.batch_size);
        let total = per_epoch * self.settings.epochs;
        let (mut optimiser, mut steps) = match checkpoint::load(&self.checkpoint, encoder)? {
            Some(Position { optimiser, steps }) => {
                watch.note(&format!("going on after step {} of {total}", steps.len()));
                (optimiser, steps)
            }
            None => (AdamW::new(encoder.parameters())?, Vec::new()),
        };
        watch.begin("train", total as u64, "steps");
        watch.advance(steps.len() as u64);
        for step in steps.len()..total {
            if watch.stopped() {
                checkpoint::save(&self.checkpoint, encoder, &optimiser, &steps)?;
                watch.check()?;
            }
            let batch = batches::members(instances.len(), self.settings.batch_size, step, self.seed);
            let (loss, mut gradients) = self.gradients(encoder, &texts, (&batch, &annotations), &*loss)?;
            if step == 0 {
                check_gradients(encoder, &gradients)?;
            }
            let gradients_of_all: Result<Vec<Tensor>> = gradients
                .iter_mut()
                .zip(encoder.parameters().iter())
                .map(|(gradient, (_, variable))| Ok(gradient.take().map_or_else(|| variable.zeros_like(), Ok)?))
                .collect();
            let mut gradients = gradients_of_all?;
            let gradient_norm = clip(&mut gradients, self.settings)?;
            if !loss.is_finite() || !gradient_norm.is_finite() {
                return Err(TrainError::NotFinite { step: step + 1, loss, gradient_norm });
            }
            let learning_rate = self.settings.learning_rate_at(step, total);
            optimiser.step(encoder.parameters(), &gradients, learning_rate, self.settings.weight_decay)?;
            steps.push(StepRecord { step: step + 1, loss, gradient_norm, learning_rate });
            if (step + 1) % self.settings.checkpoint_every == 0 && step + 1 < total {
                checkpoint::save(&self.checkpoint, encoder, &optimiser, &steps)?;
            }
            watch.advance(1);
        }
        watch.end();
        Ok(Trained { steps, truncated: texts.truncated })
    }

    /// Loss of the batch, and the gradient of every variable in name order, where it has one.
    fn gradients(
        &self,
        encoder: &BiEncoder,
        texts: &TokenizedInstances,
        (batch, annotations): (&[usize], &Annotations),
        loss: &dyn Loss,
    ) -> Result<(f32, Vec<Option<Tensor>>)> {
        let device = encoder.device();
        let sequences = texts.sequences(batch);
        let lengths: Vec<usize> = sequences.iter().map(|s| s.len()).collect();
        let chunks = group_by_length(&lengths, TOKENS_PER_CHUNK);
        let embedded: Vec<Tensor> = workers::map(device, &chunks, |chunk| {
            let members: Vec<&[u32]> = chunk.iter().map(|&place| sequences[place]).collect();
            encoder.embed(&PackedBatch::new(&members), Mode::Training)
        })?;
        // Rows as the chunks have them; `place_of` finds a sequence's row.
        let detached: Vec<Tensor> = embedded.iter().map(Tensor::detach).collect();
        let rows = Var::from_tensor(&Tensor::cat(&detached, 0)?)?;
        let mut row_of = vec![0u32; sequences.len()];
        for (row, &place) in (0u32..).zip(chunks.iter().flatten()) {
            row_of[place] = row;
        }
        let select = |places: &[u32]| rows.as_tensor().index_select(&Tensor::new(places, device)?, 0);
        let (queries, passages) = row_of.split_at(batch.len());
        let comparisons = Comparisons::new(batch.len(), texts.negatives, self.settings.in_batch, |query, column| {
            texts.answers(batch, query, column)
        });
        let outcome = loss.of(&Batch {
            queries: &select(queries)?,
            passages: &select(passages)?,
            comparisons: &comparisons,
            temperature: self.settings.temperature,
            teacher: &annotations.teacher(batch),
            written: &annotations.written(batch),
        })?;
        let loss = outcome.value;
        let of_rows = loss.backward()?;
        let of_rows = of_rows.get(rows.as_tensor()).ok_or(TrainError::Detached)?.detach();
        let mut pieces = Vec::with_capacity(chunks.len());
        let mut start = 0;
        for (chunk, vectors) in chunks.iter().zip(embedded) {
            pieces.push((vectors, of_rows.narrow(0, start, chunk.len())?));
            start += chunk.len();
        }
        let parts = workers::map(device, &pieces, |(vectors, slope)| -> Result<Vec<Option<Tensor>>> {
            let store = (vectors * slope)?.sum_all()?.backward()?;
            Ok(encoder.parameters().iter().map(|(_, variable)| store.get(variable).cloned()).collect())
        })?;
        let mut sums: Vec<Option<Tensor>> = vec![None; encoder.parameters().len()];
        for part in parts {
            for (sum, gradient) in sums.iter_mut().zip(part) {
                *sum = match (sum.take(), gradient) {
                    (Some(sum), Some(gradient)) => Some((sum + gradient)?),
                    (sum, gradient) => sum.or(gradient),
                };
            }
        }
        Ok((loss.to_scalar()?, sums))
    }
}

/// A variable that no gradient reaches would silently never be trained.
fn check_gradients(encoder: &BiEncoder, gradients: &[Option<Tensor>]) -> Result<()> {
    let mut without = Vec::new();
    for ((name, _), gradient) in encoder.parameters().iter().zip(gradients) {
        let finite = match gradient {
            Some(gradient) => gradient.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite(),
            None => false,
        };
        if !finite {
            without.push(name.to_owned());
        }
    }
    if without.is_empty() { Ok(()) } else { Err(TrainError::Gradient { without, of: gradients.len() }) }
}
