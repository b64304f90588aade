//! Pairs of a query and a passage to labels: the trunk over both texts at once, and a sequence classification head over
//! the first token, read from a folder as transformers and sentence-transformers save it, and written back.

use super::drops::Site;
use super::family::HeadNames;
use super::fast_bert::{FastBert, Finish, Scratch};
use super::kernels::{Dropout, Precision};
use super::learn::{Dropping, Learner};
use super::packing::{PackedBatch, group_by_length};
use super::parameters::{Parameters, WeightFile, save, weight_names};
use super::pooling::{Pooling, pool};
use super::settings::{Length, read_object};
use super::trunk::{Architecture, Computing, Kernels, Trunk, absent};
use super::{EncodeError, Result, folder, workers};
use crate::data::{self, Digest, Fault, Seed, Watch};
use crate::text::Tokenizer;
use crate::text::tokenizer::{TokenizedPairs, Truncation};
use candle_core::{Device, Shape, Tensor};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Tokens that one forward pass takes together.
const TOKENS_PER_BATCH: usize = 512;

/// What the head's numbers become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// A probability: the sigmoid of the number where there is one label, the softmax over labels where there are more.
    Relevance,
    /// What the folder's own configuration says: mostly the bare number, or its sigmoid.
    Raw,
    /// The bare number, whatever the configuration says.
    Logits,
}

/// The activation that a cross-encoder's folder states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Identity,
    Sigmoid,
}

/// A cross-encoder: a pair in, a number for each label out.
pub struct CrossEncoder {
    folder: PathBuf,
    architecture: Architecture,
    computing: Computing,
    tokenizer: Tokenizer,
    parameters: Parameters,
    head: HeadNames,
    forward: Forward,
    labels: Vec<String>,
    own: Own,
    device: Device,
}

enum Forward {
    Composed(Box<dyn Trunk>),
    Fast(Box<FastBert>),
}

/// Numbers of pairs, and how many pairs were cut to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// A list a pair, in the order given; in it a number a label.
    pub scores: Vec<Vec<f32>>,
    /// What was cut off, of pairs.
    pub truncation: Truncation,
    /// The same of each pair.
    pub each: Vec<Truncation>,
}

impl CrossEncoder {
    /// The cross-encoder in `folder`, on `device`.
    ///
    /// # Errors
    /// [`EncodeError::Data`] naming the file, key or tensor that is missing or wrong; [`EncodeError::Precision`] when
    /// bf16 is not to be had.
    pub fn open(folder: &Path, device: &Device, computing: Computing) -> Result<Self> {
        let path = folder.join("config.json");
        let architecture = Architecture::read(&path)?;
        let config = read_object(&path)?;
        let labels = labels(&config);
        let tokenizer_config = read_object(&folder.join("tokenizer_config.json"))?;
        let stated = tokenizer_config.get("model_max_length").and_then(Value::as_u64);
        let max_length =
            stated.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX).min(architecture.positions());
        let tokenizer = Tokenizer::open(&folder.join("tokenizer.json"), max_length).map_err(data::Error::from)?;
        let own = own_activation(folder, &config, labels.len())?;

        let head = architecture.head()?;
        let width = architecture.width();
        let mut wanted = architecture.weights();
        wanted.extend(head_weights(head, width, labels.len()));
        let file = WeightFile::open(&folder.join("model.safetensors"), architecture.prefix(), device)?;
        let parameters = Parameters::take(file, &wanted)?;
        let weights = |name: &str| weight(&parameters, name);
        let forward = match architecture.inference(computing)? {
            Kernels::Composed => Forward::Composed(architecture.build(Kernels::Composed, &weights)?),
            Kernels::Fused => Forward::Fast(Box::new(architecture.build_fast(computing, &weights)?)),
        };
        let folder = folder.to_owned();
        let device = device.clone();
        Ok(Self { folder, architecture, computing, tokenizer, parameters, head, forward, labels, own, device })
    }

    /// The same cross-encoder with pairs cut to `max_length` tokens, where that is shorter than its own.
    ///
    /// # Errors
    /// [`EncodeError::Data`] when the length leaves no room for text.
    pub fn shortened(mut self, max_length: usize) -> Result<Self> {
        let path = self.folder.join("tokenizer.json");
        self.tokenizer = self.tokenizer.shortened(&path, max_length).map_err(data::Error::from)?;
        Ok(self)
    }

    /// Its weights, the head's among them.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its trunk as training uses it: a row for the first token of each pair.
    ///
    /// # Errors
    /// [`EncodeError::Precision`], [`EncodeError::ArchitecturePrecision`] when bf16 is not to be had.
    pub fn learner(&self, precision: Precision) -> Result<Learner<'_>> {
        let computing = Computing { precision, ..self.computing };
        Learner::new((&self.architecture, &self.parameters), Pooling::Cls, computing, &self.device)
    }

    /// The head's numbers `(B, labels)` for rows as [`CrossEncoder::learner`] gives them, with gradients to the rows and
    /// to the head's weights; what `dropping` says is dropped before the last layer.
    ///
    /// # Errors
    /// [`EncodeError::Candle`].
    pub fn logits(&self, rows: &Tensor, dropping: Dropping) -> Result<Tensor> {
        let linear = |x: &Tensor, name: &str| -> Result<Tensor> {
            let get = |kind: &str| {
                let name = format!("{name}.{kind}");
                self.parameters.get(&name).ok_or_else(|| absent(&name))
            };
            Ok(x.matmul(&get("weight")?.t()?)?.broadcast_add(get("bias")?)?)
        };
        let mut hidden = self.head.activation.of(&linear(rows, self.head.dense)?)?;
        let config = self.architecture.trained()?;
        if let Some(dropout) = Dropout::new(dropping.share.unwrap_or(config.hidden_dropout_prob), dropping.key) {
            let (count, width) = hidden.dims2()?;
            let mask = (0u32..).take(count).flat_map(|pair| {
                let row = dropout.row([pair, Site::Head.number(), 0]);
                (0u32..).take(width).map(move |column| row.factor(column))
            });
            hidden = (hidden * Tensor::from_iter(mask, &self.device)?.reshape((count, width))?)?;
        }
        linear(&hidden, self.head.labels)
    }

    /// Writes it as transformers and sentence-transformers read it into the existing folder `into`.
    ///
    /// # Errors
    /// [`EncodeError::Data`] or [`EncodeError::Candle`] when it cannot be written.
    pub fn save(&self, into: &Path, card: &str) -> Result<()> {
        write_weights(&self.parameters, self.architecture.prefix(), &into.join("model.safetensors"))?;
        folder::copy_vocabulary(&self.folder, into)?;
        for name in ["config.json", "config_sentence_transformers.json"] {
            let from = self.folder.join(name);
            if from.is_file() {
                std::fs::copy(&from, into.join(name)).map_err(data::Error::io("copy", &from))?;
            }
        }
        let path = into.join("README.md");
        Ok(std::fs::write(&path, card).map_err(data::Error::io("write", &path))?)
    }

    /// Digest of everything that decides a pair's numbers: weights, vocabulary and settings.
    ///
    /// # Errors
    /// [`EncodeError::Data`].
    pub fn digest(folder: &Path) -> Result<Digest> {
        let weights = weight_names(folder);
        let mut names =
            vec!["config.json", "tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json"];
        names.splice(1..1, weights.iter().map(String::as_str));
        Ok(Digest::of_files(folder, &names)?)
    }

    /// What its labels are called, in their order.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Token ids of each (query, passage), as [`CrossEncoder::score`] takes them.
    ///
    /// # Errors
    /// [`EncodeError::Tokenize`].
    pub fn tokenize(&self, pairs: &[(&str, &str)]) -> Result<TokenizedPairs> {
        Ok(self.tokenizer.encode_pairs(pairs)?)
    }

    /// The numbers of each (query, passage), in the order given; the same whatever the number of threads. A pair that
    /// is too long loses tokens of the longer text first.
    ///
    /// # Errors
    /// [`EncodeError::Tokenize`], [`EncodeError::Candle`], [`EncodeError::NotFinite`], or a stop.
    pub fn score(&self, pairs: &[(&str, &str)], scale: Scale, watch: &dyn Watch) -> Result<Scored> {
        let tokens = self.tokenize(pairs)?;
        let lengths: Vec<usize> = tokens.ids.iter().map(Vec::len).collect();
        let groups = group_by_length(&lengths, TOKENS_PER_BATCH);
        let rows = workers::map_with(&self.device, &groups, Scratch::default, |scratch, group| -> Result<_> {
            watch.check()?;
            let ids: Vec<&[u32]> = group.iter().map(|&place| tokens.ids[place].as_slice()).collect();
            let sides: Vec<&[u32]> = group.iter().map(|&place| tokens.sides[place].as_slice()).collect();
            let batch = PackedBatch::new(&ids).with_sides(&sides);
            let rows = self.classify(&self.first_tokens(&batch, scratch)?, scale)?;
            watch.advance(group.len() as u64);
            Ok(rows)
        })?;
        let mut scores = vec![Vec::new(); pairs.len()];
        for (&place, row) in groups.iter().flatten().zip(rows.into_iter().flatten()) {
            scores[place] = row;
        }
        if scores.iter().flatten().any(|value| !value.is_finite()) {
            return Err(EncodeError::NotFinite);
        }
        Ok(Scored { scores, truncation: tokens.truncation, each: tokens.each })
    }

    /// The trunk's vectors of the pairs' first tokens, `(B, D)`.
    fn first_tokens(&self, batch: &PackedBatch, scratch: &mut Scratch) -> Result<Tensor> {
        match &self.forward {
            Forward::Composed(trunk) => pool(&trunk.forward(batch, None)?, batch, Pooling::Cls),
            Forward::Fast(fast) => {
                let finish = Finish { pooling: Pooling::Cls, length: Length::Free };
                let values = fast.vectors(batch, finish, scratch)?;
                Ok(Tensor::from_vec(values, (batch.lengths().len(), ()), &self.device)?)
            }
        }
    }

    /// A number a label for each row of `(B, D)`, row by row: a product of several could sum in another order.
    fn classify(&self, rows: &Tensor, scale: Scale) -> Result<Vec<Vec<f32>>> {
        let linear = |x: &Tensor, name: &str| -> Result<Tensor> {
            let product = x.matmul(&weight(&self.parameters, &format!("{name}.weight"))?.t()?)?;
            Ok(product.broadcast_add(&weight(&self.parameters, &format!("{name}.bias"))?)?)
        };
        (0..rows.dim(0)?)
            .map(|row| {
                let hidden = self.head.activation.of(&linear(&rows.narrow(0, row, 1)?, self.head.dense)?)?;
                let logits = linear(&hidden, self.head.labels)?.flatten_all()?.to_vec1::<f32>()?;
                Ok(scaled(logits, scale, self.own))
            })
            .collect()
    }
}

/// True when the weights in `folder` have a head over the trunk that `folder`'s configuration describes.
///
/// # Errors
/// [`EncodeError::Data`] when there is no such trunk or no file of weights.
pub fn has_head(folder: &Path) -> Result<bool> {
    let architecture = Architecture::read(&folder.join("config.json"))?;
    let file = WeightFile::open(&folder.join("model.safetensors"), architecture.prefix(), &Device::Cpu)?;
    Ok(file.has(&format!("{}.weight", architecture.head()?.labels)))
}

/// Writes to the folder `into` a cross-encoder of one label with the trunk of the encoder in `base` and a head of weights
/// drawn from a normal distribution of deviation 0.02 (BERT's own initialisation); dense layers of `base` are left.
///
/// # Errors
/// [`EncodeError::Data`] naming what is missing or wrong in `base`, or what cannot be written.
pub fn fresh(base: &Path, into: &Path, seed: Seed) -> Result<()> {
    let path = base.join("config.json");
    let architecture = Architecture::read(&path)?;
    architecture.trained()?;
    let head = architecture.head()?;
    let file = WeightFile::open(&base.join("model.safetensors"), architecture.prefix(), &Device::Cpu)?;
    let trunk = Parameters::take(file, &architecture.weights())?;
    let mut random = seed.stream("encode/cross-encoder/head");
    let drawn = Parameters::fresh(&head_weights(head, architecture.width(), 1), &Device::Cpu, |name, count| {
        let is_bias = name.ends_with("bias");
        (0..count).map(|_| if is_bias { 0.0 } else { 0.02 * folder::normal(&mut random) }).collect()
    })?;
    let mut config = read_object(&path)?;
    config["architectures"] = serde_json::json!([head.class]);
    config["num_labels"] = 1.into();
    config["id2label"] = serde_json::json!({"0": "LABEL_0"});
    config["label2id"] = serde_json::json!({"LABEL_0": 0});
    data::atomic::write_folder(into, |folder| {
        write_weights(&trunk.joined(drawn, ""), architecture.prefix(), &folder.join("model.safetensors"))?;
        folder::copy_vocabulary(base, folder)?;
        folder::write_json(&folder.join("config.json"), &config)
    })
}

/// Names and shapes of the head's weights.
fn head_weights(head: HeadNames, width: usize, labels: usize) -> Vec<(String, Shape)> {
    let layers = [(head.dense, width), (head.labels, labels)].into_iter();
    let both = layers.flat_map(|(name, outputs)| {
        [(format!("{name}.weight"), (outputs, width).into()), (format!("{name}.bias"), outputs.into())]
    });
    both.collect()
}

/// Weights under the names that transformers gives them: all but the classifier's stand under `prefix`.
fn write_weights(parameters: &Parameters, prefix: &str, path: &Path) -> Result<()> {
    let named: std::collections::HashMap<String, Tensor> = parameters
        .iter()
        .map(|(name, value)| {
            let own = name.starts_with("classifier") || name.starts_with("pre_classifier");
            (if own { name.to_owned() } else { format!("{prefix}{name}") }, value.detach())
        })
        .collect();
    save(&named, path)
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

fn scaled(logits: Vec<f32>, scale: Scale, own: Own) -> Vec<f32> {
    match (scale, own) {
        (Scale::Logits, _) | (Scale::Raw, Own::Identity) => logits,
        (Scale::Relevance, _) if logits.len() > 1 => {
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let shares: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
            let sum: f32 = shares.iter().sum();
            shares.into_iter().map(|share| share / sum).collect()
        }
        (Scale::Raw, Own::Sigmoid) | (Scale::Relevance, _) => logits.into_iter().map(sigmoid).collect(),
    }
}

/// A weight without gradient tracking.
fn weight(parameters: &Parameters, name: &str) -> Result<Tensor> {
    Ok(parameters.get(name).ok_or_else(|| absent(name))?.detach())
}

/// Names of the labels by their numbers; two, as transformers has it, where the configuration says nothing.
fn labels(config: &Value) -> Vec<String> {
    if let Some(names) = config.get("id2label").and_then(Value::as_object) {
        let name = |label: usize| names.get(&label.to_string()).and_then(Value::as_str).unwrap_or_default().to_owned();
        return (0..names.len()).map(name).collect();
    }
    let count = config.get("num_labels").and_then(Value::as_u64).unwrap_or(2);
    (0..count).map(|label| format!("LABEL_{label}")).collect()
}

/// The activation that the folder states, in any of the places sentence-transformers has kept it; else its default.
fn own_activation(folder: &Path, config: &Value, labels: usize) -> Result<Own> {
    let path = folder.join("config_sentence_transformers.json");
    let newer = read_object(&path)?;
    let stated = [
        config.get("sentence_transformers").and_then(|own| own.get("activation_fn")),
        config.get("sbert_ce_default_activation_function"),
        newer.get("activation_fn"),
    ];
    match stated.into_iter().flatten().find_map(Value::as_str) {
        None => Ok(if labels == 1 { Own::Sigmoid } else { Own::Identity }),
        Some(name) if name.ends_with(".Identity") => Ok(Own::Identity),
        Some(name) if name.ends_with(".Sigmoid") => Ok(Own::Sigmoid),
        Some(name) => {
            let fault = Fault::new(&path, "Identity or Sigmoid", format!("{name:?}")).key("activation_fn");
            Err(data::Error::from(fault).into())
        }
    }
}
