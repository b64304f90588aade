//! Writes `data/elements/`, a small retrieval collection in BEIR form about
//! the chemical elements, from the fact tables beside this file.
//!
//! `cargo run --example make_elements [FOLDER]` writes the corpus, the queries
//! and graded judgements for train and test, the table of facts that judges
//! answers, and a README. The output is the same, byte for byte, in each run.
//!
//! The border: this file puts the parts together and writes files. Facts are
//! in `tables/`, sentences in `wording.rs` and `measured.rs`, questions in `questions.rs`,
//! `asking.rs` and `reverse.rs`, the choice and the split in `choosing.rs`,
//! judgements in `grading.rs`, the program's own checks in `checks.rs`.

mod asking;
mod checks;
mod choosing;
mod dice;
mod grading;
mod matching;
mod measured;
mod output;
mod passages;
mod questions;
mod reverse;
mod tables;
mod wording;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// A query that was chosen, with its id and grades.
struct Query<'a> {
    id: String,
    asked: &'a questions::Candidate,
    grades: BTreeMap<&'a str, u8>,
    test: bool,
}

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("data/elements"), PathBuf::from);
    let elements = tables::elements();
    let passages = passages::all(&elements);
    let mut candidates = questions::all(&elements);
    candidates
        .retain(|candidate| candidate.answers.iter().all(|answer| passages.iter().any(|p| p.id == answer.passage)));
    let choice = choosing::choose(&candidates);
    let shelf = grading::Shelf::new(&passages);
    let queries: Vec<Query> = choice
        .train
        .iter()
        .map(|at| (*at, false))
        .chain(choice.test.iter().map(|at| (*at, true)))
        .zip(1..)
        .map(|((at, test), number)| Query {
            id: format!("q-{number:04}"),
            asked: &candidates[at],
            grades: shelf.grades(&candidates[at]),
            test,
        })
        .collect();
    checks::run(&passages, &queries);
    match output::write(&folder, &elements, &passages, &queries) {
        Ok(()) => {
            say(&output::counts(&elements, &passages, &queries));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("cannot write {}: {error}\n", folder.display()));
            ExitCode::FAILURE
        }
    }
}

/// Says a text on the standard error stream; where that is closed, nobody
/// listens and nothing is lost.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
