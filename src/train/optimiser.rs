//! `AdamW` (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2) whose state can be saved,
//! with clipping by the global norm before it.

use super::settings::TrainSettings;
use crate::encode::{self, parameters::Parameters};
use candle_core::{Result, Tensor};
use std::collections::HashMap;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// First and second moments of every variable, in name order, and the number of steps taken.
pub struct AdamW {
    first: Vec<Tensor>,
    second: Vec<Tensor>,
    steps: usize,
}

impl AdamW {
    /// Moments of 0, before the first step.
    ///
    /// # Errors
    /// candle's, when memory runs out.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        let zeros = || parameters.iter().map(|(_, variable)| variable.zeros_like()).collect::<Result<Vec<_>>>();
        Ok(Self { first: zeros()?, second: zeros()?, steps: 0 })
    }

    /// One step at `learning_rate` with one gradient a variable, in name order, already clipped.
    ///
    /// # Errors
    /// [`encode::EncodeError::Candle`].
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &[Tensor],
        learning_rate: f64,
        weight_decay: f64,
    ) -> encode::Result<()> {
        self.steps += 1;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let (correction_1, correction_2) = (1.0 - BETA_1.powi(steps), 1.0 - BETA_2.powi(steps));
        for (index, (name, variable)) in parameters.iter().enumerate() {
            let gradient = gradients[index].detach();
            let first = ((&self.first[index] * BETA_1)? + (&gradient * (1.0 - BETA_1))?)?;
            let second = ((&self.second[index] * BETA_2)? + (gradient.sqr()? * (1.0 - BETA_2))?)?;
            let update = ((&first / correction_1)? / ((&second / correction_2)?.sqrt()? + EPSILON)?)?;
            let decay = if decays(name) { learning_rate * weight_decay } else { 0.0 };
            let weights = variable.detach();
            parameters.set(name, &((weights * (1.0 - decay))? - (update * learning_rate)?)?)?;
            self.first[index] = first;
            self.second[index] = second;
        }
        Ok(())
    }

    /// The moments by name, for a checkpoint.
    #[must_use]
    pub fn moments(&self, parameters: &Parameters) -> HashMap<String, Tensor> {
        let both = self.first.iter().zip(&self.second);
        parameters
            .iter()
            .zip(both)
            .flat_map(|((name, _), (first, second))| {
                [(format!("first.{name}"), first.clone()), (format!("second.{name}"), second.clone())]
            })
            .collect()
    }

    /// The state after `steps` steps, from [`AdamW::moments`]; nothing when a moment is missing.
    #[must_use]
    pub fn restored(parameters: &Parameters, mut moments: HashMap<String, Tensor>, steps: usize) -> Option<Self> {
        let mut all = |kind: &str| {
            parameters.iter().map(|(name, _)| moments.remove(&format!("{kind}.{name}"))).collect::<Option<Vec<_>>>()
        };
        Some(Self { first: all("first")?, second: all("second")?, steps })
    }
}

/// Biases and norms are not pulled towards 0 (as BERT and its successors were trained).
fn decays(name: &str) -> bool {
    name.rsplit('.').next() != Some("bias") && !["LayerNorm", "layer_norm"].iter().any(|norm| name.contains(norm))
}

/// Global L2 norm of the gradients before clipping; scales them to `settings.max_gradient_norm` where it is larger.
///
/// # Errors
/// candle's.
pub fn clip(gradients: &mut [Tensor], settings: &TrainSettings) -> Result<f64> {
    let mut squares = 0.0;
    for gradient in gradients.iter() {
        squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    let norm = squares.sqrt();
    if norm > settings.max_gradient_norm {
        let scale = settings.max_gradient_norm / norm;
        for gradient in gradients {
            *gradient = (&*gradient * scale)?;
        }
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Shape};

    /// torch.optim.AdamW on w = [1, -2], gradients [0.5, -1], then [0.1, 0.3], lr 0.1, weight decay 0.01
    /// (tests/peers/adamw.py prints these).
    #[test]
    fn two_steps_are_those_of_pytorch() -> Result<()> {
        let wanted = [("w.weight".to_owned(), Shape::from(2))];
        let parameters =
            Parameters::fresh(&wanted, &Device::Cpu, |_, _| vec![1.0, -2.0]).map_err(candle_core::Error::wrap)?;
        let mut optimiser = AdamW::new(&parameters)?;
        for gradient in [[0.5f32, -1.0], [0.1, 0.3]] {
            let gradients = [Tensor::new(&gradient, &Device::Cpu)?];
            optimiser.step(&parameters, &gradients, 0.1, 0.01).map_err(candle_core::Error::wrap)?;
        }
        let weights = parameters.get("w.weight").map_or_else(|| Ok(vec![]), Tensor::to_vec1::<f32>)?;
        for (ours, theirs) in weights.iter().zip([0.817_796_95, -1.853_317_3]) {
            assert!((ours - theirs).abs() < 1e-6, "{weights:?}");
        }
        assert_eq!(weights.len(), 2);
        Ok(())
    }

    #[test]
    fn clipping_keeps_the_direction() -> Result<()> {
        let mut gradients = [Tensor::new(&[3f32, 0.0], &Device::Cpu)?, Tensor::new(&[4f32], &Device::Cpu)?];
        let norm = clip(&mut gradients, &TrainSettings::default())?;
        assert!((norm - 5.0).abs() < 1e-6);
        assert!((gradients[0].to_vec1::<f32>()?[0] - 0.6).abs() < 1e-6);
        assert!((gradients[1].to_vec1::<f32>()?[0] - 0.8).abs() < 1e-6);
        Ok(())
    }
}
