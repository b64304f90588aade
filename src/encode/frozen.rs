//! Architectures that candle-transformers computes, one row each: they embed and judge, and are not trained.
//! Which weights one has is what its loader asks for, so that a file is checked as for all others: by name and shape,
//! nothing missing and nothing left over. A row is checked against transformers by `tests/peers/architectures.py`.

use super::dense::Activation;
use super::family::HeadNames;
use super::packing::PackedBatch;
use super::trunk::{Dropped, Trunk, Weights};
use super::{EncodeError, Result};
use crate::data::{self, Fault};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use candle_transformers::models::{debertav2, modernbert, nomic_bert, t5};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What computes the token vectors `(B, L, D)` of token ids, token types and a mask, each `(B, L)`.
trait Model: Send + Sync {
    fn hidden(&self, ids: &Tensor, sides: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor>;
}

/// An architecture of candle-transformers.
pub struct Row {
    /// `model_type` in `config.json`.
    pub name: &'static str,
    /// What names of weights may begin with, the dot included.
    prefix: &'static str,
    /// Key of D, the width of the token vectors.
    width: &'static str,
    /// Key of the longest sequence, and what it is where `config.json` does not say.
    positions: (&'static str, usize),
    /// Keys that must have this value where they are given: the model is computed with no other.
    fixed: &'static [(&'static str, &'static str)],
    /// What the loader asks for and does without, the prefix taken off; no file has it.
    absent: &'static [&'static str],
    /// How sequences of different lengths go together.
    together: Together,
    /// The head of a cross-encoder, where it is one that we compute.
    head: Option<HeadNames>,
    load: fn(VarBuilder<'_>, &Value) -> candle_core::Result<Box<dyn Model>>,
}

/// How sequences of different lengths go through a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    /// Padded, with a mask.
    Masked,
    /// Only those of one length: the model has no mask.
    Alike,
}

/// The rows.
pub static FROZEN: [Row; 4] = [
    // Warner et al. 2024, arXiv 2412.13663.
    Row {
        name: "modernbert",
        prefix: "model.",
        width: "hidden_size",
        positions: ("max_position_embeddings", 512),
        fixed: &[("hidden_activation", "gelu"), ("position_embedding_type", "absolute")],
        absent: &["layers.0.attn_norm.weight"],
        together: Together::Masked,
        head: None,
        load: |weights, config| {
            let config: modernbert::Config = read(&modern(config))?;
            Ok(Box::new(Modern(modernbert::ModernBert::load(weights, &config)?)))
        },
    },
    // He et al. 2021, arXiv 2111.09543.
    Row {
        name: "deberta-v2",
        prefix: "deberta.",
        width: "hidden_size",
        positions: ("max_position_embeddings", 512),
        fixed: &[("hidden_act", "gelu"), ("pooler_hidden_act", "gelu")],
        absent: &[],
        together: Together::Masked,
        head: Some(HeadNames {
            dense: "pooler.dense",
            activation: Activation::Gelu,
            labels: "classifier",
            class: "DebertaV2ForSequenceClassification",
        }),
        load: |weights, config| Ok(Box::new(Deberta(debertav2::DebertaV2Model::load(weights, &read(config)?)?))),
    },
    // Nussbaum et al. 2024, arXiv 2402.01613.
    Row {
        name: "nomic_bert",
        prefix: "nomic_bert.",
        width: "n_embd",
        positions: ("n_positions", 2048),
        fixed: &[("activation_function", "swiglu")],
        absent: &[],
        together: Together::Masked,
        head: None,
        load: |weights, config| Ok(Box::new(Nomic(nomic_bert::NomicBertModel::load(weights, &read(config)?)?))),
    },
    // The encoder of Raffel et al. 2020, arXiv 1910.10683.
    Row {
        name: "t5",
        prefix: "",
        width: "d_model",
        positions: ("n_positions", 512),
        fixed: &[],
        absent: &[],
        together: Together::Alike,
        head: None,
        load: |weights, config| Ok(Box::new(T5(t5::T5EncoderModel::load(weights, &read(config)?)?))),
    },
];

struct Modern(modernbert::ModernBert);

impl Model for Modern {
    fn hidden(&self, ids: &Tensor, _: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        self.0.forward(ids, mask)
    }
}

struct Deberta(debertav2::DebertaV2Model);

impl Model for Deberta {
    fn hidden(&self, ids: &Tensor, sides: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        self.0.forward(ids, Some(sides.clone()), Some(mask.clone()))
    }
}

struct Nomic(nomic_bert::NomicBertModel);

impl Model for Nomic {
    fn hidden(&self, ids: &Tensor, sides: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        self.0.forward(ids, Some(sides), Some(mask))
    }
}

struct T5(t5::T5EncoderModel);

impl Model for T5 {
    fn hidden(&self, ids: &Tensor, _: &Tensor, _: &Tensor) -> candle_core::Result<Tensor> {
        // Its forward pass wants itself for a decoder's memory, which an encoder has none of; the copy shares the weights.
        self.0.clone().forward(ids)
    }
}

/// `config.json` as the model's own settings.
fn read<C: DeserializeOwned>(config: &Value) -> candle_core::Result<C> {
    C::deserialize(config).map_err(candle_core::Error::wrap)
}

/// `ModernBERT`'s settings under the names of its first version; newer files give rotations and kinds of layers in tables.
fn modern(config: &Value) -> Value {
    let mut config = config.clone();
    let theta = |layers: &str| config["rope_parameters"][layers]["rope_theta"].clone();
    let mut given = vec![
        ("layer_norm_eps", config["norm_eps"].clone()),
        ("global_rope_theta", theta("full_attention")),
        ("local_rope_theta", theta("sliding_attention")),
    ];
    if let Some(layers) = config["layer_types"].as_array() {
        let full = |layer: usize| layers[layer] == "full_attention";
        let every = (1..layers.len()).find(|&layer| full(layer)).unwrap_or(layers.len()).max(1);
        // Where the layers are mixed in another way the key stays absent, which the loader refuses.
        if (0..layers.len()).all(|layer| full(layer) == layer.is_multiple_of(every)) {
            given.push(("global_attn_every_n_layers", every.into()));
        }
    }
    if let Value::Object(own) = &mut config {
        for (key, value) in given {
            if !own.contains_key(key) && !value.is_null() {
                own.insert(key.to_owned(), value);
            }
        }
        // Of a classifier that is not computed; the loader wants all or none of them.
        for key in ["id2label", "label2id", "classifier_pooling"] {
            own.remove(key);
        }
    }
    config
}

/// A row with its configuration.
#[derive(Clone)]
pub struct Frozen {
    pub(super) row: &'static Row,
    config: Value,
    /// What the loader calls each weight, and the shape that it wants.
    asked: Vec<(String, Shape)>,
    width: usize,
    positions: usize,
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("name", &self.row.name).field("config", &self.config).finish_non_exhaustive()
    }
}

impl PartialEq for Frozen {
    fn eq(&self, other: &Self) -> bool {
        self.row.name == other.row.name && self.config == other.config
    }
}

impl Frozen {
    /// What the `config.json` at `path` describes, where a row has its name.
    ///
    /// # Errors
    /// [`EncodeError::Data`] naming the key that is missing or wrong.
    pub(super) fn read(name: &str, config: &Value, path: &Path) -> Result<Option<Self>> {
        let Some(row) = FROZEN.iter().find(|row| row.name == name) else { return Ok(None) };
        let fault = |key: &str, expected: &str, found: String| {
            EncodeError::from(data::Error::from(Fault::new(path, expected, found).key(key)))
        };
        for &(key, value) in row.fixed {
            if let Some(found) = config.get(key).filter(|found| **found != *value) {
                return Err(fault(key, &format!("{value:?}, the one that is computed for {name}"), found.to_string()));
            }
        }
        let size = |key: &str, otherwise: Option<usize>| {
            let found = config.get(key);
            let number = found.and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
            let shown = || found.map_or_else(|| "no such key".to_owned(), Value::to_string);
            number.or(otherwise.filter(|_| found.is_none())).ok_or_else(|| fault(key, "a number above 0", shown()))
        };
        let (width, positions) = (size(row.width, None)?, size(row.positions.0, Some(row.positions.1))?);
        // Asked once with nothing at hand, the loader tells what it wants.
        let listing = Listing::default();
        let weights = VarBuilder::from_backend(Box::new(listing.clone()), DType::F32, Device::Cpu);
        (row.load)(weights, config).map_err(|error| {
            let found = data::error::excerpt(&error.to_string(), 200);
            fault("model_type", &format!("the settings of a {name}"), found)
        })?;
        let mut asked = std::mem::take(&mut *listing.0.lock().unwrap_or_else(PoisonError::into_inner));
        asked.sort_by(|a, b| a.0.cmp(&b.0));
        asked.dedup_by(|a, b| a.0 == b.0);
        let plain = |name: &str| name.strip_prefix(row.prefix).unwrap_or(name).to_owned();
        asked.retain(|(name, _)| !row.absent.contains(&plain(name).as_str()));
        Ok(Some(Self { row, config: config.clone(), asked, width, positions }))
    }

    /// What the file of weights calls it, the prefix taken off.
    fn plain<'n>(&self, asked: &'n str) -> &'n str {
        asked.strip_prefix(self.row.prefix).unwrap_or(asked)
    }

    /// Names and shapes of its weights.
    pub(super) fn weights(&self) -> Vec<(String, Shape)> {
        self.asked.iter().map(|(name, shape)| (self.plain(name).to_owned(), shape.clone())).collect()
    }

    pub(super) fn prefix(&self) -> &'static str {
        self.row.prefix
    }

    pub(super) fn head(&self) -> Result<HeadNames> {
        self.row.head.ok_or(EncodeError::NoHead(self.row.name))
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn positions(&self) -> usize {
        self.positions
    }

    /// The model over given weights.
    ///
    /// # Errors
    /// What `weights` returns.
    pub(super) fn build(&self, weights: &Weights<'_>) -> Result<Box<dyn Trunk>> {
        let mut named = HashMap::new();
        for (name, _) in &self.asked {
            named.insert(name.clone(), weights(self.plain(name))?);
        }
        let device = named.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        let rows = named.values().filter(|tensor| tensor.rank() == 2).map(|tensor| tensor.dims()[0]).max();
        let model = (self.row.load)(VarBuilder::from_tensors(named, DType::F32, &device), &self.config)?;
        let vocabulary = self.config.get("vocab_size").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let vocabulary = vocabulary.or(rows).unwrap_or(usize::MAX);
        Ok(Box::new(FrozenTrunk { frozen: self.clone(), vocabulary, model, device }))
    }
}

/// Writes down what a loader asks for, and gives zeros.
#[derive(Clone, Default)]
struct Listing(Arc<Mutex<Vec<(String, Shape)>>>);

impl SimpleBackend for Listing {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), shape.clone()));
        // One number, seen as many: nothing is allocated.
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name} has no shape of its own")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

struct FrozenTrunk {
    frozen: Frozen,
    vocabulary: usize,
    model: Box<dyn Model>,
    device: Device,
}

impl Trunk for FrozenTrunk {
    fn forward(&self, batch: &PackedBatch, _: Option<&Dropped<'_>>) -> Result<Tensor> {
        if let Some(&id) = batch.ids().iter().find(|&&id| id as usize >= self.vocabulary) {
            return Err(EncodeError::UnknownToken { id, size: self.vocabulary });
        }
        if batch.longest() > self.frozen.positions {
            return Err(EncodeError::TooLong { length: batch.longest(), most: self.frozen.positions });
        }
        let together = self.frozen.row.together == Together::Masked || batch.uniform().is_some();
        let mut rows = Vec::new();
        let mut start = 0;
        for lengths in batch.lengths().chunks(if together { batch.lengths().len() } else { 1 }) {
            rows.push(self.padded(batch, start, lengths)?);
            start += lengths.iter().sum::<usize>();
        }
        Ok(Tensor::cat(&rows, 0)?)
    }

    fn width(&self) -> usize {
        self.frozen.width
    }
}

impl FrozenTrunk {
    /// Vectors `(T, D)` of the tokens of some sequences, whose first token is number `start` of the batch.
    fn padded(&self, batch: &PackedBatch, start: usize, lengths: &[usize]) -> Result<Tensor> {
        let (count, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let (mut ids, mut sides) = (vec![0u32; count * longest], vec![0u32; count * longest]);
        let (mut mask, mut kept) = (vec![0u32; count * longest], Vec::new());
        let mut from = start;
        for (row, &length) in lengths.iter().enumerate() {
            let to = row * longest;
            ids[to..to + length].copy_from_slice(&batch.ids()[from..from + length]);
            if let Some(given) = batch.sides() {
                sides[to..to + length].copy_from_slice(&given[from..from + length]);
            }
            mask[to..to + length].fill(1);
            kept.extend((to..to + length).map(|place| u32::try_from(place).unwrap_or(u32::MAX)));
            from += length;
        }
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, (count, longest), &self.device);
        let hidden = self.model.hidden(&tensor(ids)?, &tensor(sides)?, &tensor(mask)?)?;
        Ok(hidden.flatten_to(1)?.index_select(&Tensor::new(kept, &self.device)?, 0)?)
    }
}
