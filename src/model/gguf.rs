//! The check of a GGUF file before llama.cpp sees it, and what it says of the model.
//! llama.cpp aborts the whole process on some headers (no blocks, a NaN epsilon) and reads past
//! the end of others; all of that is refused here, in safe Rust over a memory map. Weights are
//! not read: NaN weights show as logits that are not finite, which the engine checks.
//! Simple on purpose: models in several files are refused, and shapes of tensors are left to
//! llama.cpp, which reports them as errors.

mod header;

use crate::data::{Error, Fault, Result};
use header::{Header, Value};
use memmap2::Mmap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// llama.cpp's `LLAMA_MAX_LAYERS`.
const MOST_BLOCKS: u64 = 512;
/// The longest template seen in real files has 30 thousand bytes.
const LONGEST_TEMPLATE: usize = 1 << 20;
/// Widths and counts above this are damage, not models.
const MOST_WIDTH: u64 = 1 << 24;

/// llama.cpp's architectures that do not write a text token by token, and what they are.
const OTHER_KINDS: &[(&str, &[&str])] = &[
    (
        "an encoder of texts",
        &[
            "bert",
            "modern-bert",
            "nomic-bert",
            "nomic-bert-moe",
            "neo-bert",
            "jina-bert-v2",
            "jina-bert-v3",
            "eurobert",
            "gemma-embedding",
            "llama-embed",
            "t5encoder",
        ],
    ),
    ("an encoder and a decoder", &["t5"]),
    ("an encoder of images or sounds", &["clip"]),
    ("a maker of sounds", &["wavtokenizer-dec", "qwen3tts", "pockettts"]),
    ("a diffusion model", &["dream", "llada", "llada-moe", "rnd1"]),
    ("a helper that drafts for another model", &["eagle3", "dflash", "gemma4-assistant"]),
];

/// What the header of a checked file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// The file.
    pub path: PathBuf,
    /// llama.cpp's name of the architecture: `llama`, `qwen3` ...
    pub architecture: String,
    /// Tokens the model was trained to attend to, above 0.
    pub context_length: u32,
    /// Transformer blocks, 1 to 512.
    pub block_count: u32,
    /// Width of the residual stream.
    pub embedding_length: u32,
    /// Most attention heads of a block.
    pub heads: u32,
    /// Width of the widest forward layer, 4 times the stream's where the file does not say.
    pub forward_length: u64,
    /// Key and value heads of each block.
    pub key_value_heads: Vec<u32>,
    /// Width of one head's key.
    pub key_length: u32,
    /// Width of one head's value.
    pub value_length: u32,
    /// Tokens back to which some of its blocks attend, where that is not all.
    pub sliding_window: Option<u32>,
    /// Tokens of the vocabulary.
    pub vocabulary: u32,
    /// The model's own chat template (Jinja), if it has one.
    pub chat_template: Option<String>,
    /// Token that begins a text.
    pub bos: Option<u32>,
    /// Token that ends a text.
    pub eos: Option<u32>,
    /// Size of the file in bytes.
    pub file_bytes: u64,
}

impl Gguf {
    /// Checks the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] naming the key or tensor that is not as it must be.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(Fault::new(path, "a GGUF file", "a folder or an empty file").into());
        }
        // SAFETY: the map is read-only and every number in it is checked as untrusted input.
        #[expect(unsafe_code, reason = "memory map")]
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        Self::check(&map, path)
    }

    /// Checks the bytes of a file; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Gguf::open`], without the reading.
    pub fn check(bytes: &[u8], path: &Path) -> Result<Self> {
        let header = header::read(bytes, path)?;
        let keys = Keys { header: &header, path };
        let architecture = keys.architecture()?;
        if keys.number("split.count", 0..=MOST_WIDTH)?.is_some_and(|count| count > 1) {
            let hint = "join the parts first: llama-gguf-split --merge";
            return Err(keys.fault("split.count", "a model in one file", "one part of several").hint(hint).into());
        }
        let of = |name: &str| format!("{architecture}.{name}");
        let context_length = keys.require(&of("context_length"), 1..=u64::from(i32::MAX.cast_unsigned()))?;
        let block_count = keys.require(&of("block_count"), 1..=MOST_BLOCKS)?;
        let embedding_length = keys.require(&of("embedding_length"), 1..=MOST_WIDTH)?;
        keys.check_blocks(block_count, &of("block_count"))?;
        keys.check_epsilon(&of("attention.layer_norm_rms_epsilon"))?;
        keys.check_epsilon(&of("attention.layer_norm_epsilon"))?;

        let heads = keys.per_block(&of("attention.head_count"), block_count)?;
        let heads = heads.ok_or_else(|| keys.missing(&of("attention.head_count")))?;
        let key_value_heads =
            keys.per_block(&of("attention.head_count_kv"), block_count)?.unwrap_or_else(|| heads.clone());
        let most_heads = heads.iter().copied().max().unwrap_or(0);
        if most_heads == 0 {
            return Err(keys.fault(&of("attention.head_count"), "at least one head", "0").into());
        }
        let head_width = (embedding_length / most_heads).max(1);
        let width = |name: &str| Ok::<u32, Error>(keys.number(&of(name), 1..=MOST_WIDTH)?.unwrap_or(head_width));
        let vocabulary = keys.vocabulary()?;
        let forward = match largest(&header, &of("feed_forward_length")) {
            Some(width) => u64::try_from(width).unwrap_or(MOST_WIDTH).min(MOST_WIDTH),
            None => 4 * u64::from(embedding_length),
        };
        Ok(Self {
            heads: most_heads,
            forward_length: forward,
            path: path.to_owned(),
            context_length,
            block_count,
            embedding_length,
            key_value_heads,
            key_length: width("attention.key_length")?,
            value_length: width("attention.value_length")?,
            sliding_window: keys.number(&of("attention.sliding_window"), 0..=u64::from(u32::MAX))?,
            vocabulary,
            chat_template: keys.chat_template()?,
            bos: keys.token("tokenizer.ggml.bos_token_id", vocabulary)?,
            eos: keys.token("tokenizer.ggml.eos_token_id", vocabulary)?,
            file_bytes: bytes.len() as u64,
            architecture,
        })
    }

    /// Numbers that the keys and values of one token are.
    #[must_use]
    pub fn key_value_numbers(&self) -> u64 {
        let heads: u64 = self.key_value_heads.iter().map(|&heads| u64::from(heads)).sum();
        heads * (u64::from(self.key_length) + u64::from(self.value_length))
    }
}

/// The number under `key`, the largest where there is one for each block.
fn largest(header: &Header, key: &str) -> Option<i64> {
    match header.values.get(key)? {
        Value::Numbers(numbers) => numbers.iter().copied().max(),
        &Value::Unsigned(number) => i64::try_from(number).ok(),
        &Value::Signed(number) => Some(number),
        _ => None,
    }
}

struct Keys<'h> {
    header: &'h Header,
    path: &'h Path,
}

impl Keys<'_> {
    fn fault(&self, key: &str, expected: impl Into<String>, found: impl Into<String>) -> Fault {
        Fault::new(self.path, expected, found).key(key)
    }

    fn missing(&self, key: &str) -> Fault {
        self.fault(key, "this key", "no such key")
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        match self.header.values.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.fault(key, "a string", format!("{other:?}")).into()),
        }
    }

    /// The architecture, of a model that writes.
    fn architecture(&self) -> Result<String> {
        let key = "general.architecture";
        let name = self.text(key)?.ok_or_else(|| self.missing(key))?;
        let other = OTHER_KINDS.iter().find(|(_, names)| names.contains(&name.as_str())).map(|&(kind, _)| kind);
        let attends = format!("{name}.attention.causal");
        let kind = other.or((self.header.values.get(&attends) == Some(&Value::Bool(false))).then_some("not causal"));
        match kind {
            None => Ok(name),
            Some(kind) => {
                let hint = "take an instruction-tuned language model";
                Err(self.fault(key, "a model that writes texts", format!("{name}, {kind}")).hint(hint).into())
            }
        }
    }

    fn number(&self, key: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u32>> {
        let found = match self.header.values.get(key) {
            None => return Ok(None),
            Some(&Value::Unsigned(n)) => Some(n),
            Some(&Value::Signed(n)) => u64::try_from(n).ok(),
            Some(_) => None,
        };
        if let Some(n) = found.filter(|n| range.contains(n)).and_then(|n| u32::try_from(n).ok()) {
            return Ok(Some(n));
        }
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        Err(self.fault(key, expected, format!("{:?}", self.header.values.get(key))).into())
    }

    fn require(&self, key: &str, range: std::ops::RangeInclusive<u64>) -> Result<u32> {
        self.number(key, range)?.ok_or_else(|| self.missing(key).into())
    }

    /// One number for all blocks, or one for each.
    fn per_block(&self, key: &str, blocks: u32) -> Result<Option<Vec<u32>>> {
        let Some(Value::Numbers(numbers)) = self.header.values.get(key) else {
            return Ok(self.number(key, 0..=1 << 16)?.map(|n| vec![n; blocks as usize]));
        };
        let heads: Option<Vec<u32>> =
            numbers.iter().map(|&n| u32::try_from(n).ok().filter(|&n| n <= 1 << 16)).collect();
        match heads {
            Some(heads) if heads.len() == blocks as usize => Ok(Some(heads)),
            _ => Err(self.fault(key, format!("{blocks} numbers from 0 to 65536"), format!("{numbers:?}")).into()),
        }
    }

    /// Blocks 0 to `count` - 1 all have tensors, and no other block has.
    fn check_blocks(&self, count: u32, key: &str) -> Result<()> {
        if self.header.tensors.is_empty() {
            return Err(Fault::new(self.path, "a model with weights", "a header without tensors").into());
        }
        let mut seen = vec![false; count as usize];
        for tensor in &self.header.tensors {
            let Some(rest) = tensor.name.strip_prefix("blk.") else { continue };
            let block = rest.split('.').next().and_then(|n| n.parse::<usize>().ok());
            match block.and_then(|block| seen.get_mut(block)) {
                Some(seen) => *seen = true,
                None => {
                    return Err(self.fault(&tensor.name, format!("blocks 0 to {}", count - 1), "this tensor").into());
                }
            }
        }
        match seen.iter().position(|seen| !seen) {
            Some(empty) => {
                Err(self.fault(key, "a block for each number", format!("no tensor of block {empty}")).into())
            }
            None => Ok(()),
        }
    }

    fn check_epsilon(&self, key: &str) -> Result<()> {
        match self.header.values.get(key) {
            None => Ok(()),
            Some(&Value::Float(epsilon)) if epsilon.is_finite() && epsilon >= 0.0 => Ok(()),
            Some(other) => Err(self.fault(key, "a finite number, 0 or above", format!("{other:?}")).into()),
        }
    }

    fn vocabulary(&self) -> Result<u32> {
        let key = "tokenizer.ggml.tokens";
        let tokens = match self.header.values.get(key) {
            Some(&Value::Array { kind: "strings", len }) => u32::try_from(len).ok().filter(|&n| n > 0 && n < 1 << 24),
            Some(_) => None,
            None => return Err(self.missing(key).into()),
        };
        let tokens = tokens.ok_or_else(|| self.fault(key, "a list of 1 to 16 million strings", "something else"))?;
        for key in ["tokenizer.ggml.scores", "tokenizer.ggml.token_type"] {
            let len = match self.header.values.get(key) {
                None => continue,
                Some(&Value::Array { len, .. }) => len,
                Some(Value::Numbers(numbers)) => numbers.len() as u64,
                Some(_) => 0,
            };
            if len != u64::from(tokens) {
                return Err(self.fault(key, format!("{tokens} entries, one a token"), len.to_string()).into());
            }
        }
        for name in ["token_embd.weight", "output.weight"] {
            let Some(tensor) = self.header.tensors.iter().find(|tensor| tensor.name == name) else { continue };
            if tensor.dimensions.get(1) != Some(&u64::from(tokens)) {
                let expected = format!("a row for each of {tokens} tokens");
                return Err(self.fault(name, expected, format!("dimensions {:?}", tensor.dimensions)).into());
            }
        }
        Ok(tokens)
    }

    fn token(&self, key: &str, vocabulary: u32) -> Result<Option<u32>> {
        // Some converters write -1 or 2^32 - 1 for "none".
        match self.header.values.get(key) {
            Some(&Value::Unsigned(n)) if n == u64::from(u32::MAX) => Ok(None),
            Some(&Value::Signed(-1)) => Ok(None),
            _ => self.number(key, 0..=u64::from(vocabulary) - 1),
        }
    }

    fn chat_template(&self) -> Result<Option<String>> {
        let key = "tokenizer.chat_template";
        match self.text(key)? {
            Some(template) if template.len() > LONGEST_TEMPLATE => {
                let expected = format!("at most {LONGEST_TEMPLATE} bytes");
                Err(self.fault(key, expected, template.len().to_string()).into())
            }
            template => Ok(template.filter(|template| !template.trim().is_empty())),
        }
    }
}

#[cfg(test)]
mod tests;
