//! A bi-encoder that is trained contrastively: instances to texts, texts to vectors, vectors to one of the losses.

use super::Result;
use super::material::Material;
use super::passing::{dropping, learn};
use super::settings::TrainSettings;
use super::statistics::Tallies;
use super::trainer::{Learned, Pupil, Turn};
use crate::data::{Instance, Seed, Watch};
use crate::encode::parameters::Parameters;
use crate::encode::{BiEncoder, Gradients, Learner, Mode, Sequence};
use candle_core::Device;

/// A bi-encoder with what it is trained on.
pub struct Contrast<'c> {
    encoder: &'c BiEncoder,
    settings: &'c TrainSettings,
    seed: Seed,
    learner: Learner<'c>,
    material: Material<'c>,
    guide: Option<(&'c BiEncoder, &'c dyn Watch)>,
}

impl<'c> Contrast<'c> {
    /// `encoder` with `instances`; `seed` decides what is dropped.
    ///
    /// # Errors
    /// As [`Material::new`].
    pub fn new(
        encoder: &'c BiEncoder,
        instances: &[Instance],
        settings: &'c TrainSettings,
        seed: Seed,
    ) -> Result<Self> {
        let material = Material::new(encoder, instances, settings)?;
        let learner = encoder.learner(settings.precision)?.frozen_below(settings.freeze_layers);
        Ok(Self { encoder, settings, seed, learner, material, guide: None })
    }

    /// The same with what `guide` takes for answers left out of the negatives of `instances`.
    ///
    /// # Errors
    /// As [`Material::guided`].
    pub fn guided(mut self, guide: &'c BiEncoder, instances: &[Instance], watch: &'c dyn Watch) -> Result<Self> {
        self.material = self.material.guided(guide, instances, watch)?;
        self.guide = Some((guide, watch));
        Ok(self)
    }

    /// Tokens of all texts of a batch.
    #[must_use]
    pub fn tokens(&self, members: &[usize]) -> usize {
        self.material.texts.sequences(members).iter().map(|ids| ids.len()).sum()
    }
}

impl Pupil for Contrast<'_> {
    fn parameters(&self) -> &Parameters {
        self.encoder.parameters()
    }

    fn device(&self) -> &Device {
        self.encoder.device()
    }

    fn instances(&self) -> usize {
        self.material.texts.len()
    }

    fn sources(&self) -> &[String] {
        self.material.sources()
    }

    fn truncated(&self) -> usize {
        self.material.texts.truncated
    }

    fn learn(&mut self, turn: Turn<'_>, gradients: &mut Gradients) -> Result<Learned> {
        let Self { encoder, settings, seed, learner, material, .. } = self;
        let sequences: Vec<Sequence<'_>> =
            material.texts.sequences(turn.members).into_iter().map(|ids| Sequence { ids, sides: None }).collect();
        let how = (dropping(settings, *seed, turn.number), settings.activation_memory << 20);
        let mut tallies = Tallies::new(material.sources().len());
        let loss = learn(
            (learner, encoder.parameters()),
            &sequences,
            how,
            |rows| {
                let vectors = encoder.finish(rows.clone(), Mode::Training)?;
                let valued = material.value(&vectors, turn.members, turn.temperature)?;
                tallies = valued.tallies;
                Ok(valued.value)
            },
            gradients,
        )?;
        Ok(Learned { loss, tallies })
    }

    fn renew(&mut self, instances: &[Instance]) -> Result<()> {
        let material = Material::new(self.encoder, instances, self.settings)?;
        self.material = match self.guide {
            Some((guide, watch)) => material.guided(guide, instances, watch)?,
            None => material,
        };
        Ok(())
    }
}
