//! A bi-encoder that is trained contrastively: instances to texts, texts to vectors, vectors to one of the losses.

use super::Result;
use super::annotations::Annotations;
use super::batches::TokenizedInstances;
use super::loss::{Batch, Comparisons, Loss};
use super::passing::{dropping, learn};
use super::settings::TrainSettings;
use super::trainer::{Moment, Pupil};
use crate::data::{Instance, Seed};
use crate::encode::parameters::Parameters;
use crate::encode::{BiEncoder, Gradients, Learner, Mode, Sequence};
use candle_core::Device;

/// A bi-encoder with its instances.
pub struct Contrast<'c> {
    encoder: &'c BiEncoder,
    settings: &'c TrainSettings,
    seed: Seed,
    learner: Learner<'c>,
    texts: TokenizedInstances,
    annotations: Annotations,
    loss: Box<dyn Loss>,
}

impl<'c> Contrast<'c> {
    /// `encoder` with `instances`, tokenized.
    ///
    /// # Errors
    /// [`super::TrainError::NoInstances`], [`super::TrainError::Uneven`], [`super::TrainError::Unfit`],
    /// [`super::TrainError::Setting`] of the loss.
    pub fn new(
        encoder: &'c BiEncoder,
        instances: &[Instance],
        settings: &'c TrainSettings,
        seed: Seed,
    ) -> Result<Self> {
        Ok(Self {
            encoder,
            settings,
            seed,
            loss: settings.loss.of_width(encoder.width())?,
            annotations: Annotations::new(instances, settings, settings.loss.row()?)?,
            texts: TokenizedInstances::new(encoder, instances)?,
            learner: encoder.learner(settings.precision)?,
        })
    }

    /// Tokens of all texts of a batch.
    #[must_use]
    pub fn tokens(&self, batch: &[usize]) -> usize {
        self.texts.sequences(batch).iter().map(|ids| ids.len()).sum()
    }
}

impl Pupil for Contrast<'_> {
    fn parameters(&self) -> &Parameters {
        self.encoder.parameters()
    }

    fn device(&self) -> &Device {
        self.encoder.device()
    }

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn truncated(&self) -> usize {
        self.texts.truncated
    }

    fn gradients(&mut self, batch: &[usize], moment: Moment, gradients: &mut Gradients) -> Result<f32> {
        let Self { encoder, settings, seed, learner, texts, annotations, loss } = self;
        let sequences: Vec<Sequence<'_>> =
            texts.sequences(batch).into_iter().map(|ids| Sequence { ids, sides: None }).collect();
        let comparisons = Comparisons::new(batch.len(), texts.negatives, settings.in_batch, |query, column| {
            texts.answers(batch, query, column)
        });
        let (queries, passages) = (batch.len(), sequences.len() - batch.len());
        let (teacher, written) = (annotations.teacher(batch), annotations.written(batch));
        let how = (dropping(settings, *seed, moment.step), settings.activation_memory << 20);
        let of_rows = |rows: &candle_core::Tensor| {
            let vectors = encoder.finish(rows.clone(), Mode::Training)?;
            let outcome = loss.of(&Batch {
                queries: &vectors.narrow(0, 0, queries)?,
                passages: &vectors.narrow(0, queries, passages)?,
                comparisons: &comparisons,
                temperature: settings.temperature_at(moment.step, moment.of),
                teacher: &teacher,
                written: &written,
            })?;
            Ok(outcome.value)
        };
        learn((learner, encoder.parameters()), &sequences, how, of_rows, gradients)
    }
}
