//! The training loop, whatever is trained: batches, gradients, clipping, step, looks, checkpoint.

use super::checkpoint::{self, Position};
use super::contrast::Contrast;
use super::optimiser::{Step, clipping};
use super::renewal::{Alongside, Renewed};
use super::settings::{Order, TrainSettings};
use super::statistics::{SourceWeight, Tallies};
use super::validation::{Check, Curve, Validation};
use super::{Result, TrainError, batches};
use crate::data::{Instance, Seed, Watch};
use crate::encode::parameters::Parameters;
use crate::encode::{BiEncoder, Gradients};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What happened in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Counted from 1.
    pub step: usize,
    /// Mean loss over the step's batches, nats.
    pub loss: f32,
    /// Global L2 norm of the gradient before clipping, over what is trained.
    pub gradient_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// τ of this step.
    pub temperature: f64,
    /// What the negatives of each source weighed.
    pub sources: BTreeMap<String, SourceWeight>,
}

/// A training run: how, from which seed, and where it can be taken up again.
pub struct Trainer<'t> {
    /// The settings.
    pub settings: &'t TrainSettings,
    /// Decides the order of the instances.
    pub seed: Seed,
    /// Folder of the checkpoint; removed by the caller when the result is safe.
    pub checkpoint: PathBuf,
}

/// What training did to the encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// One record a step, those before an interruption included, and those after the best look.
    pub steps: Vec<StepRecord>,
    /// Steps there would have been without early stopping.
    pub planned: usize,
    /// Texts cut to the maximal length, each counted once.
    pub truncated: usize,
    /// The looks at held-out queries, where there was a validation; the encoder is that of the best one.
    pub curve: Option<Curve>,
}

/// One batch of a step.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'b> {
    /// Places of its instances.
    pub members: &'b [usize],
    /// Its number from the start of the run, from 0; decides what is dropped.
    pub number: usize,
    /// τ.
    pub temperature: f64,
}

/// What a batch gave beside its gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// The loss, nats.
    pub loss: f32,
    /// What its negatives weigh.
    pub tallies: Tallies,
}

/// What is trained: weights, and how instances become gradients of them.
pub trait Pupil {
    /// Its weights.
    fn parameters(&self) -> &Parameters;

    /// Where it computes.
    fn device(&self) -> &Device;

    /// Number of instances.
    fn instances(&self) -> usize;

    /// Names of the negatives' sources, in the order of the tallies.
    fn sources(&self) -> &[String];

    /// Texts cut to the maximal length, each counted once.
    fn truncated(&self) -> usize;

    /// What a batch gives; its gradients are added to `gradients`.
    ///
    /// # Errors
    /// [`TrainError::Encode`], [`TrainError::Candle`]; [`TrainError::Detached`] when the loss does not depend on the rows.
    fn learn(&mut self, turn: Turn<'_>, gradients: &mut Gradients) -> Result<Learned>;

    /// Takes `instances`, as many as it has, in place of its own.
    ///
    /// # Errors
    /// As where it was made.
    fn renew(&mut self, instances: &[Instance]) -> Result<()>;
}

/// What is the same in all steps of a run.
struct Frame {
    total: usize,
    /// For each variable, whether it stays as it is.
    frozen: Vec<bool>,
}

impl Trainer<'_> {
    /// As [`Trainer::train_with`], with nothing alongside.
    ///
    /// # Errors
    /// As there.
    pub fn train(&self, encoder: &BiEncoder, instances: &[Instance], watch: &dyn Watch) -> Result<Trained> {
        self.train_with(encoder, instances, Alongside::default(), watch)
    }

    /// Trains the weights of `encoder` in place, contrastively.
    ///
    /// # Errors
    /// As [`Contrast::new`] and [`Trainer::teach`].
    pub fn train_with(
        &self,
        encoder: &BiEncoder,
        instances: &[Instance],
        alongside: Alongside<'_>,
        watch: &dyn Watch,
    ) -> Result<Trained> {
        let mut pupil = Contrast::new(encoder, instances, self.settings, self.seed)?;
        if let Some(guide) = alongside.guide {
            pupil = pupil.guided(guide, instances, watch)?;
        }
        self.teach(&mut pupil, alongside, watch)
    }

    /// Trains the weights of `pupil` in place. A checkpoint left by an interrupted run of the same settings is
    /// taken up; the result is bit for bit that of an uninterrupted run. With a validation, the un-tuned state is
    /// looked at first, and at the end the weights are those of the best look after training began. With a renewal,
    /// the instances change on the way.
    ///
    /// # Errors
    /// [`TrainError::Gradient`] when after the first backward a variable has no finite gradient;
    /// [`TrainError::NotFinite`] when the loss or gradient stops being a number; those of what goes alongside.
    pub fn teach(&self, pupil: &mut dyn Pupil, alongside: Alongside<'_>, watch: &dyn Watch) -> Result<Trained> {
        let validation = alongside.validation;
        let instances = pupil.instances();
        let frame = Frame { total: self.steps(instances), frozen: self.frozen(pupil.parameters())? };
        let total = frame.total;
        let mut position = match Position::load(&self.checkpoint, pupil.parameters(), pupil.device())? {
            Some(position) => {
                watch.note(&format!("going on after step {} of {total}", position.steps.len()));
                position
            }
            None => Position::start(pupil.parameters(), pupil.device())?,
        };
        position.optimiser.freeze(&frame.frozen);
        if let Some(renewed) = &position.renewed {
            pupil.renew(&renewed.instances)?;
        }
        let mut gradients = Gradients::new(pupil.parameters(), pupil.device());
        if position.checks.is_empty() {
            look(pupil.parameters(), &mut position, validation, watch)?;
        }
        watch.begin("train", total as u64, "steps");
        watch.advance(position.steps.len() as u64);
        while position.steps.len() < total && !self.exhausted(&position, validation) {
            if watch.stopped() {
                position.save(&self.checkpoint, pupil.parameters())?;
                watch.check()?;
            }
            renew(pupil, &mut position, alongside, watch)?;
            let record = self.step(pupil, &mut gradients, &mut position, &frame)?;
            let done = record.step;
            position.steps.push(record);
            if self.is_due(done, instances) || done == total {
                look(pupil.parameters(), &mut position, validation, watch)?;
            }
            if done.is_multiple_of(self.settings.checkpoint_every) && done < total {
                position.save(&self.checkpoint, pupil.parameters())?;
            }
            watch.advance(1);
        }
        watch.end();
        let Position { steps, checks, best, .. } = position;
        if let Some(best) = best {
            checkpoint::put(pupil.parameters(), &best, &self.checkpoint)?;
        }
        let curve = validation.map(|validation| validation.curve(checks));
        Ok(Trained { steps, planned: total, truncated: pupil.truncated(), curve })
    }

    fn per_epoch(&self, instances: usize) -> usize {
        instances.div_ceil(self.settings.batch_size)
    }

    /// Optimiser steps over so many instances.
    fn steps(&self, instances: usize) -> usize {
        (self.per_epoch(instances) * self.settings.epochs).div_ceil(self.settings.accumulate)
    }

    /// Numbers of the batches of `step` (from 0); the last step of a run may have fewer.
    fn batches_of(&self, step: usize, instances: usize) -> std::ops::Range<usize> {
        let all = self.per_epoch(instances) * self.settings.epochs;
        step * self.settings.accumulate..((step + 1) * self.settings.accumulate).min(all)
    }

    /// True when the encoder is to be looked at after `done` steps.
    fn is_due(&self, done: usize, instances: usize) -> bool {
        let epochs = |batches: usize| batches / self.per_epoch(instances);
        let last = self.batches_of(done - 1, instances);
        match self.settings.validate_every {
            0 => epochs(last.end) > epochs(last.start),
            every => done.is_multiple_of(every),
        }
    }

    /// For each variable, whether it is below the layers that are trained.
    fn frozen(&self, parameters: &Parameters) -> Result<Vec<bool>> {
        let frozen: Vec<bool> = parameters.iter().map(|(name, _)| self.settings.freezes(name)).collect();
        let found = format!("{:?}, which leaves nothing to train", self.settings.freeze_layers);
        if frozen.iter().all(|&frozen| frozen) {
            return Err(super::InvalidSetting::new("freeze_layers", "fewer than the layers", found).into());
        }
        Ok(frozen)
    }

    /// Takes the next step.
    fn step(
        &self,
        pupil: &mut dyn Pupil,
        gradients: &mut Gradients,
        position: &mut Position,
        frame: &Frame,
    ) -> Result<StepRecord> {
        let (step, instances) = (position.steps.len(), pupil.instances());
        let numbers = self.batches_of(step, instances);
        let temperature = self.settings.temperature_at(step, frame.total);
        let share = 1.0 / numbers.len() as f64;
        gradients.clear();
        let mut tallies = Tallies::new(pupil.sources().len());
        let mut sum = 0.0;
        let members_of = |number| match self.settings.order {
            Order::Shuffled => batches::members(instances, self.settings.batch_size, number, self.seed),
            Order::File => batches::members_in_order(instances, self.settings.batch_size, number, self.seed),
        };
        for number in numbers.clone() {
            let members = members_of(number);
            let learned = pupil.learn(Turn { members: &members, number, temperature }, gradients)?;
            tallies.add(&learned.tallies);
            sum += f64::from(learned.loss) * share;
        }
        let norms = gradients.norms()?;
        if step == 0 {
            check_gradients(pupil.parameters(), &norms, &frame.frozen)?;
        }
        let trained = norms.iter().zip(&frame.frozen).filter(|(_, frozen)| !**frozen);
        let gradient_norm = trained.map(|(norm, _)| norm * norm).sum::<f64>().sqrt() * share;
        #[expect(clippy::cast_possible_truncation, reason = "the loss is an f32")]
        let loss = sum as f32;
        if !loss.is_finite() || !gradient_norm.is_finite() {
            let members = numbers.flat_map(members_of).collect();
            return Err(TrainError::NotFinite { step: step + 1, loss, gradient_norm, members });
        }
        let learning_rate = self.settings.learning_rate_at(step, frame.total);
        let factor = clipping(gradient_norm, self.settings.max_gradient_norm) * share;
        let weight_decay = self.settings.weight_decay;
        position.optimiser.step(pupil.parameters(), gradients, Step { learning_rate, weight_decay, factor })?;
        let sources = tallies.by_name(pupil.sources());
        Ok(StepRecord { step: step + 1, loss, gradient_norm, learning_rate, temperature, sources })
    }

    /// True when the last looks brought no gain.
    fn exhausted(&self, position: &Position, validation: Option<&Validation<'_>>) -> bool {
        validation.is_some_and(|validation| {
            self.settings.patience > 0
                && validation.curve(position.checks.clone()).since_best() >= self.settings.patience
        })
    }
}

/// Gives `pupil` new negatives when they are due.
fn renew(pupil: &mut dyn Pupil, position: &mut Position, alongside: Alongside<'_>, watch: &dyn Watch) -> Result<()> {
    let Some(renewal) = alongside.renewal else { return Ok(()) };
    let (step, last) = (position.steps.len(), position.renewed.as_ref().map_or(0, |renewed| renewed.step));
    if step == last || !step.is_multiple_of(renewal.every) {
        return Ok(());
    }
    let instances = (renewal.renew)(step)?;
    pupil.renew(&instances)?;
    watch.note(&format!("after step {step}: negatives mined again"));
    position.renewed = Some(Renewed { step, instances });
    Ok(())
}

/// Measures the state as it is now, and keeps the weights when they are the best so far.
fn look(
    parameters: &Parameters,
    position: &mut Position,
    validation: Option<&Validation<'_>>,
    watch: &dyn Watch,
) -> Result<()> {
    let Some(validation) = validation else { return Ok(()) };
    let check = Check { step: position.steps.len(), value: (validation.value)()? };
    if !check.value.is_finite() {
        return Err(TrainError::Look { step: check.step, measure: validation.measure.clone(), value: check.value });
    }
    position.checks.push(check);
    watch.note(&format!("after step {}: {} {:.4}", check.step, validation.measure, check.value));
    if check.step > 0 && validation.curve(position.checks.clone()).best() == Some(check) {
        position.best = Some(checkpoint::weights(parameters)?);
    }
    Ok(())
}

/// A variable that no gradient reaches would silently never be trained. A bias may have none: that of the keys, which
/// softmax takes away again.
fn check_gradients(parameters: &Parameters, norms: &[f64], frozen: &[bool]) -> Result<()> {
    let names = parameters.iter().map(|(name, _)| name);
    let without: Vec<String> = names
        .zip(norms)
        .zip(frozen)
        .filter(|&((name, norm), &frozen)| !frozen && (!norm.is_finite() || (*norm == 0.0 && !name.ends_with("bias"))))
        .map(|((name, _), _)| name.to_owned())
        .collect();
    if without.is_empty() { Ok(()) } else { Err(TrainError::Gradient { without, of: norms.len() }) }
}
