//! A conversation under way: what was said so far, as messages and as tokens, and the reply being written.

use super::{LlamaEngine, Place};
use crate::generate::constraint::{Constraint, NoToken};
use crate::generate::conversation::{Conversation, Ending, Message, Prompt, Role, Turn};
use crate::generate::engine::{Error, Finished, Refusal, Usage};
use crate::generate::sampler::Sampler;
use crate::generate::writer::Writer;

/// A conversation with all that was said in it.
pub(super) struct Talk<C> {
    conversation: C,
    rules: Prompt,
    messages: Vec<Message>,
    /// Everything said, also what the cache does not hold yet.
    pub(super) tokens: Vec<u32>,
    sampler: Sampler,
    writer: Option<Writer>,
    pub(super) usage: Usage,
}

/// What a conversation wants next.
pub(super) enum Next {
    /// Its tokens decoded.
    Decode,
    /// Nothing: it is over.
    End(Option<Refusal>),
}

impl<C: Conversation> Talk<C> {
    /// The conversation with its opening as tokens; a refusal when it does not fit.
    pub(super) fn begin(engine: &LlamaEngine, conversation: C) -> Result<Result<Self, Finished<C>>, Error> {
        let mut rules = conversation.opening();
        let messages = std::mem::take(&mut rules.messages);
        let opening = engine.chat.opening(&messages)?;
        let sampler = Sampler::new(rules.sampling, rules.seed);
        let usage = Usage::default();
        let mut talk = Self { conversation, rules, messages, tokens: Vec::new(), sampler, writer: None, usage };
        let said = engine.tokens(&opening, Place::Start);
        Ok(match talk.hear(engine, said) {
            Next::Decode => Ok(talk),
            Next::End(refused) => Err(talk.finish(refused)),
        })
    }

    /// Takes prompt tokens, if the reply still fits behind them.
    fn hear(&mut self, engine: &LlamaEngine, said: Result<Vec<u32>, Refusal>) -> Next {
        let said = match said {
            Ok(said) => said,
            Err(refusal) => return Next::End(Some(refusal)),
        };
        self.usage.tokens_in += count(&said);
        self.tokens.extend(said);
        let (prompt, window) = (count(&self.tokens), engine.plan.window);
        let reply = self.rules.max_tokens.saturating_add(engine.plan.thinking);
        if prompt.saturating_add(reply) > window {
            return Next::End(Some(Refusal::PromptTooLong { prompt, reply, window }));
        }
        Next::Decode
    }

    /// Begins a reply behind the tokens heard; kept for when its turn has come, since a constraint is large.
    pub(super) fn begin_reply(&mut self, engine: &LlamaEngine) -> Result<Next, Error> {
        let most = self.rules.max_tokens;
        let constraint = match &self.rules.schema {
            Some(schema) => Some(engine.constraints()?.begin(schema)?),
            None => None,
        };
        let shortest = constraint.as_ref().and_then(Constraint::least).filter(|&shortest| shortest > most);
        if let Some(shortest) = shortest {
            return Ok(Next::End(Some(Refusal::ReplyTooShort { shortest, most })));
        }
        let mut writer = Writer::new(constraint, most, engine.plan.thinking);
        writer.begin(&engine.words, &mut self.sampler, &mut self.tokens);
        self.writer = Some(writer);
        Ok(Next::Decode)
    }

    /// Goes on from `logits`, those after the last of its tokens.
    pub(super) fn advance(&mut self, engine: &LlamaEngine, logits: &[f32]) -> Result<Next, Error> {
        let Some(writer) = &mut self.writer else { return Ok(Next::Decode) };
        let after = self.tokens.len();
        let written = writer.write(&engine.words, &mut self.sampler, logits, &mut self.tokens);
        match written.map_err(|error| no_token(error, after))? {
            None => Ok(Next::Decode),
            Some(ending) => self.turn(engine, ending),
        }
    }

    fn turn(&mut self, engine: &LlamaEngine, ending: Ending) -> Result<Next, Error> {
        let Some(writer) = self.writer.take() else { return Ok(Next::Decode) };
        if let Some(thought) = writer.thought() {
            self.conversation.thought(&thought);
        }
        let reply = writer.reply(ending);
        self.usage.replies += 1;
        self.usage.tokens_out += reply.tokens;
        let Turn::Say(message) = self.conversation.reply(&reply) else { return Ok(Next::End(None)) };
        self.messages.push(Message { role: Role::Assistant, content: reply.text });
        self.messages.push(Message::new(Role::User, &message));
        let said = engine.tokens(&engine.chat.follow_up(&self.messages)?, Place::Later);
        match self.hear(engine, said) {
            Next::Decode => self.begin_reply(engine),
            end @ Next::End(_) => Ok(end),
        }
    }

    /// What is handed back at its end.
    pub(super) fn finish(self, refused: Option<Refusal>) -> Finished<C> {
        Finished { conversation: self.conversation, usage: self.usage, refused }
    }
}

fn no_token(error: NoToken, after: usize) -> Error {
    match error {
        NoToken::NotFinite => Error::NotFinite { after },
        NoToken::Constraint(error) => Error::Schema(error),
    }
}

fn count(tokens: &[u32]) -> u32 {
    u32::try_from(tokens.len()).unwrap_or(u32::MAX)
}
