//! Writing a sentence-transformers folder in the old layout, which every version since 2 and
//! text-embeddings-inference read; and making a small fresh encoder.

use super::Result;
use super::bert_config::BertConfig;
use super::family::BERT;
use super::parameters::Parameters;
use super::pooling::Pooling;
use super::settings::{EncoderSettings, Length};
use crate::data::{Error, Seed, atomic};
use crate::text::tokenizer;
use candle_core::Device;
use rand::RngExt;
use serde_json::json;
use std::path::Path;

const VOCABULARY: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "added_tokens.json",
];

/// Copies the vocabulary's files, those that there are.
pub(super) fn copy_vocabulary(from: &Path, into: &Path) -> Result<()> {
    for name in VOCABULARY {
        let source = from.join(name);
        if source.is_file() {
            std::fs::copy(&source, into.join(name)).map_err(Error::io("copy", &source))?;
        }
    }
    Ok(())
}

/// Writes every JSON file around the weights but the trunk's `config.json`, and the card as README.md; `width` is that
/// of the token vectors.
pub(super) fn write_settings(into: &Path, settings: &EncoderSettings, width: usize, card: &str) -> Result<()> {
    let mut modules = Vec::new();
    let mut module = |path: &str, kind: &str| -> Result<()> {
        make_folder(&into.join(path))?;
        let index = modules.len();
        let kind = format!("sentence_transformers.models.{kind}");
        modules.push(json!({"idx": index, "name": index.to_string(), "path": path, "type": kind}));
        Ok(())
    };
    module("", "Transformer")?;
    module("1_Pooling", "Pooling")?;
    for dense in &settings.dense {
        module(&dense.folder, "Dense")?;
        write_json(&into.join(&dense.folder).join("config.json"), &dense.config())?;
    }
    if settings.length == Length::Unit {
        module(&format!("{}_Normalize", 2 + settings.dense.len()), "Normalize")?;
    }
    let mut pooling = json!({"word_embedding_dimension": width});
    for (kind, name, _) in Pooling::NAMES {
        pooling[format!("pooling_mode_{name}")] = json!(kind == settings.pooling);
    }
    let similarity = json!({
        "__version__": {"nearmiss": env!("CARGO_PKG_VERSION")},
        "prompts": {"query": settings.query_prompt, "document": settings.document_prompt},
        "default_prompt_name": null,
        "similarity_fn_name": if settings.length == Length::Unit { "cosine" } else { "dot" },
    });
    write_json(&into.join("modules.json"), &serde_json::Value::Array(modules))?;
    write_json(&into.join("1_Pooling/config.json"), &pooling)?;
    write_json(
        &into.join("sentence_bert_config.json"),
        &json!({"max_seq_length": settings.max_length, "do_lower_case": false}),
    )?;
    write_json(&into.join("config_sentence_transformers.json"), &similarity)?;
    std::fs::write(into.join("README.md"), card).map_err(Error::io("write", into))?;
    Ok(())
}

/// The `config.json` of a BERT.
fn bert_config(config: &BertConfig) -> Result<serde_json::Value> {
    let mut value = serde_json::to_value(config).map_err(candle_core::Error::wrap)?;
    value["architectures"] = json!(["BertModel"]);
    value["model_type"] = json!("bert");
    value["pad_token_id"] = json!(0);
    value["position_embedding_type"] = json!("absolute");
    value["torch_dtype"] = json!("float32");
    for (key, default) in
        [("hidden_dropout_prob", 0.1), ("attention_probs_dropout_prob", 0.1), ("initializer_range", 0.02)]
    {
        value[key] = json!(default);
    }
    Ok(value)
}

/// The sizes of a fresh encoder.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FreshEncoder {
    /// Largest vocabulary; the corpus may give fewer tokens.
    pub vocabulary: usize,
    /// Width of the vectors, a multiple of 32 (one attention head per 32).
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Longest text in tokens.
    pub max_length: usize,
    /// Seed of the weights.
    pub seed: Seed,
}

impl FreshEncoder {
    /// Writes an untrained BERT encoder to the folder `into`, with a WordPiece vocabulary learned from `texts` and
    /// weights drawn from a normal distribution of deviation 0.02 (BERT's own initialisation).
    ///
    /// # Errors
    /// [`super::EncodeError`] when the vocabulary cannot be learned or the folder not be written.
    pub fn write(&self, texts: &[String], into: &Path) -> Result<()> {
        atomic::write_folder(into, |folder| {
            let vocab_size = tokenizer::make_wordpiece(texts, self.vocabulary, folder)?;
            let config = BertConfig {
                vocab_size,
                hidden_size: self.width,
                num_hidden_layers: self.layers,
                num_attention_heads: (self.width / 32).max(1),
                intermediate_size: self.width * 4,
                hidden_act: "gelu".into(),
                max_position_embeddings: self.max_length,
                type_vocab_size: 2,
                layer_norm_eps: BERT.layer_norm_eps,
                hidden_dropout_prob: 0.1,
                attention_probs_dropout_prob: 0.1,
                pad_token_id: Some(0),
                relative_attention_num_buckets: 0,
                family: &BERT,
            };
            config.check(into).map_err(Error::from)?;
            let mut random = self.seed.stream("encode/fresh");
            let parameters = Parameters::fresh(&config.weights(), &Device::Cpu, |name, count| {
                if name.ends_with("LayerNorm.weight") {
                    vec![1.0; count]
                } else if name.rsplit('.').next() == Some("bias") {
                    vec![0.0; count]
                } else {
                    (0..count).map(|_| 0.02 * normal(&mut random)).collect()
                }
            })?;
            parameters.write(&folder.join("model.safetensors"))?;
            let settings = EncoderSettings {
                pooling: Pooling::Mean,
                dense: Vec::new(),
                length: Length::Unit,
                max_length: self.max_length,
                query_prompt: String::new(),
                document_prompt: String::new(),
                assumed: None,
            };
            write_json(&folder.join("config.json"), &bert_config(&config)?)?;
            let card = "# An untrained encoder\n\nMade by nearmiss from random weights; train it before use.\n";
            write_settings(folder, &settings, self.width, card)
        })
    }
}

/// A draw from the standard normal distribution (Box and Muller 1958).
pub(super) fn normal(random: &mut impl rand::Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f32>()).max(f32::MIN_POSITIVE).ln()).sqrt();
    radius * (std::f32::consts::TAU * random.random::<f32>()).cos()
}

pub(super) fn make_folder(path: &Path) -> Result<()> {
    Ok(std::fs::create_dir_all(path).map_err(Error::io("create", path))?)
}

pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(candle_core::Error::wrap)?;
    Ok(std::fs::write(path, text + "\n").map_err(Error::io("write", path))?)
}
