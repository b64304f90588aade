//! The Dense module of sentence-transformers: a linear layer and an activation over the pooled vector
//! (`2_Dense/config.json` and `2_Dense/model.safetensors`); its weights are trained with the trunk's.

use super::Result;
use super::settings::read_object;
use super::trunk::Weights;
use crate::data::{self, Fault};
use candle_core::{Shape, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// What is applied to each value after the linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Nothing.
    Identity,
    /// Hyperbolic tangent.
    Tanh,
    /// Negative values to 0.
    Relu,
    /// GELU by erf.
    Gelu,
}

impl Activation {
    /// Each activation by the name that sentence-transformers writes.
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Identity, "torch.nn.modules.linear.Identity"),
        (Self::Tanh, "torch.nn.modules.activation.Tanh"),
        (Self::Relu, "torch.nn.modules.activation.ReLU"),
        (Self::Gelu, "torch.nn.modules.activation.GELU"),
    ];

    /// The values of `x`, activated.
    ///
    /// # Errors
    /// [`super::EncodeError::Candle`].
    pub fn of(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Identity => x.clone(),
            Self::Tanh => x.tanh()?,
            Self::Relu => x.relu()?,
            Self::Gelu => x.gelu_erf()?,
        })
    }
}

/// A Dense module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dense {
    /// Its folder inside the encoder's, as `2_Dense`.
    pub folder: String,
    /// Length of the vectors it takes.
    pub inputs: usize,
    /// Length of the vectors it gives.
    pub outputs: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// What comes after.
    pub activation: Activation,
}

impl Dense {
    /// The module in `encoder`/`folder`.
    ///
    /// # Errors
    /// [`data::Error::Input`] naming the key that is missing or not supported.
    pub fn read(encoder: &Path, folder: &str) -> Result<Self, data::Error> {
        let path = encoder.join(folder).join("config.json");
        let config = read_object(&path)?;
        let size = |key: &str| {
            let found = || config.get(key).map_or_else(|| "no such key".to_owned(), Value::to_string);
            let number = config.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            number.filter(|&n| n > 0).ok_or_else(|| Fault::new(&path, "a number from 1", found()).key(key))
        };
        for (key, expected) in [("module_input_name", json!("sentence_embedding")), ("use_residual", json!(false))] {
            if let Some(found) = config.get(key).filter(|&found| *found != expected) {
                return Err(Fault::new(&path, expected.to_string(), found.to_string()).key(key).into());
            }
        }
        // Without the key it is sentence-transformers' default.
        let named =
            config.get("activation_function").map_or(Activation::NAMES[1].1, |v| v.as_str().unwrap_or_default());
        let known = Activation::NAMES.iter().find(|(_, name)| *name == named);
        let (activation, _) = known.ok_or_else(|| {
            let names = Activation::NAMES.map(|(_, name)| name).join(", ");
            Fault::new(&path, format!("one of: {names}"), format!("{named:?}")).key("activation_function")
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            inputs: size("in_features")?,
            outputs: size("out_features")?,
            bias: config.get("bias").and_then(Value::as_bool).unwrap_or(true),
            activation: *activation,
        })
    }

    /// Its `config.json`.
    #[must_use]
    pub fn config(&self) -> Value {
        let name =
            Activation::NAMES.iter().find(|(activation, _)| *activation == self.activation).map(|(_, name)| name);
        json!({"in_features": self.inputs, "out_features": self.outputs, "bias": self.bias, "activation_function": name})
    }

    /// Its part of the names of all weights.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}.", self.folder)
    }

    /// Names (in its own file) and shapes of its weights.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Shape)> {
        let mut list = vec![("linear.weight".to_owned(), (self.outputs, self.inputs).into())];
        if self.bias {
            list.push(("linear.bias".to_owned(), self.outputs.into()));
        }
        list
    }

    /// `(B, outputs)` from `(B, inputs)`; `weights` takes names with [`Dense::prefix`].
    ///
    /// # Errors
    /// What `weights` returns; [`super::EncodeError::Candle`].
    pub fn forward(&self, x: &Tensor, weights: &Weights<'_>) -> Result<Tensor> {
        let weight = |name: &str| weights(&format!("{}{name}", self.prefix()));
        let mut y = x.matmul(&weight("linear.weight")?.t()?)?;
        if self.bias {
            y = y.broadcast_add(&weight("linear.bias")?)?;
        }
        self.activation.of(&y)
    }
}
