//! The gradient of every weight: sums of what the parts of a batch give.

use super::super::{Result, parameters::Parameters};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// One gradient a variable, in name order.
#[derive(Debug, Clone)]
pub enum Gradients {
    /// On the CPU: values as the variable has them, row-major.
    Host(Vec<Vec<f32>>),
    /// Elsewhere: tensors, absent where nothing came.
    Device(Vec<Option<Tensor>>),
}

impl Gradients {
    /// Nothing yet, for each of `parameters`.
    #[must_use]
    pub fn new(parameters: &Parameters, device: &Device) -> Self {
        match device {
            Device::Cpu => Self::Host(parameters.iter().map(|(_, value)| vec![0.0; value.elem_count()]).collect()),
            _ => Self::Device(vec![None; parameters.len()]),
        }
    }

    /// Nothing again, in the same memory.
    pub fn clear(&mut self) {
        match self {
            Self::Host(all) => all.par_iter_mut().for_each(|values| values.fill(0.0)),
            Self::Device(all) => all.fill(None),
        }
    }

    /// Adds `tensor` to the gradient of variable `index`.
    ///
    /// # Errors
    /// [`super::super::EncodeError::Candle`] when shapes differ.
    pub fn add(&mut self, index: usize, tensor: &Tensor) -> Result<()> {
        match self {
            Self::Host(all) => {
                let values = tensor.flatten_all()?.to_vec1::<f32>()?;
                all[index].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            Self::Device(all) => {
                let sum = match all[index].take() {
                    Some(sum) => (sum + tensor)?,
                    None => tensor.clone(),
                };
                all[index] = Some(sum);
            }
        }
        Ok(())
    }

    /// The L2 norm of each variable's gradient; 0 where nothing came.
    ///
    /// # Errors
    /// [`super::super::EncodeError::Candle`].
    pub fn norms(&self) -> Result<Vec<f64>> {
        match self {
            Self::Host(all) => Ok(all.iter().map(|values| squares(values).sqrt()).collect()),
            Self::Device(all) => all
                .iter()
                .map(|value| match value {
                    Some(value) => Ok(f64::from(value.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt()),
                    None => Ok(0.0),
                })
                .collect(),
        }
    }
}

/// Values whose squares are summed in f32 before the sums are, in f64: few enough to lose nothing that counts.
const SQUARES: usize = 4096;

/// The sum of the squares; the same whatever the number of threads.
fn squares(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(SQUARES)
        .map(|part| {
            let mut lanes = [0.0f32; 16];
            for some in part.chunks(16) {
                some.iter().zip(&mut lanes).for_each(|(value, sum)| *sum += value * value);
            }
            lanes.iter().map(|&sum| f64::from(sum)).sum()
        })
        .collect();
    parts.iter().sum()
}
