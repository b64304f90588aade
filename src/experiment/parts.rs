//! Mining part by part, so that a kill costs one part: each is a folder of candidates, ledger and account, whole or
//! absent, beside the stage's place; the last step puts them one behind the other.

use super::Result;
use crate::data::{Error, Fault, atomic};
use crate::negatives::{Report, Task};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Tasks of a part: what a kill costs at most.
const PART: usize = 4096;

/// What a part holds, one behind the other in the end.
const FILES: [&str; 2] = ["candidates.jsonl", "ledger.jsonl"];

/// A file that is being written, with its path for errors.
pub(super) type Target<'t> = (&'t mut dyn Write, &'t Path);

/// The parts of a stage that runs.
pub(super) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Of the stage whose place in the store is `place`.
    pub(super) fn of(place: &Path) -> Self {
        Self { folder: place.with_extension("parts") }
    }

    /// Calls `fill` for each part of `tasks` that is not there, with its candidates and ledger; `fill` gives what was
    /// counted in it. Then writes all to `candidates.jsonl` and `ledger.jsonl` in `to`. The account of all parts.
    pub(super) fn make(
        &self,
        tasks: &[Task],
        to: &Path,
        mut fill: impl FnMut(&[Task], [Target<'_>; 2]) -> Result<Report>,
    ) -> Result<Report> {
        let mut total = Report::default();
        let parts: Vec<_> = tasks.chunks(PART).zip(0..).map(|(part, number)| (part, self.place(number))).collect();
        for (part, place) in &parts {
            if !place.is_dir() {
                atomic::write_folder(place, |folder| {
                    let [candidates, ledger] = FILES.map(|name| folder.join(name));
                    let mut report = Report::default();
                    atomic::write_file(&candidates, |candidates_out| {
                        atomic::write_file(&ledger, |ledger_out| {
                            report = fill(part, [(candidates_out, &candidates), (ledger_out, &ledger)])?;
                            Ok::<(), super::ExperimentError>(())
                        })
                    })?;
                    Ok::<(), super::ExperimentError>(write_report(&folder.join("report.json"), &report)?)
                })?;
            }
            total.add(read_report(&place.join("report.json"))?);
        }
        for name in FILES {
            let path = to.join(name);
            atomic::write_file(&path, |out| {
                for (_, place) in &parts {
                    let mut part = File::open(place.join(name)).map_err(Error::io("read", place))?;
                    std::io::copy(&mut part, out).map_err(Error::io("write", &path))?;
                }
                Ok::<(), Error>(())
            })?;
        }
        Ok(total)
    }

    /// Removes what is left of them once the stage is whole.
    pub(super) fn clear(&self) {
        if self.folder.is_dir() {
            // It is only a waste of space.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn place(&self, number: usize) -> PathBuf {
        self.folder.join(number.to_string())
    }
}

fn write_report(path: &Path, report: &Report) -> Result<(), Error> {
    atomic::write_file(path, |out| {
        serde_json::to_writer(&mut *out, report).map_err(|error| Error::io("write", path)(error.into()))
    })
}

fn read_report(path: &Path) -> Result<Report, Error> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let fault = |error: serde_json::Error| Fault::new(path, "the account of a part", error.to_string());
    serde_json::from_str(&text).map_err(|error| fault(error).hint("remove this folder to have it made anew").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Query, QueryId};

    #[test]
    fn what_was_stopped_goes_on_after_its_last_whole_part() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let tasks = (0..2 * PART + 3).map(|number| {
            let query = Query { id: QueryId::new(&format!("q{number}"))?, text: String::new() };
            Ok(Task { query, positives: Vec::new() })
        });
        let tasks = tasks.collect::<std::result::Result<Vec<_>, crate::data::ids::InvalidId>>()?;
        let to = folder.path().join("out");
        fs::create_dir(&to)?;
        let parts = Parts::of(&folder.path().join("mine-1"));
        let mut begun = Vec::new();
        let mut fill = |stop_at: &str, part: &[Task], [candidates, ledger]: [Target<'_>; 2]| {
            begun.push(part[0].query.id.to_string());
            for task in part {
                if task.query.id.as_str() == stop_at {
                    return Err(Error::Stopped.into());
                }
                writeln!(candidates.0, "{}", task.query.id).map_err(Error::io("write", candidates.1))?;
                writeln!(ledger.0, "ledger {}", task.query.id).map_err(Error::io("write", ledger.1))?;
            }
            Ok(Report { queries: part.len() as u64, ..Report::default() })
        };
        assert!(parts.make(&tasks, &to, |part, targets| fill("q5000", part, targets)).is_err());
        let report = parts.make(&tasks, &to, |part, targets| fill("", part, targets))?;
        assert_eq!(begun, ["q0", "q4096", "q4096", "q8192"]);
        assert_eq!(report.queries, tasks.len() as u64);
        let lines: Vec<String> = tasks.iter().map(|task| format!("{}\n", task.query.id)).collect();
        assert_eq!(fs::read_to_string(to.join("candidates.jsonl"))?, lines.concat());
        assert_eq!(fs::read_to_string(to.join("ledger.jsonl"))?.lines().count(), tasks.len());
        parts.clear();
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }
}
