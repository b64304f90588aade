//! `AdamW` (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2) whose state can be saved. On the CPU all values
//! of a variable change in one pass, where they lie; elsewhere by candle's operations.

use crate::encode::{self, Gradients, parameters::Parameters};
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;
use std::collections::HashMap;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Values that a thread changes at once.
const VALUES: usize = 1 << 16;

/// First and second moments of every variable, in name order, and the number of steps taken.
pub struct AdamW {
    moments: Moments,
    steps: usize,
    frozen: Vec<bool>,
}

enum Moments {
    Host(Vec<[Vec<f32>; 2]>),
    Device(Vec<[Tensor; 2]>),
}

/// How far a step goes.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What the update is multiplied by, above 0.
    pub learning_rate: f64,
    /// What share of the weights a learning rate of 1 would take away, 0 and up.
    pub weight_decay: f64,
    /// What gradients are multiplied by first: [`clipping`].
    pub factor: f64,
}

impl AdamW {
    /// Moments of 0, before the first step.
    ///
    /// # Errors
    /// candle's, when memory runs out.
    pub fn new(parameters: &Parameters, device: &Device) -> Result<Self> {
        let moments = if matches!(device, Device::Cpu) {
            let zeros = |value: &Tensor| [vec![0.0; value.elem_count()], vec![0.0; value.elem_count()]];
            Moments::Host(parameters.iter().map(|(_, value)| zeros(value)).collect())
        } else {
            let zeros = |value: &Tensor| Ok([value.zeros_like()?, value.zeros_like()?]);
            Moments::Device(parameters.iter().map(|(_, value)| zeros(value)).collect::<Result<_>>()?)
        };
        Ok(Self { moments, steps: 0, frozen: vec![false; parameters.len()] })
    }

    /// From now on, leaves the variables alone whose place is true.
    pub fn freeze(&mut self, frozen: &[bool]) {
        self.frozen = frozen.to_vec();
    }

    /// One step against the gradients of `parameters`.
    ///
    /// # Errors
    /// [`encode::EncodeError::Candle`].
    ///
    /// # Panics
    /// When gradients and moments are not on one device.
    pub fn step(&mut self, parameters: &Parameters, gradients: &Gradients, step: Step) -> encode::Result<()> {
        self.steps += 1;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let corrections = (1.0 - BETA_1.powi(steps), 1.0 - BETA_2.powi(steps));
        for (index, (name, variable)) in parameters.iter().enumerate() {
            if self.frozen[index] {
                continue;
            }
            let decay = if decays(name) { step.learning_rate * step.weight_decay } else { 0.0 };
            match (&mut self.moments, gradients) {
                (Moments::Host(moments), Gradients::Host(gradients)) => {
                    let [first, second] = &mut moments[index];
                    let update = Update::new(step, decay, corrections);
                    parameters.change(name, |weights| update.apply(weights, &gradients[index], first, second))?;
                }
                (Moments::Device(moments), Gradients::Device(gradients)) => {
                    let gradient = match &gradients[index] {
                        Some(gradient) => (gradient.detach() * step.factor)?,
                        None => variable.zeros_like()?,
                    };
                    let [first, second] = &mut moments[index];
                    *first = ((&*first * BETA_1)? + (&gradient * (1.0 - BETA_1))?)?;
                    *second = ((&*second * BETA_2)? + (gradient.sqr()? * (1.0 - BETA_2))?)?;
                    let update = ((&*first / corrections.0)? / ((&*second / corrections.1)?.sqrt()? + EPSILON)?)?;
                    let weights = (variable.detach() * (1.0 - decay))?;
                    parameters.set(name, &(weights - (update * step.learning_rate)?)?)?;
                }
                _ => unreachable!("moments and gradients of one encoder lie on one device"),
            }
        }
        Ok(())
    }

    /// The moments by name, for a checkpoint.
    ///
    /// # Errors
    /// candle's, when memory runs out.
    pub fn moments(&self, parameters: &Parameters) -> Result<HashMap<String, Tensor>> {
        let mut all = HashMap::new();
        for (index, (name, variable)) in parameters.iter().enumerate() {
            let both = match &self.moments {
                Moments::Host(moments) => moments[index]
                    .iter()
                    .map(|values| Tensor::from_slice(values, variable.shape(), &Device::Cpu))
                    .collect::<Result<Vec<_>>>()?,
                Moments::Device(moments) => moments[index].to_vec(),
            };
            all.extend(["first", "second"].into_iter().map(|kind| format!("{kind}.{name}")).zip(both));
        }
        Ok(all)
    }

    /// The state after `steps` steps, from [`AdamW::moments`]; nothing when a moment is missing or of another size.
    #[must_use]
    pub fn restored(parameters: &Parameters, mut moments: HashMap<String, Tensor>, steps: usize) -> Option<Self> {
        let mut host = Vec::new();
        let mut device = Vec::new();
        for (name, variable) in parameters.iter() {
            let mut take = |kind: &str| {
                moments.remove(&format!("{kind}.{name}")).filter(|moment| moment.shape() == variable.shape())
            };
            let both = [take("first")?, take("second")?];
            if matches!(variable.device(), Device::Cpu) {
                let values = |moment: &Tensor| moment.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).ok();
                host.push([values(&both[0])?, values(&both[1])?]);
            } else {
                device.push(both);
            }
        }
        let moments = if device.is_empty() { Moments::Host(host) } else { Moments::Device(device) };
        Some(Self { moments, steps, frozen: vec![false; parameters.len()] })
    }
}

/// The numbers of a step for one variable.
#[derive(Clone, Copy)]
struct Update {
    factor: f32,
    keep: f32,
    rate: f32,
    second_scale: f32,
}

impl Update {
    #[expect(clippy::cast_possible_truncation, reason = "factors of f32 values")]
    fn new(step: Step, decay: f64, (first, second): (f64, f64)) -> Self {
        Self {
            factor: step.factor as f32,
            keep: (1.0 - decay) as f32,
            rate: (step.learning_rate / first) as f32,
            second_scale: (1.0 / second) as f32,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "factors of f32 values")]
    fn apply(self, weights: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        const B1: f32 = BETA_1 as f32;
        const B2: f32 = BETA_2 as f32;
        const LEFT_1: f32 = (1.0 - BETA_1) as f32;
        const LEFT_2: f32 = (1.0 - BETA_2) as f32;
        let moments = first.par_chunks_mut(VALUES).zip(second.par_chunks_mut(VALUES));
        let blocks = weights.par_chunks_mut(VALUES).zip(gradients.par_chunks(VALUES)).zip(moments);
        blocks.for_each(|((weights, gradients), (first, second))| {
            let values = weights.iter_mut().zip(gradients).zip(first.iter_mut().zip(second));
            for ((weight, gradient), (first, second)) in values {
                let gradient = gradient * self.factor;
                *first = *first * B1 + gradient * LEFT_1;
                *second = *second * B2 + gradient * gradient * LEFT_2;
                let deviation = (*second * self.second_scale).sqrt() + EPSILON as f32;
                *weight = *weight * self.keep - self.rate * *first / deviation;
            }
        });
    }
}

/// Biases and norms are not pulled towards 0 (as BERT and its successors were trained).
fn decays(name: &str) -> bool {
    name.rsplit('.').next() != Some("bias") && !["LayerNorm", "layer_norm"].iter().any(|norm| name.contains(norm))
}

/// What gradients of a global L2 norm of `norm` are multiplied by, so that it is at most `largest`.
#[must_use]
pub fn clipping(norm: f64, largest: f64) -> f64 {
    if norm > largest { largest / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Shape;

    /// torch.optim.AdamW on w = [1, -2], gradients [0.5, -1], then [0.1, 0.3], lr 0.1, weight decay 0.01
    /// (tests/peers/adamw.py prints these).
    #[test]
    fn two_steps_are_those_of_pytorch() -> Result<()> {
        let wanted = [("w.weight".to_owned(), Shape::from(2))];
        let parameters =
            Parameters::fresh(&wanted, &Device::Cpu, |_, _| vec![1.0, -2.0]).map_err(candle_core::Error::wrap)?;
        let mut optimiser = AdamW::new(&parameters, &Device::Cpu)?;
        for gradient in [[0.5f32, -1.0], [0.1, 0.3]] {
            let gradients = Gradients::Host(vec![gradient.to_vec()]);
            let step = Step { learning_rate: 0.1, weight_decay: 0.01, factor: 1.0 };
            optimiser.step(&parameters, &gradients, step).map_err(candle_core::Error::wrap)?;
        }
        let weights = parameters.get("w.weight").map_or_else(|| Ok(vec![]), Tensor::to_vec1::<f32>)?;
        for (ours, theirs) in weights.iter().zip([0.817_796_95, -1.853_317_3]) {
            assert!((ours - theirs).abs() < 1e-6, "{weights:?}");
        }
        assert_eq!(weights.len(), 2);
        Ok(())
    }

    #[test]
    fn clipping_brings_a_long_gradient_to_the_bound_and_leaves_a_short_one() {
        let norms = Gradients::Host(vec![vec![3.0, 0.0], vec![4.0]]).norms().unwrap_or_default();
        assert_eq!(norms, [3.0, 4.0]);
        assert!((clipping(5.0, 1.0) - 0.2).abs() < 1e-12);
        assert!((clipping(0.5, 1.0) - 1.0).abs() < 1e-12);
    }
}
