//! How long work tells of itself and learns that it should stop.
//! The library only calls this trait; the command line draws bars, and tests stay quiet.

/// Follows one task at a time and carries the wish to stop.
pub trait Watch: Sync {
    /// A task of `total` units begins ("passages", "tokens"); ends the one before.
    fn begin(&self, task: &str, total: u64, unit: &str);
    /// `count` more units are done; may be called from any thread.
    fn advance(&self, count: u64);
    /// The task is over.
    fn end(&self);
    /// One line worth telling: something was built, left out, or found in the store.
    fn note(&self, line: &str);
    /// True once the user asked to stop.
    fn stopped(&self) -> bool;

    /// An error once the user asked to stop, for `?` inside loops.
    ///
    /// # Errors
    /// [`super::Error::Stopped`].
    fn check(&self) -> super::Result<()> {
        if self.stopped() { Err(super::Error::Stopped) } else { Ok(()) }
    }
}

/// Says nothing, never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Watch for Quiet {
    fn begin(&self, _task: &str, _total: u64, _unit: &str) {}
    fn advance(&self, _count: u64) {}
    fn end(&self) {}
    fn note(&self, _line: &str) {}
    fn stopped(&self) -> bool {
        false
    }
}
