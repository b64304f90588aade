//! The record each request leaves, one line of the journal, and what all of them add up to.

use super::checks::Accepted;
use crate::data::{Digest, QueryId, Seed};
use crate::generate::Usage;
use crate::text::prompt::Values;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A finished request: accepted when `given_up` is None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Digest of all that decides the reply: texts, prompt, model, settings, seed.
    pub key: Digest,
    /// The query it was first asked for; another one with the same texts shares the record.
    pub query: QueryId,
    /// The accepted texts.
    pub texts: Vec<Accepted>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// Replies it took.
    pub attempts: u32,
    /// Every defect of every reply.
    pub defects: Vec<Noted>,
    /// The replies as they came, with what is not training text (reasoning).
    pub replies: Vec<String>,
    /// The attributes drawn for the prompt.
    pub attributes: Values,
    /// Where its draws came from.
    pub seed: Seed,
    /// What it cost.
    pub usage: Usage,
}

/// Why a request has no negatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenUp {
    /// Kind of the last reply's first defect, or `refused`.
    pub kind: String,
    /// What was wrong with the last reply.
    pub reasons: Vec<String>,
}

/// A defect of one reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// Which reply, from 1.
    pub attempt: u32,
    /// Its name in counts.
    pub kind: String,
    /// The sentence the model was told.
    pub text: String,
}

/// What one start did, the rest being in the journal before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThisStart {
    /// Requests that ended.
    pub requests: u64,
    /// Tokens written for them.
    pub tokens_out: u64,
}

/// What a run of requests came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests, given-up ones included.
    pub requests: u64,
    /// Requests with negatives.
    pub accepted: u64,
    /// Of these, accepted at the first reply.
    pub accepted_at_once: u64,
    /// Requests that were told what was wrong with a reply.
    #[serde(default)]
    pub retried: u64,
    /// Of these, accepted in the end.
    #[serde(default)]
    pub accepted_after_retry: u64,
    /// Of the accepted, those with fewer negatives than asked for.
    pub accepted_in_part: u64,
    /// Negatives accepted.
    pub negatives: u64,
    /// Requests given up, by kind of defect.
    pub given_up: BTreeMap<String, u64>,
    /// Defects seen, by kind.
    pub defects: BTreeMap<String, u64>,
    /// Replies.
    pub replies: u64,
    /// Prompt tokens.
    pub tokens_in: u64,
    /// Of these, tokens that were not decoded: another request's cache had them.
    pub tokens_reused: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Tasks left out because they have no positive.
    pub without_positive: u64,
}

impl fmt::Display for Summary {
    /// "800 requests: 640 accepted (500 at once, 140 of 300 after being told what was wrong), 160 given up (3 copy, 157 length); 1280 negatives; defects: ..."
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} requests: {} accepted ({} at once", self.requests, self.accepted, self.accepted_at_once)?;
        if self.retried > 0 {
            let (after, retried) = (self.accepted_after_retry, self.retried);
            write!(f, ", {after} of {retried} after being told what was wrong")?;
        }
        write!(f, ")")?;
        if !self.given_up.is_empty() {
            write!(f, ", {} given up ({})", self.given_up.values().sum::<u64>(), list(&self.given_up))?;
        }
        write!(f, "; {} negatives", self.negatives)?;
        if !self.defects.is_empty() {
            write!(f, "; defects of single replies: {}", list(&self.defects))?;
        }
        write!(
            f,
            "; {} tokens read ({} from the cache), {} written",
            self.tokens_in, self.tokens_reused, self.tokens_out
        )
    }
}

impl Summary {
    /// Counts `record`, for which `asked` negatives were asked.
    pub(super) fn add(&mut self, record: &Record, asked: usize) {
        self.requests += 1;
        self.retried += u64::from(record.attempts > 1);
        if let Some(given_up) = &record.given_up {
            *self.given_up.entry(given_up.kind.clone()).or_default() += 1;
        } else {
            self.accepted += 1;
            self.accepted_at_once += u64::from(record.attempts == 1);
            self.accepted_after_retry += u64::from(record.attempts > 1);
            self.accepted_in_part += u64::from(record.texts.len() < asked);
            self.negatives += record.texts.len() as u64;
        }
        for defect in &record.defects {
            *self.defects.entry(defect.kind.clone()).or_default() += 1;
        }
        self.replies += u64::from(record.usage.replies);
        self.tokens_in += u64::from(record.usage.tokens_in);
        self.tokens_reused += u64::from(record.usage.tokens_reused);
        self.tokens_out += u64::from(record.usage.tokens_out);
    }
}
