//! The TOML form of a prompt, and how one prompt is made from another.
//! `based_on = "syneg"` takes everything from that prompt but what the file says itself; blocks replace those of the
//! same name, `without` takes blocks out, and inherited inputs and attributes that nothing uses any more go with them.

use super::{FILES, Origin, Reply, Suggested};
use crate::data::{Fault, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Attribute pools by name: attribute to values.
pub(super) type Pools = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// A prompt file as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub name: String,
    pub version: u32,
    pub description: String,
    pub based_on: Option<String>,
    #[serde(default)]
    pub without: Vec<String>,
    #[serde(default)]
    pub inputs: Vec<String>,
    #[serde(default)]
    pub first: String,
    #[serde(default)]
    pub system: String,
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub block: Vec<Block>,
    #[serde(default)]
    pub reflection: String,
    pub reply: Option<Reply>,
    pub settings: Option<Suggested>,
    #[serde(default)]
    pub switches: BTreeMap<String, Switch>,
    /// Who made each pool of attributes.
    #[serde(default)]
    pub pools: BTreeMap<String, Origin>,
    #[serde(default)]
    pub attributes: Pools,
}

/// A part of the user message; blocks are parted by an empty line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Its name, by which another prompt replaces it.
    pub name: String,
    /// Who worded it.
    pub origin: Origin,
    /// The text, with placeholders.
    pub text: String,
}

/// A choice of wording that a setting makes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Switch {
    /// The position it has when nobody chooses.
    pub default: String,
    /// Position to text.
    #[serde(flatten)]
    pub positions: BTreeMap<String, String>,
}

impl File {
    /// The file in `text`, with what it is based on; also the texts it was made from, one after the other.
    pub(super) fn read(text: &str, path: &Path) -> Result<(Self, String)> {
        let parse = |text: &str| -> Result<Self> {
            toml::from_str(text).map_err(|error| Fault::new(path, "a prompt file", error.to_string()).into())
        };
        let file = parse(text)?;
        let Some(base) = &file.based_on else {
            if let Some(block) = file.without.first() {
                let fault = Fault::new(path, "`based_on` beside `without`", format!("without {block}"));
                return Err(fault.key("without").into());
            }
            return Ok((file, text.to_owned()));
        };
        let Some((_, under)) = FILES.iter().find(|(name, _)| name == base) else {
            let known = FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(Fault::new(path, format!("one of {known}"), base.clone()).key("based_on").into());
        };
        let under = parse(under)?;
        if under.based_on.is_some() {
            let fault = Fault::new(path, "a prompt that stands on its own", base.clone()).key("based_on");
            return Err(fault.into());
        }
        let whole = format!("{}\n{text}", FILES.iter().find(|(name, _)| name == base).map_or("", |(_, text)| text));
        Ok((file.over(under, path)?, whole))
    }

    fn over(self, base: Self, path: &Path) -> Result<Self> {
        let mut block = base.block;
        for name in &self.without {
            let before = block.len();
            block.retain(|block| block.name != *name);
            if block.len() == before {
                return Err(Fault::new(path, "a block of the prompt it is based on", name.clone())
                    .key("without")
                    .into());
            }
        }
        for own in self.block {
            if let Some(place) = block.iter_mut().find(|block| block.name == own.name) {
                *place = own;
            } else {
                let known = block.iter().map(|block| block.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Fault::new(path, format!("blocks among: {known}"), own.name).key("block").into());
            }
        }
        let text = |own: String, base: String| if own.is_empty() { base } else { own };
        let user = if block.is_empty() { text(self.user, base.user) } else { self.user };
        let mut file = Self {
            first: text(self.first, base.first),
            system: text(self.system, base.system),
            reflection: text(self.reflection, base.reflection),
            inputs: if self.inputs.is_empty() { base.inputs } else { self.inputs },
            reply: self.reply.or(base.reply),
            settings: self.settings.or(base.settings),
            switches: if self.switches.is_empty() { base.switches } else { self.switches },
            pools: if self.pools.is_empty() { base.pools } else { self.pools },
            attributes: if self.attributes.is_empty() { base.attributes } else { self.attributes },
            user,
            block,
            ..self
        };
        let used = |name: &str| {
            let place = format!("{{{name}}}");
            file.system.contains(&place)
                || file.user.contains(&place)
                || file.block.iter().any(|b| b.text.contains(&place))
        };
        let inputs = file.inputs.iter().filter(|name| used(name)).cloned().collect();
        let attributes: Pools = file
            .attributes
            .iter()
            .map(|(pool, values)| (pool, values.iter().filter(|(name, _)| used(name))))
            .map(|(pool, values)| (pool.clone(), values.map(|(n, v)| (n.clone(), v.clone())).collect()))
            .collect();
        file.inputs = inputs;
        file.attributes = if attributes.values().all(BTreeMap::is_empty) { Pools::new() } else { attributes };
        if file.attributes.is_empty() {
            file.pools.clear();
        }
        Ok(file)
    }

    /// The user message: `user`, or the blocks in their order.
    pub(super) fn message(&self, path: &Path) -> Result<String> {
        match (self.user.is_empty(), self.block.is_empty()) {
            (false, true) => Ok(self.user.clone()),
            (true, false) => Ok(self.block.iter().map(|block| block.text.trim()).collect::<Vec<_>>().join("\n\n")),
            (false, false) => Err(Fault::new(path, "`user` or blocks", "both").key("user").into()),
            (true, true) => Err(Fault::new(path, "`user` or blocks", "neither").key("user").into()),
        }
    }
}
