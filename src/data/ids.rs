//! Identifiers: external strings, validated once, cheap to clone.
//! Files on disk carry these, never row numbers.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Why a string cannot be an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing there.
    #[error("an empty identifier")]
    Empty,
    /// TREC files are split at white space, so an identifier cannot hold any.
    #[error("an identifier with white space in it")]
    WhiteSpace,
}

/// Whether `text` can be an identifier: it is not empty and holds no white space.
///
/// # Errors
/// [`InvalidId`] says which of the two it is.
pub fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.contains(char::is_whitespace) {
        return Err(InvalidId::WhiteSpace);
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier, if `text` is not empty and holds no white space.
            ///
            /// # Errors
            /// [`InvalidId`] says which of the two it is.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The string itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id! {
    /// Identifier of a corpus passage (BEIR `_id` in corpus.jsonl).
    DocId
}
impl DocId {
    /// The identifier `text`, which was one before it was put into a table.
    pub(super) fn known(text: &str) -> Self {
        Self(text.into())
    }
}
id! {
    /// Identifier of a query (BEIR `_id` in queries.jsonl).
    QueryId
}
id! {
    /// Identifier of a written passage: made from the digest of its text.
    WrittenId
}

/// A passage a model can be shown: from the corpus, or written by a generator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passage {
    /// A passage of the collection.
    Corpus(DocId),
    /// A passage that exists only because a generator wrote it.
    Written(WrittenId),
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corpus(id) => write!(f, "{id}"),
            Self::Written(id) => write!(f, "{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_not_empty_and_has_no_white_space() {
        assert_eq!(DocId::new(""), Err(InvalidId::Empty));
        assert_eq!(DocId::new("a b"), Err(InvalidId::WhiteSpace));
        assert_eq!(DocId::new("a\u{a0}b"), Err(InvalidId::WhiteSpace));
        assert_eq!(DocId::new("MED-10").map(|id| id.to_string()), Ok("MED-10".to_owned()));
    }

    #[test]
    fn a_passage_is_tagged_in_json() -> Result<(), Box<dyn std::error::Error>> {
        let passage = Passage::Corpus(DocId::new("d1")?);
        assert_eq!(serde_json::to_string(&passage)?, r#"{"corpus":"d1"}"#);
        assert!(serde_json::from_str::<Passage>(r#"{"corpus":"d 1"}"#).is_err());
        Ok(())
    }
}
