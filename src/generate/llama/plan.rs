//! What a model gets on this machine: window, slots, batch, threads, form of the cache.
//! The memory for keys and values is computed here, before anything is loaded; what cannot be is
//! refused with the numbers.

use crate::generate::engine::Error;
use crate::generate::settings::{CacheType, EngineSettings, FlashAttention};
use crate::model::gguf::Gguf;

/// The window when the settings leave it open.
const DEFAULT_WINDOW: u32 = 4096;
/// Slots when the settings leave them open and memory allows.
const DEFAULT_SLOTS: u32 = 8;
const MOST_SLOTS: u32 = 64;
/// Tokens decoded together when the settings leave it open.
const DEFAULT_BATCH: u32 = 512;
/// Most tokens llama.cpp computes at once.
pub(super) const COMPUTED: u32 = 512;
/// llama.cpp rounds windows up to this.
const WINDOW_STEP: u64 = 256;

/// Settings with nothing left open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Tokens that prompt and reply may have together.
    pub window: u32,
    /// Conversations at once.
    pub slots: u32,
    /// Tokens decoded together.
    pub batch: u32,
    /// Threads.
    pub threads: u32,
    /// Flash attention.
    pub flash_attention: FlashAttention,
    /// Form of the cache.
    pub cache_type: CacheType,
    /// Tokens guessed at once; 0: none.
    pub draft: u32,
    /// What a step with so many costs, in plain steps; 1: guess always.
    pub draft_cost: f32,
    /// Most tokens of thought before an answer.
    pub thinking: u32,
    /// Memory beside the weights in MiB: keys, values, and what llama.cpp computes in.
    pub memory_mib: u64,
    /// Why conversations cannot share what was decoded, if they cannot.
    pub no_sharing: Option<&'static str>,
}

impl Plan {
    /// The plan for the model in `gguf`.
    ///
    /// # Errors
    /// [`Error::Settings`] for what is out of range or needs more memory than is allowed.
    pub fn new(gguf: &Gguf, settings: &EngineSettings) -> Result<Self, Error> {
        let window = window(gguf, settings)?;
        check(settings)?;
        let flash_attention = settings.flash_attention.unwrap_or(FlashAttention::Off);
        let cache_type = settings.cache_type.unwrap_or(CacheType::F16);
        if cache_type.is_quantized() && flash_attention != FlashAttention::On {
            return Err(Error::Settings {
                setting: "cache_type",
                expected: "f16 or f32 without flash attention".to_owned(),
                found: format!("{cache_type:?} and flash attention {flash_attention:?}"),
                hint: "set flash_attention = \"on\" too",
            });
        }
        let batch = settings.batch.unwrap_or(DEFAULT_BATCH);
        let computing = computing_mib(gguf, (window, batch), flash_attention);
        let each = key_value_mib(gguf, cache_type, window, 1);
        let fit = u64::from(settings.memory_mib).saturating_sub(computing).checked_div(each).unwrap_or(0);
        let fit = u32::try_from(fit).unwrap_or(MOST_SLOTS);
        let slots = settings.slots.unwrap_or(fit.clamp(1, DEFAULT_SLOTS));
        let key_value = key_value_mib(gguf, cache_type, window, slots);
        let memory_mib = key_value.saturating_add(computing);
        if memory_mib > u64::from(settings.memory_mib) {
            return Err(Error::Settings {
                setting: "context, slots",
                expected: format!("at most {} MiB beside the weights (memory_mib)", settings.memory_mib),
                found: format!(
                    "{key_value} MiB for {slots} times {window} tokens of {} blocks and {computing} MiB to compute in; {fit} slots would fit",
                    gguf.block_count
                ),
                hint: "lower context, slots or batch, or raise memory_mib if the machine has the memory",
            });
        }
        // Half of what the system counts: two often share a core, and one that waits holds up all.
        let half = std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1));
        Ok(Self {
            window,
            slots,
            batch,
            threads: settings.threads.unwrap_or_else(|| u32::try_from(half).unwrap_or(1)),
            flash_attention,
            cache_type,
            draft: settings.draft.unwrap_or(0),
            draft_cost: settings.draft_cost.unwrap_or(1.0).max(1.0),
            thinking: settings.thinking,
            memory_mib,
            no_sharing: gguf
                .sliding_window
                .is_some_and(|sliding| sliding > 0 && sliding < window)
                .then_some("its attention slides over a window shorter than the context"),
        })
    }
}

fn window(gguf: &Gguf, settings: &EngineSettings) -> Result<u32, Error> {
    let trained = gguf.context_length;
    let window = settings.context.unwrap_or(trained.min(DEFAULT_WINDOW));
    if (64..=trained.max(64)).contains(&window) {
        return Ok(window);
    }
    Err(Error::Settings {
        setting: "context",
        expected: format!("64 to {trained} tokens, what this model was trained for"),
        found: window.to_string(),
        hint: "leave it out to get the largest that is sensible",
    })
}

fn check(settings: &EngineSettings) -> Result<(), Error> {
    let sound = |range: std::ops::RangeInclusive<u32>, value: Option<u32>| value.is_none_or(|n| range.contains(&n));
    let wrong = [
        ("batch", sound(64..=4096, settings.batch), settings.batch, "64 to 4096 tokens"),
        ("slots", sound(1..=MOST_SLOTS, settings.slots), settings.slots, "1 to 64"),
        ("draft", sound(0..=16, settings.draft), settings.draft, "0 to 16 tokens"),
        ("thinking", settings.thinking <= 32768, Some(settings.thinking), "0 to 32768 tokens"),
        ("threads", sound(1..=512, settings.threads), settings.threads, "1 to 512"),
    ];
    match wrong.into_iter().find(|(_, sound, ..)| !sound) {
        None => Ok(()),
        Some((setting, _, found, expected)) => Err(Error::Settings {
            setting,
            expected: expected.to_owned(),
            found: found.unwrap_or_default().to_string(),
            hint: "leave it out to get the default",
        }),
    }
}

/// MiB that llama.cpp lays out for one step, rounded up, from above: the logits of every token of a batch, the stream and
/// a forward layer of each, and, without flash attention, what each head gives each cell of a window, before and after
/// the softmax.
fn computing_mib(gguf: &Gguf, (window, batch): (u32, u32), flash_attention: FlashAttention) -> u64 {
    let tokens = u64::from(batch.min(COMPUTED));
    let cells = u64::from(window).next_multiple_of(WINDOW_STEP);
    let scores = if flash_attention == FlashAttention::On { 0 } else { 2 * u64::from(gguf.heads) * cells };
    let layers = 8 * u64::from(gguf.embedding_length) + 3 * gguf.forward_length;
    let each = u64::from(gguf.vocabulary).saturating_add(layers).saturating_add(scores);
    tokens.saturating_mul(each).saturating_mul(4).div_ceil(1 << 20)
}

/// MiB of keys and values of `slots` windows, rounded up.
fn key_value_mib(gguf: &Gguf, cache_type: CacheType, window: u32, slots: u32) -> u64 {
    let cells = u64::from(window).next_multiple_of(WINDOW_STEP).saturating_mul(u64::from(slots));
    let of_32 = gguf.key_value_numbers().saturating_mul(cells).div_ceil(32);
    of_32.saturating_mul(cache_type.bytes_of_32()).div_ceil(1 << 20)
}
