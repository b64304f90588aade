//! A llama.cpp context with one sequence, which remembers the tokens its cache holds.
//! Everything that aborts inside llama.cpp is kept from it here: batches above `n_batch`,
//! logits that were not asked for, positions outside the window.

use super::log;
use crate::generate::engine::{EngineSettings, Error, FlashAttention};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// Making contexts changes the model, so two at once are unsound.
static MAKING: Mutex<()> = Mutex::new(());

/// A cache and the tokens in it.
pub struct Session<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    cells: Vec<LlamaToken>,
    batch_size: usize,
    window: usize,
}

impl<'m> Session<'m> {
    pub(super) fn new(
        model: &'m LlamaModel,
        backend: &LlamaBackend,
        settings: &EngineSettings,
        window: u32,
    ) -> Result<Self, Error> {
        // Half of what the system counts: two often share a core, and one that waits holds up all.
        let half = std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1));
        let half = u32::try_from(half).unwrap_or(1);
        let threads = i32::try_from(settings.threads.unwrap_or(half)).unwrap_or(1);
        let batch_size = settings.batch.min(window);
        let flash_attention = match settings.flash_attention {
            FlashAttention::Off => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED,
            FlashAttention::On => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            FlashAttention::Auto => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_AUTO,
        };
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(window))
            .with_n_batch(batch_size)
            .with_n_ubatch(batch_size.min(512))
            .with_n_seq_max(1)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_flash_attention_policy(flash_attention);
        let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        log::forget();
        let context = model.new_context(backend, parameters).map_err(|_| log::failure("make a context"))?;
        drop(making);
        let batch_size = batch_size as usize;
        Ok(Self {
            context,
            batch: LlamaBatch::new(batch_size, 1),
            cells: Vec::new(),
            batch_size,
            window: window as usize,
        })
    }

    /// Makes the cache hold exactly `tokens` and computes the logits after the last; returns how
    /// many of them it held already. At least one token.
    ///
    /// # Errors
    /// [`Error::Llama`] when decoding fails; the cache is empty then.
    pub fn feed(&mut self, tokens: &[LlamaToken]) -> Result<u32, Error> {
        if tokens.is_empty() || tokens.len() > self.window {
            let log = format!("{} tokens in a window of {}", tokens.len(), self.window);
            return Err(Error::Llama { action: "decode", log });
        }
        let shared = self.cells.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        // The last one is always decoded anew: its logits are wanted.
        let mut kept = shared.min(tokens.len() - 1);
        if kept < self.cells.len() {
            let from = u32::try_from(kept).ok();
            // Caches that cannot forget a part (recurrent models) begin anew.
            if !self.context.clear_kv_cache_seq(Some(0), from, None).unwrap_or(false) {
                self.context.clear_kv_cache();
                kept = 0;
            }
            self.cells.truncate(kept);
        }
        for chunk in tokens[kept..].chunks(self.batch_size) {
            if let Err(error) = self.decode(chunk, tokens.len()) {
                self.context.clear_kv_cache();
                self.cells.clear();
                return Err(error);
            }
        }
        Ok(u32::try_from(kept).unwrap_or(u32::MAX))
    }

    fn decode(&mut self, chunk: &[LlamaToken], total: usize) -> Result<(), Error> {
        let failed = |reason: &dyn std::fmt::Display| match log::failure("decode") {
            Error::Llama { action, log } => Error::Llama { action, log: format!("{reason}; {log}") },
            other => other,
        };
        log::forget();
        self.batch.clear();
        for &token in chunk {
            let position = self.cells.len();
            let wanted = position + 1 == total;
            let place = i32::try_from(position).map_err(|error| failed(&error))?;
            self.batch.add(token, place, &[0], wanted).map_err(|error| failed(&error))?;
            self.cells.push(token);
        }
        self.context.decode(&mut self.batch).map_err(|error| failed(&error))
    }

    /// The logits after the last token fed, one for each token of the vocabulary.
    ///
    /// # Panics
    /// When nothing was fed yet.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        assert!(!self.cells.is_empty(), "logits before any token was fed");
        self.context.get_logits_ith(self.batch.n_tokens() - 1)
    }
}
