//! The engine over llama.cpp: one model, one context, one conversation at a time.
//! A conversation reuses the cache cells of the tokens it shares with the one before, and its
//! later turns go on where the reply ended. The file is checked ([`Gguf`]) and the memory for keys
//! and values computed before llama.cpp sees either.
//! The same weights, request and machine give the same reply whatever was asked before, except for
//! rounding: a reused prefix was decoded in other batches, and threads and batch sizes change sums
//! in their last digits, which can turn a draw.
//! Simple on purpose: no batching of several conversations, no forced tokens, no speculation; the
//! scheduler that does these replaces [`LlamaEngine::run`] and [`session`], and nothing else.

mod log;
pub mod score;
pub mod session;

use super::chat::{Chat, Segment};
use super::constraint::{Constraints, NoToken};
use super::conversation::{Conversation, Ending, Message, Prompt, Reply, Role, Turn};
use super::engine::{Engine, EngineSettings, Error, Finished, Refusal, Usage};
use super::sampler::Sampler;
use crate::data::{self, Digest, Watch};
use crate::model::gguf::Gguf;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use session::Session;
use std::cell::OnceCell;
use std::path::Path;
use std::sync::OnceLock;

pub use log::lines as log_lines;

/// Bytes of a number in the cache (f16).
const CACHE_NUMBER: u64 = 2;
/// The window when the settings leave it open.
const DEFAULT_WINDOW: u32 = 4096;
/// No vocabulary has tokens this long on average; longer messages are refused before tokenization.
const BYTES_PER_TOKEN: usize = 16;

/// A loaded model that runs conversations.
pub struct LlamaEngine {
    model: LlamaModel,
    gguf: Gguf,
    weights: Digest,
    chat: Chat,
    constraints: OnceCell<Constraints>,
    settings: EngineSettings,
    window: u32,
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
        let window = window(&gguf, &settings)?;
        let backend = backend()?;
        let layers = if backend.supports_gpu_offload() { u32::MAX } else { 0 };
        let parameters = LlamaModelParams::default().with_n_gpu_layers(layers);
        log::forget();
        let model = LlamaModel::load_from_file(backend, &gguf.path, &parameters)
            .map_err(|_| log::failure("load this model"))?;
        let special = |token: LlamaToken| {
            let piece = if token.0 < 0 { Vec::new() } else { model.vocab().token_to_piece(token, true, None) };
            String::from_utf8_lossy(&piece).into_owned()
        };
        let ends = [special(model.vocab().bos()), special(model.vocab().eos())];
        let chat = Chat::new(settings.chat_template, gguf.chat_template.as_deref(), [&ends[0], &ends[1]])?;
        Ok(Self { model, gguf, weights, chat, constraints: OnceCell::new(), settings, window })
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

    /// Tokens that prompt and reply may have together.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.window
    }

    /// An empty cache over this model.
    ///
    /// # Errors
    /// [`Error::Llama`] when llama.cpp cannot make it.
    pub fn session(&self) -> Result<Session<'_>, Error> {
        Session::new(&self.model, backend()?, &self.settings, self.window)
    }

    /// Tokens of a prompt's segments; a message's content never becomes a control token.
    /// A text's start gets the token that begins a text, where the model wants one.
    fn tokens(&self, segments: &[Segment], place: Place) -> Result<Vec<LlamaToken>, Refusal> {
        let vocabulary = self.model.vocab();
        let limit = self.window as usize * BYTES_PER_TOKEN;
        let mut tokens = Vec::new();
        // Blanks before a content are tokenized with it: most vocabularies have words with their blank.
        let mut blanks = "";
        for segment in segments {
            match segment {
                Segment::Template(text) => {
                    let kept = text.trim_end_matches(' ');
                    blanks = &text[kept.len()..];
                    self.append(&mut tokens, kept, Special::Parse);
                }
                Segment::Content(text) if text.len() > limit => {
                    return Err(Refusal::MessageTooLong { bytes: text.len(), limit, window: self.window });
                }
                Segment::Content(text) => self.append(&mut tokens, &format!("{blanks}{text}"), Special::Keep),
            }
        }
        if matches!(segments.last(), Some(Segment::Template(_))) {
            self.append(&mut tokens, blanks, Special::Keep);
        }
        let bos = vocabulary.bos();
        if place == Place::Start && vocabulary.should_add_bos() && bos.0 >= 0 && tokens.first() != Some(&bos) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// Adds the tokens of `text` as they are in the middle of a text: some vocabularies put a blank
    /// before whatever they are given, which is undone by a line break that is taken away again.
    fn append(&self, tokens: &mut Vec<LlamaToken>, text: &str, special: Special) {
        let vocabulary = self.model.vocab();
        let tokenize = |text: &str| match text {
            "" => Vec::new(),
            text => vocabulary.tokenize(text.as_bytes(), false, special == Special::Parse),
        };
        if tokens.last().is_some_and(|&token| !vocabulary.is_control(token)) {
            let (broken, line_break) = (tokenize(&format!("\n{text}")), tokenize("\n"));
            if let Some(own) = broken.strip_prefix(line_break.as_slice()) {
                tokens.extend(own);
                return;
            }
        }
        tokens.extend(tokenize(text));
    }

    /// The vocabulary as the constraint needs it, made once: control tokens are no text.
    fn constraints(&self) -> Result<&Constraints, Error> {
        if let Some(made) = self.constraints.get() {
            return Ok(made);
        }
        let vocabulary = self.model.vocab();
        let words: Vec<Vec<u8>> =
            vocabulary.tokens().map(|token| vocabulary.token_to_piece(token, false, None)).collect();
        let ends: Vec<u32> = vocabulary
            .tokens()
            .filter(|&token| vocabulary.is_eog(token))
            .map(|token| token.0.cast_unsigned())
            .collect();
        let made = Constraints::new(&words, &ends)?;
        Ok(self.constraints.get_or_init(|| made))
    }

    fn converse<C: Conversation>(
        &self,
        session: &mut Session<'_>,
        conversation: &mut C,
        watch: &dyn Watch,
    ) -> Result<(Usage, Option<Refusal>), Error> {
        let prompt = conversation.opening();
        let mut talk = Talk {
            sampler: Sampler::new(prompt.sampling, prompt.seed),
            messages: prompt.messages.clone(),
            tokens: Vec::new(),
            usage: Usage::default(),
        };
        let mut added = self.tokens(&self.chat.opening(&talk.messages)?, Place::Start);
        loop {
            let refused = match added {
                Err(refusal) => Some(refusal),
                Ok(tokens) => {
                    talk.usage.tokens_in += count(&tokens);
                    talk.tokens.extend(tokens);
                    self.too_long(&talk.tokens, prompt.max_tokens)
                }
            };
            if refused.is_some() {
                return Ok((talk.usage, refused));
            }
            let reply = self.answer(session, &mut talk, &prompt, watch)?;
            let Turn::Say(message) = conversation.reply(&reply) else { return Ok((talk.usage, None)) };
            talk.messages.push(Message { role: Role::Assistant, content: reply.text });
            talk.messages.push(Message::new(Role::User, &message));
            added = self.tokens(&self.chat.follow_up(&talk.messages)?, Place::Later);
        }
    }

    fn too_long(&self, tokens: &[LlamaToken], reply: u32) -> Option<Refusal> {
        let (prompt, window) = (count(tokens), self.window);
        (prompt.saturating_add(reply) > window).then_some(Refusal::PromptTooLong { prompt, reply, window })
    }

    fn answer(
        &self,
        session: &mut Session<'_>,
        talk: &mut Talk,
        prompt: &Prompt,
        watch: &dyn Watch,
    ) -> Result<Reply, Error> {
        let vocabulary = self.model.vocab();
        let mut constraint = match &prompt.schema {
            Some(schema) => Some(self.constraints()?.begin(schema)?),
            None => None,
        };
        let reused = session.feed(&talk.tokens)?;
        if talk.usage.replies == 0 {
            talk.usage.tokens_reused = reused;
        }
        let mut bytes = Vec::new();
        let mut written = 0;
        let ending = loop {
            watch.check()?;
            if written == prompt.max_tokens {
                break Ending::CutOff;
            }
            let logits = session.logits();
            let drawn = match &mut constraint {
                Some(constraint) => constraint.next(&mut talk.sampler, logits),
                None => talk.sampler.pick(logits, None).map_err(NoToken::from),
            };
            let token = LlamaToken(drawn.map_err(|error| no_token(error, &talk.tokens))?.cast_signed());
            if vocabulary.is_eog(token) {
                break Ending::Complete;
            }
            written += 1;
            bytes.extend(vocabulary.token_to_piece(token, false, None));
            talk.tokens.push(token);
            if constraint.as_ref().is_some_and(super::constraint::Constraint::is_complete) {
                break Ending::Complete;
            }
            session.feed(&talk.tokens)?;
        };
        talk.usage.replies += 1;
        talk.usage.tokens_out += written;
        Ok(Reply { text: String::from_utf8_lossy(&bytes).into_owned(), tokens: written, ending })
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

/// A conversation under way: everything said, as messages and as tokens.
struct Talk {
    sampler: Sampler,
    messages: Vec<Message>,
    tokens: Vec<LlamaToken>,
    usage: Usage,
}

impl<C: Conversation> Engine<C> for LlamaEngine {
    fn identity(&self) -> serde_json::Value {
        serde_json::json!({
            "weights": self.weights,
            "architecture": self.gguf.architecture,
            "chat_template": self.settings.chat_template,
            "engine": "llama-cpp-2 0.1.160, one sequence",
        })
    }

    fn run(
        &mut self,
        conversations: &mut dyn Iterator<Item = C>,
        finished: &mut dyn FnMut(Finished<C>) -> data::Result<()>,
        watch: &dyn Watch,
    ) -> Result<(), Error> {
        let mut session = self.session()?;
        for mut conversation in conversations {
            watch.check()?;
            let (usage, refused) = self.converse(&mut session, &mut conversation, watch)?;
            finished(Finished { conversation, usage, refused })?;
        }
        Ok(())
    }
}

/// The window the settings ask for, when the model and the memory limit allow it.
fn window(gguf: &Gguf, settings: &EngineSettings) -> Result<u32, Error> {
    let trained = gguf.context_length;
    let window = settings.context.unwrap_or(trained.min(DEFAULT_WINDOW));
    if !(64..=trained.max(64)).contains(&window) {
        return Err(Error::Settings {
            setting: "context",
            expected: format!("64 to {trained} tokens, what this model was trained for"),
            found: window.to_string(),
            hint: "leave it out to get the largest that is sensible",
        });
    }
    if !(1..=4096).contains(&settings.batch) || settings.threads == Some(0) {
        return Err(Error::Settings {
            setting: "batch, threads",
            expected: "a batch of 1 to 4096 tokens and at least one thread".to_owned(),
            found: format!("{} and {:?}", settings.batch, settings.threads),
            hint: "leave them out to get the defaults",
        });
    }
    let mib = (gguf.key_value_bytes(CACHE_NUMBER).saturating_mul(u64::from(window))).div_ceil(1 << 20);
    if mib > u64::from(settings.key_value_mib) {
        return Err(Error::Settings {
            setting: "context",
            expected: format!("keys and values in at most {} MiB (key_value_mib)", settings.key_value_mib),
            found: format!("{mib} MiB for {window} tokens of {} blocks", gguf.block_count),
            hint: "lower context, or raise key_value_mib if the machine has the memory",
        });
    }
    Ok(window)
}

fn no_token(error: NoToken, tokens: &[LlamaToken]) -> Error {
    match error {
        NoToken::NotFinite => Error::NotFinite { after: tokens.len() },
        NoToken::Constraint(error) => Error::Schema(error),
    }
}

fn count(tokens: &[LlamaToken]) -> u32 {
    u32::try_from(tokens.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
