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
    /// Conversations at once, 1 to 64; default 8, or as many as `memory_mib` allows. More: higher
    /// throughput until the processor is busy. 1: what is written depends on nothing but its request.
    pub slots: Option<u32>,
    /// Tokens decoded together, 64 to 4096; default what was tuned, else 512. Smaller: slower prompts. Larger: more memory.
    pub batch: Option<u32>,
    /// Threads, 1 and up; default half of the processors the system counts. More than are free is many
    /// times slower (2 instead of 1 with one free: 14 against 284 tokens a second).
    pub threads: Option<u32>,
    /// Flash attention, default off: on CPUs it was 1.3 times slower; on GPUs it may be faster.
    pub flash_attention: Option<FlashAttention>,
    /// Numbers the cache keeps; default what was tuned, else f16. Smaller ones need flash attention and cost a
    /// little exactness; another type is another generator as far as the store is concerned.
    pub cache_type: Option<CacheType>,
    /// Tokens guessed from the prompt and checked in one step, 0 (off) to 16; default what was tuned, else 0.
    /// Pays where replies repeat their prompt and the processor waits for memory. What is written stays the same.
    pub draft: Option<u32>,
    /// What a step that checks a guess costs in plain steps, 1 and up; default what was tuned, else 1: guess
    /// always. Guesses are made while they save more. Higher: rarer.
    pub draft_cost: Option<f32>,
    /// Most tokens a model may think before each answer, 0 to 32768, default 0: thinking is switched off. A
    /// thought that reaches them is ended. More: better answers of models that think, and slower.
    pub thinking: u32,
    /// Most memory beside the weights, for keys, values and computing, in MiB, default 4096. What needs more is
    /// refused before loading. Lower: fewer slots. Higher than what is free: the system kills the program.
    pub memory_mib: u32,
    /// Which chat template, default the model's own.
    pub chat_template: ChatChoice,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            context: None,
            slots: None,
            batch: None,
            threads: None,
            flash_attention: None,
            cache_type: None,
            draft: None,
            draft_cost: None,
            thinking: 0,
            memory_mib: 4096,
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

    /// llama.cpp's name of it, which recipes use too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8_0",
            Self::Q4 => "q4_0",
        }
    }

    /// Whether llama.cpp has it only with flash attention.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }
}

/// What `nearmiss tune` found on a machine for a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// Processors the machine had; with another number it is another machine.
    pub processors: u32,
    /// Threads.
    pub threads: u32,
    /// Flash attention.
    pub flash_attention: FlashAttention,
    /// Form of the cache.
    pub cache_type: CacheType,
    /// Tokens decoded together.
    pub batch: u32,
    /// Conversations at once.
    pub slots: u32,
    /// Tokens guessed at once where that pays.
    pub draft: u32,
    /// What a step that checks them costs, in plain steps, 1 and up.
    pub draft_cost: f32,
    /// What was measured, in order.
    pub probes: Vec<Probe>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Threads.
    pub threads: u32,
    /// Flash attention.
    pub flash_attention: FlashAttention,
    /// Form of the cache.
    pub cache_type: CacheType,
    /// Tokens decoded together.
    pub batch: u32,
    /// Conversations at once.
    pub slots: u32,
    /// Prompt tokens a second.
    pub read_per_second: f64,
    /// Tokens written a second, over all slots.
    pub written_per_second: f64,
    /// Requests of 200 tokens of their own and 150 written, a minute.
    pub requests_per_minute: f64,
}

impl EngineSettings {
    /// The settings with what they leave open taken from `tuned`, if it is of a machine with `processors`.
    #[must_use]
    pub fn or_tuned(mut self, tuned: &Tuned, processors: usize) -> Self {
        if tuned.processors as usize != processors {
            return self;
        }
        self.threads = self.threads.or(Some(tuned.threads));
        // The two belong together: what was tuned for one may not go with another.
        match (self.cache_type, self.flash_attention) {
            (None, None) => {
                self.cache_type = Some(tuned.cache_type);
                self.flash_attention = Some(tuned.flash_attention);
            }
            (Some(given), None) if !given.is_quantized() => self.flash_attention = Some(tuned.flash_attention),
            (None, Some(given)) if given == tuned.flash_attention => self.cache_type = Some(tuned.cache_type),
            _ => {}
        }
        self.batch = self.batch.or(Some(tuned.batch));
        self.slots = self.slots.or(Some(tuned.slots));
        if self.draft.is_none() {
            self.draft = Some(tuned.draft);
            self.draft_cost = Some(tuned.draft_cost);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_stands_before_what_was_tuned() {
        let tuned = Tuned {
            processors: 2,
            threads: 2,
            flash_attention: FlashAttention::On,
            cache_type: CacheType::Q8,
            batch: 256,
            slots: 4,
            draft: 5,
            draft_cost: 2.5,
            probes: Vec::new(),
        };
        let given = EngineSettings { threads: Some(1), draft: Some(0), ..EngineSettings::default() };
        let both = given.clone().or_tuned(&tuned, 2);
        assert_eq!((both.threads, both.slots, both.flash_attention), (Some(1), Some(4), Some(FlashAttention::On)));
        assert_eq!((both.draft, both.draft_cost), (Some(0), None));
        assert_eq!(given.clone().or_tuned(&tuned, 8), given);
        let open = EngineSettings::default().or_tuned(&tuned, 2);
        assert_eq!((open.draft, open.draft_cost), (Some(5), Some(2.5)));
        assert_eq!((open.batch, open.cache_type), (Some(256), Some(CacheType::Q8)));
        // A small cache only with the attention it was tuned with.
        let off = EngineSettings { flash_attention: Some(FlashAttention::Off), ..EngineSettings::default() };
        assert_eq!(off.or_tuned(&tuned, 2).cache_type, None);
        let small = EngineSettings { cache_type: Some(CacheType::Q4), ..EngineSettings::default() };
        assert_eq!(small.or_tuned(&tuned, 2).flash_attention, None);
    }
}
