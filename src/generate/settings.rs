//! What a user can set about an engine. What is left open is taken from what `nearmiss tune`
//! measured, else from the model's file and this machine.

use super::ChatChoice;
use serde::{Deserialize, Serialize};

/// How a model is loaded and run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSettings {
    /// Tokens of each conversation's window, 64 up to what the model was trained for; default that, at most 4096.
    /// Too small: prompts are refused. Too large: fewer slots fit in memory.
    pub context: Option<u32>,
    /// Conversations at once, 1 to 64; default 8, or as many as `key_value_mib` allows. More: higher
    /// throughput until the processor is busy. 1: what is written depends on nothing but its request.
    pub slots: Option<u32>,
    /// Tokens decoded together, 64 to 4096, default 512. Smaller: slower prompts. Larger: more memory.
    pub batch: u32,
    /// Threads, 1 and up; default half of the processors the system counts. More than are free is many
    /// times slower (2 instead of 1 with one free: 14 against 284 tokens a second).
    pub threads: Option<u32>,
    /// Flash attention, default off: on CPUs it was 1.3 times slower; on GPUs it may be faster.
    pub flash_attention: Option<FlashAttention>,
    /// Numbers the cache keeps, default f16. Smaller ones need flash attention and cost a little exactness.
    pub cache_type: CacheType,
    /// Tokens guessed from the prompt and checked in one step, 0 (off) to 16; default what was tuned, else 0.
    /// Pays where replies repeat their prompt and the processor waits for memory. What is written stays the same.
    pub draft: Option<u32>,
    /// Most memory for keys and values in MiB, default 4096. What needs more is refused before loading.
    pub key_value_mib: u32,
    /// Which chat template, default the model's own.
    pub chat_template: ChatChoice,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            context: None,
            slots: None,
            batch: 512,
            threads: None,
            flash_attention: None,
            cache_type: CacheType::F16,
            draft: None,
            key_value_mib: 4096,
            chat_template: ChatChoice::Own,
        }
    }
}

/// Whether attention is computed by llama.cpp's fused kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    /// Never.
    Off,
    /// Always.
    On,
    /// Where llama.cpp thinks it pays.
    Auto,
}

/// The form of keys and values in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8 bits and a scale for every 32 numbers.
    #[serde(rename = "q8_0")]
    Q8,
    /// 4 bits and a scale for every 32 numbers.
    #[serde(rename = "q4_0")]
    Q4,
}

impl CacheType {
    /// Bytes that 32 numbers take.
    #[must_use]
    pub fn bytes_of_32(self) -> u64 {
        match self {
            Self::F32 => 128,
            Self::F16 => 64,
            Self::Q8 => 34,
            Self::Q4 => 18,
        }
    }

    /// Whether llama.cpp has it only with flash attention.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }
}
