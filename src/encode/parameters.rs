//! The weights of a trunk as variables: read from safetensors, checked by name and shape, written back.

use super::{EncodeError, Result};
use crate::data::{self, Fault};
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Tensor, Var};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Weights as tensors of one file by name, before a trunk has asked for them.
pub struct WeightFile {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl WeightFile {
    /// The tensors of `path`, or of the files that `path.index.json` lists, as f32 on `device`; a leading `prefix` is taken
    /// off the names.
    ///
    /// # Errors
    /// [`EncodeError::Data`] when there is no such file or it is no whole safetensors file of numbers.
    pub fn open(path: &Path, prefix: &str, device: &Device) -> Result<Self> {
        let parts = weight_parts(path)?;
        if parts.is_empty() {
            let mut fault = Fault::new(path, "the encoder's weights", "no such file");
            if path.with_file_name("pytorch_model.bin").is_file() {
                fault = fault.hint("only safetensors are read (a pickle can run code): convert it once with model.save_pretrained(folder, safe_serialization=True)");
            }
            return Err(data::Error::from(fault).into());
        }
        let unreadable = |path: &Path, error: candle_core::Error| {
            let fault = Fault::new(path, "a whole safetensors file", data::error::excerpt(&error.to_string(), 160));
            data::Error::from(
                fault.hint("the file is cut off or damaged: copy it again and compare its size or sha256"),
            )
        };
        let mut tensors = HashMap::new();
        for part in &parts {
            crate::model::safetensors::check_file(part)?;
            for (name, tensor) in candle_core::safetensors::load(part, device).map_err(|e| unreadable(part, e))? {
                let tensor = if tensor.dtype().is_float() { tensor.to_dtype(DType::F32)? } else { tensor };
                tensors.insert(name.strip_prefix(prefix).unwrap_or(&name).to_owned(), tensor);
            }
        }
        Ok(Self { path: path.to_owned(), tensors })
    }

    /// True when there is a tensor of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn missing(&self, name: &str) -> Fault {
        let near = self
            .tensors
            .keys()
            .max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)).then_with(|| b.cmp(a)));
        let fault = Fault::new(&self.path, "this tensor", "no such tensor").key(name);
        match near {
            Some(near) => fault.hint(format!(
                "the nearest name in the file is {near}; do config.json and the weights belong together?"
            )),
            None => fault
                .hint("the file holds no other tensor; is it an encoder without the head that a cross-encoder has?"),
        }
    }
}

/// The file of weights at `path`; where there is none, those that the index beside it lists (`weight_map` of
/// `model.safetensors.index.json`, as transformers writes weights that it cuts up); none when there is neither.
///
/// # Errors
/// [`EncodeError::Data`] when the index lists no files, one that lies elsewhere or one that is not there.
pub(super) fn weight_parts(path: &Path) -> Result<Vec<PathBuf>> {
    let index = path.with_extension("safetensors.index.json");
    if path.is_file() || !index.is_file() {
        return Ok(if path.is_file() { vec![path.to_owned()] } else { Vec::new() });
    }
    let fault =
        |expected: &str, found: String| data::Error::from(Fault::new(&index, expected, found).key("weight_map"));
    let value = super::settings::read_object(&index)?;
    let names: Option<BTreeSet<&str>> =
        value["weight_map"].as_object().and_then(|map| map.values().map(serde_json::Value::as_str).collect());
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Err(fault("a file's name for each tensor", "none".to_owned()).into());
    };
    let parts = names.into_iter().map(|name| {
        let part = path.with_file_name(name);
        if Path::new(name).file_name() != Some(name.as_ref()) || !part.is_file() {
            return Err(fault("names of files beside it", format!("{name:?}, which is none")));
        }
        Ok(part)
    });
    Ok(parts.collect::<Result<_, _>>()?)
}

/// Those of [`weight_parts`] in `folder`, with their index, by name; the usual name where there is none.
pub(super) fn weight_names(folder: &Path) -> Vec<String> {
    let usual = "model.safetensors".to_owned();
    if folder.join(&usual).is_file() {
        return vec![usual];
    }
    let parts = weight_parts(&folder.join(&usual)).unwrap_or_default();
    let names = parts.iter().filter_map(|part| Some(part.file_name()?.to_string_lossy().into_owned()));
    std::iter::once(format!("{usual}.index.json")).chain(names).collect()
}

/// A change of values, to be made once.
struct Change<F>(Mutex<Option<F>>);

impl<F: FnOnce(&mut [f32]) + Send> InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("weights on the CPU are contiguous f32");
        };
        if let Some(change) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            change(&mut values[start..end]);
        }
        Ok(())
    }
}

/// How names begin of tensors that do not touch the vectors: poolers, and heads of language models.
const HARMLESS: [&str; 5] = ["pooler.", "cls.", "lm_head.", "vocab_", "qa_outputs."];

/// Variables by name, in name order; every one of them takes part in the forward pass.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    variables: BTreeMap<String, Var>,
    changes: Arc<AtomicU64>,
}

impl Parameters {
    /// Takes from `file` exactly the tensors that `wanted` lists, and makes sure that no other is left over,
    /// apart from a pooler, a language-model head and buffers, which do not touch the vectors.
    ///
    /// # Errors
    /// [`EncodeError::Data`] naming the tensor that is missing, has another shape, is not finite or is not known.
    pub fn take(mut file: WeightFile, wanted: &[(String, Shape)]) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for (name, shape) in wanted {
            let Some(tensor) = file.tensors.remove(name) else {
                return Err(data::Error::from(file.missing(name)).into());
            };
            let fault = |expected: String, found: String| {
                EncodeError::from(data::Error::from(Fault::new(&file.path, expected, found).key(name)))
            };
            if tensor.shape() != shape {
                return Err(fault(format!("shape {:?} by config.json", shape.dims()), format!("{:?}", tensor.dims())));
            }
            let sum = tensor.abs()?.sum_all()?.to_scalar::<f32>()?;
            if !sum.is_finite() {
                return Err(fault("finite numbers".into(), "a value that is not finite".into()));
            }
            variables.insert(name.clone(), Var::from_tensor(&tensor)?);
        }
        let harmless =
            |name: &str| HARMLESS.iter().any(|start| name.starts_with(start)) || name.ends_with("position_ids");
        let mut rest: Vec<String> = file.tensors.into_keys().filter(|name| !harmless(name)).collect();
        rest.sort();
        if let Some(first) = rest.first() {
            let fault = Fault::new(&file.path, "only tensors of this architecture", format!("{} more", rest.len()));
            return Err(
                data::Error::from(fault.key(first).hint("config.json and the weights do not belong together")).into()
            );
        }
        Ok(Self { variables, changes: Arc::default() })
    }

    /// These and `others`, whose names get `prefix`.
    #[must_use]
    pub fn joined(mut self, others: Self, prefix: &str) -> Self {
        self.variables.extend(others.variables.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
        self
    }

    /// Those whose names begin with `prefix`, by the rest of their names; and the others.
    #[must_use]
    pub fn split(&self, prefix: &str) -> (Self, Self) {
        let (mut within, mut others) = (Self::default(), Self::default());
        for (name, variable) in &self.variables {
            match name.strip_prefix(prefix) {
                Some(rest) => within.variables.insert(rest.to_owned(), variable.clone()),
                None => others.variables.insert(name.clone(), variable.clone()),
            };
        }
        (within, others)
    }

    /// Fresh variables: `draw` gives the values of each.
    ///
    /// # Errors
    /// [`EncodeError::Candle`].
    pub fn fresh(
        wanted: &[(String, Shape)],
        device: &Device,
        mut draw: impl FnMut(&str, usize) -> Vec<f32>,
    ) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for (name, shape) in wanted {
            let values = draw(name, shape.elem_count());
            variables.insert(name.clone(), Var::from_vec(values, shape.clone(), device)?);
        }
        Ok(Self { variables, changes: Arc::default() })
    }

    /// Names and values, in name order; each value is tracked for gradients.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.variables.iter().map(|(name, variable)| (name.as_str(), variable.as_tensor()))
    }

    /// The value called `name`, tracked for gradients.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.variables.get(name).map(Var::as_tensor)
    }

    /// Puts `value` in place of the one called `name`.
    ///
    /// # Errors
    /// [`EncodeError::NoSuchWeight`]; [`EncodeError::Candle`] when the shape is another.
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        let variable = self.variables.get(name).ok_or_else(|| EncodeError::NoSuchWeight(name.to_owned()))?;
        variable.set(value)?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Changes the values of the one called `name`, row-major on the CPU, where they lie.
    ///
    /// # Errors
    /// [`EncodeError::NoSuchWeight`]; [`EncodeError::Candle`] when they lie elsewhere.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut [f32]) + Send) -> Result<()> {
        let variable = self.variables.get(name).ok_or_else(|| EncodeError::NoSuchWeight(name.to_owned()))?;
        variable.as_tensor().inplace_op1(&Change(Mutex::new(Some(change))))?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// How often a value was set: what was made from the values is out of date when this has moved on.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Number of variables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.variables.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// Writes all variables as f32 safetensors.
    ///
    /// # Errors
    /// [`EncodeError::Candle`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let tensors: HashMap<&str, Tensor> = self.iter().map(|(name, value)| (name, value.detach())).collect();
        save(&tensors, path)
    }
}

/// Writes `tensors` as safetensors, for whoever may read what the user makes: the library would write for the user alone.
///
/// # Errors
/// [`EncodeError::Candle`], [`EncodeError::Data`] when the file cannot be written.
pub(super) fn save<K: AsRef<str> + Ord + std::fmt::Display>(tensors: &HashMap<K, Tensor>, path: &Path) -> Result<()> {
    let usual = std::fs::File::create(path).and_then(|file| file.metadata());
    let usual = usual.map_err(data::Error::io("create", path))?.permissions();
    candle_core::safetensors::save(tensors, path)?;
    Ok(std::fs::set_permissions(path, usual).map_err(data::Error::io("give leave to read", path))?)
}
