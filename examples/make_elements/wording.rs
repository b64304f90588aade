//! The sentences of the passages: which one of several wordings a passage
//! takes, and the comparisons with neighbours, computed from the tables.
//!
//! The border: no fact of its own; every value comes out of `tables.rs`. The
//! wording is chosen by `dice.rs` from the passage's name, so it never moves.

use crate::dice::{below, pick};
use crate::measured;
use crate::passages::{Group, id};
use crate::tables::{Element, Told, value};

/// The text of one passage, or nothing where the tables tell too little.
pub fn text(elements: &[Element], index: usize, group: Group) -> Option<String> {
    let element = &elements[index];
    let label = id(element, group);
    let sentences = match group {
        Group::Position => Some(position(elements, index, &label)),
        Group::Heat => measured::heat(elements, index, &label),
        Group::Density => measured::density(elements, index, &label),
        Group::Discovery => Some(discovery(elements, index, &label)),
        Group::Name => Some(name(elements, index, &label)),
        Group::Look => look(elements, index, &label),
        Group::Uses => uses(elements, index, &label),
        Group::Isotopes => Some(isotopes(element, &label)),
        Group::Occurrence => occurrence(elements, index, &label),
        Group::Biology => element.biology.as_ref().map(|b| vec![b.core.to_owned()]),
        Group::Chemistry => chemistry(elements, index, &label),
    }?;
    Some(sentences.join(" "))
}

/// Fills a wording: `{n}` and `{N}` are the name, further marks as given.
pub fn fill(wording: &str, element: &Element, marks: &[(&str, &str)]) -> String {
    let mut text = wording.replace("{n}", element.name).replace("{N}", &element.capital());
    for (mark, put) in marks {
        text = text.replace(mark, put);
    }
    text
}

/// The parts as one list in words: commas, and "and" before the last.
pub fn list(parts: &[&str]) -> String {
    match parts {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => {
            let comma = if parts.iter().any(|part| part.contains(" and ")) { "," } else { "" };
            format!("{}{comma} and {last}", first.join(", "))
        }
    }
}

/// The neighbour that a passage is compared with, and how it stands to the
/// element: the one before, the one after, or the one above in its group.
pub fn neighbour<'a>(
    elements: &'a [Element],
    index: usize,
    label: &str,
    fits: impl Fn(&Element) -> bool,
) -> Option<(&'a Element, String)> {
    let element = &elements[index];
    let mut near = Vec::new();
    if index > 0 {
        near.push((&elements[index - 1], "the element just before it".to_owned()));
    }
    if let Some(next) = elements.get(index + 1) {
        near.push((next, "the element just after it".to_owned()));
    }
    if let Some(group) = element.group
        && let Some(above) = elements[..index].iter().rev().find(|other| other.group == Some(group))
    {
        near.push((above, format!("which stands above it in group {group}")));
    }
    near.retain(|(other, _)| fits(other));
    if near.is_empty() {
        return None;
    }
    let at = below(&format!("neighbour {label}"), near.len());
    Some(near.swap_remove(at))
}

fn position(elements: &[Element], index: usize, label: &str) -> Vec<String> {
    let element = &elements[index];
    let number = element.number.to_string();
    let marks = [
        ("{z}", number.as_str()),
        ("{s}", element.symbol),
        ("{f}", element.family),
        ("{p}", element.period),
        ("{a}", article(element.family)),
    ];
    let mut out = vec![fill(
        pick(
            label,
            &[
                "{N}, symbol {s}, has atomic number {z}.",
                "The element {n} has the symbol {s} and atomic number {z}, so that every atom of it holds that many protons.",
                "{N} is written {s} for short; with atomic number {z} it is {a} {f}.",
                "With the chemical symbol {s} and atomic number {z}, {n} is counted as {a} {f}.",
            ],
        ),
        element,
        &marks,
    )];
    if !out[0].contains(element.family) {
        out.push(fill("It is {a} {f}.", element, &marks));
    }
    out.push(match (element.group, element.block) {
        (Some(group), Some(block)) => fill(
            pick(
                &format!("{label} place"),
                &[
                    "In the periodic table it stands in group {g} and period {p}, in the {b} block.",
                    "Its place is in group {g}, period {p}, and it belongs to the {b} block.",
                ],
            ),
            element,
            &[("{g}", group), ("{b}", block), ("{p}", element.period)],
        ),
        _ => fill(
            "It has its place in period {p}, in the row that is usually printed below the main table.",
            element,
            &marks,
        ),
    });
    if let Some(weight) = element.weight {
        out.push(format!("Its standard atomic weight is {weight}."));
    } else {
        out.push(
            "No standard atomic weight is given for it, as it has no stable isotopes and no fixed natural make-up."
                .to_owned(),
        );
    }
    if let (Some(before), Some(after)) = (index.checked_sub(1).and_then(|i| elements.get(i)), elements.get(index + 1)) {
        out.push(format!("It follows {} and comes before {}.", before.name, after.name));
    }
    out
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}

fn discovery(elements: &[Element], index: usize, label: &str) -> Vec<String> {
    let element = &elements[index];
    let found = &element.discovery;
    let mut out = Vec::new();
    if let (Some(year), Some(who)) = (found.year, found.who) {
        let marks = [("{y}", year), ("{w}", who), ("{p}", found.place.unwrap_or(""))];
        let wordings: &[&str] = if found.place.is_some() {
            &[
                "{N} was discovered in {y} by {w} in {p}.",
                "In {y}, working in {p}, {w} discovered {n}.",
                "The discovery of {n} is credited to {w}, who made it in {p} in {y}.",
                "It was {w} who discovered {n}, in {p} in the year {y}.",
            ]
        } else {
            &["{N} was discovered in {y} by {w}.", "The discovery of {n} dates from {y} and is credited to {w}."]
        };
        out.push(fill(pick(label, wordings), element, &marks));
    } else {
        out.push(fill(
            pick(
                label,
                &[
                    "{N} has been known for so long that nobody can be named as its discoverer.",
                    "No discoverer of {n} is on record, since people knew it long before the age of chemistry.",
                ],
            ),
            element,
            &[],
        ));
    }
    out.push(found.how.to_owned());
    if let Some(year) = found.year
        && let Some((other, tie)) = neighbour(elements, index, label, |e| e.discovery.year.is_some())
        && let Some(theirs) = other.discovery.year
    {
        let gap = value(year) - value(theirs);
        out.push(if gap.abs() < 0.5 {
            format!("{}, {tie}, was discovered in the same year as {}.", other.capital(), element.name)
        } else if below(&format!("{label} gap"), 2) == 0 {
            format!("{}, {tie}, was discovered in {theirs}.", other.capital())
        } else {
            let way = if gap > 0.0 { "after" } else { "before" };
            let years = if (gap.abs() - 1.0).abs() < 0.5 { "year" } else { "years" };
            format!("{} was found {:.0} {years} {way} {}, {tie}.", element.capital(), gap.abs(), other.name)
        });
    }
    out
}

fn name(elements: &[Element], index: usize, label: &str) -> Vec<String> {
    let element = &elements[index];
    let marks = [("{o}", element.origin.core)];
    let mut out = vec![fill(
        pick(
            label,
            &[
                "The name {n} comes from {o}.",
                "{N} takes its name from {o}.",
                "The word {n} goes back to {o}.",
                "Behind the name {n} stands {o}.",
            ],
        ),
        element,
        &marks,
    )];
    if element.origin.core.contains("words for") && out[0].starts_with("Behind") {
        out[0] = out[0].replace("stands", "stand");
    }
    out.extend(element.origin.remark.map(str::to_owned));
    if element.origin.remark.is_none_or(|r| !r.contains("symbol")) {
        out.push(format!("Chemists write it as {}.", element.symbol));
    }
    if let Some((other, tie)) = neighbour(elements, index, label, |e| e.origin.remark.is_none()) {
        out.push(format!("The name of {}, {tie}, is from {}.", other.name, other.origin.core));
    } else if let Some((other, tie)) = neighbour(elements, index, label, |_| true) {
        out.push(format!("{}, {tie}, owes its name to {}.", other.capital(), other.origin.core));
    }
    out
}

fn look(elements: &[Element], index: usize, label: &str) -> Option<Vec<String>> {
    let element = &elements[index];
    let told = element.look.as_ref()?;
    let mut out = prose(
        element,
        told,
        label,
        &["At room temperature {n} is {c}.", "Pure {n} is {c}.", "{N} is {c}.", "Seen in the laboratory, {n} is {c}."],
    );
    if (short(&out) || below(&format!("{label} contrast"), 2) == 0)
        && let Some((other, tie)) = neighbour(elements, index, label, |e| e.look.is_some())
        && let Some(theirs) = &other.look
    {
        out.push(if theirs.core == told.core {
            format!("{}, {tie}, fits the same description.", other.capital())
        } else {
            format!("{}, {tie}, is {}.", other.capital(), theirs.core)
        });
    }
    Some(out)
}

/// True for sentences that together are too short for a passage.
fn short(sentences: &[String]) -> bool {
    sentences.iter().map(|s| s.split_whitespace().count()).sum::<usize>() < 26
}

/// The first sentence about a fact told in prose, and its remark.
fn prose(element: &Element, told: &Told, label: &str, wordings: &[&str]) -> Vec<String> {
    let mut out = vec![fill(pick(label, wordings), element, &[("{c}", told.core)])];
    out.extend(told.remark.map(str::to_owned));
    out
}

/// The uses of a cell as one list in words.
pub fn use_list(told: &Told) -> Vec<&'static str> {
    told.core.split(';').collect()
}

fn uses(elements: &[Element], index: usize, label: &str) -> Option<Vec<String>> {
    let element = &elements[index];
    let told = element.uses.as_ref()?;
    let joined = list(&use_list(told));
    let mut out = vec![fill(
        pick(
            label,
            &[
                "The main uses of {n} include {c}.",
                "{N} finds use in a number of fields, among them {c}.",
                "Important applications of {n} are {c}.",
                "People put {n} to work in several ways: {c}.",
                "What {n} is used for today or has been used for includes {c}.",
            ],
        ),
        element,
        &[("{c}", &joined)],
    )];
    out.extend(told.remark.map(str::to_owned));
    if (short(&out) || below(&format!("{label} contrast"), 3) == 0)
        && let Some((other, tie)) = neighbour(elements, index, label, |e| e.uses.is_some())
        && let Some(theirs) = &other.uses
    {
        out.push(format!("A typical use of {}, {tie}, is quite another: {}.", other.name, use_list(theirs)[0]));
        if use_list(theirs)[0] == use_list(told)[0] {
            out.pop();
        }
    }
    Some(out)
}

fn isotopes(element: &Element, label: &str) -> Vec<String> {
    let mut out = Vec::new();
    match &element.natural {
        Some(natural) if natural.masses.len() == 1 => out.push(fill(
            pick(
                label,
                &[
                    "All natural {n} is of one kind, {n}-{m}, apart from the merest traces.",
                    "In nature {n} has a single isotope, {n}-{m}.",
                ],
            ),
            element,
            &[("{m}", natural.commonest)],
        )),
        Some(natural) => {
            let count = count_word(natural.masses.len());
            let masses = list(&natural.masses);
            out.push(fill(
                pick(
                    label,
                    &[
                        "Natural {n} is a mixture of {k} isotopes, with the mass numbers {l}.",
                        "The {n} found in nature consists of {k} isotopes, whose mass numbers are {l}.",
                        "Nature offers {n} as a blend of {k} isotopes with mass numbers {l}.",
                    ],
                ),
                element,
                &[("{k}", count), ("{l}", &masses)],
            ));
            if let Some(share) = natural.share {
                let about = if share.starts_with("more") { "" } else { "about " };
                out.push(fill(
                    pick(
                        &format!("{label} share"),
                        &[
                            "The most abundant is {n}-{m}, which makes up {a}{p} percent of the atoms.",
                            "{N}-{m} leads with {a}{p} percent of all atoms and is thus the most abundant.",
                        ],
                    ),
                    element,
                    &[("{m}", natural.commonest), ("{a}", about), ("{p}", share)],
                ));
            }
        }
        None => out.push(fill("No isotope of {n} is stable.", element, &[])),
    }
    if let Some((mass, life)) = element.radio.isotope {
        out.push(fill(
            pick(
                &format!("{label} radio"),
                &[
                    "{N}-{m} is radioactive, with a half-life of {t}.",
                    "The radioactive isotope {n}-{m} has a half-life of {t}.",
                    "Of the radioactive isotopes, {n}-{m} may be named; its half-life is {t}.",
                ],
            ),
            element,
            &[("{m}", mass), ("{t}", life)],
        ));
    }
    out.extend(element.radio.remark.map(str::to_owned));
    out
}

/// A small number in words.
pub fn count_word(count: usize) -> &'static str {
    ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
        .get(count)
        .copied()
        .unwrap_or("many")
}

fn occurrence(elements: &[Element], index: usize, label: &str) -> Option<Vec<String>> {
    let element = &elements[index];
    let told = element.occurrence.as_ref()?;
    let mut out = prose(
        element,
        told,
        label,
        &[
            "The main sources of {n} are {c}.",
            "{N} is obtained from {c}.",
            "For its supply of {n} the world turns to {c}.",
            "Whoever looks for {n} will find it in {c}.",
        ],
    );
    let plural = told.core.contains(" and ")
        || ["ores", "minerals", "fields", "reactors", "monazite sands"].iter().any(|word| told.core.contains(word));
    if !plural && out[0].starts_with("The main sources of") {
        out[0] = out[0].replace("main sources", "main source").replace(" are ", " is ");
    }
    if (short(&out) || below(&format!("{label} contrast"), 3) == 0)
        && let Some((other, tie)) =
            neighbour(elements, index, label, |e| e.occurrence.as_ref().is_some_and(|o| o.core != told.core))
        && let Some(theirs) = &other.occurrence
    {
        out.push(format!("{}, {tie}, comes from {}.", other.capital(), theirs.core));
    }
    Some(out)
}

fn chemistry(elements: &[Element], index: usize, label: &str) -> Option<Vec<String>> {
    let element = &elements[index];
    let told = element.chemistry.as_ref()?;
    let several = told.core.contains(" and ");
    let (states, bare) =
        if several { ("oxidation states are", "oxidation states") } else { ("oxidation state is", "oxidation state") };
    let wording = pick(
        label,
        &[
            "In its compounds {n} usually has the {v} {c}.",
            "In the compounds of {n} the usual {w} {c}.",
            "For {n} the common {w} {c}.",
        ],
    );
    let mut out = vec![fill(wording, element, &[("{w}", states), ("{v}", bare), ("{c}", told.core)])];
    let mine = element.physical.as_ref().and_then(|p| p.electronegativity);
    if let Some(mine) = mine {
        out.push(format!("Its electronegativity on the Pauling scale is {mine}."));
    }
    // A remark speaks of the element's states or compounds, so it must not
    // follow a sentence about a neighbour.
    out.extend(told.remark.map(str::to_owned));
    if let Some(mine) = mine
        && let Some((other, tie)) =
            neighbour(elements, index, label, |e| e.physical.as_ref().is_some_and(|p| p.electronegativity.is_some()))
        && let Some(theirs) = other.physical.as_ref().and_then(|p| p.electronegativity)
    {
        let difference = value(mine) - value(theirs);
        let way = if difference > 0.0 { "less" } else { "more" };
        out.push(if difference.abs() < 0.005 {
            format!("{}, {tie}, is just as electronegative.", other.capital())
        } else if below(&format!("{label} en"), 2) == 0 {
            format!("{}, {tie}, is {way} electronegative.", other.capital())
        } else {
            format!("The electronegativity of {}, {tie}, is {theirs}.", other.name)
        });
    }
    Some(out)
}
