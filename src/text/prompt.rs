//! Prompts as TOML files: message templates with `{placeholders}`, attribute pools, versions.
//! A file says which inputs it takes; an input it does not use, or a placeholder it does not
//! declare, is an error. Values are put in once and never looked at again, so a passage that
//! holds `{query}` or a special token stays what it is. `{{` and `}}` are literal braces.
//! The program's own prompts are the files of `prompts/`, compiled in.

use crate::data::{Digest, Error, Fault, Result, Seed};
use rand::RngExt;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/prompts.rs"));

/// Placeholders of a reflection message, beside the inputs: the defects found, one a line.
const REFLECTION_ONLY: &str = "defects";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: u32,
    description: String,
    inputs: Vec<String>,
    #[serde(default)]
    system: String,
    user: String,
    reflection: String,
    #[serde(default)]
    reasoning_characters: u32,
    #[serde(default)]
    attributes: BTreeMap<String, BTreeMap<String, Vec<String>>>,
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
    /// Digest of the file's text.
    pub digest: Digest,
    /// Most characters the reply may reason in before it answers; 0: it answers at once.
    pub reasoning_characters: u32,
    system: Template,
    user: Template,
    reflection: Template,
    attributes: BTreeMap<String, BTreeMap<String, Vec<String>>>,
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
    /// [`Error::Input`] when it is no prompt file, declares an input that is not `known`, leaves an
    /// input or attribute unused, uses a placeholder it does not declare, or has pools that differ
    /// in their attributes.
    pub fn parse(text: &str, path: &Path, known: &[&str]) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| Fault::new(path, "a prompt file", error.to_string()))?;
        let template = |key: &str, text: &str| {
            let parsed = Template::parse(text);
            parsed.map_err(|found| Error::from(Fault::new(path, "{name}, {{ or }}", found).key(key)))
        };
        let prompt = Self {
            system: template("system", &file.system)?,
            user: template("user", &file.user)?,
            reflection: template("reflection", &file.reflection)?,
            name: file.name,
            version: file.version,
            description: file.description,
            reasoning_characters: file.reasoning_characters,
            digest: Digest::of_bytes(text.as_bytes()),
            attributes: file.attributes,
        };
        if let Some(unknown) = file.inputs.iter().find(|input| !known.contains(&input.as_str())) {
            let expected = format!("inputs among: {}", known.join(", "));
            return Err(Fault::new(path, expected, unknown.clone()).key("inputs").into());
        }
        let attributes = prompt.attribute_names(path)?;
        let declared: BTreeSet<&str> = file.inputs.iter().map(String::as_str).chain(attributes).collect();
        let opening: BTreeSet<&str> = prompt.system.names().chain(prompt.user.names()).collect();
        if let Some(unused) = declared.iter().find(|&name| !opening.contains(name)) {
            return Err(Fault::new(
                path,
                "every input and attribute used in system or user",
                format!("{{{unused}}} nowhere"),
            )
            .hint("use it, or take it out of `inputs` or the attributes")
            .into());
        }
        let reflection: BTreeSet<&str> = prompt.reflection.names().collect();
        let undeclared = opening
            .iter()
            .chain(reflection.iter().filter(|&&name| name != REFLECTION_ONLY))
            .find(|&name| !declared.contains(name));
        if let Some(name) = undeclared {
            let expected = format!("placeholders among: {}", declared.iter().copied().collect::<Vec<_>>().join(", "));
            return Err(Fault::new(path, expected, format!("{{{name}}}")).into());
        }
        if !reflection.contains(REFLECTION_ONLY) {
            return Err(Fault::new(path, "{defects}", "none").key("reflection").into());
        }
        Ok(prompt)
    }

    /// Names of the attribute pools ("general", "scifact" ...), sorted; none when it has no attributes.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        self.attributes.keys().map(String::as_str)
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
                    .hint(format!("its pools: {}", self.pools().collect::<Vec<_>>().join(", ")))
                    .into())
            }
        }
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
#[derive(Debug, Clone, Copy)]
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

#[derive(Debug, Clone)]
struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Placeholder(String),
}

impl Template {
    /// The parts of `text`, trimmed; the error says what stands where a placeholder should.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.trim();
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let name = after.split_once('}').filter(|(name, _)| brace == "{" && is_name(name));
            let Some((name, after)) = name else {
                return Err(crate::data::error::excerpt(&rest[at..], 30));
            };
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Placeholder(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        Ok(Self(parts))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Placeholder(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    fn render(&self, values: &Values) -> String {
        let pieces = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Placeholder(name) => values.get(name).map_or("", String::as_str),
        });
        pieces.collect()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
name = "small"
version = 1
description = "for the test"
inputs = ["query", "positive"]
user = "Q: {query} P: {positive} {{json}}, {tone}"
reflection = "wrong:\n{defects}"
[attributes.general]
tone = ["dry", "warm"]
"#;

    fn parse(text: &str) -> Result<PromptFile> {
        PromptFile::parse(text, Path::new("p.toml"), &["query", "positive", "num_negatives"])
    }

    #[test]
    fn values_are_put_in_once() -> Result<()> {
        let prompt = parse(SMALL)?;
        let mut values = prompt.pool("general")?.draw(Seed(7));
        assert_eq!(values, prompt.pool("general")?.draw(Seed(7)));
        values.insert("query".to_owned(), "{positive} {{".to_owned());
        values.insert("positive".to_owned(), "P".to_owned());
        let tone = values["tone"].clone();
        assert_eq!(prompt.user(&values), format!("Q: {{positive}} {{{{ P: P {{json}}, {tone}"));
        assert_eq!(prompt.reflection(&values, "{query}"), "wrong:\n{query}");
        assert!(prompt.pool("physics").unwrap_err().to_string().contains("its pools: general"));
        Ok(())
    }

    #[test]
    fn what_is_unknown_or_unused_is_an_error() {
        let refused = |from: &str, to: &str| parse(&SMALL.replace(from, to)).unwrap_err().to_string();
        assert!(refused("P: {positive}", "").contains("{positive} nowhere"));
        assert!(refused(", {tone}", "").contains("{tone} nowhere"));
        assert!(refused("Q:", "Q: {num_negatives}").contains("{num_negatives}"));
        assert!(refused("\"query\",", "\"query\", \"title\",").contains("found title"));
        assert!(refused("{defects}", "nothing").contains("{defects}"));
        assert!(refused("Q:", "Q: { query}").contains("`user`"));
        assert!(refused("Q:", "Q: }").contains("`user`"));
        assert!(refused("version", "versions").contains("versions"));
        assert!(refused("[\"dry\", \"warm\"]", "[]").contains("at least one value"));
    }

    #[test]
    fn an_unknown_name_lists_the_prompts() {
        let error = PromptFile::find("plane", &[]).unwrap_err().to_string();
        assert!(error.contains("plain"), "{error}");
    }
}
