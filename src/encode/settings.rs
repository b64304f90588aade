//! What an encoder folder says of itself: the sentence-transformers files around the weights.
//! Both layouts are read (FORMATS: booleans `pooling_mode_*`, or one string `pooling_mode`).

use crate::data::{Error, Fault, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// How token vectors become one vector for the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The first token's vector.
    Cls,
    /// The mean over all tokens, special ones included.
    Mean,
}

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
    /// Length of the vectors.
    pub length: Length,
    /// Tokens a text is cut to, special tokens included.
    pub max_length: usize,
    /// Put before every query.
    pub query_prompt: String,
    /// Put before every document.
    pub document_prompt: String,
}

impl EncoderSettings {
    /// The settings of the folder; `positions` is the largest length the trunk can take.
    ///
    /// # Errors
    /// [`Error::Input`] when a file is no JSON, when pooling is missing or not supported, or when a module is unknown.
    pub fn read(folder: &Path, positions: usize) -> Result<Self> {
        let modules = folder.join("modules.json");
        let (pooling, length) = if modules.is_file() {
            read_modules(folder, &modules)?
        } else {
            return Err(Fault::new(&modules, "the modules of a sentence-transformers folder", "no such file")
                .hint("a plain BERT folder does not say how to pool: save it once with sentence-transformers, or add modules.json and 1_Pooling/config.json")
                .into());
        };
        let own = read_object(&folder.join("sentence_bert_config.json"))?;
        let tokenizer = read_object(&folder.join("tokenizer_config.json"))?;
        // The newer layout leaves the length to the tokenizer, which may hold a huge "no limit" number.
        let stated = [own.get("max_seq_length"), tokenizer.get("model_max_length")]
            .into_iter()
            .flatten()
            .find_map(|value| usize::try_from(value.as_u64()?).ok());
        let prompts = read_object(&folder.join("config_sentence_transformers.json"))?;
        let prompt = |names: &[&str]| {
            let text = names.iter().find_map(|name| prompts.get("prompts")?.get(name)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        Ok(Self {
            pooling,
            length,
            max_length: stated.unwrap_or(positions).min(positions),
            query_prompt: prompt(&["query"]),
            document_prompt: prompt(&["document", "passage", "corpus"]),
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

fn read_modules(folder: &Path, path: &Path) -> Result<(Pooling, Length)> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let modules: Vec<Value> =
        serde_json::from_str(&text).map_err(|e| Fault::new(path, "a JSON list of modules", e.to_string()))?;
    let mut pooling = None;
    let mut length = Length::Free;
    for module in &modules {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" => {}
            "Pooling" => {
                let place = module.get("path").and_then(Value::as_str).unwrap_or("1_Pooling");
                pooling = Some(read_pooling(&folder.join(place).join("config.json"))?);
            }
            "Normalize" => length = Length::Unit,
            _ => {
                return Err(Fault::new(path, "modules Transformer, Pooling and Normalize", format!("module {kind:?}"))
                    .key("type")
                    .hint("dense layers and other modules are not supported yet")
                    .into());
            }
        }
    }
    let pooling = pooling.ok_or_else(|| Fault::new(path, "a Pooling module", "none").key("type"))?;
    Ok((pooling, length))
}

fn read_pooling(path: &Path) -> Result<Pooling> {
    if !path.is_file() {
        return Err(Fault::new(path, "the pooling of this encoder", "no such file")
            .hint("copy 1_Pooling/config.json from where the encoder came from; guessing it would give other vectors")
            .into());
    }
    let config = read_object(path)?;
    let chosen: Vec<String> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode.clone()],
        _ => config
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true))
            .map(|(key, _)| key["pooling_mode_".len()..].to_owned())
            .collect(),
    };
    match chosen.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        _ => Err(Fault::new(path, "cls or mean pooling", format!("{chosen:?}"))
            .key("pooling_mode")
            .hint("other kinds of pooling, and several at once, are not supported yet")
            .into()),
    }
}
