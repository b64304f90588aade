//! Where the time of a run goes, by a clock the caller lends: this layer reads none itself.

use std::cell::Cell;
use std::time::Duration;

/// Time since some moment of the caller's choosing.
pub type Clock = fn() -> Duration;

/// Times and counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Decoding batches.
    pub decode: Duration,
    /// Drawing tokens and holding them to the schema.
    pub draw: Duration,
    /// Of this, holding them to the schema.
    pub masks: Duration,
    /// Laying out and tokenizing prompts, and making constraints.
    pub prepare: Duration,
    /// Batches.
    pub batches: u64,
    /// Tokens drawn.
    pub draws: u64,
    /// Tokens guessed and decoded ahead.
    pub guessed: u64,
    /// Of these, tokens that were then drawn.
    pub right: u64,
}

/// Adds up what is spent.
#[derive(Debug, Default)]
pub struct Meter {
    clock: Cell<Option<Clock>>,
    spent: Cell<Spent>,
}

impl Meter {
    /// Measures from now on by `clock`; without one nothing is timed.
    pub fn start(&self, clock: Clock) {
        self.clock.set(Some(clock));
        self.spent.set(Spent::default());
    }

    /// What was spent since then.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spent.get()
    }

    /// What `work` gives; its time is that of a batch.
    pub fn decode<T>(&self, work: impl FnOnce() -> T) -> T {
        self.timed(work, |spent, time| {
            spent.decode += time;
            spent.batches += 1;
        })
    }

    /// What `work` gives; its time is that of drawing a token.
    pub fn draw<T>(&self, work: impl FnOnce() -> T) -> T {
        self.timed(work, |spent, time| {
            spent.draw += time;
            spent.draws += 1;
        })
    }

    /// What `work` gives; its time is that of holding to a schema.
    pub fn masks<T>(&self, work: impl FnOnce() -> T) -> T {
        self.timed(work, |spent, time| spent.masks += time)
    }

    /// What `work` gives; its time is that of preparing prompts.
    pub fn prepare<T>(&self, work: impl FnOnce() -> T) -> T {
        self.timed(work, |spent, time| spent.prepare += time)
    }

    /// Takes note of a guess of `guessed` tokens, of which `right` were.
    pub fn drafted(&self, guessed: usize, right: usize) {
        let mut spent = self.spent.get();
        spent.guessed += guessed as u64;
        spent.right += right as u64;
        self.spent.set(spent);
    }

    fn timed<T>(&self, work: impl FnOnce() -> T, add: impl FnOnce(&mut Spent, Duration)) -> T {
        let Some(clock) = self.clock.get() else { return work() };
        let begun = clock();
        let done = work();
        let mut spent = self.spent.get();
        add(&mut spent, clock().saturating_sub(begun));
        self.spent.set(spent);
        done
    }
}
