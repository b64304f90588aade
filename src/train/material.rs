//! What a run is trained on: instances as tokens, what is known of their passages, and the loss over their vectors.

use super::annotations::Annotations;
use super::batches::TokenizedInstances;
use super::guide::Guided;
use super::loss::{Batch, Comparisons, Loss, Needs};
use super::statistics::Tallies;
use super::{Result, TrainSettings};
use crate::data::{Instance, Watch};
use crate::encode::BiEncoder;
use candle_core::Tensor;

/// Instances and the loss over them.
pub struct Material<'t> {
    /// Their token ids.
    pub texts: TokenizedInstances,
    annotations: Annotations,
    guided: Option<Guided>,
    loss: Box<dyn Loss>,
    needs: Needs,
    settings: &'t TrainSettings,
}

/// The value of the loss over a batch, and what its negatives weigh.
pub struct Valued {
    /// Mean over the queries, with its graph; a scalar.
    pub value: Tensor,
    /// By source of the negatives.
    pub tallies: Tallies,
}

impl<'t> Material<'t> {
    /// What `settings` make of `instances` for `encoder`.
    ///
    /// # Errors
    /// [`super::TrainError::NoInstances`], [`super::TrainError::Uneven`]; [`super::TrainError::Unfit`] when they are not
    /// enough for the loss; [`super::TrainError::Setting`].
    pub fn new(encoder: &BiEncoder, instances: &[Instance], settings: &'t TrainSettings) -> Result<Self> {
        settings.check()?;
        let loss = settings.loss.of_width(encoder.width())?;
        let texts = TokenizedInstances::new(encoder, instances)?;
        let row = settings.loss.row()?;
        let annotations = Annotations::new(instances, settings, row)?;
        Ok(Self { texts, annotations, guided: None, loss, needs: row.needs, settings })
    }

    /// The same with what `guide` takes for answers left out of the negatives of `instances`, by `loss.guide_margin`.
    ///
    /// # Errors
    /// As [`BiEncoder::encode`].
    pub fn guided(mut self, guide: &BiEncoder, instances: &[Instance], watch: &dyn Watch) -> Result<Self> {
        self.guided = Some(Guided::new(guide, instances, watch)?);
        Ok(self)
    }

    /// The loss of the instances `batch` at `temperature`; `vectors` are theirs, in the order of
    /// [`TokenizedInstances::sequences`].
    ///
    /// # Errors
    /// [`super::TrainError::Candle`].
    pub fn value(&self, vectors: &Tensor, batch: &[usize], temperature: f64) -> Result<Valued> {
        let mut comparisons = self.comparisons(batch);
        if self.needs == Needs::Teacher {
            comparisons = comparisons.own();
        }
        let outcome = self.loss.of(&Batch {
            queries: &vectors.narrow(0, 0, batch.len())?,
            passages: &vectors.narrow(0, batch.len(), comparisons.columns())?,
            comparisons: &comparisons,
            temperature,
            teacher: &self.annotations.teacher(batch),
            written: &self.annotations.written(batch),
        })?;
        let mut tallies = Tallies::new(self.annotations.names().len());
        tallies.count(&outcome.weights, &comparisons, &self.annotations.sources(batch));
        Ok(Valued { value: outcome.value, tallies })
    }

    fn comparisons(&self, batch: &[usize]) -> Comparisons {
        let answers = |query, column| self.texts.answers(batch, query, column);
        let mut all = Comparisons::new(batch.len(), self.texts.negatives, self.settings.in_batch, answers);
        if let Some(guided) = &self.guided {
            all.mask_by_guide(&guided.cosines(batch), self.settings.guide_margin.unwrap_or_default());
        }
        all
    }

    /// Names of the sources, in the order of the tallies.
    pub(super) fn sources(&self) -> &[String] {
        self.annotations.names()
    }
}
