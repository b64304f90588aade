//! A llama.cpp context over many sequences, which remembers the tokens each one's cells hold.
//! Each sequence has cells of its own (split streams: faster on CPUs than one pool), so a shared
//! prefix is copied, and only whole: a copy of a part aborts. Everything else that aborts inside
//! llama.cpp is kept from it here too: batches above `n_batch`, logits that were not asked for,
//! sequences and positions that do not exist.

use super::log;
use super::plan::{COMPUTED, Plan};
use crate::generate::engine::Error;
use crate::generate::settings::{CacheType, FlashAttention};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// Making contexts changes the model, so two at once are unsound.
static MAKING: Mutex<()> = Mutex::new(());

/// Whether the logits after a token are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// They are.
    Logits,
    /// They are not computed.
    Nothing,
}

/// Sequences and the tokens in them.
pub struct Cache<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    cells: Vec<Vec<u32>>,
    /// Rows of the last decoded batch that have logits.
    rows: Vec<bool>,
    batch_size: usize,
    window: usize,
}

impl<'m> Cache<'m> {
    pub(super) fn new(model: &'m LlamaModel, backend: &LlamaBackend, plan: &Plan) -> Result<Self, Error> {
        let threads = i32::try_from(plan.threads).unwrap_or(1);
        let flash_attention = match plan.flash_attention {
            FlashAttention::Off => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED,
            FlashAttention::On => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            FlashAttention::Auto => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_AUTO,
        };
        let cache_type = match plan.cache_type {
            CacheType::F32 => KvCacheType::F32,
            CacheType::F16 => KvCacheType::F16,
            CacheType::Q8 => KvCacheType::Q8_0,
            CacheType::Q4 => KvCacheType::Q4_0,
        };
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(plan.window.next_multiple_of(256).saturating_mul(plan.slots)))
            .with_n_batch(plan.batch)
            .with_n_ubatch(plan.batch.min(COMPUTED))
            .with_n_seq_max(plan.slots)
            .with_kv_unified(false)
            .with_type_k(cache_type)
            .with_type_v(cache_type)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_flash_attention_policy(flash_attention);
        let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        log::forget();
        let context = model.new_context(backend, parameters).map_err(|_| log::failure("make a context"))?;
        drop(making);
        let batch_size = plan.batch as usize;
        Ok(Self {
            context,
            batch: LlamaBatch::new(batch_size, 1),
            cells: vec![Vec::new(); plan.slots as usize],
            rows: Vec::new(),
            batch_size,
            window: plan.window as usize,
        })
    }

    /// The tokens `sequence` holds, those added to the batch included.
    #[must_use]
    pub fn held(&self, sequence: usize) -> &[u32] {
        &self.cells[sequence]
    }

    /// Sequences.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.cells.len()
    }

    /// Forgets what `sequence` holds after its first `tokens`; all of it where the memory cannot be cut.
    pub fn keep(&mut self, sequence: usize, tokens: usize) {
        if tokens >= self.cells[sequence].len() {
            return;
        }
        let number = u32::try_from(sequence).ok();
        let from = u32::try_from(tokens).ok();
        if self.context.clear_kv_cache_seq(number, from, None).unwrap_or(false) {
            self.cells[sequence].truncate(tokens);
        } else {
            // The whole of a sequence can always be removed.
            let _ = self.context.clear_kv_cache_seq(number, None, None);
            self.cells[sequence].clear();
        }
    }

    /// Makes `to` hold what `from` holds.
    ///
    /// # Errors
    /// [`Error::Llama`] when there is no such sequence.
    pub fn copy(&mut self, from: usize, to: usize) -> Result<(), Error> {
        let numbers = i32::try_from(from).ok().zip(i32::try_from(to).ok());
        let (source, target) = numbers.ok_or_else(|| log::failure("copy a sequence"))?;
        if let Some(&wrong) = [from, to].iter().find(|&&sequence| sequence >= self.cells.len()) {
            return Err(self.no_sequence(wrong));
        }
        if from == to {
            return Ok(());
        }
        self.keep(to, 0);
        let copied = self.context.copy_kv_cache_seq(source, target, None, None);
        copied.map_err(|_| log::failure("copy a sequence"))?;
        self.cells[to] = self.cells[from].clone();
        Ok(())
    }

    fn no_sequence(&self, sequence: usize) -> Error {
        let log = format!("there are {} sequences, and no number {sequence}", self.cells.len());
        Error::Llama { action: "use a sequence", log }
    }

    /// Tokens that the batch still takes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.batch_size - usize::try_from(self.batch.n_tokens()).unwrap_or(self.batch_size)
    }

    /// Adds `token` to `sequence` in the next batch; gives its row there.
    ///
    /// # Errors
    /// [`Error::Llama`] when the batch or the window is full, or there is no such sequence.
    pub fn add(&mut self, sequence: usize, token: u32, output: Output) -> Result<usize, Error> {
        let position = self.cells.get(sequence).map(Vec::len).ok_or_else(|| self.no_sequence(sequence))?;
        let full = |what: &str| Error::Llama { action: "add a token", log: format!("{what} is full") };
        if position >= self.window {
            return Err(full("the window"));
        }
        let number = i32::try_from(sequence).map_err(|_| full("the number of sequences"))?;
        let place = i32::try_from(position).map_err(|_| full("the window"))?;
        let row = usize::try_from(self.batch.n_tokens()).unwrap_or(0);
        let wanted = output == Output::Logits;
        self.batch.add(LlamaToken(token.cast_signed()), place, &[number], wanted).map_err(|_| full("the batch"))?;
        if row == 0 {
            self.rows.clear();
        }
        self.rows.push(wanted);
        self.cells[sequence].push(token);
        Ok(row)
    }

    /// Decodes what was added; nothing to decode is no error.
    ///
    /// # Errors
    /// [`Error::Llama`] with what llama.cpp said; all sequences are empty then.
    pub fn decode(&mut self) -> Result<(), Error> {
        if self.batch.n_tokens() == 0 {
            return Ok(());
        }
        log::forget();
        let decoded = self.context.decode(&mut self.batch);
        self.batch.clear();
        decoded.map_err(|error| {
            self.context.clear_kv_cache();
            self.cells.iter_mut().for_each(Vec::clear);
            self.rows.clear();
            match log::failure("decode") {
                Error::Llama { action, log } => Error::Llama { action, log: format!("{error}; {log}") },
                other => other,
            }
        })
    }

    /// The logits after the token at `row` of the last batch, one for each token of the vocabulary.
    ///
    /// # Errors
    /// [`Error::Llama`] when they were not asked for.
    pub fn logits(&self, row: usize) -> Result<&[f32], Error> {
        match i32::try_from(row) {
            Ok(number) if self.rows.get(row) == Some(&true) => Ok(self.context.get_logits_ith(number)),
            _ => Err(Error::Llama { action: "give logits", log: format!("those of row {row} were not asked for") }),
        }
    }
}
