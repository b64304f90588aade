//! What a model makes of given texts, without writing any: the tokens of a conversation's opening as people can read
//! them, and the bits it needs for each byte of a text. Uses a context of its own, closed at the end.

use super::{LlamaEngine, Place, backend, log};
use crate::data::Watch;
use crate::generate::chat::Segment;
use crate::generate::{Error, Message, Refusal};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use std::num::NonZeroU32;

/// Tokens of a text that are scored; the rest is left out, and so are its bytes.
const WINDOW: u32 = 512;

/// What the model is given for some messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The chat template's text and the messages' contents, in order.
    pub segments: Vec<Segment>,
    /// Tokens of all together, or why the engine would refuse them.
    pub tokens: Result<usize, Refusal>,
}

/// How well texts were foretold.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bits {
    /// Bits all scored tokens took.
    pub bits: f64,
    /// Bytes of the scored tokens.
    pub bytes: u64,
}

impl Bits {
    /// Bits a byte; infinite when nothing was scored.
    #[must_use]
    pub fn per_byte(&self) -> f64 {
        if self.bytes == 0 { f64::INFINITY } else { self.bits / self.bytes as f64 }
    }
}

impl LlamaEngine {
    /// `messages` as this model is given them.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn layout(&self, messages: &[Message]) -> Result<Layout, Error> {
        let segments = self.chat.opening(messages)?;
        let tokens = self.tokens(&segments, Place::Start).map(|tokens| tokens.len());
        Ok(Layout { segments, tokens })
    }

    /// Bits this model needs for `texts`, each from its own start, at most 512 tokens of each.
    ///
    /// # Errors
    /// [`Error::Llama`], [`Error::NotFinite`], or a stop.
    pub fn bits(&self, texts: &[&str], watch: &dyn Watch) -> Result<Bits, Error> {
        let window = WINDOW.min(self.gguf.context_length.max(64));
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(window))
            .with_n_batch(window)
            .with_n_ubatch(window)
            .with_n_seq_max(1);
        log::forget();
        // Making a context changes the model; the engine, which is not Sync, is borrowed until it is made.
        let mut context = self
            .model
            .new_context(backend()?, parameters)
            .map_err(|_| log::failure("make a context to score texts"))?;
        let mut batch = LlamaBatch::new(window as usize, 1);
        let mut all = Bits::default();
        for text in texts {
            watch.check()?;
            let one = self.bits_of(text, (&mut context, &mut batch), window as usize)?;
            all = Bits { bits: all.bits + one.bits, bytes: all.bytes + one.bytes };
            watch.advance(1);
        }
        Ok(all)
    }

    fn bits_of(
        &self,
        text: &str,
        (context, batch): (&mut LlamaContext<'_>, &mut LlamaBatch<'_>),
        window: usize,
    ) -> Result<Bits, Error> {
        let vocabulary = self.model.vocab();
        // A text begins after the token that begins texts; models without one have seen texts after an end.
        let start = if vocabulary.bos().0 >= 0 { vocabulary.bos() } else { vocabulary.eos() };
        let own = vocabulary.tokenize(text.as_bytes(), false, false);
        let tokens: Vec<LlamaToken> = (start.0 >= 0).then_some(start).into_iter().chain(own).take(window).collect();
        if tokens.len() < 2 {
            return Ok(Bits::default());
        }
        context.clear_kv_cache();
        batch.clear();
        log::forget();
        for (place, &token) in (0..).zip(&tokens) {
            batch.add(token, place, &[0], true).map_err(|_| log::failure("score a text"))?;
        }
        context.decode(batch).map_err(|error| match log::failure("score a text") {
            Error::Llama { action, log } => Error::Llama { action, log: format!("{error}; {log}") },
            other => other,
        })?;
        let mut found = Bits::default();
        for (place, token) in (0..).zip(&tokens[1..]) {
            let logits = context.get_logits_ith(place);
            let bits = surprise(logits, token.0.cast_unsigned() as usize)
                .ok_or(Error::NotFinite { after: place.cast_unsigned() as usize + 1 })?;
            found.bits += bits;
            found.bytes += vocabulary.token_to_piece(*token, false, None).len() as u64;
        }
        Ok(found)
    }
}

/// Bits of `token` under the softmax of `logits`; None when that is no number.
fn surprise(logits: &[f32], token: usize) -> Option<f64> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    let bits = (sum.ln() + largest - f64::from(*logits.get(token)?)) / std::f64::consts::LN_2;
    bits.is_finite().then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Quiet;
    use crate::generate::{ChatChoice, EngineSettings, Role};

    fn engine() -> Option<LlamaEngine> {
        let path = crate::shared::path("models/stories260K/stories260K-f32.gguf")?;
        let settings = EngineSettings { chat_template: ChatChoice::Chatml, threads: Some(1), ..Default::default() };
        Some(LlamaEngine::open(&path, settings).unwrap())
    }

    #[test]
    fn a_story_takes_fewer_bits_than_noise_and_texts_add_up() {
        let Some(engine) = engine() else { return };
        let story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.";
        let noise = "qzx vvk 81 jjw ;; xlp zzq hbbt 77 kkw vxq";
        let bits = |texts: &[&str]| engine.bits(texts, &Quiet).unwrap();
        let (told, odd, both) = (bits(&[story]), bits(&[noise]), bits(&[story, noise]));
        assert!(told.per_byte() < 1.5 && odd.per_byte() > 3.0, "{told:?} {odd:?}");
        // A byte the vocabulary writes with a blank before it may count once more.
        assert!(told.bytes.abs_diff(story.len() as u64) <= 1, "{told:?}");
        assert!((both.bits - told.bits - odd.bits).abs() < 1e-3);
        assert!(bits(&[""]).per_byte().is_infinite());
        // Longer than the window: what fits is scored.
        let long = story.repeat(100);
        assert!(bits(&[&long]).bytes < long.len() as u64);
    }

    #[test]
    fn bits_are_those_of_the_softmax() {
        let bits = surprise(&[0.0, 3f32.ln()], 0).unwrap();
        assert!((bits - 2.0).abs() < 1e-6, "{bits}");
        assert_eq!(surprise(&[f32::NAN, 0.0], 1), None);
        assert_eq!(surprise(&[0.0], 7), None);
    }

    #[test]
    fn a_layout_shows_every_character_the_model_is_given() {
        let Some(engine) = engine() else { return };
        let layout = engine.layout(&[Message::new(Role::User, "the <s> end")]).unwrap();
        let text: String = layout
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Template(text) | Segment::Content(text) => text.as_str(),
            })
            .collect();
        assert_eq!(text, "<|im_start|>user\nthe <s> end<|im_end|>\n<|im_start|>assistant\n");
        assert!(layout.tokens.unwrap() > 10);
    }
}
