//! The fact tables, read from the text files in `tables/` into one list of
//! elements.
//!
//! The border: this file only splits lines into cells and checks their shape.
//! What the cells say is in the text files; how it is worded as English is in
//! `passages.rs` and `questions.rs`. A cell that holds `-` is empty: the fact
//! is not told, because sources differ or because there is none.

use std::collections::BTreeMap;

/// A description that fits this element and no other in the tables.
pub struct Clue {
    /// A verb phrase, to be read after "Which element".
    pub ask: &'static str,
    /// The words of the passage that show the description to be met.
    pub key: &'static str,
}

/// A fact told in prose: its core, a remark, and a clue for reverse questions.
pub struct Told {
    pub core: &'static str,
    pub remark: Option<&'static str>,
    pub clue: Option<Clue>,
}

/// Who found the element, when, where and how.
pub struct Discovery {
    pub year: Option<&'static str>,
    pub who: Option<&'static str>,
    pub place: Option<&'static str>,
    pub how: &'static str,
}

/// Numbers that handbooks quote.
pub struct Physical {
    pub melts: Option<&'static str>,
    pub boils: Option<&'static str>,
    pub density: Option<&'static str>,
    pub per_litre: bool,
    pub crystal: Option<&'static str>,
    pub electronegativity: Option<&'static str>,
    pub heat_remark: Option<&'static str>,
    pub density_remark: Option<&'static str>,
}

/// The mixture found in nature.
pub struct Natural {
    pub masses: Vec<&'static str>,
    pub commonest: &'static str,
    pub share: Option<&'static str>,
}

/// A radioactive isotope of note.
pub struct Radio {
    pub isotope: Option<(&'static str, &'static str)>,
    pub remark: Option<&'static str>,
    pub clue: Option<Clue>,
}

/// All that the tables tell of one element.
pub struct Element {
    pub number: usize,
    pub symbol: &'static str,
    pub name: &'static str,
    pub weight: Option<&'static str>,
    pub group: Option<&'static str>,
    pub period: &'static str,
    pub block: Option<&'static str>,
    pub family: &'static str,
    pub physical: Option<Physical>,
    pub discovery: Discovery,
    pub origin: Told,
    pub look: Option<Told>,
    pub uses: Option<Told>,
    pub natural: Option<Natural>,
    pub radio: Radio,
    pub occurrence: Option<Told>,
    pub biology: Option<Told>,
    pub chemistry: Option<Told>,
}

impl Element {
    /// The name with a capital letter, for the start of a sentence.
    pub fn capital(&self) -> String {
        capital(self.name)
    }

    /// True for an element that is a gas under ordinary conditions.
    pub fn is_gas(&self) -> bool {
        self.physical.as_ref().is_some_and(|p| p.per_litre)
    }

    /// "metal" where the family is one of metals, else "element".
    pub fn kind(&self) -> &'static str {
        let metallic = self.family.ends_with(" metal");
        if metallic || matches!(self.family, "lanthanide" | "actinide") { "metal" } else { "element" }
    }
}

/// The text with its first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The number that a cell of digits states. Panics on a malformed cell, which
/// is a mistake in the tables.
pub fn value(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("the cell {cell:?} is not a number"))
}

type Rows = BTreeMap<&'static str, Vec<&'static str>>;

fn rows(name: &str, text: &'static str, width: usize) -> (Vec<&'static str>, Rows) {
    let mut order = Vec::new();
    let mut found = Rows::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert!(cells.len() == width, "{name}: wrong width in {line:?}");
        order.push(cells[0]);
        let earlier = found.insert(cells[0], cells[1..].to_vec());
        assert!(earlier.is_none(), "{name}: two rows for {}", order.len());
    }
    (order, found)
}

fn full(cell: &'static str) -> Option<&'static str> {
    (cell != "-").then_some(cell)
}

fn clue(ask: &'static str, key: &'static str) -> Option<Clue> {
    full(ask).map(|ask| Clue { ask, key })
}

fn told(cells: &[&'static str]) -> Told {
    Told { core: cells[0], remark: full(cells[1]), clue: clue(cells[2], cells[3]) }
}

fn physical(cells: &[&'static str]) -> Physical {
    Physical {
        melts: full(cells[0]),
        boils: full(cells[1]),
        density: full(cells[2]),
        per_litre: cells[3] == "L",
        crystal: full(cells[4]),
        electronegativity: full(cells[5]),
        heat_remark: full(cells[6]),
        density_remark: full(cells[7]),
    }
}

fn discovery(cells: &[&'static str]) -> Discovery {
    Discovery { year: full(cells[0]), who: full(cells[1]), place: full(cells[2]), how: cells[3] }
}

fn natural(cells: &[&'static str]) -> Natural {
    Natural { masses: cells[0].split(',').collect(), commonest: cells[1], share: full(cells[2]) }
}

fn radio(cells: &[&'static str]) -> Radio {
    Radio {
        isotope: full(cells[0]).map(|mass| (mass, cells[1])),
        remark: full(cells[2]),
        clue: clue(cells[3], cells[4]),
    }
}

/// All elements of the tables, in the order of their atomic numbers.
pub fn elements() -> Vec<Element> {
    let (order, base) = rows("elements", include_str!("tables/elements.txt"), 7);
    let (_, physicals) = rows("physical", include_str!("tables/physical.txt"), 9);
    let (_, finds) = rows("discovery", include_str!("tables/discovery.txt"), 5);
    let (_, names) = rows("names", include_str!("tables/names.txt"), 5);
    let (_, looks) = rows("appearance", include_str!("tables/appearance.txt"), 5);
    let (_, uses) = rows("uses", include_str!("tables/uses.txt"), 5);
    let (_, naturals) = rows("natural", include_str!("tables/natural.txt"), 4);
    let (_, radios) = rows("radio", include_str!("tables/radio.txt"), 6);
    let (_, sources) = rows("occurrence", include_str!("tables/occurrence.txt"), 5);
    let (_, bodies) = rows("biology", include_str!("tables/biology.txt"), 4);
    let (_, chemistries) = rows("chemistry", include_str!("tables/chemistry.txt"), 5);
    let prose = |table: &Rows, symbol| table.get(symbol).map(|cells| told(cells));
    order
        .into_iter()
        .zip(1..)
        .map(|(symbol, number)| {
            let cells = &base[symbol];
            Element {
                number,
                symbol,
                name: cells[0],
                weight: full(cells[1]),
                group: full(cells[2]),
                period: cells[3],
                block: full(cells[4]),
                family: cells[5],
                physical: physicals.get(symbol).map(|cells| physical(cells)),
                discovery: discovery(&finds[symbol]),
                origin: told(&names[symbol]),
                look: prose(&looks, symbol),
                uses: prose(&uses, symbol),
                natural: naturals.get(symbol).map(|cells| natural(cells)),
                radio: radio(&radios[symbol]),
                occurrence: prose(&sources, symbol),
                biology: bodies.get(symbol).map(|cells| Told {
                    core: cells[0],
                    remark: None,
                    clue: clue(cells[1], cells[2]),
                }),
                chemistry: prose(&chemistries, symbol),
            }
        })
        .collect()
}
