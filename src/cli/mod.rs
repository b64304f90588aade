//! The command line: the only layer that reads the environment, prints, and ends the program.
//! stdout is data, stderr is talk; exit 0 done, 1 finished but a stated check failed, 2 error, 130 stopped.

mod arguments;
mod bm25;
mod commands;
mod encode;
mod eval;
mod progress;
mod rerank;

use arguments::Arguments;
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let stopped = error.downcast_ref::<commands::Stopped>().is_some();
            // Nothing can be told any more when stderr is gone.
            let _ = writeln!(std::io::stderr(), "{}{error:#}", if stopped { "" } else { "error: " });
            ExitCode::from(if stopped { 130 } else { 2 })
        }
    }
}
