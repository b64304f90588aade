//! The wordings of plain questions, a set for each fact that can be asked.
//!
//! The border: words only. `{}` stands for the element, by name or by another
//! way of pointing at it; `{i}` for the mass number of a radioactive isotope.

use crate::passages::Group;

/// A fact that can be asked of an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact {
    Number,
    Symbol,
    Weight,
    Place,
    Melts,
    Boils,
    Freezes,
    Condenses,
    Density,
    Crystal,
    Who,
    When,
    Where,
    Origin,
    Look,
    Uses,
    Commonest,
    Count,
    HalfLife,
    Sources,
    Body,
    States,
    Electronegativity,
}

impl Fact {
    /// True where the passages state the fact without the element's name close
    /// by, so that a look-up in other passages would take a neighbour's fact
    /// for it.
    pub fn unnamed(self) -> bool {
        matches!(self, Self::Place | Self::Crystal | Self::Who | Self::Where | Self::Count | Self::Body | Self::States)
    }
}

/// The wordings for one fact.
pub struct Ask {
    pub fact: Fact,
    pub slug: &'static str,
    pub group: Group,
    /// May the element be pointed at without its name?
    pub indirect: bool,
    pub questions: &'static [&'static str],
    pub keywords: &'static [&'static str],
    pub statements: &'static [&'static str],
}

/// Every fact that can be asked, in a fixed order.
pub const ASKS: [Ask; 23] = [
    Ask {
        fact: Fact::Number,
        slug: "atomic-number",
        group: Group::Position,
        indirect: true,
        questions: &["What is the atomic number of {}?", "How many protons are there in an atom of {}?"],
        keywords: &["{} atomic number", "number of protons {}"],
        statements: &["Give me the atomic number of {}.", "the number of protons in every atom of {}"],
    },
    Ask {
        fact: Fact::Symbol,
        slug: "symbol",
        group: Group::Position,
        indirect: false,
        questions: &[
            "What is the chemical symbol for {}?",
            "By which letters do chemists denote {} in the periodic table?",
        ],
        keywords: &["{} chemical symbol", "symbol and atomic number of {}"],
        statements: &["I need the symbol of {} and its place among the elements."],
    },
    Ask {
        fact: Fact::Weight,
        slug: "atomic-weight",
        group: Group::Position,
        indirect: true,
        questions: &[
            "What is the standard atomic weight of {}?",
            "How heavy is an average atom of {} in atomic mass units?",
        ],
        keywords: &["{} standard atomic weight", "atomic weight {}"],
        statements: &["Look up the atomic weight of {}.", "the average mass of the atoms of {}"],
    },
    Ask {
        fact: Fact::Place,
        slug: "place-in-table",
        group: Group::Position,
        indirect: true,
        questions: &[
            "Where in the periodic table does one find {}?",
            "To which family of elements does {} belong, and in which period?",
        ],
        keywords: &["{} position periodic table", "{} period and family"],
        statements: &["Tell me where {} stands in the periodic table."],
    },
    Ask {
        fact: Fact::Melts,
        slug: "melting-point",
        group: Group::Heat,
        indirect: true,
        questions: &[
            "At what temperature does {} melt?",
            "What is the melting point of {}?",
            "How hot must {} get before it turns liquid?",
        ],
        keywords: &["{} melting point celsius", "melting temperature {}"],
        statements: &[
            "I want to melt {} and need to know the temperature.",
            "Find the melting point of {}.",
            "the heat at which {} goes from solid to liquid",
        ],
    },
    Ask {
        fact: Fact::Boils,
        slug: "boiling-point",
        group: Group::Heat,
        indirect: true,
        questions: &[
            "At what temperature does {} boil?",
            "What is the boiling point of {}?",
            "How hot does it have to be before {} turns into vapour?",
        ],
        keywords: &["{} boiling point celsius", "boiling temperature {}"],
        statements: &["Tell me the temperature at which {} boils."],
    },
    Ask {
        fact: Fact::Freezes,
        slug: "melting-point",
        group: Group::Heat,
        indirect: true,
        questions: &["At what temperature does {} freeze solid?", "What is the melting point of {}?"],
        keywords: &["{} freezing point", "melting temperature solid {}"],
        statements: &["Tell me how cold it must be before {} freezes."],
    },
    Ask {
        fact: Fact::Condenses,
        slug: "boiling-point",
        group: Group::Heat,
        indirect: true,
        questions: &["How cold must it get for {} to become a liquid?", "What is the boiling point of {}?"],
        keywords: &["{} boiling point", "liquid {} temperature"],
        statements: &["Give the temperature at which liquid {} boils."],
    },
    Ask {
        fact: Fact::Density,
        slug: "density",
        group: Group::Density,
        indirect: true,
        questions: &["How dense is {}?", "What is the density of {}?", "What is the mass of a given volume of {}?"],
        keywords: &["{} density", "density value {}", "{} mass per volume"],
        statements: &["I am looking for the density of {}.", "Find out how heavy {} is for its volume."],
    },
    Ask {
        fact: Fact::Crystal,
        slug: "crystal-structure",
        group: Group::Density,
        indirect: true,
        questions: &["What crystal structure does {} have?", "How are the atoms arranged in solid {}?"],
        keywords: &["{} crystal structure", "lattice type {}"],
        statements: &["Describe the lattice in which {} crystallises."],
    },
    Ask {
        fact: Fact::Who,
        slug: "discoverer",
        group: Group::Discovery,
        indirect: true,
        questions: &[
            "Who discovered {}?",
            "Which scientist is credited with the discovery of {}?",
            "To whom do we owe the discovery of {}?",
        ],
        keywords: &["{} discoverer", "who found {} first"],
        statements: &["Name whoever discovered {}.", "the person or persons who found {}"],
    },
    Ask {
        fact: Fact::When,
        slug: "discovery-year",
        group: Group::Discovery,
        indirect: true,
        questions: &[
            "When was {} discovered?",
            "In which year was {} discovered?",
            "How long have people known about {}?",
        ],
        keywords: &["{} year of discovery", "{} discovered when"],
        statements: &["I would like to know the year in which {} was discovered."],
    },
    Ask {
        fact: Fact::Where,
        slug: "discovery-place",
        group: Group::Discovery,
        indirect: true,
        questions: &["Where was {} discovered?", "In what place did the discovery of {} happen?"],
        keywords: &["{} place of discovery"],
        statements: &["Tell me in which place {} was discovered."],
    },
    Ask {
        fact: Fact::Origin,
        slug: "name-origin",
        group: Group::Name,
        indirect: true,
        questions: &[
            "Where does the name of {} come from?",
            "What is the origin of the name of {}?",
            "After what is {} named?",
        ],
        keywords: &["{} etymology", "{} name origin meaning"],
        statements: &["Explain the name of {}.", "why {} is called what it is called"],
    },
    Ask {
        fact: Fact::Look,
        slug: "appearance",
        group: Group::Look,
        indirect: true,
        questions: &["What does {} look like?", "How would you recognise {} by sight?", "What colour is {}?"],
        keywords: &["{} appearance", "{} colour and look"],
        statements: &["Describe what a sample of {} looks like.", "the colour and lustre of {}"],
    },
    Ask {
        fact: Fact::Uses,
        slug: "uses",
        group: Group::Uses,
        indirect: true,
        questions: &[
            "What is {} used for?",
            "Which industries need {}, and what for?",
            "What are the main applications of {}?",
        ],
        keywords: &["{} uses", "applications of {}"],
        statements: &["List some practical uses of {}.", "what people make with {}"],
    },
    Ask {
        fact: Fact::Commonest,
        slug: "commonest-isotope",
        group: Group::Isotopes,
        indirect: true,
        questions: &[
            "Which isotope of {} is the most common in nature?",
            "What is the mass number of most natural atoms of {}?",
        ],
        keywords: &["most abundant isotope {}"],
        statements: &["Tell me which isotope of {} dominates in nature."],
    },
    Ask {
        fact: Fact::Count,
        slug: "isotope-count",
        group: Group::Isotopes,
        indirect: false,
        questions: &[
            "How many isotopes make up natural {}?",
            "Of how many isotopes is {} as found in nature a mixture?",
        ],
        keywords: &["{} number of natural isotopes"],
        statements: &["List the mass numbers of the natural isotopes of {}."],
    },
    Ask {
        fact: Fact::HalfLife,
        slug: "half-life",
        group: Group::Isotopes,
        indirect: false,
        questions: &[
            "What is the half-life of {}{i}?",
            "How quickly does {}{i} decay?",
            "How long does it take for half of a sample of {}{i} to decay?",
        ],
        keywords: &["{}{i} half-life", "radioactive {}{i} decay time"],
        statements: &["Give me the half-life of the isotope {}{i}."],
    },
    Ask {
        fact: Fact::Sources,
        slug: "sources",
        group: Group::Occurrence,
        indirect: true,
        questions: &[
            "Where is {} found?",
            "From what is {} obtained?",
            "What are the natural or industrial sources of {}?",
        ],
        keywords: &["{} ores and sources", "where {} comes from"],
        statements: &["Find out what raw material yields {}.", "the places and materials from which {} is won"],
    },
    Ask {
        fact: Fact::Body,
        slug: "biology-and-hazards",
        group: Group::Biology,
        indirect: true,
        questions: &[
            "What does {} do in the body?",
            "How does {} affect living things?",
            "Is {} harmful or needed for life?",
        ],
        keywords: &["{} health effects", "{} biological role toxicity"],
        statements: &[
            "Tell me about the effect of {} on health.",
            "what happens to plants, animals or people that take up {}",
        ],
    },
    Ask {
        fact: Fact::States,
        slug: "oxidation-states",
        group: Group::Chemistry,
        indirect: true,
        questions: &["Which oxidation states are usual for {}?", "In what oxidation state does one normally meet {}?"],
        keywords: &["{} oxidation states", "common valence {} compounds"],
        statements: &[
            "State the usual oxidation numbers of {}.",
            "the charges that {} commonly takes in its compounds",
        ],
    },
    Ask {
        fact: Fact::Electronegativity,
        slug: "electronegativity",
        group: Group::Chemistry,
        indirect: true,
        questions: &[
            "What is the electronegativity of {}?",
            "How strongly does {} attract electrons on the Pauling scale?",
        ],
        keywords: &["{} electronegativity Pauling", "Pauling value {}"],
        statements: &["I need the Pauling electronegativity of {}."],
    },
];
