//! The sentences on what can be measured: melting, boiling, density, structure.
//!
//! The border: as in `wording.rs`, every value comes out of the tables, and
//! differences and ratios are computed from it here.

use crate::dice::{below, pick};
use crate::tables::{Element, Physical, value};
use crate::wording::{fill, neighbour};

fn kelvin(celsius: &str) -> String {
    format!("{:.0}", value(celsius) + 273.15)
}

fn fahrenheit(celsius: &str) -> String {
    format!("{:.0}", value(celsius) * 1.8 + 32.0)
}

fn melting_point(element: &Element) -> Option<&'static str> {
    element.physical.as_ref().and_then(|p| p.melts)
}

/// The sentences on melting and boiling.
pub fn heat(elements: &[Element], index: usize, label: &str) -> Option<Vec<String>> {
    let element = &elements[index];
    let physical = element.physical.as_ref()?;
    let mut out = Vec::new();
    match (physical.melts, physical.boils) {
        (Some(melts), Some(boils)) => {
            let marks = [
                ("{m}", melts),
                ("{b}", boils),
                ("{mk}", &kelvin(melts)),
                ("{bk}", &kelvin(boils)),
                ("{mf}", &fahrenheit(melts)),
                ("{bf}", &fahrenheit(boils)),
            ];
            let wordings: &[&str] = if element.is_gas() {
                &[
                    "Cooled at ordinary pressure, {n} turns liquid at its boiling point of {b} °C ({bk} kelvins) and freezes at {m} °C, its melting point.",
                    "{N} boils at {b} °C and melts at {m} °C, so it is a gas in any climate on Earth; in kelvins the figures are {bk} and {mk}.",
                    "The boiling point of {n} is {b} °C ({bf} °F), and the melting point of the solid is {m} °C.",
                ]
            } else {
                &[
                    "{N} melts at {m} °C ({mk} kelvins) and boils at {b} °C ({bk} kelvins).",
                    "The melting point of {n} is {m} °C, about {mf} °F; its boiling point is {b} °C.",
                    "Solid {n} turns liquid at {m} °C, its melting point, and the liquid boils at {b} °C, or {bf} °F.",
                    "At ordinary pressure {n} has a melting point of {m} °C and a boiling point of {b} °C.",
                ]
            };
            out.push(fill(pick(label, wordings), element, &marks));
        }
        (Some(melts), None) => out.push(fill(
            pick(
                label,
                &[
                    "{N} melts at {m} °C, which is {k} kelvins or about {f} °F.",
                    "The melting point of {n} is {m} °C, or {k} on the absolute scale.",
                ],
            ),
            element,
            &[("{m}", melts), ("{k}", &kelvin(melts)), ("{f}", &fahrenheit(melts))],
        )),
        (None, Some(boils)) => out.push(fill(
            "Liquid {n} boils at {b} °C, only about {k} degrees above absolute zero.",
            element,
            &[("{b}", boils), ("{k}", &kelvin(boils))],
        )),
        (None, None) => {}
    }
    out.extend(physical.heat_remark.map(str::to_owned));
    if out.is_empty() {
        return None;
    }
    if let Some((other, tie)) = neighbour(elements, index, label, |e| melting_point(e).is_some()) {
        out.push(heat_comparison(physical.melts, other, &tie, label));
    }
    if let (Some(melts), Some(boils)) = (physical.melts, physical.boils)
        && !element.is_gas()
        && below(&format!("{label} range"), 3) == 0
    {
        out.push(format!(
            "Between the two points the liquid exists over a span of about {} degrees.",
            rounded(value(boils) - value(melts))
        ));
    }
    Some(out)
}

/// A difference in words: whole degrees, and tens above a hundred.
fn rounded(difference: f64) -> String {
    let size = difference.abs();
    if size >= 100.0 {
        format!("{:.0}", (size / 10.0).round() * 10.0)
    } else if size < 10.0 {
        format!("{size:.1}")
    } else {
        format!("{size:.0}")
    }
}

fn heat_comparison(mine: Option<&str>, other: &Element, tie: &str, label: &str) -> String {
    let theirs = melting_point(other).unwrap_or("0");
    let difference = mine.map_or(0.0, |mine| value(mine) - value(theirs));
    if difference.abs() < 0.05 || below(&format!("{label} compare"), 2) == 0 {
        return format!("For comparison, {}, {tie}, melts at {theirs} °C.", other.name);
    }
    let way = if difference > 0.0 { "higher" } else { "lower" };
    format!("The melting point lies about {} degrees {way} than that of {}, {tie}.", rounded(difference), other.name)
}

fn unit(physical: &Physical) -> &'static str {
    if physical.per_litre { "grams per litre" } else { "grams per cubic centimetre" }
}

/// The sentences on density and crystal structure.
pub fn density(elements: &[Element], index: usize, label: &str) -> Option<Vec<String>> {
    let element = &elements[index];
    let physical = element.physical.as_ref()?;
    let density = physical.density?;
    let water = format!("{:.1}", value(density));
    let wordings: &[&str] = if physical.per_litre {
        &[
            "At 0 °C and normal pressure {n} gas has a density of {d} {u}.",
            "A litre of {n} gas at 0 °C and normal pressure has a mass of {d} grams; that is its density.",
            "The density of gaseous {n} is {d} {u}, measured at 0 °C and one atmosphere.",
        ]
    } else if value(density) < 1.0 {
        &["{N} has a density of only {d} {u}, so it is lighter than water."]
    } else {
        &[
            "{N} has a density of {d} {u} near room temperature.",
            "A cubic centimetre of {n} has a mass of {d} grams; in other words, its density is about {w} times that of water.",
            "The density of {n} is {d} {u}.",
            "With a density of {d} {u}, {n} is about {w} times as heavy as water.",
        ]
    };
    let marks = [("{d}", density), ("{u}", unit(physical)), ("{w}", &water)];
    let mut out = vec![fill(pick(label, wordings), element, &marks)];
    out.extend(physical.density_remark.map(str::to_owned));
    if physical.per_litre {
        let way = if value(density) > 1.293 { "heavier" } else { "lighter" };
        out.push(format!("It is {way} than air, a litre of which has a mass of about 1.29 grams."));
    }
    if let Some(crystal) = physical.crystal {
        let start = if element.name == "mercury" { "When it is frozen, its" } else { "Its" };
        out.push(format!(
            "{start} {}",
            pick(
                &format!("{label} crystal"),
                &[
                    "atoms are arranged in a {c} structure.",
                    "crystal structure is {c}.",
                    "crystals are of the {c} type.",
                ]
            )
            .replace("{c}", crystal)
            .replace("a orth", "an orth")
        ));
    }
    if let Some((other, tie)) = neighbour(elements, index, label, |e| {
        e.physical.as_ref().is_some_and(|p| p.density.is_some() && p.per_litre == physical.per_litre)
    }) && let Some(theirs) = other.physical.as_ref().and_then(|p| p.density)
    {
        out.push(density_comparison(density, theirs, other, &tie, physical));
    } else if !physical.per_litre {
        out.push("For comparison, a cubic centimetre of water has a mass of one gram.".to_owned());
    }
    Some(out)
}

fn density_comparison(mine: &str, theirs: &str, other: &Element, tie: &str, physical: &Physical) -> String {
    let ratio = value(mine) / value(theirs);
    if ratio >= 1.3 {
        format!("Volume for volume it is about {ratio:.1} times as heavy as {}, {tie}.", other.name)
    } else if ratio <= 0.75 {
        format!("{}, {tie}, is about {:.1} times as dense.", other.capital(), 1.0 / ratio)
    } else {
        format!("The figure for {}, {tie}, is {theirs} {}.", other.name, unit(physical))
    }
}
