//! A cross-encoder that is trained on pairs: each instance's query with its positive and with each of its negatives.

use super::batches::even;
use super::loss::cross_encoder::{binary_cross_entropy, listwise_cross_entropy};
use super::passing::{dropping, learn};
use super::settings::TrainSettings;
use super::statistics::Tallies;
use super::trainer::{Learned, Pupil, Turn};
use super::{Result, TrainError};
use crate::data::{Instance, Seed};
use crate::encode::parameters::Parameters;
use crate::encode::{CrossEncoder, Gradients, Learner, Sequence};
use crate::text::tokenizer::TokenizedPairs;
use candle_core::Device;
use serde::{Deserialize, Serialize};

/// What is made small over pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairLoss {
    /// Binary cross entropy: each pair is an answer or none, and the sigmoid of the number is a probability.
    #[default]
    Binary,
    /// Softmax cross entropy over an instance's pairs: their order is learned, the number is no probability.
    Listwise,
}

/// A cross-encoder with what it is trained on.
pub struct Pairs<'p> {
    encoder: &'p CrossEncoder,
    settings: &'p TrainSettings,
    loss: PairLoss,
    seed: Seed,
    learner: Learner<'p>,
    tokens: TokenizedPairs,
    each: usize,
}

impl<'p> Pairs<'p> {
    /// `encoder` with the pairs of `instances`; `seed` decides what is dropped.
    ///
    /// # Errors
    /// [`TrainError::NoInstances`], [`TrainError::Uneven`], [`TrainError::Setting`]; [`TrainError::Labels`] when the
    /// cross-encoder has not one label.
    pub fn new(
        encoder: &'p CrossEncoder,
        instances: &[Instance],
        (settings, loss): (&'p TrainSettings, PairLoss),
        seed: Seed,
    ) -> Result<Self> {
        settings.check()?;
        if encoder.labels().len() != 1 {
            return Err(TrainError::Labels(encoder.labels().len()));
        }
        let (tokens, each) = tokenized(encoder, instances)?;
        let learner = encoder.learner(settings.precision)?.frozen_below(settings.freeze_layers);
        Ok(Self { encoder, settings, loss, seed, learner, tokens, each })
    }
}

/// The pairs of `instances`, and how many each has.
fn tokenized(encoder: &CrossEncoder, instances: &[Instance]) -> Result<(TokenizedPairs, usize)> {
    let each = 1 + even(instances)?;
    let pairs: Vec<(&str, &str)> = instances
        .iter()
        .flat_map(|instance| {
            let passages = std::iter::once(&instance.positive).chain(&instance.negatives);
            passages.map(|passage| (instance.query.as_str(), passage.text.as_str()))
        })
        .collect();
    Ok((encoder.tokenize(&pairs)?, each))
}

impl Pupil for Pairs<'_> {
    fn parameters(&self) -> &Parameters {
        self.encoder.parameters()
    }

    fn device(&self) -> &Device {
        self.encoder.device()
    }

    fn instances(&self) -> usize {
        self.tokens.ids.len() / self.each
    }

    fn sources(&self) -> &[String] {
        &[]
    }

    fn truncated(&self) -> usize {
        usize::try_from(self.tokens.truncation.truncated).unwrap_or(usize::MAX)
    }

    fn learn(&mut self, turn: Turn<'_>, gradients: &mut Gradients) -> Result<Learned> {
        let Self { encoder, settings, loss, seed, learner, tokens, each } = self;
        let places = turn.members.iter().flat_map(|&member| member * *each..(member + 1) * *each);
        let sequences: Vec<Sequence<'_>> =
            places.map(|place| Sequence { ids: &tokens.ids[place], sides: Some(&tokens.sides[place]) }).collect();
        let dropping = dropping(settings, *seed, turn.number);
        let value = |rows: &candle_core::Tensor| {
            let logits = encoder.logits(rows, dropping)?;
            Ok(match loss {
                PairLoss::Binary => {
                    let labels: Vec<f32> =
                        (0..sequences.len()).map(|pair| f32::from(u8::from(pair % *each == 0))).collect();
                    binary_cross_entropy(&logits, &labels, 1.0)?
                }
                PairLoss::Listwise => listwise_cross_entropy(&logits.reshape((turn.members.len(), *each))?)?,
            })
        };
        let how = (dropping, settings.activation_memory << 20);
        let loss = learn((learner, encoder.parameters()), &sequences, how, value, gradients)?;
        Ok(Learned { loss, tallies: Tallies::new(0) })
    }

    fn renew(&mut self, instances: &[Instance]) -> Result<()> {
        (self.tokens, self.each) = tokenized(self.encoder, instances)?;
        Ok(())
    }
}
