//! Backward questions: the fact is given and the element is asked for. Each
//! has as its answers all the elements that the tables show to fit.
//!
//! The border: a number is only asked backward where no other element of the
//! tables comes close to it, so that rounding cannot make a second answer.

use std::collections::BTreeMap;

use crate::matching::Needs;
use crate::passages::Group;
use crate::questions::{Answer, Candidate, Phrasing, answer, degrees, one};
use crate::tables::{Clue, Element, value};

/// The most answers that one backward question may have.
const MOST: usize = 7;

/// Places too wide to ask backward by, as they may hold another year's town.
const REGIONS: [&str; 4] = ["Sweden", "France", "Cornwall", "Transylvania"];

/// All backward candidates, in a fixed order.
pub fn all(elements: &[Element]) -> Vec<Candidate> {
    let mut out = Vec::new();
    positions(elements, &mut out);
    numbers(elements, &mut out);
    discoveries(elements, &mut out);
    clues(elements, &mut out);
    shared(elements, &mut out);
    out
}

fn push(out: &mut Vec<Candidate>, group: Group, fact: &'static str, texts: &[String], answers: &[Answer]) {
    for text in texts {
        out.push(Candidate {
            text: text.clone(),
            phrasing: Phrasing::Description,
            fact,
            group,
            answers: answers.to_vec(),
            related: None,
        });
    }
}

fn positions(elements: &[Element], out: &mut Vec<Candidate>) {
    for (index, element) in elements.iter().enumerate() {
        let number = element.number;
        let found = |keys| vec![answer(elements, index, Group::Position, keys)];
        push(
            out,
            Group::Position,
            "atomic-number",
            &[
                format!("Which element has atomic number {number}?"),
                format!("the element with {number} protons in its nucleus"),
            ],
            &found(one(&format!("atomic number {number}"))),
        );
        push(
            out,
            Group::Position,
            "symbol",
            &[
                format!("Which element has the symbol {}?", element.symbol),
                format!("What does the symbol {} stand for in the periodic table?", element.symbol),
            ],
            &found(vec![vec![format!("={}", element.symbol)], vec!["symbol".to_owned(), "written".to_owned()]]),
        );
        if index > 0
            && let Some(next) = elements.get(index + 1)
        {
            let before = elements[index - 1].name;
            push(
                out,
                Group::Position,
                "neighbours",
                &[format!("Which element lies between {before} and {} in the periodic table?", next.name)],
                &found(one(&format!("follows {before} and comes before {}", next.name))),
            );
        }
    }
}

/// True where no other value lies within one percent, or one unit for
/// temperatures.
fn alone(values: &[(usize, f64)], index: usize, slack: f64) -> bool {
    let Some((_, mine)) = values.iter().find(|(i, _)| *i == index) else {
        return false;
    };
    values.iter().filter(|(i, _)| *i != index).all(|(_, other)| (other - mine).abs() > slack.max(mine.abs() * 0.01))
}

fn numbers(elements: &[Element], out: &mut Vec<Candidate>) {
    let column = |cell: fn(&Element) -> Option<&'static str>| -> Vec<(usize, &'static str)> {
        elements.iter().enumerate().filter_map(|(i, e)| cell(e).map(|c| (i, c))).collect()
    };
    let melts = column(|e| e.physical.as_ref()?.melts);
    let boils = column(|e| e.physical.as_ref()?.boils);
    let solid = column(|e| e.physical.as_ref().filter(|p| !p.per_litre)?.density);
    let gases = column(|e| e.physical.as_ref().filter(|p| p.per_litre)?.density);
    let pull = column(|e| e.chemistry.as_ref().and(e.physical.as_ref())?.electronegativity);
    for (cells, slack, group, fact, wordings) in [
        (
            melts,
            1.0,
            Group::Heat,
            "melting-point",
            ["Which {k} melts at {v} °C?", "{k} with a melting point of {v} degrees Celsius"],
        ),
        (
            boils,
            1.0,
            Group::Heat,
            "boiling-point",
            ["Which {k} boils at {v} degrees Celsius?", "{k} whose boiling point is {v} °C"],
        ),
        (
            solid,
            0.0,
            Group::Density,
            "density",
            ["Which {k} has a density of {v} grams per cubic centimetre?", "{k} of density {v} g/cm3"],
        ),
        (
            gases,
            0.0,
            Group::Density,
            "density",
            ["Which gas weighs {v} grams per litre at 0 °C?", "gas of density {v} g/L"],
        ),
        (
            pull,
            0.004,
            Group::Chemistry,
            "electronegativity",
            [
                "Which element has an electronegativity of {v} on the Pauling scale?",
                "element with Pauling electronegativity {v}",
            ],
        ),
    ] {
        let values: Vec<(usize, f64)> = cells.iter().map(|(i, c)| (*i, value(c))).collect();
        for (index, cell) in &cells {
            if !alone(&values, *index, slack) {
                continue;
            }
            let texts = wordings.map(|wording| wording.replace("{k}", elements[*index].kind()).replace("{v}", cell));
            let needs = match group {
                Group::Heat => degrees(cell),
                Group::Density => one(&format!("{cell} grams")),
                _ => vec![vec![(*cell).to_owned()], vec!["electronegativity".to_owned()]],
            };
            push(out, group, fact, &texts, &[answer(elements, *index, group, needs)]);
        }
    }
}

/// The single names in a cell that lists discoverers; empty for a cell that
/// names relatives by one surname.
fn persons(who: &'static str) -> Vec<&'static str> {
    who.split(", ")
        .flat_map(|part| part.split(" and "))
        .filter(|person| person.contains(' ') && !person.contains("Elhuyar") && !person.contains("Curie"))
        .collect()
}

fn discoveries(elements: &[Element], out: &mut Vec<Candidate>) {
    let mut people: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut years: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut scenes: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, element) in elements.iter().enumerate() {
        let found = &element.discovery;
        for person in found.who.map(persons).unwrap_or_default() {
            people.entry(person).or_default().push(index);
        }
        if let Some(year) = found.year {
            years.entry(year).or_default().push(index);
            if let Some(place) = found.place {
                scenes.entry((year, place)).or_default().push(index);
            }
        }
    }
    let group = Group::Discovery;
    let answers = |members: &[usize], needs: &Needs| -> Vec<Answer> {
        members.iter().map(|index| answer(elements, *index, group, needs.clone())).collect()
    };
    let number = |members: &[usize], one: &str, more: &str| if members.len() == 1 { one } else { more }.to_owned();
    for (person, members) in people.iter().filter(|(_, m)| m.len() <= MOST) {
        let which = number(members, "Which element was", "Which elements were");
        push(
            out,
            group,
            "discoverer",
            &[
                format!("{which} discovered by {person}?"),
                format!("{} discovered by {person}", number(members, "element", "elements")),
            ],
            &answers(members, &one(person)),
        );
        // Whoever is named in the story of another discovery had a part in it.
        for candidate in out.iter_mut().rev().take(2) {
            candidate.related = Some(one(person));
        }
    }
    for (year, members) in years.iter().filter(|(_, m)| m.len() <= MOST) {
        let which = number(members, "Which element was", "Which elements were");
        push(
            out,
            group,
            "discovery-year",
            &[format!("{which} discovered in the year {year}?")],
            &answers(members, &one(year)),
        );
    }
    let open = |year: &str| {
        elements
            .iter()
            .map(|e| &e.discovery)
            .any(|d| d.year == Some(year) && d.place.is_none_or(|place| REGIONS.contains(&place)))
    };
    for ((year, place), members) in scenes.iter().filter(|((year, _), m)| m.len() <= MOST && !open(year)) {
        let which = number(members, "element was", "elements were");
        let mut needs = one(year);
        needs.extend(one(place));
        push(
            out,
            group,
            "discovery-place",
            &[format!("What {which} discovered in {place} in {year}?")],
            &answers(members, &needs),
        );
    }
}

fn clues(elements: &[Element], out: &mut Vec<Candidate>) {
    for (index, element) in elements.iter().enumerate() {
        let cells: [(Group, &'static str, Option<&Clue>); 7] = [
            (Group::Name, "name-origin", element.origin.clue.as_ref()),
            (Group::Look, "appearance", element.look.as_ref().and_then(|t| t.clue.as_ref())),
            (Group::Uses, "uses", element.uses.as_ref().and_then(|t| t.clue.as_ref())),
            (Group::Isotopes, "isotopes", element.radio.clue.as_ref()),
            (Group::Occurrence, "sources", element.occurrence.as_ref().and_then(|t| t.clue.as_ref())),
            (Group::Biology, "biology-and-hazards", element.biology.as_ref().and_then(|t| t.clue.as_ref())),
            (Group::Chemistry, "chemistry", element.chemistry.as_ref().and_then(|t| t.clue.as_ref())),
        ];
        for (group, fact, clue) in cells {
            let Some(clue) = clue else { continue };
            push(
                out,
                group,
                fact,
                &[
                    format!("Which element {}?", clue.ask),
                    format!("the element that {}", clue.ask),
                    format!("Name the chemical element that {}.", clue.ask),
                    format!("What is the element called that {}?", clue.ask),
                ],
                &[answer(elements, index, group, one(clue.key))],
            );
        }
    }
}

/// Facts that several elements share, where the tables hold all of them.
fn shared(elements: &[Element], out: &mut Vec<Candidate>) {
    let members = |fits: &dyn Fn(&Element) -> bool| -> Vec<usize> {
        (0..elements.len()).filter(|i| fits(&elements[*i])).collect()
    };
    let mut add = |group, fact, texts: &[String], found: Vec<usize>, needs: &Needs| {
        if (2..=MOST).contains(&found.len()) {
            let answers: Vec<Answer> = found
                .into_iter()
                .map(|index| Answer {
                    elsewhere: group != Group::Density,
                    ..answer(elements, index, group, needs.clone())
                })
                .collect();
            push(out, group, fact, texts, &answers);
        }
    };
    for (family, plural) in [
        ("noble gas", "noble gases"),
        ("halogen", "halogens"),
        ("alkali metal", "alkali metals"),
        ("alkaline earth metal", "alkaline earth metals"),
    ] {
        add(
            Group::Position,
            "family",
            &[format!("Which elements are {plural}?"), format!("{plural} of the periodic table")],
            members(&|e| e.family == family),
            &one(family),
        );
    }
    for group in ["4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"] {
        add(
            Group::Position,
            "group",
            &[
                format!("Which elements make up group {group} of the periodic table?"),
                format!("elements in group {group}"),
            ],
            members(&|e| e.group == Some(group)),
            &one(&format!("group {group}")),
        );
    }
    for crystal in ["rhombohedral", "orthorhombic", "double hexagonal close-packed"] {
        add(
            Group::Density,
            "crystal-structure",
            &[format!("Which elements have a {crystal} crystal structure?").replace("a ortho", "an ortho")],
            members(&|e| e.physical.as_ref().is_some_and(|p| p.density.is_some() && p.crystal == Some(crystal))),
            &one(crystal),
        );
    }
    add(
        Group::Name,
        "name-origin",
        &[
            "Which elements are named after the Swedish village of Ytterby?".to_owned(),
            "elements that owe their name to Ytterby".to_owned(),
        ],
        members(&|e| e.origin.core.contains("Ytterby")),
        &one("Ytterby"),
    );
}
