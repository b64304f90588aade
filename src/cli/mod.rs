//! The command line: the only layer that reads the environment, prints, and ends the program.
//! stdout is data, stderr is talk; exit 0 done, 1 finished but a stated check failed, 2 error, 130 stopped.

mod arguments;
mod bm25;
mod commands;
mod dense;
mod encode;
mod eval;
mod export;
mod filter;
mod generate;
mod import;
mod inspect;
mod joined;
mod mine;
mod mix;
mod progress;
mod prompt;
#[cfg(feature = "pull")]
mod pull;
mod queries;
mod rerank;
mod score;
mod search;
mod train;
mod tune;
mod why;

use arguments::Arguments;
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// How a command that ended came out.
pub(crate) enum Verdict {
    /// All is well: exit 0.
    Passed,
    /// It did its work, and what it checked does not hold: exit 1.
    Failed,
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::dispatch(arguments) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(error) => {
            let stopped = error.downcast_ref::<commands::Stopped>().is_some();
            // Nothing can be told any more when stderr is gone.
            let _ = writeln!(std::io::stderr(), "{}{error:#}", if stopped { "" } else { "error: " });
            ExitCode::from(if stopped { 130 } else { 2 })
        }
    }
}
