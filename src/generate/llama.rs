//! The engine over llama.cpp: one model, one context, many conversations at once.
//! The file is checked ([`Gguf`]) and the memory for keys and values computed ([`Plan`]) before
//! llama.cpp sees either. Here a model is loaded and texts become tokens; `scheduler` runs
//! conversations over a [`cache`], `talk` is one of them.

pub mod cache;
mod log;
pub mod plan;
mod scheduler;
pub mod score;
mod talk;
mod tune;

use super::chat::{Chat, Segment, Thinking};
use super::constraint::Constraints;
use super::conversation::Conversation;
use super::engine::{Engine, Error, Finished, Refusal};
use super::meter::{Clock, Meter, Spent};
use super::settings::EngineSettings;
use super::thought;
use super::words::Words;
use crate::data::{self, Digest, Watch};
use crate::model::gguf::Gguf;
use cache::Cache;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use plan::Plan;
use scheduler::{Ports, Scheduler};
use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

pub use log::lines as log_lines;

/// No vocabulary has tokens this long on average; longer messages are refused before tokenization.
const BYTES_PER_TOKEN: usize = 16;

/// A loaded model that runs conversations.
pub struct LlamaEngine {
    model: Arc<LlamaModel>,
    words: Words,
    gguf: Gguf,
    weights: Digest,
    chat: Chat,
    constraints: OnceCell<Constraints>,
    settings: EngineSettings,
    plan: Plan,
    meter: Rc<Meter>,
}

/// llama.cpp's global state; made once, kept until the process ends.
fn backend() -> Result<&'static LlamaBackend, Error> {
    static BACKEND: OnceLock<Option<LlamaBackend>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        log::capture();
        LlamaBackend::init().ok()
    });
    backend.as_ref().ok_or_else(|| log::failure("start"))
}

impl LlamaEngine {
    /// The model in `gguf`, whose file has the digest `weights`, on all GPUs there are, else the CPU.
    ///
    /// # Errors
    /// [`Error::Settings`] when the window or its memory cannot be; [`Error::Template`];
    /// [`Error::Llama`] when llama.cpp refuses the file.
    pub fn load(gguf: Gguf, weights: Digest, settings: EngineSettings) -> Result<Self, Error> {
        let mut plan = Plan::new(&gguf, &settings)?;
        let backend = backend()?;
        let layers = if backend.supports_gpu_offload() { u32::MAX } else { 0 };
        // Read, not mapped: a file that is cut off later would kill the process.
        let parameters = LlamaModelParams::default().with_n_gpu_layers(layers).with_use_mmap(false);
        log::forget();
        let model = LlamaModel::load_from_file(backend, &gguf.path, &parameters)
            .map_err(|_| log::failure("load this model"))?;
        unchanged(&gguf)?;
        let special = |token: LlamaToken| {
            let piece = if token.0 < 0 { Vec::new() } else { model.vocab().token_to_piece(token, true, None) };
            String::from_utf8_lossy(&piece).into_owned()
        };
        let ends = [special(model.vocab().bos()), special(model.vocab().eos())];
        let chat = Chat::new(settings.chat_template, gguf.chat_template.as_deref(), [&ends[0], &ends[1]])?;
        let chat = chat.thinking(if settings.thinking > 0 { Thinking::On } else { Thinking::Off })?;
        if model.is_recurrent() || model.is_hybrid() {
            plan.no_sharing = Some("its memory is recurrent and cannot be cut");
        }
        let words = words(&model);
        Ok(Self {
            model: Arc::new(model),
            words,
            gguf,
            weights,
            chat,
            constraints: OnceCell::new(),
            settings,
            plan,
            meter: Rc::default(),
        })
    }

    /// [`LlamaEngine::load`] after checking the file at `path` and taking its digest.
    ///
    /// # Errors
    /// As [`LlamaEngine::load`] and [`Gguf::open`].
    pub fn open(path: &Path, settings: EngineSettings) -> Result<Self, Error> {
        Self::load(Gguf::open(path)?, Digest::of_file(path)?, settings)
    }

    /// What the file says of the model.
    #[must_use]
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// What it was given on this machine.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Measures from now on by `clock`.
    pub fn measure(&mut self, clock: Clock) {
        self.meter.start(clock);
    }

    /// What was spent since [`LlamaEngine::measure`].
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.meter.spent()
    }

    /// Empty sequences over this model, one for each slot.
    ///
    /// # Errors
    /// [`Error::Llama`] when llama.cpp cannot make them.
    pub fn cache(&self) -> Result<Cache<'_>, Error> {
        Cache::new(&self.model, backend()?, &self.plan)
    }

    /// Tokens of a prompt's segments; a message's content never becomes a control token.
    /// A text's start gets the token that begins a text, where the model wants one.
    fn tokens(&self, segments: &[Segment], place: Place) -> Result<Vec<u32>, Refusal> {
        let vocabulary = self.model.vocab();
        let limit = self.plan.window as usize * BYTES_PER_TOKEN;
        let mut tokens = Vec::new();
        // Blanks before a content are tokenized with it: most vocabularies have words with their blank.
        let mut blanks = "";
        for segment in segments {
            match segment {
                Segment::Template(text) => {
                    let kept = text.trim_end_matches(' ');
                    blanks = &text[kept.len()..];
                    append(&self.model, &mut tokens, kept, Special::Parse);
                }
                Segment::Content(text) if text.len() > limit => {
                    return Err(Refusal::MessageTooLong { bytes: text.len(), limit, window: self.plan.window });
                }
                Segment::Content(text) => append(&self.model, &mut tokens, &format!("{blanks}{text}"), Special::Keep),
            }
        }
        if matches!(segments.last(), Some(Segment::Template(_))) {
            append(&self.model, &mut tokens, blanks, Special::Keep);
        }
        let bos = vocabulary.bos();
        if place == Place::Start && vocabulary.should_add_bos() && bos.0 >= 0 && tokens.first() != Some(&bos) {
            tokens.insert(0, bos);
        }
        Ok(tokens.into_iter().map(|token| token.0.cast_unsigned()).collect())
    }

    /// The vocabulary as the constraint needs it, made once.
    fn constraints(&self) -> Result<&Constraints, Error> {
        if let Some(made) = self.constraints.get() {
            return Ok(made);
        }
        let model = Arc::clone(&self.model);
        let tokenize = move |text: &str| {
            let tokens = inside(&model, text, Special::Keep);
            tokens.into_iter().map(|token| token.0.cast_unsigned()).collect()
        };
        let made = Constraints::new(&self.words, Box::new(tokenize), Rc::clone(&self.meter))?;
        Ok(self.constraints.get_or_init(|| made))
    }
}

/// The file is still as large as when it was checked.
fn unchanged(gguf: &Gguf) -> Result<(), Error> {
    let bytes = std::fs::metadata(&gguf.path).map_err(data::Error::io("read", &gguf.path))?.len();
    if bytes == gguf.file_bytes {
        return Ok(());
    }
    let expected = format!("{} bytes, as when it was checked", gguf.file_bytes);
    let hint = "another program writes it: wait until it is whole";
    Err(data::Error::from(data::Fault::new(&gguf.path, expected, format!("{bytes} bytes")).hint(hint)).into())
}

/// Adds the tokens of `text`: as they are inside a text, unless it begins one.
fn append(model: &LlamaModel, tokens: &mut Vec<LlamaToken>, text: &str, special: Special) {
    if tokens.last().is_some_and(|&token| !model.vocab().is_control(token)) {
        tokens.extend(inside(model, text, special));
    } else if !text.is_empty() {
        tokens.extend(model.vocab().tokenize(text.as_bytes(), false, special == Special::Parse));
    }
}

/// The tokens of `text` in the middle of a text: some vocabularies put a blank before whatever they
/// are given, which is undone by a line break that is taken away again.
fn inside(model: &LlamaModel, text: &str, special: Special) -> Vec<LlamaToken> {
    let tokenize = |text: &str| model.vocab().tokenize(text.as_bytes(), false, special == Special::Parse);
    if text.is_empty() {
        return Vec::new();
    }
    let (broken, line_break) = (tokenize(&format!("\n{text}")), tokenize("\n"));
    match broken.strip_prefix(line_break.as_slice()) {
        Some(own) => own.to_vec(),
        None => tokenize(text),
    }
}

fn words(model: &LlamaModel) -> Words {
    let vocabulary = model.vocab();
    let said = |text: &str| inside(model, text, Special::Parse).iter().map(|token| token.0.cast_unsigned()).collect();
    Words {
        pieces: vocabulary.tokens().map(|token| vocabulary.token_to_piece(token, false, None)).collect(),
        ends: vocabulary
            .tokens()
            .filter(|&token| vocabulary.is_eog(token))
            .map(|token| token.0.cast_unsigned())
            .collect(),
        thought_end: said(thought::END),
        thought_close: said(thought::CLOSE),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Later,
}

/// Whether the names of control tokens in a text mean those tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    Parse,
    Keep,
}

impl<C: Conversation> Engine<C> for LlamaEngine {
    fn identity(&self) -> serde_json::Value {
        serde_json::json!({
            "weights": self.weights,
            "architecture": self.gguf.architecture,
            "chat_template": self.settings.chat_template,
            "thinking": self.settings.thinking,
            "cache_type": self.plan.cache_type,
            "engine": "llama-cpp-2 0.1.160",
        })
    }

    fn run(
        &mut self,
        conversations: &mut dyn Iterator<Item = C>,
        finished: &mut dyn FnMut(Finished<C>) -> data::Result<()>,
        watch: &dyn Watch,
    ) -> Result<(), Error> {
        if let Some(reason) = self.plan.no_sharing {
            watch.note(&format!("prompts are not shared between conversations: {reason}"));
        }
        Scheduler::new(self)?.run(Ports { conversations, finished, watch })
    }
}

#[cfg(test)]
mod tests;
