//! Passages: one per element and fact group, two to four sentences each.
//!
//! The border: this file holds the order of the passages, their ids and
//! titles; the sentences are in `wording.rs`. A group of which the tables tell
//! too little gives no passage.

use crate::dice::pick;
use crate::tables::Element;
use crate::wording;

/// What a passage is about; together with the element it names one fact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    Position,
    Heat,
    Density,
    Discovery,
    Name,
    Look,
    Uses,
    Isotopes,
    Occurrence,
    Biology,
    Chemistry,
}

impl Group {
    pub const ALL: [Self; 11] = [
        Self::Position,
        Self::Heat,
        Self::Density,
        Self::Discovery,
        Self::Name,
        Self::Look,
        Self::Uses,
        Self::Isotopes,
        Self::Occurrence,
        Self::Biology,
        Self::Chemistry,
    ];

    /// The part of an id that stands for the group.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Heat => "melting-and-boiling",
            Self::Density => "density-and-structure",
            Self::Discovery => "discovery",
            Self::Name => "name",
            Self::Look => "appearance",
            Self::Uses => "uses",
            Self::Isotopes => "isotopes",
            Self::Occurrence => "occurrence",
            Self::Biology => "biology-and-hazards",
            Self::Chemistry => "chemistry",
        }
    }

    fn titles(self) -> [&'static str; 3] {
        match self {
            Self::Position => ["The place of {n} in the periodic table", "{N}: basic data", "{N} among the elements"],
            Self::Heat => [
                "{N}: melting and boiling",
                "How {n} behaves when heated or cooled",
                "Melting and boiling points of {n}",
            ],
            Self::Density => ["{N}: density", "How heavy is {n}?", "Density and structure of {n}"],
            Self::Discovery => ["Discovery of {n}", "{N}: history", "How {n} came to be known"],
            Self::Name => ["{N}: the name", "Where the name {n} comes from", "The word {n}"],
            Self::Look => ["{N}: appearance", "What {n} looks like", "{N} to the eye"],
            Self::Uses => ["Uses of {n}", "{N} in industry and daily life", "{N}: applications"],
            Self::Isotopes => ["Isotopes of {n}", "{N}: isotopes", "The nuclei of {n}"],
            Self::Occurrence => ["{N}: where it is found", "Sources of {n}", "{N} in nature and where it is obtained"],
            Self::Biology => ["{N} and living things", "{N}: biology and hazards", "{N} in the body"],
            Self::Chemistry => ["{N}: chemistry", "Chemical behaviour of {n}", "Compounds of {n}"],
        }
    }
}

/// One line of the corpus.
pub struct Passage {
    pub id: String,
    pub title: String,
    pub text: String,
    pub element: usize,
    pub group: Group,
}

/// The id of the passage on one fact group of one element.
pub fn id(element: &Element, group: Group) -> String {
    format!("{}-{}", element.name, group.slug())
}

/// Every passage the tables allow, element by element.
pub fn all(elements: &[Element]) -> Vec<Passage> {
    let mut passages = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        for group in Group::ALL {
            let Some(text) = wording::text(elements, index, group) else {
                continue;
            };
            let id = id(element, group);
            let title = pick(&format!("title {id}"), &group.titles())
                .replace("{n}", element.name)
                .replace("{N}", &element.capital());
            passages.push(Passage { id, title, text, element: index, group });
        }
    }
    passages
}
