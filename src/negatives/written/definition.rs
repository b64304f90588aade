//! The question some prompts put once before all requests ("what is a hard negative?"): its answer, in the model's own
//! words, stands in every request after it. The answer is a record of the journal like any other, so a second start
//! goes on with the same one.

use super::checks::Accepted;
use super::conversation::Writing;
use super::journal::Record;
use super::{Error, WrittenSettings};
use crate::data::{Digest, QueryId, Scores, Seed, Watch, atomic::Journal};
use crate::generate::{Engine, Finished};
use crate::text::prompt::PromptFile;
use serde_json::json;
use std::sync::Arc;

/// The model's answer to the first question of `prompt`; "" when it has none.
///
/// # Panics
/// Never: the identifier is a constant.
///
/// # Errors
/// As [`super::write`]; [`Error::NoDefinition`] when the model answers nothing.
pub(super) fn ask(
    engine: &mut dyn Engine<Writing>,
    (prompt, settings): (&Arc<PromptFile>, &WrittenSettings),
    (journal, records): (&mut Journal, &[Record]),
    watch: &dyn Watch,
) -> Result<String, Error> {
    if prompt.first.is_empty() {
        return Ok(String::new());
    }
    let key = Digest::of_json(&json!(["written definition", prompt.digest, engine.identity(), settings]));
    let known = records.iter().find(|record| record.key == key).and_then(|record| record.texts.first());
    if let Some(known) = known {
        return Ok(known.text.clone());
    }
    let nobody = QueryId::new("definition").expect("a plain word is an identifier");
    let mut answer = None;
    let mut finished = |finished: Finished<Writing>| {
        let usage = finished.usage;
        let reply = finished.conversation.into_first_reply().unwrap_or_default();
        let text = reply.trim().to_owned();
        let record = Record {
            key: key.clone(),
            query: nobody.clone(),
            texts: vec![Accepted { place: 1, text: text.clone(), scores: Scores::default() }],
            given_up: None,
            attempts: 1,
            defects: Vec::new(),
            replies: vec![reply],
            attributes: std::collections::BTreeMap::new(),
            seed: Seed(settings.seed.0),
            usage,
        };
        if !text.is_empty() {
            journal.append(&record)?;
            answer = Some(text);
        }
        Ok(())
    };
    let question = Writing::asking(prompt, settings, &key, nobody.clone());
    engine.run(&mut std::iter::once(question), &mut finished, watch)?;
    answer.ok_or(Error::NoDefinition)
}
