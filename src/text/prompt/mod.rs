//! Prompts as TOML files: blocks with `{placeholders}`, attribute pools, the shape of the reply, messages for
//! reflection, versions. A file says which inputs it takes; an input, attribute or switch it does not use, or a
//! placeholder it does not declare, is an error. The program's own prompts are the files of `prompts/`, compiled in;
//! `docs/written.md` of the repository lists the keys.

mod file;
mod template;

pub use file::{Block, Switch};

use crate::data::{Digest, Error, Fault, Result, Seed};
use file::{File, Pools};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use template::Template;

include!(concat!(env!("OUT_DIR"), "/prompts.rs"));

/// Placeholders of a reflection message, beside the inputs: the defects found, one a line.
const REFLECTION_ONLY: &str = "defects";

/// Who worded a block or made a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It stands so in the paper the prompt is named for.
    Paper,
    /// The paper does not publish it; this program's authors wrote it.
    Ours,
}

/// What a prompt asks the model to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writes {
    /// Passages for a query and its positive.
    #[default]
    Negatives,
    /// Queries that the passage answers.
    Queries,
    /// Queries that look like the given one and that the passage does not answer.
    HardQueries,
}

/// The JSON object a reply is: a list of objects with a `text` under one key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// What the texts are, default negatives.
    pub writes: Writes,
    /// Key of the list, default `hard_negative_documents`.
    pub list: String,
    /// Most characters the reply may reason in before the list, 0 and up, default 0: no reasoning.
    /// Less: the reasoning is cut. More: requests cost more.
    pub reasoning_characters: u32,
    /// How many texts, where the prompt's own words fix it; default: what the settings ask for.
    pub count: Option<u32>,
    /// Fewest and most words of a text, whatever the positive's length; default: in proportion to the positive.
    pub words: Option<(u32, u32)>,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            writes: Writes::Negatives,
            list: "hard_negative_documents".to_owned(),
            reasoning_characters: 0,
            count: None,
            words: None,
        }
    }
}

/// Settings a prompt is meant for, where the user says nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suggested {
    /// Replies a request may take.
    pub attempts: Option<u32>,
    /// Temperature of the draws.
    pub temperature: Option<f32>,
    /// Only the k likeliest tokens.
    pub top_k: Option<u32>,
    /// Only the likeliest tokens of this probability together.
    pub top_p: Option<f32>,
}

/// A prompt, checked.
#[derive(Debug, Clone)]
pub struct PromptFile {
    /// Its name, as users give it.
    pub name: String,
    /// Raised when its meaning changes.
    pub version: u32,
    /// One sentence on what it asks for.
    pub description: String,
    /// Digest of the file's text, and of the one it is based on.
    pub digest: Digest,
    /// What the reply looks like.
    pub reply: Reply,
    /// What it is meant to be used with.
    pub suggested: Suggested,
    /// Inputs it takes.
    pub inputs: Vec<String>,
    /// Its blocks with who worded them; none when the message is in one piece.
    pub blocks: Vec<Block>,
    /// A question asked once before all requests, whose answer is the input `definition`; "" when there is none.
    pub first: String,
    system: Template,
    user: Template,
    reflection: Template,
    switches: BTreeMap<String, Switch>,
    origins: BTreeMap<String, Origin>,
    attributes: Pools,
}

/// Values by placeholder.
pub type Values = BTreeMap<String, String>;

impl PromptFile {
    /// The prompt called `name`: one of the program's own, else the TOML file at that path.
    /// `known` names the inputs the caller can fill.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no such prompt, or as [`PromptFile::parse`]; [`Error::Io`].
    pub fn find(name: &str, known: &[&str]) -> Result<Self> {
        if let Some((name, text)) = FILES.iter().find(|(own, _)| *own == name) {
            return Self::parse(text, Path::new(&format!("prompts/{name}.toml")), known);
        }
        let path = Path::new(name);
        if !path.is_file() {
            return Err(Fault::new(path, "a prompt", "no such name or file")
                .hint(format!("the prompts at hand: {}; or give the path of a TOML file", names().join(", ")))
                .into());
        }
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text, path, known)
    }

    /// The prompt in `text`; `path` is only for messages.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no prompt file, declares an input that is not `known`, leaves an input, attribute
    /// or switch unused, uses a placeholder it does not declare, or has pools that differ in their attributes.
    pub fn parse(text: &str, path: &Path, known: &[&str]) -> Result<Self> {
        let (file, whole) = File::read(text, path)?;
        let template = |key: &str, text: &str| {
            let parsed = Template::parse(text);
            parsed.map_err(|found| Error::from(Fault::new(path, "{name}, {{ or }}", found).key(key)))
        };
        let prompt = Self {
            system: template("system", &file.system)?,
            user: template("user", &file.message(path)?)?,
            reflection: template("reflection", &file.reflection)?,
            digest: Digest::of_bytes(whole.as_bytes()),
            name: file.name,
            version: file.version,
            description: file.description,
            reply: file.reply.unwrap_or_default(),
            suggested: file.settings.unwrap_or_default(),
            inputs: file.inputs,
            blocks: file.block,
            first: file.first.trim().to_owned(),
            switches: file.switches,
            origins: file.pools,
            attributes: file.attributes,
        };
        prompt.check(path, known)?;
        Ok(prompt)
    }

    fn check(&self, path: &Path, known: &[&str]) -> Result<()> {
        if let Some(unknown) = self.inputs.iter().find(|input| !known.contains(&input.as_str())) {
            let expected = format!("inputs among: {}", known.join(", "));
            return Err(Fault::new(path, expected, unknown.clone()).key("inputs").into());
        }
        let attributes = self.attribute_names(path)?;
        let switches = self.switches.keys().map(String::as_str);
        let declared: BTreeSet<&str> =
            self.inputs.iter().map(String::as_str).chain(attributes).chain(switches).collect();
        let opening: BTreeSet<&str> = self.system.names().chain(self.user.names()).collect();
        if let Some(unused) = declared.iter().find(|&name| !opening.contains(name)) {
            let expected = "every input, attribute and switch used in system or user";
            return Err(Fault::new(path, expected, format!("{{{unused}}} nowhere"))
                .hint("use it, or take it out of `inputs`, the attributes or the switches")
                .into());
        }
        let reflection: BTreeSet<&str> = self.reflection.names().collect();
        let undeclared = opening
            .iter()
            .chain(reflection.iter().filter(|&&name| name != REFLECTION_ONLY))
            .find(|&name| !declared.contains(name));
        if let Some(name) = undeclared {
            let expected = format!("placeholders among: {}", declared.iter().copied().collect::<Vec<_>>().join(", "));
            return Err(Fault::new(path, expected, format!("{{{name}}}")).into());
        }
        if let Some((name, switch)) = self.switches.iter().find(|(_, s)| !s.positions.contains_key(&s.default)) {
            let expected = "a default among its positions";
            return Err(Fault::new(path, expected, switch.default.clone()).key(format!("switches.{name}")).into());
        }
        if !reflection.contains(REFLECTION_ONLY) {
            return Err(Fault::new(path, "{defects}", "none").key("reflection").into());
        }
        if self.first.is_empty() == self.inputs.iter().any(|input| input == "definition") {
            let found = if self.first.is_empty() { "the input alone" } else { "the question alone" };
            return Err(Fault::new(path, "a question in `first` and the input `definition`", found)
                .key("first")
                .into());
        }
        Ok(())
    }

    /// Names of the attribute pools ("general", "scifact" ...) with who made them, sorted; none without attributes.
    pub fn pools(&self) -> impl Iterator<Item = (&str, Origin)> {
        self.attributes.keys().map(|name| (name.as_str(), self.origins.get(name).copied().unwrap_or(Origin::Ours)))
    }

    /// The attributes under `name`; empty, whatever the name, when the prompt has none.
    ///
    /// # Errors
    /// [`Error::Input`] when the prompt has attributes but no such pool.
    pub fn pool(&self, name: &str) -> Result<Pool<'_>> {
        match self.attributes.get(name) {
            _ if self.attributes.is_empty() => Ok(Pool(None)),
            Some(pool) => Ok(Pool(Some(pool))),
            None => {
                let path = format!("prompts/{}.toml", self.name);
                Err(Fault::new(Path::new(&path), "an attribute pool", format!("no pool {name}"))
                    .hint(format!("its pools: {}", self.attributes.keys().cloned().collect::<Vec<_>>().join(", ")))
                    .into())
            }
        }
    }

    /// The wording of each switch, at the position `chosen` or else its default.
    ///
    /// # Errors
    /// [`Error::Input`] when it has no such switch or position.
    pub fn switched(&self, chosen: &BTreeMap<String, String>) -> Result<Values> {
        let path = format!("prompts/{}.toml", self.name);
        let fault = |expected: String, found: &str| Fault::new(Path::new(&path), expected, found).key("switches");
        let names = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>().join(", ");
        if let Some(unknown) = chosen.keys().find(|name| !self.switches.contains_key(*name)) {
            return Err(fault(format!("switches among: {}", names(self.switches.keys().collect())), unknown).into());
        }
        let mut values = Values::new();
        for (name, switch) in &self.switches {
            let position = chosen.get(name).unwrap_or(&switch.default);
            let Some(text) = switch.positions.get(position) else {
                let known = names(switch.positions.keys().collect());
                return Err(fault(format!("{name} among: {known}"), position).into());
            };
            values.insert(name.clone(), text.trim().to_owned());
        }
        Ok(values)
    }

    /// The switches.
    pub fn switches(&self) -> impl Iterator<Item = (&str, &Switch)> {
        self.switches.iter().map(|(name, switch)| (name.as_str(), switch))
    }

    /// The system message; "" when the prompt has none.
    #[must_use]
    pub fn system(&self, values: &Values) -> String {
        self.system.render(values)
    }

    /// The first user message.
    #[must_use]
    pub fn user(&self, values: &Values) -> String {
        self.user.render(values)
    }

    /// The prompt's own words between its placeholders.
    pub fn wording(&self) -> impl Iterator<Item = &str> {
        self.system.literals().chain(self.user.literals())
    }

    /// The message that sends `defects`, one sentence a line, back to the model.
    #[must_use]
    pub fn reflection(&self, values: &Values, defects: &str) -> String {
        let mut values = values.clone();
        values.insert(REFLECTION_ONLY.to_owned(), defects.to_owned());
        self.reflection.render(&values)
    }

    /// The attributes, the same in every pool, each with at least one value.
    fn attribute_names(&self, path: &Path) -> Result<Vec<&str>> {
        let mut pools = self.attributes.iter();
        let Some((first, pool)) = pools.next() else { return Ok(Vec::new()) };
        let names: Vec<&str> = pool.keys().map(String::as_str).collect();
        if let Some((other, _)) = pools.find(|(_, pool)| !pool.keys().map(String::as_str).eq(names.iter().copied())) {
            let expected = format!("the attributes of pool {first}: {}", names.join(", "));
            return Err(Fault::new(path, expected, "others").key(format!("attributes.{other}")).into());
        }
        let empty = self.attributes.iter().find(|(_, pool)| pool.values().any(Vec::is_empty));
        match empty {
            Some((pool, _)) => {
                let key = format!("attributes.{pool}");
                Err(Fault::new(path, "at least one value for each attribute", "none").key(key).into())
            }
            None => Ok(names),
        }
    }
}

/// Attributes with the values they may take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pool<'p>(Option<&'p BTreeMap<String, Vec<String>>>);

impl Pool<'_> {
    /// One value of each attribute, drawn from the seed.
    #[must_use]
    pub fn draw(&self, seed: Seed) -> Values {
        let draw = |(name, values): (&String, &Vec<String>)| {
            let place = seed.stream(&format!("attribute {name}")).random_range(0..values.len());
            (name.clone(), values[place].clone())
        };
        self.0.into_iter().flatten().map(draw).collect()
    }
}

/// Names of the program's own prompts, sorted.
#[must_use]
pub fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests;
