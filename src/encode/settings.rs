//! What an encoder folder says of itself: the sentence-transformers files around the weights.
//! Both layouts are read (FORMATS: booleans `pooling_mode_*`, or one string `pooling_mode`).

use super::dense::Dense;
use super::pooling::Pooling;
use crate::data::{Error, Fault, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// Whether vectors are brought to length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// Divided by their Euclidean norm, so that a dot product is a cosine.
    Unit,
    /// As pooled.
    Free,
}

/// Which side of the comparison a text stands on; encoders may have a prompt for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What is searched with.
    Query,
    /// What is searched for.
    Document,
}

/// Everything besides weights and vocabulary that decides a text's vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderSettings {
    /// Pooling over tokens.
    pub pooling: Pooling,
    /// Linear layers over the pooled vector, in order; mostly none.
    pub dense: Vec<Dense>,
    /// Length of the vectors.
    pub length: Length,
    /// Tokens a text is cut to, special tokens included.
    pub max_length: usize,
    /// Put before every query.
    pub query_prompt: String,
    /// Put before every document.
    pub document_prompt: String,
    /// What the folder does not say and was assumed, for people; nothing of a sentence-transformers folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed: Option<String>,
}

impl EncoderSettings {
    /// The same with those prompts that `prompts` gives in place of its own.
    #[must_use]
    pub fn prompted(mut self, prompts: &Prompts) -> Self {
        if let Some(query) = &prompts.query {
            self.query_prompt.clone_from(query);
        }
        if let Some(document) = &prompts.document {
            self.document_prompt.clone_from(document);
        }
        self
    }

    /// The settings of the folder; `positions` is the largest length the trunk can take.
    ///
    /// # Errors
    /// [`Error::Input`] when a file is no JSON, when pooling is missing or not supported, or when a module is unknown.
    pub fn read(folder: &Path, positions: usize) -> Result<Self> {
        let modules = folder.join("modules.json");
        let (Modules { pooling, dense, length }, assumed) = if modules.is_file() {
            (read_modules(folder, &modules)?, None)
        } else {
            let (modules, assumed) = plain(folder)?;
            (modules, Some(assumed))
        };
        let own = read_object(&folder.join("sentence_bert_config.json"))?;
        let tokenizer = read_object(&folder.join("tokenizer_config.json"))?;
        // The newer layout leaves the length to the tokenizer, which may hold a huge "no limit" number.
        let stated = [own.get("max_seq_length"), tokenizer.get("model_max_length")]
            .into_iter()
            .flatten()
            .find_map(|value| usize::try_from(value.as_u64()?).ok());
        let prompts = read_object(&folder.join("config_sentence_transformers.json"))?;
        let default = prompts.get("default_prompt_name").and_then(Value::as_str);
        let prompt = |names: &[&str]| {
            let mut names = names.iter().copied().chain(default);
            let text = names.find_map(|name| prompts.get("prompts")?.get(name)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        Ok(Self {
            pooling,
            dense,
            length,
            max_length: stated.unwrap_or(positions).min(positions),
            query_prompt: prompt(&["query"]),
            document_prompt: prompt(&["document", "passage", "corpus"]),
            assumed,
        })
    }

    /// The prompt of `role`; "" where there is none.
    #[must_use]
    pub fn prompt(&self, role: Role) -> &str {
        match role {
            Role::Query => &self.query_prompt,
            Role::Document => &self.document_prompt,
        }
    }
}

/// Prompts given by hand, in place of the encoder's own; "" takes one away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompts {
    /// Put before every query.
    pub query: Option<String>,
    /// Put before every document.
    pub document: Option<String>,
}

/// The files of the modules that `folder` lists, by their names inside it; the trunk's are not among them.
pub(super) fn module_files(folder: &Path) -> Vec<String> {
    let modules = read_list(&folder.join("modules.json")).unwrap_or_default();
    let places = modules.iter().filter_map(|module| module.get("path")?.as_str());
    let files = |place: &str| ["config.json", "model.safetensors"].map(|name| format!("{place}/{name}"));
    places.filter(|place| !place.is_empty()).flat_map(files).filter(|name| folder.join(name).is_file()).collect()
}

/// The JSON object in `path`; an empty one when there is no such file.
pub(super) fn read_object(path: &Path) -> Result<Value> {
    if !path.is_file() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    match serde_json::from_str(&text) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err(Fault::new(path, "a JSON object", "another JSON value").into()),
        Err(error) => Err(Fault::new(path, "a JSON object", error.to_string()).into()),
    }
}

fn read_list(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    Ok(serde_json::from_str(&text).map_err(|e| Fault::new(path, "a JSON list of modules", e.to_string()))?)
}

/// What follows the trunk.
struct Modules {
    pooling: Pooling,
    dense: Vec<Dense>,
    length: Length,
}

fn read_modules(folder: &Path, path: &Path) -> Result<Modules> {
    let mut pooling = None;
    let mut dense = Vec::new();
    let mut length = Length::Free;
    for module in &read_list(path)? {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or_default();
        let place = |default| module.get("path").and_then(Value::as_str).unwrap_or(default);
        match (kind.rsplit('.').next().unwrap_or_default(), length) {
            ("Transformer", _) => {}
            ("Pooling", Length::Free) if dense.is_empty() => {
                pooling = Some(read_pooling(&folder.join(place("1_Pooling")).join("config.json"))?);
            }
            ("Dense", Length::Free) if pooling.is_some() => dense.push(Dense::read(folder, place("2_Dense"))?),
            ("Normalize", _) => length = Length::Unit,
            _ => {
                let expected = "modules Transformer, Pooling, Dense and Normalize, in this order";
                return Err(Fault::new(path, expected, format!("module {kind:?}"))
                    .key("type")
                    .hint("other modules, and another order, are not supported")
                    .into());
            }
        }
    }
    let pooling = pooling.ok_or_else(|| Fault::new(path, "a Pooling module", "none").key("type"))?;
    Ok(Modules { pooling, dense, length })
}

/// Families of encoders that are published as plain Hugging Face folders too: a part of their names, how they pool, and
/// the length of their vectors, as their model cards have it.
const KNOWN: [(&str, Pooling, Length); 9] = [
    ("bge-", Pooling::Cls, Length::Unit),
    ("e5-", Pooling::Mean, Length::Unit),
    ("gte-", Pooling::Mean, Length::Unit),
    ("minilm", Pooling::Mean, Length::Unit),
    ("contriever", Pooling::Mean, Length::Free),
    ("simcse", Pooling::Cls, Length::Unit),
    ("coco-dr", Pooling::Cls, Length::Free),
    ("condenser", Pooling::Cls, Length::Free),
    ("simlm", Pooling::Cls, Length::Unit),
];

/// How a folder without modules.json pools, by what is known of its name; and a sentence that says so.
fn plain(folder: &Path) -> Result<(Modules, String)> {
    let pooling = folder.join("1_Pooling/config.json");
    if pooling.is_file() {
        let pooling = read_pooling(&pooling)?;
        let assumed = "no modules.json: pooling as 1_Pooling says, vectors of length 1".to_owned();
        return Ok((Modules { pooling, dense: Vec::new(), length: Length::Unit }, assumed));
    }
    let config = read_object(&folder.join("config.json"))?;
    let own = config.get("_name_or_path").and_then(Value::as_str).unwrap_or_default();
    // The folder's own name, or that of a model in the cache: models--org--name/snapshots/commit.
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default().to_owned()
    };
    let cached = folder.parent().filter(|parent| name(Some(parent)) == "snapshots").and_then(Path::parent);
    let names = [name(Some(folder)), name(cached), own.to_owned()].map(|name| name.to_lowercase());
    let known = KNOWN.iter().find(|(part, ..)| names.iter().any(|name| name.contains(part)));
    let (pooling, length, reason) = match known {
        Some((part, pooling, length)) => (*pooling, *length, format!("as \"{part}\" in its name has it")),
        None => (Pooling::Mean, Length::Unit, "as most encoders have it".to_owned()),
    };
    let size = if length == Length::Unit { "brought to length 1" } else { "as long as they come" };
    let kind = Pooling::NAMES.iter().find(|(kind, ..)| *kind == pooling).map_or("", |(.., name)| name);
    let assumed = format!("no modules.json: {kind} pooling, vectors {size}, {reason}; --pooling takes another");
    Ok((Modules { pooling, dense: Vec::new(), length }, assumed))
}

fn read_pooling(path: &Path) -> Result<Pooling> {
    if !path.is_file() {
        return Err(Fault::new(path, "the pooling of this encoder", "no such file")
            .hint("copy 1_Pooling/config.json from where the encoder came from; guessing it would give other vectors")
            .into());
    }
    let config = read_object(path)?;
    if config.get("include_prompt").and_then(Value::as_bool) == Some(false) {
        return Err(Fault::new(path, "true", "false")
            .key("include_prompt")
            .hint("pooling that leaves out the prompt is not supported")
            .into());
    }
    let chosen: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(modes)) => modes.iter().filter_map(Value::as_str).collect(),
        _ => config
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| value.as_bool() == Some(true))
            .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
            .collect(),
    };
    let known = |name: &str| Pooling::NAMES.into_iter().find(|&(_, old, new)| name == old || name == new);
    if let [one] = chosen[..]
        && let Some((pooling, ..)) = known(one)
    {
        return Ok(pooling);
    }
    let names = Pooling::NAMES.map(|(.., name)| name).join(", ");
    Err(Fault::new(path, format!("one of: {names}"), format!("{chosen:?}"))
        .key("pooling_mode")
        .hint("several kinds of pooling at once are not supported")
        .into())
}
