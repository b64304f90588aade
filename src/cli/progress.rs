//! What the user sees of long work, on stderr: a bar with rate and time left on a terminal, a line every few
//! seconds elsewhere; and Ctrl-C, which asks the work to stop at the next safe point.

use crate::data::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a task must be silent before a line tells of it, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

static STOP: AtomicBool = AtomicBool::new(false);

/// Draws on stderr.
pub struct Terminal {
    task: Mutex<Option<Task>>,
    done: AtomicU64,
    interactive: bool,
}

struct Task {
    name: String,
    unit: String,
    total: u64,
    begun: Instant,
    told: Instant,
    skipped: u64,
    bar: ProgressBar,
}

impl Terminal {
    /// For the whole program; Ctrl-C asks for a stop, a second one ends the program at once.
    ///
    /// # Errors
    /// When the signal handler cannot be set.
    pub fn new() -> Result<Self, ctrlc::Error> {
        ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::SeqCst) {
                // 128 + SIGINT, as shells report it.
                std::process::exit(130);
            }
            say("\nstopping at the next safe point (Ctrl-C again: at once)");
        })?;
        Ok(Self { task: Mutex::new(None), done: AtomicU64::new(0), interactive: stderr().is_terminal() })
    }

    fn with_task(&self, act: impl FnOnce(&mut Task)) {
        if let Some(task) = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut() {
            act(task);
        }
    }
}

impl Task {
    /// "train: 12/51 steps, 0.31/s, 2m 05s left".
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn line(&self, done: u64) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = done.saturating_sub(self.skipped) as f64 / seconds.max(1e-9);
        let left =
            if rate > 0.0 { duration(self.total.saturating_sub(done) as f64 / rate) } else { "unknown time".into() };
        format!("{}: {done}/{} {}, {}/s, {left} left", self.name, self.total, self.unit, short(rate))
    }
}

impl Watch for Terminal {
    fn begin(&self, task: &str, total: u64, unit: &str) {
        self.end();
        self.done.store(0, Ordering::SeqCst);
        let bar = if self.interactive { ProgressBar::new(total) } else { ProgressBar::hidden() };
        if self.interactive {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(4));
            let style = ProgressStyle::with_template("{msg:28} {bar:24} {pos}/{len} {prefix}, {per_sec}, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(task.to_owned());
            bar.set_prefix(unit.to_owned());
        }
        let now = Instant::now();
        let task = Task { name: task.to_owned(), unit: unit.to_owned(), total, begun: now, told: now, skipped: 0, bar };
        *self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(task);
    }

    fn advance(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::SeqCst) + count;
        let interactive = self.interactive;
        self.with_task(|task| {
            if interactive {
                task.bar.inc(count);
            } else if task.begun.elapsed() < Duration::from_millis(200) && done == count {
                // What an earlier run left done is no measure of this one's rate.
                task.skipped = count;
            } else if task.told.elapsed() > LINE_EVERY {
                task.told = Instant::now();
                say(&task.line(done));
            }
        });
    }

    fn end(&self) {
        let done = self.done.load(Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            task.bar.finish_and_clear();
            let seconds = task.begun.elapsed().as_secs_f64();
            if seconds >= 1.0 {
                say(&format!("{}: {done} {} in {}", task.name, task.unit, duration(seconds)));
            }
        }
    }

    fn note(&self, line: &str) {
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match task.as_ref() {
            Some(task) => task.bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn stopped(&self) -> bool {
        STOP.load(Ordering::SeqCst)
    }
}

/// A line on stderr; nothing happens when nobody listens there any more.
pub(super) fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

fn short(rate: f64) -> String {
    if rate >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}

/// "8s", "2m 05s", "1h 12m".
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded seconds of a duration")]
#[must_use]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!([0.4, 8.0, 125.0, 4321.0].map(duration), ["0s", "8s", "2m 05s", "1h 12m"]);
    }
}
