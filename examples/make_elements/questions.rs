//! Candidate queries: what may be asked about each fact, in several phrasings,
//! with the answer that the tables give.
//!
//! The border: this file proposes; `choosing.rs` picks which candidates become
//! queries, and `grading.rs` turns their answers into judgements. The wordings
//! of plain questions are in `asking.rs`, the backward ones in `reverse.rs`.

use crate::asking::{ASKS, Ask, Fact};
use crate::matching::Needs;
use crate::passages::{Group, id};
use crate::reverse;
use crate::tables::{Element, Told};
use crate::wording::{count_word, list, use_list};

/// How a query is put.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phrasing {
    /// A full question that names the element.
    Question,
    /// A few search words.
    Keywords,
    /// A request or statement that names the element.
    Statement,
    /// A description of the fact, to which the element is the answer.
    Description,
    /// A question that refers to the element without its name.
    Indirect,
}

impl Phrasing {
    pub fn slug(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Keywords => "keywords",
            Self::Statement => "statement",
            Self::Description => "description",
            Self::Indirect => "indirect",
        }
    }
}

/// One full answer: the passage that gives it, and how to see it in a text.
#[derive(Clone)]
pub struct Answer {
    pub element: usize,
    pub passage: String,
    pub needs: Needs,
    /// May another passage be found to state the answer in passing?
    pub elsewhere: bool,
}

/// One query that could be asked.
pub struct Candidate {
    pub text: String,
    pub phrasing: Phrasing,
    pub fact: &'static str,
    pub group: Group,
    pub answers: Vec<Answer>,
    /// What makes a further passage of the same fact group answer in part.
    pub related: Option<Needs>,
}

/// An answer found in one fact group of an element.
pub fn answer(elements: &[Element], index: usize, group: Group, keys: Needs) -> Answer {
    let element = &elements[index];
    let mut needs = vec![vec![element.name.to_owned()]];
    needs.extend(keys);
    Answer { element: index, passage: id(element, group), needs, elsewhere: true }
}

/// One condition with one key.
pub fn one(key: &str) -> Needs {
    vec![vec![key.to_owned()]]
}

/// A temperature as the passages print it, without its sign.
pub fn degrees(cell: &str) -> Needs {
    one(&format!("{} °C", cell.trim_start_matches('-')))
}

/// All candidates, in a fixed order.
pub fn all(elements: &[Element]) -> Vec<Candidate> {
    let mut out = Vec::new();
    for index in 0..elements.len() {
        for ask in &ASKS {
            if let Some(needs) = told(&elements[index], ask.fact) {
                forward(elements, index, ask, &needs, &mut out);
            }
        }
    }
    out.extend(reverse::all(elements));
    out
}

/// What shows the answer to a plain question, or nothing where the tables do
/// not tell the fact.
fn told(element: &Element, fact: Fact) -> Option<Needs> {
    let physical = element.physical.as_ref();
    let found = &element.discovery;
    let core = |told: &Option<Told>| told.as_ref().map(|t| one(t.core));
    match fact {
        Fact::Number => Some(one(&format!("atomic number {}", element.number))),
        Fact::Symbol => {
            Some(vec![vec![format!("={}", element.symbol)], vec!["symbol".to_owned(), "written".to_owned()]])
        }
        Fact::Weight => element.weight.map(one),
        Fact::Place => Some(one(&format!("period {}", element.period))),
        Fact::Melts | Fact::Freezes => {
            physical.filter(|p| p.per_litre == (fact == Fact::Freezes)).and_then(|p| p.melts).map(degrees)
        }
        Fact::Boils | Fact::Condenses => {
            physical.filter(|p| p.per_litre == (fact == Fact::Condenses)).and_then(|p| p.boils).map(degrees)
        }
        Fact::Density => physical.and_then(|p| p.density).map(|cell| one(&format!("{cell} grams"))),
        Fact::Crystal => physical.and_then(|p| p.crystal).map(one),
        Fact::Who => found.who.map(one),
        Fact::When => found.year.map(one),
        Fact::Where => found.place.map(one),
        Fact::Origin => Some(one(element.origin.core)),
        Fact::Look => core(&element.look),
        Fact::Uses => element
            .uses
            .as_ref()
            .map(|uses| vec![vec![list(&use_list(uses)), format!("a typical use of {}", element.name)]]),
        Fact::Commonest => element.natural.as_ref().map(|natural| {
            let mut needs = one(&format!("{}-{}", element.name, natural.commonest));
            needs.push(["most abundant", "single", "one kind"].map(str::to_owned).to_vec());
            needs
        }),
        Fact::Count => element
            .natural
            .as_ref()
            .filter(|n| n.masses.len() > 1)
            .map(|n| one(&format!("{} isotopes", count_word(n.masses.len())))),
        Fact::HalfLife => element.radio.isotope.map(|(mass, life)| {
            let mut needs = one(&format!("{}-{mass}", element.name));
            needs.push(vec![life.to_owned()]);
            needs
        }),
        Fact::Sources => core(&element.occurrence),
        Fact::Body => core(&element.biology),
        Fact::States => core(&element.chemistry),
        Fact::Electronegativity => {
            physical.and_then(|p| p.electronegativity).filter(|_| element.chemistry.is_some()).map(|cell| {
                let mut needs = one(cell);
                needs.push(vec!["electronegativity".to_owned()]);
                needs
            })
        }
    }
}

fn forward(elements: &[Element], index: usize, ask: &Ask, needs: &Needs, out: &mut Vec<Candidate>) {
    let element = &elements[index];
    let isotope = element.radio.isotope.map_or_else(String::new, |(mass, _)| format!("-{mass}"));
    let mut push = |text: String, phrasing| {
        out.push(Candidate {
            text: text.replace("{i}", &isotope),
            phrasing,
            fact: ask.slug,
            group: ask.group,
            answers: vec![Answer {
                elsewhere: !ask.fact.unnamed(),
                ..answer(elements, index, ask.group, needs.clone())
            }],
            related: None,
        });
    };
    for question in ask.questions {
        push(question.replace("{}", element.name), Phrasing::Question);
    }
    for words in ask.keywords {
        push(words.replace("{}", element.name), Phrasing::Keywords);
    }
    for statement in ask.statements {
        push(statement.replace("{}", element.name), Phrasing::Statement);
    }
    for reference in references(elements, index, ask) {
        for question in &ask.questions[..ask.questions.len().min(2)] {
            push(question.replace("{}", &reference), Phrasing::Indirect);
        }
    }
}

/// Ways to point at an element without naming it, none of which gives away or
/// repeats what is asked.
fn references(elements: &[Element], index: usize, ask: &Ask) -> Vec<String> {
    let element = &elements[index];
    let mut out = Vec::new();
    if !ask.indirect {
        return out;
    }
    if ask.fact != Fact::Symbol && ask.group != Group::Name {
        out.push(format!("the element with the symbol {}", element.symbol));
    }
    if ask.group != Group::Position {
        out.push(format!("element number {}", element.number));
        if index > 0 {
            out.push(format!("the element that comes right after {} in the periodic table", elements[index - 1].name));
        }
    }
    out
}
