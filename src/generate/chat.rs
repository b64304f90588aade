//! Turns messages into the text a model was trained on, by the model's own Jinja template.
//! The template is rendered with placeholders instead of contents and cut at them, so that what
//! the template says and what a user says never mix: special tokens are parsed in the former only.
//! A second turn is what the template says after the model's reply, put behind the tokens already
//! in the cache. Templates are told whether to let the model think (`enable_thinking`); where one
//! takes no notice, the opening or closing tag is put behind its text. Fixed on purpose: templates
//! that print the date get 26 July 2024, the default of those that have one, so that no prompt
//! changes from day to day.

use super::conversation::{Message, Role};
use super::engine::Error;
use super::thought;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

/// Which template lays out the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatChoice {
    /// The one in the model's file; a model without one is an error.
    #[default]
    Own,
    /// `<|im_start|>role`, content, `<|im_end|>`: Qwen and many fine-tuned models.
    Chatml,
    /// The contents, each followed by an empty line: models that were not trained to chat.
    Plain,
}

// A template's own last line break is dropped, as Jinja does; one in an expression stays.
const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
    {% endfor %}<|im_start|>assistant{{ '\n' }}";
const PLAIN: &str = "{% for message in messages %}{{ message.content }}{{ '\n\n' }}{% endfor %}";

/// The text that begins a thought.
const OPEN: &str = "<think>";

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// From the template: special tokens in it are meant.
    Template(String),
    /// From a message: every character of it is text.
    Content(String),
}

/// Whether a model thinks before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// It answers at once.
    Off,
    /// It thinks first.
    On,
}

/// A template, ready to use.
pub struct Chat {
    thinking: Thinking,
    /// Whether the template speaks of thoughts.
    knows_thoughts: bool,
    jinja: Environment<'static>,
    bos: String,
    eos: String,
}

impl Chat {
    /// The template `choice` names; `own` is the one in the model's file, `bos` and `eos` are the
    /// texts of the tokens that begin and end a text.
    ///
    /// # Errors
    /// [`Error::Template`] when the model has none of its own or it is no Jinja.
    pub fn new(choice: ChatChoice, own: Option<&str>, [bos, eos]: [&str; 2]) -> Result<Self, Error> {
        let source = match (choice, own) {
            (ChatChoice::Own, Some(own)) => own.to_owned(),
            (ChatChoice::Own, None) => return Err(Error::Template("this model has none of its own".to_owned())),
            (ChatChoice::Chatml, _) => CHATML.to_owned(),
            (ChatChoice::Plain, _) => PLAIN.to_owned(),
        };
        let knows_thoughts = source.contains("think");
        let mut jinja = Environment::new();
        jinja.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(unusable)?);
        jinja.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        jinja.add_function("raise_exception", raise_exception);
        jinja.add_function("strftime_now", strftime_now);
        jinja.add_filter("tojson", tojson);
        let parsed = jinja.add_template_owned("chat", source);
        parsed.map_err(unusable)?;
        let (bos, eos) = (bos.to_owned(), eos.to_owned());
        Ok(Self { thinking: Thinking::Off, knows_thoughts, jinja, bos, eos })
    }

    /// The same template, for a model that is to think or not; not, unless said.
    ///
    /// # Errors
    /// [`Error::Settings`] when it is to think and its template speaks of no thoughts.
    pub fn thinking(self, thinking: Thinking) -> Result<Self, Error> {
        if thinking == Thinking::On && !self.knows_thoughts {
            return Err(Error::Settings {
                setting: "thinking",
                expected: "0, as the chat template speaks of no thoughts".to_owned(),
                found: "more".to_owned(),
                hint: "leave it out; models that think bring a template that says so",
            });
        }
        Ok(Self { thinking, ..self })
    }

    /// Opens or closes the thought where the template left it otherwise than wanted.
    fn settle(&self, last: &mut String) {
        let open = last.rfind(OPEN) > last.rfind(thought::END);
        match self.thinking {
            Thinking::Off if open => last.push_str(thought::CLOSE),
            Thinking::On if !open => last.push_str("<think>\n"),
            _ => {}
        }
    }

    /// The whole prompt up to where the model speaks. Where the template has no place for a system
    /// message, it is put before the first user message.
    ///
    /// # Errors
    /// [`Error::Template`] when it fails, drops, repeats or reorders contents.
    pub fn opening(&self, messages: &[Message]) -> Result<Vec<Segment>, Error> {
        Ok(self.cut(messages)?.0)
    }

    /// What follows the last reply: its end, the new user message, and the model's turn again.
    /// `messages` are all there were, the reply and the new message included.
    ///
    /// # Errors
    /// As [`Chat::opening`]; also when no reply is among the messages.
    pub fn follow_up(&self, messages: &[Message]) -> Result<Vec<Segment>, Error> {
        let (mut segments, messages) = self.cut(messages)?;
        let reply = messages.iter().rposition(|message| message.role == Role::Assistant);
        let reply = reply.ok_or_else(|| Error::Template("no reply to follow".to_owned()))?;
        // Segments alternate: template, content, template ...; contents in the order of messages.
        Ok(segments.split_off(2 * reply + 2))
    }

    fn cut(&self, messages: &[Message]) -> Result<(Vec<Segment>, Vec<Message>), Error> {
        let failure = match self.render(messages) {
            Ok(segments) => return Ok((segments, messages.to_vec())),
            Err(error) => error,
        };
        if messages.first().is_none_or(|message| message.role != Role::System) {
            return Err(failure);
        }
        let folded = fold_system(messages);
        // If that fails too, the first failure is the one to tell.
        let segments = self.render(&folded).map_err(|_| failure)?;
        Ok((segments, folded))
    }

    fn render(&self, messages: &[Message]) -> Result<Vec<Segment>, Error> {
        let sentinel = |place: usize| format!("[[nearmiss content {place} ends here]]");
        let list: Vec<Value> = (0..)
            .zip(messages)
            .map(|(place, message)| context! { role => message.role.as_str(), content => sentinel(place) })
            .collect();
        let template = self.jinja.get_template("chat").map_err(unusable)?;
        let rendered = template
            .render(context! {
                messages => list,
                bos_token => self.bos.as_str(),
                eos_token => self.eos.as_str(),
                add_generation_prompt => true,
                enable_thinking => self.thinking == Thinking::On,
                tools => (),
                documents => (),
            })
            .map_err(unusable)?;
        let mut segments = Vec::new();
        let mut rest = rendered.as_str();
        for (place, message) in messages.iter().enumerate() {
            let Some((before, after)) = rest.split_once(&sentinel(place)) else {
                let role = message.role.as_str();
                return Err(Error::Template(format!("it drops or reorders the {role} message")));
            };
            segments.push(Segment::Template(before.to_owned()));
            segments.push(Segment::Content(message.content.clone()));
            rest = after;
        }
        let mut last = rest.to_owned();
        self.settle(&mut last);
        segments.push(Segment::Template(last));
        let repeats = (0..messages.len()).any(|place| rendered.matches(&sentinel(place)).count() > 1);
        if repeats { Err(Error::Template("it repeats a message".to_owned())) } else { Ok(segments) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn unusable(error: minijinja::Error) -> Error {
    Error::Template(format!("{error:#}"))
}

fn fold_system(messages: &[Message]) -> Vec<Message> {
    let mut folded: Vec<Message> = messages[1..].to_vec();
    if let Some(user) = folded.iter_mut().find(|message| message.role == Role::User) {
        user.content = format!("{}\n\n{}", messages[0].content, user.content);
    }
    folded
}

fn raise_exception(message: &str) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message.to_owned()))
}

/// Friday, 26 July 2024, at midnight, by a strftime format.
fn strftime_now(format: &str) -> String {
    let parts = [
        ("%d", "26"),
        ("%e", "26"),
        ("%m", "07"),
        ("%b", "Jul"),
        ("%B", "July"),
        ("%Y", "2024"),
        ("%y", "24"),
        ("%a", "Fri"),
        ("%A", "Friday"),
        ("%H", "00"),
        ("%M", "00"),
        ("%S", "00"),
    ];
    parts.iter().fold(format.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Python's `json.dumps`, as chat templates expect; minijinja's own filter writes JSON that is safe in HTML.
fn tojson(value: &Value, indent: Option<Value>, rest: Kwargs) -> Result<String, minijinja::Error> {
    let safe = minijinja::filters::tojson(value, indent, rest)?.to_string();
    let mut text = String::with_capacity(safe.len());
    let mut left = safe.as_str();
    while let Some(at) = left.find('\\') {
        text.push_str(&left[..at]);
        let (escape, plain) = match left.get(at..at + 6) {
            Some("\\u003c") => (6, "<"),
            Some("\\u003e") => (6, ">"),
            Some("\\u0026") => (6, "&"),
            Some("\\u0027") => (6, "'"),
            _ => (2, left.get(at..at + 2).unwrap_or("\\")),
        };
        text.push_str(plain);
        left = left.get(at + escape..).unwrap_or("");
    }
    text.push_str(left);
    Ok(text)
}

#[cfg(test)]
mod tests;
