//! Why a passage has the score it has: the formula's parts for one query and one passage.
//! Counts come from the passage's text, statistics from the index; their sum is the index's score but for rounding.

use super::{Bm25, field_score, idf, norm};
use crate::data::Document;
use serde::Serialize;

/// The score of one passage for one query, taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// One part for each different term of the query, in the query's order.
    pub terms: Vec<TermPart>,
    /// The sum of the parts' scores.
    pub score: f64,
}

/// What one term of the query adds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TermPart {
    /// The term as the index has it.
    pub term: String,
    /// How often the query has it.
    pub query_count: u32,
    /// Its part in each field: of the text, or of title and body.
    pub fields: Vec<FieldPart>,
    /// `query_count` times the fields' weighted scores.
    pub score: f64,
}

/// What one term adds in one field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldPart {
    /// Times the passage has the term there.
    pub count: u32,
    /// Passages that have it there.
    pub frequency: u32,
    /// Passages that have any term there: N of the formula.
    pub passages: u64,
    /// Its inverse document frequency there.
    pub idf: f64,
    /// Number of terms of the passage there, before it is rounded.
    pub length: u32,
    /// Mean of that number.
    pub average: f64,
    /// Weight of the field.
    pub weight: f64,
    /// What it adds, unweighted.
    pub score: f64,
}

impl Bm25 {
    /// The parts of the score of `document`, a passage of the corpus, for `query`.
    #[must_use]
    pub fn explain(&self, query: &str, document: &Document) -> Explanation {
        let weights = self.settings.fields();
        let texts = match weights.len() {
            1 => vec![document.content()],
            _ => vec![document.title.clone(), document.text.clone()],
        };
        let passage: Vec<Vec<String>> = texts.iter().map(|text| self.analyser.terms(text)).collect();
        let mut terms: Vec<TermPart> = Vec::new();
        for term in self.analyser.terms(query) {
            if let Some(part) = terms.iter_mut().find(|part| part.term == term) {
                part.query_count += 1;
                continue;
            }
            let number = self.lexicon.find(&term);
            let field = |(field, &weight): (usize, &f64)| {
                let place = number.map(|number| number * weights.len() + field);
                let frequency = place.map_or(0, |place| self.statistics.frequencies[place]);
                let (passages, average) = (self.statistics.filled[field], self.statistics.average[field]);
                let count = |found: usize| u32::try_from(found).unwrap_or(u32::MAX);
                let length = count(passage[field].len());
                let found = count(passage[field].iter().filter(|&other| *other == term).count());
                let idf = idf(passages, frequency);
                let score = field_score(idf, found, norm(&self.settings, length, average));
                FieldPart { count: found, frequency, passages, idf, length, average, weight, score }
            };
            let fields = weights.iter().enumerate().map(field).collect();
            terms.push(TermPart { term, query_count: 1, fields, score: 0.0 });
        }
        for part in &mut terms {
            let once: f64 = part.fields.iter().map(|field| field.weight * field.score).sum();
            part.score = f64::from(part.query_count) * once;
        }
        let score = terms.iter().map(|part| part.score).sum();
        Explanation { terms, score }
    }
}
