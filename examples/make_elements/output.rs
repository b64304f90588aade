//! The files of the collection: how each line is written.
//!
//! The border: lines are put together by hand, with the cells in a fixed
//! order, so that the bytes do not depend on how a JSON library sorts keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::Query;
use crate::grading::FULL;
use crate::passages::{Group, Passage};
use crate::tables::Element;
use crate::wording::use_list;

/// Writes all files below the folder, which is made where it is missing.
pub fn write(folder: &Path, elements: &[Element], passages: &[Passage], queries: &[Query]) -> io::Result<()> {
    fs::create_dir_all(folder.join("qrels"))?;
    fs::write(folder.join("corpus.jsonl"), corpus(elements, passages))?;
    fs::write(folder.join("queries.jsonl"), query_lines(elements, queries))?;
    fs::write(folder.join("qrels/train.tsv"), qrels(queries, false))?;
    fs::write(folder.join("qrels/test.tsv"), qrels(queries, true))?;
    fs::write(folder.join("facts.json"), facts(elements))?;
    fs::write(folder.join("README.md"), readme(elements, passages, queries))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn corpus(elements: &[Element], passages: &[Passage]) -> String {
    passages.iter().fold(String::new(), |mut out, passage| {
        let _ = writeln!(
            out,
            "{{\"_id\":{},\"title\":{},\"text\":{},\"metadata\":{{\"element\":{},\"fact\":{}}}}}",
            quoted(&passage.id),
            quoted(&passage.title),
            quoted(&passage.text),
            quoted(elements[passage.element].name),
            quoted(passage.group.slug()),
        );
        out
    })
}

fn query_lines(elements: &[Element], queries: &[Query]) -> String {
    queries.iter().fold(String::new(), |mut out, query| {
        let names: Vec<&str> = query.asked.answers.iter().map(|a| elements[a.element].name).collect();
        let _ = writeln!(
            out,
            "{{\"_id\":{},\"text\":{},\"metadata\":{{\"element\":{},\"fact\":{},\"phrasing\":{}}}}}",
            quoted(&query.id),
            quoted(&query.asked.text),
            quoted(&names.join(", ")),
            quoted(query.asked.fact),
            quoted(query.asked.phrasing.slug()),
        );
        out
    })
}

fn qrels(queries: &[Query], test: bool) -> String {
    let mut out = "query-id\tcorpus-id\tscore\n".to_owned();
    for query in queries.iter().filter(|q| q.test == test) {
        for wanted in [2, 1] {
            for (id, grade) in query.grades.iter().filter(|(_, g)| **g == wanted) {
                let _ = writeln!(out, "{}\t{id}\t{grade}", query.id);
            }
        }
    }
    out
}

/// The facts of one element that a short answer can be checked against.
fn cells(element: &Element) -> Vec<(&'static str, String)> {
    let physical = element.physical.as_ref();
    let found = &element.discovery;
    let density_name = if element.is_gas() { "density-g-per-litre" } else { "density-g-per-cm3" };
    let text = |cell: Option<&str>| cell.map(str::to_owned);
    [
        ("symbol", text(Some(element.symbol))),
        ("atomic-number", Some(element.number.to_string())),
        ("atomic-weight", text(element.weight)),
        ("group", text(element.group)),
        ("period", text(Some(element.period))),
        ("block", text(element.block)),
        ("family", text(Some(element.family))),
        ("melting-point-celsius", text(physical.and_then(|p| p.melts))),
        ("boiling-point-celsius", text(physical.and_then(|p| p.boils))),
        (density_name, text(physical.and_then(|p| p.density))),
        ("crystal-structure", text(physical.and_then(|p| p.crystal))),
        ("electronegativity-pauling", text(physical.and_then(|p| p.electronegativity))),
        ("oxidation-states", text(element.chemistry.as_ref().map(|c| c.core))),
        ("discovery-year", text(found.year)),
        ("discoverer", text(found.who)),
        ("discovery-place", text(found.place)),
        ("name-origin", text(Some(element.origin.core))),
        ("appearance", text(element.look.as_ref().map(|l| l.core))),
        ("uses", element.uses.as_ref().map(|u| use_list(u).join(", "))),
        ("sources", text(element.occurrence.as_ref().map(|o| o.core))),
        ("natural-isotopes", element.natural.as_ref().map(|n| n.masses.join(", "))),
        ("commonest-isotope", text(element.natural.as_ref().map(|n| n.commonest))),
        ("radioactive-isotope", text(element.radio.isotope.map(|(mass, _)| mass))),
        ("half-life", text(element.radio.isotope.map(|(_, life)| life))),
    ]
    .into_iter()
    .filter_map(|(attribute, cell)| cell.map(|cell| (attribute, cell)))
    .collect()
}

fn facts(elements: &[Element]) -> String {
    let mut lines = Vec::new();
    for element in elements {
        for (attribute, cell) in cells(element) {
            lines.push(format!(
                "{}:{{\"element\":{},\"attribute\":{},\"value\":{}}}",
                quoted(&format!("{}-{attribute}", element.name)),
                quoted(element.name),
                quoted(attribute),
                quoted(&cell),
            ));
        }
    }
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// The counts of the collection, one a line.
pub fn counts(elements: &[Element], passages: &[Passage], queries: &[Query]) -> String {
    let mut out = String::new();
    let test = queries.iter().filter(|q| q.test).count();
    let lines = |test, full| -> usize {
        queries
            .iter()
            .filter(|q| q.test == test)
            .map(|q| q.grades.values().filter(|g| (**g == FULL) == full).count())
            .sum()
    };
    let words: usize = passages.iter().map(|p| p.text.split_whitespace().count()).sum();
    let several = queries.iter().filter(|q| q.asked.answers.len() > 1).count();
    let _ = writeln!(out, "- elements: {}", elements.len());
    let _ = writeln!(out, "- passages: {}, {} words each on average", passages.len(), words / passages.len());
    let _ = writeln!(
        out,
        "- train: {} queries, {} judgements of grade 2 and {} of grade 1",
        queries.len() - test,
        lines(false, true),
        lines(false, false)
    );
    let _ = writeln!(
        out,
        "- test: {test} queries, {} judgements of grade 2 and {} of grade 1",
        lines(true, true),
        lines(true, false)
    );
    let _ = writeln!(out, "- queries with several full answers: {several}");
    let mut phrasings: BTreeMap<&str, usize> = BTreeMap::new();
    for query in queries {
        *phrasings.entry(query.asked.phrasing.slug()).or_default() += 1;
    }
    let shares: Vec<String> = phrasings.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let _ = writeln!(out, "- phrasings: {}", shares.join(", "));
    let groups: Vec<String> = Group::ALL
        .iter()
        .map(|group| {
            let count = passages.iter().filter(|p| p.group == *group).count();
            format!("{} {count}", group.slug())
        })
        .collect();
    let _ = writeln!(out, "- passages by fact: {}", groups.join(", "));
    out
}

fn readme(elements: &[Element], passages: &[Passage], queries: &[Query]) -> String {
    include_str!("readme.txt").replace("{counts}", counts(elements, passages, queries).trim_end())
}
