//! Texts to vectors: tokenizer, trunk, pooling and length in one, read from and written to a
//! sentence-transformers folder.

use super::fast_bert::{FastBert, Finish, Scratch};
use super::kernels::Precision;
use super::learn::Learner;
use super::packing::{PackedBatch, group_by_length};
use super::parameters::{Parameters, WeightFile, weight_names};
use super::pooling::{Pooling, pool, unit};
use super::settings::{EncoderSettings, Length, Prompts, Role, module_files};
use super::trunk::{Architecture, Computing, Kernels, Mode, Trunk, absent};
use super::{EncodeError, Result, Vectors, folder, workers};
use crate::data::{self, Digest, Watch};
use crate::text::Tokenizer;
use crate::text::tokenizer::{Tokenized, Truncation};
use candle_core::{Device, Tensor};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens that one forward pass of inference takes together; larger gains nothing on CPUs and costs memory.
const TOKENS_PER_BATCH: usize = 512;

/// A bi-encoder: a text in, a vector out, queries and documents by the same weights.
pub struct BiEncoder {
    folder: PathBuf,
    architecture: Architecture,
    settings: EncoderSettings,
    tokenizer: Tokenizer,
    parameters: Parameters,
    tracked: Box<dyn Trunk>,
    inference: Inference,
    computing: Computing,
    device: Device,
}

/// What computes when no gradients are wanted.
enum Inference {
    /// The composed trunk over the same storage, without gradient tracking: intermediate results are freed at once.
    Composed(Box<dyn Trunk>),
    /// The CPU's own kernels over packed weights, and which [`Parameters::changes`] they were packed after.
    Fast(Mutex<Option<(u64, Arc<FastBert>)>>),
}

/// Vectors of texts, and how many texts were cut to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// One row a text, in the order given.
    pub vectors: Vectors,
    /// What was cut off.
    pub truncation: Truncation,
}

impl BiEncoder {
    /// The encoder in `folder`, on `device`, ready for inference and training.
    ///
    /// # Errors
    /// [`EncodeError::Data`] naming the file, key or tensor that is missing or wrong.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        Self::open_with(folder, device, Computing::of(device))
    }

    /// As [`BiEncoder::open`], with given kernels and precision.
    ///
    /// # Errors
    /// As [`BiEncoder::open`]; [`EncodeError::Precision`] when bf16 is not for these kernels.
    pub fn open_with(folder: &Path, device: &Device, computing: Computing) -> Result<Self> {
        let kernels = computing.kernels;
        let architecture = Architecture::read(&folder.join("config.json"))?;
        let settings = EncoderSettings::read(folder, architecture.positions())?;
        let tokenizer =
            Tokenizer::open(&folder.join("tokenizer.json"), settings.max_length).map_err(data::Error::from)?;
        let weights = WeightFile::open(&folder.join("model.safetensors"), architecture.prefix(), device)?;
        let mut parameters = Parameters::take(weights, &architecture.weights())?;
        for dense in &settings.dense {
            let weights = WeightFile::open(&folder.join(&dense.folder).join("model.safetensors"), "", device)?;
            parameters = parameters.joined(Parameters::take(weights, &dense.weights())?, &dense.prefix());
        }
        let tracked = architecture.build(kernels, &|name| tracked(&parameters, name))?;
        let inference = match architecture.inference(computing)? {
            Kernels::Composed => Inference::Composed(architecture.build(kernels, &|name| detached(&parameters, name))?),
            Kernels::Fused => Inference::Fast(Mutex::new(None)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            architecture,
            settings,
            tokenizer,
            parameters,
            tracked,
            inference,
            computing,
            device: device.clone(),
        })
    }

    /// The same encoder with texts cut to `max_length` tokens, where that is shorter than its own.
    ///
    /// # Errors
    /// [`EncodeError::Data`] when the length leaves no room for text.
    pub fn shortened(mut self, max_length: usize) -> Result<Self> {
        self.settings.max_length = self.settings.max_length.min(max_length);
        let path = self.folder.join("tokenizer.json");
        self.tokenizer = self.tokenizer.shortened(&path, self.settings.max_length).map_err(data::Error::from)?;
        Ok(self)
    }

    /// The same encoder with texts cut to `max_length` tokens again, after [`BiEncoder::shortened`].
    ///
    /// # Errors
    /// [`EncodeError::Data`] when the length leaves no room for text.
    pub fn restored_length(mut self, max_length: usize) -> Result<Self> {
        self.settings.max_length = max_length.min(self.architecture.positions());
        let path = self.folder.join("tokenizer.json");
        self.tokenizer = self.tokenizer.shortened(&path, self.settings.max_length).map_err(data::Error::from)?;
        Ok(self)
    }

    /// The same encoder with prompts given by hand.
    #[must_use]
    pub fn prompted(mut self, prompts: &Prompts) -> Self {
        self.settings = self.settings.prompted(prompts);
        self
    }

    /// The same encoder with a pooling given by hand.
    #[must_use]
    pub fn pooled(mut self, pooling: Pooling) -> Self {
        self.settings.pooling = pooling;
        self.settings.assumed = None;
        self
    }

    /// Digest of everything that decides a text's vector: weights, vocabulary and settings, assumed ones too.
    ///
    /// # Errors
    /// [`EncodeError::Data`].
    pub fn digest(folder: &Path) -> Result<Digest> {
        let weights = weight_names(folder);
        let mut names = vec![
            "config.json",
            "tokenizer.json",
            "modules.json",
            "sentence_bert_config.json",
            "tokenizer_config.json",
            "config_sentence_transformers.json",
            "1_Pooling/config.json",
        ];
        names.splice(1..1, weights.iter().map(String::as_str));
        let modules = module_files(folder);
        names.extend(modules.iter().map(String::as_str).filter(|&name| name != "1_Pooling/config.json"));
        let files = Digest::of_files(folder, &names)?;
        if folder.join("modules.json").is_file() {
            return Ok(files);
        }
        let assumed = EncoderSettings::read(folder, usize::MAX)?.assumed;
        Ok(Digest::of_json(&serde_json::json!({"files": files, "assumed": assumed})))
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &EncoderSettings {
        &self.settings
    }

    /// Its weights.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// D, the length of its vectors.
    #[must_use]
    pub fn width(&self) -> usize {
        self.settings.dense.last().map_or(self.tracked.width(), |dense| dense.outputs)
    }

    /// Token ids of each text with the prompt of `role` before it, and how many were cut.
    ///
    /// # Errors
    /// [`EncodeError::Tokenize`].
    pub fn tokenize(&self, texts: &[&str], role: Role) -> Result<Tokenized> {
        let prompt = self.settings.prompt(role);
        if prompt.is_empty() {
            return Ok(self.tokenizer.encode(texts)?);
        }
        let prompted: Vec<String> = texts.iter().map(|text| format!("{prompt}{text}")).collect();
        Ok(self.tokenizer.encode(&prompted.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// Vectors `(B, D)` of the packed sequences; with [`Mode::Training`] they carry gradients to the weights.
    ///
    /// # Errors
    /// As [`Trunk::forward`].
    pub fn embed(&self, batch: &PackedBatch, mode: Mode) -> Result<Tensor> {
        let trunk = match (mode, &self.inference) {
            (Mode::Training, _) => &self.tracked,
            (Mode::Inference, Inference::Composed(trunk)) => trunk,
            (Mode::Inference, Inference::Fast(packed)) => {
                let vectors = self.fast_vectors(&*self.packed(packed)?, batch, &mut Scratch::default())?;
                return Ok(Tensor::from_vec(vectors, (batch.lengths().len(), self.width()), &self.device)?);
            }
        };
        let tokens = trunk.forward(batch, None)?;
        self.finish(pool(&tokens, batch, self.settings.pooling)?, mode)
    }

    /// The trunk as training uses it.
    ///
    /// # Errors
    /// [`EncodeError::Frozen`] when it is not trained; [`EncodeError::Precision`],
    /// [`EncodeError::ArchitecturePrecision`] when bf16 is not to be had.
    pub fn learner(&self, precision: Precision) -> Result<Learner<'_>> {
        let computing = Computing { precision, ..self.computing };
        Learner::new((&self.architecture, &self.parameters), self.settings.pooling, computing, &self.device)
    }

    /// The vectors `(B, D)` of pooled rows, as [`Learner`] gives them: through the dense layers and brought to their
    /// length. With [`Mode::Training`] they carry gradients to the rows and to the dense layers' weights.
    ///
    /// # Errors
    /// [`EncodeError::Candle`].
    pub fn finish(&self, mut rows: Tensor, mode: Mode) -> Result<Tensor> {
        let weights = |name: &str| match mode {
            Mode::Training => tracked(&self.parameters, name),
            Mode::Inference => detached(&self.parameters, name),
        };
        for dense in &self.settings.dense {
            rows = dense.forward(&rows, &weights)?;
        }
        if self.settings.length == Length::Unit { unit(&rows) } else { Ok(rows) }
    }

    /// Vectors by the CPU's own kernels, `(B, D)` row-major.
    fn fast_vectors(&self, fast: &FastBert, batch: &PackedBatch, scratch: &mut Scratch) -> Result<Vec<f32>> {
        let EncoderSettings { pooling, length, .. } = self.settings;
        if self.settings.dense.is_empty() {
            return fast.vectors(batch, Finish { pooling, length }, scratch);
        }
        // Row by row: a product of several rows could sum in another order than that of one.
        let mut vectors = Vec::with_capacity(batch.lengths().len() * self.width());
        let pooled = fast.vectors(batch, Finish { pooling, length: Length::Free }, scratch)?;
        for row in pooled.chunks_exact(self.tracked.width()) {
            let row = Tensor::from_slice(row, (1, row.len()), &self.device)?;
            vectors.extend(self.finish(row, Mode::Inference)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(vectors)
    }

    /// The fast trunk over the weights as they are now.
    fn packed(&self, kept: &Mutex<Option<(u64, Arc<FastBert>)>>) -> Result<Arc<FastBert>> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.parameters.changes();
        if let Some((_, packed)) = kept.as_ref().filter(|(after, _)| *after == changes) {
            return Ok(packed.clone());
        }
        let packed = Arc::new(self.architecture.build_fast(self.computing, &|name| detached(&self.parameters, name))?);
        *kept = Some((changes, packed.clone()));
        Ok(packed)
    }

    /// Vectors of a group of token sequences, `(B, D)` row-major.
    fn vectors(&self, fast: Option<&FastBert>, sequences: &[&[u32]], scratch: &mut Scratch) -> Result<Vec<f32>> {
        let batch = PackedBatch::new(sequences);
        match fast {
            Some(fast) => self.fast_vectors(fast, &batch, scratch),
            None => Ok(self.embed(&batch, Mode::Inference)?.flatten_all()?.to_vec1()?),
        }
    }

    /// Vectors of all texts, in the order given; the same whatever the number of threads.
    ///
    /// # Errors
    /// [`EncodeError::Tokenize`], [`EncodeError::Candle`], [`EncodeError::NotFinite`], or a stop.
    pub fn encode(&self, texts: &[&str], role: Role, watch: &dyn Watch) -> Result<Encoded> {
        self.encode_tokenized(&self.tokenize(texts, role)?, watch)
    }

    /// As [`BiEncoder::encode`], of texts that [`BiEncoder::tokenize`] made token ids of.
    ///
    /// # Errors
    /// As [`BiEncoder::encode`].
    pub fn encode_tokenized(&self, tokenized: &Tokenized, watch: &dyn Watch) -> Result<Encoded> {
        let lengths: Vec<usize> = tokenized.ids.iter().map(Vec::len).collect();
        let groups = group_by_length(&lengths, TOKENS_PER_BATCH);
        let width = self.width();
        let fast = match &self.inference {
            Inference::Fast(kept) => Some(self.packed(kept)?),
            Inference::Composed(_) => None,
        };
        let rows = workers::map_with(&self.device, &groups, Scratch::default, |scratch, group| -> Result<Vec<f32>> {
            watch.check()?;
            let sequences: Vec<&[u32]> = group.iter().map(|&place| tokenized.ids[place].as_slice()).collect();
            let vectors = self.vectors(fast.as_deref(), &sequences, scratch)?;
            watch.advance(group.len() as u64);
            Ok(vectors)
        })?;
        let mut values = vec![0.0; lengths.len() * width];
        for (group, rows) in groups.iter().zip(rows) {
            for (&place, row) in group.iter().zip(rows.chunks_exact(width)) {
                values[place * width..][..width].copy_from_slice(row);
            }
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(EncodeError::NotFinite);
        }
        Ok(Encoded { vectors: Vectors::new(width, values), truncation: tokenized.truncation })
    }

    /// Writes the encoder as a sentence-transformers folder (old layout) into the existing folder `into`.
    ///
    /// # Errors
    /// [`EncodeError::Data`] or [`EncodeError::Candle`] when it cannot be written.
    pub fn save(&self, into: &Path, card: &str) -> Result<()> {
        let mut trunk = self.parameters.clone();
        for dense in &self.settings.dense {
            let (own, others) = trunk.split(&dense.prefix());
            folder::make_folder(&into.join(&dense.folder))?;
            own.write(&into.join(&dense.folder).join("model.safetensors"))?;
            trunk = others;
        }
        trunk.write(&into.join("model.safetensors"))?;
        folder::copy_vocabulary(&self.folder, into)?;
        folder::write_settings(into, &self.settings, self.tracked.width(), card)?;
        // The base's own configuration holds keys that others read and we do not.
        let config = self.folder.join("config.json");
        std::fs::copy(&config, into.join("config.json")).map_err(data::Error::io("copy", &config))?;
        Ok(())
    }
}

/// A weight, tracked for gradients.
fn tracked(parameters: &Parameters, name: &str) -> Result<Tensor> {
    Ok(parameters.get(name).ok_or_else(|| absent(name))?.clone())
}

/// A weight without gradient tracking.
fn detached(parameters: &Parameters, name: &str) -> Result<Tensor> {
    Ok(parameters.get(name).ok_or_else(|| absent(name))?.detach())
}
