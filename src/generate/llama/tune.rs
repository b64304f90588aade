//! What is fastest on this machine: a few seconds of decoding with one setting changed at a time.
//! Threads first, then flash attention, the form of the cache, slots, tokens of a batch, then what guessing
//! ahead costs; settings that were given are kept. A probe is what a request costs: part of a prompt, and
//! a reply among others. A smaller cache costs exactness, so it must be faster by more than the others.

use super::cache::{Cache, Output};
use super::{LlamaEngine, Plan, backend};
use crate::data::Watch;
use crate::generate::engine::Error;
use crate::generate::meter::Clock;
use crate::generate::settings::{CacheType, FlashAttention, Probe, Tuned};
use std::time::Duration;

/// Tokens of a prompt read in a probe; more where batches are compared.
const PROMPT: usize = 192;
const BATCHES: [u32; 3] = [128, 256, 512];
/// Tokens a request reads of its own, and writes, as far as judging goes.
const REQUEST: [f64; 2] = [200.0, 150.0];
/// Time that tokens are written for in a probe.
const TIME: Duration = Duration::from_millis(400);
const FEWEST_STEPS: u32 = 6;
/// Tokens guessed ahead where that is tried.
const AHEAD: u32 = 5;
/// What is slower by less is taken as equal.
const NOTABLE: f64 = 1.03;
/// What a cache of 8 bits must gain.
const WORTH_EXACTNESS: f64 = 1.1;
const SLOTS: [u32; 4] = [1, 2, 4, 8];

impl LlamaEngine {
    /// The fastest settings by `clock`, with what was measured.
    ///
    /// # Errors
    /// [`Error::Llama`]; [`Error::Data`] soon after a stop was asked for.
    pub fn tune(&self, clock: Clock, watch: &dyn Watch) -> Result<Tuned, Error> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let processors = u32::try_from(processors).unwrap_or(1);
        let mut tuner = Tuner { engine: self, clock, watch, prompt: PROMPT, probes: Vec::new() };
        let mut plan = self.plan;
        plan.slots = plan.slots.min(4);
        if self.settings.threads.is_none() {
            let counts = (0..10).map(|power| 1 << power).filter(|&n| n < processors).chain([processors]);
            let plans: Vec<Plan> = counts.map(|threads| Plan { threads, ..plan }).collect();
            plan = tuner.best(&plans)?;
        }
        if self.settings.flash_attention.is_none() && !plan.cache_type.is_quantized() {
            let kinds = [FlashAttention::Off, FlashAttention::On];
            plan = tuner.best(&kinds.map(|flash_attention| Plan { flash_attention, ..plan }))?;
        }
        if self.settings.cache_type.is_none() && self.settings.flash_attention != Some(FlashAttention::Off) {
            let small = Plan { cache_type: CacheType::Q8, flash_attention: FlashAttention::On, ..plan };
            if tuner.probe(&small)? > WORTH_EXACTNESS * tuner.probe(&plan)? {
                plan = small;
            }
        }
        let plans: Vec<Plan> = match self.settings.slots {
            Some(slots) => vec![Plan { slots, ..plan }],
            None => {
                SLOTS.iter().filter(|&&slots| slots <= self.plan.slots).map(|&slots| Plan { slots, ..plan }).collect()
            }
        };
        plan = tuner.best(&plans)?;
        if self.settings.batch.is_none() {
            let sizes = BATCHES.into_iter().rev().filter(|&batch| batch <= self.plan.window / 2);
            let plans: Vec<Plan> = sizes.map(|batch| Plan { batch, ..plan }).collect();
            if !plans.is_empty() {
                tuner.prompt = plans[0].batch as usize;
                plan = tuner.best(&plans)?;
            }
        }
        let draft_cost = tuner.cost_ahead(&plan)?;
        Ok(Tuned {
            processors,
            threads: plan.threads,
            flash_attention: plan.flash_attention,
            cache_type: plan.cache_type,
            batch: plan.batch,
            slots: plan.slots,
            draft: if self.plan.no_sharing.is_some() { 0 } else { AHEAD },
            draft_cost,
            probes: tuner.probes,
        })
    }
}

struct Tuner<'e> {
    engine: &'e LlamaEngine,
    clock: Clock,
    watch: &'e dyn Watch,
    /// Tokens of a prompt.
    prompt: usize,
    probes: Vec<Probe>,
}

impl Tuner<'_> {
    /// The first of the plans that none beats notably.
    fn best(&mut self, plans: &[Plan]) -> Result<Plan, Error> {
        let mut rates = Vec::new();
        for plan in plans {
            rates.push(self.probe(plan)?);
        }
        let most = rates.iter().copied().fold(0.0, f64::max);
        let first = rates.iter().position(|rate| rate * NOTABLE >= most).unwrap_or(0);
        Ok(plans[first])
    }

    /// Requests a minute under `plan`.
    fn probe(&mut self, plan: &Plan) -> Result<f64, Error> {
        let mut bench = Bench::new(self, plan)?;
        let read = bench.read()?;
        let (time, steps) = bench.write(1)?;
        let written = f64::from(plan.slots) * f64::from(steps) / time.as_secs_f64().max(1e-9);
        let requests = 60.0 / (REQUEST[0] / read + REQUEST[1] / written);
        self.probes.push(Probe {
            threads: plan.threads,
            flash_attention: plan.flash_attention,
            cache_type: plan.cache_type,
            batch: plan.batch,
            slots: plan.slots,
            read_per_second: read,
            written_per_second: written,
            requests_per_minute: requests,
        });
        Ok(requests)
    }

    /// What a step that checks a guess costs in plain steps.
    fn cost_ahead(&mut self, plan: &Plan) -> Result<f32, Error> {
        let mut bench = Bench::new(self, plan)?;
        bench.read()?;
        let each = |(time, steps): (Duration, u32)| time.as_secs_f32() / steps as f32;
        let plain = each(bench.write(1)?);
        let ahead = each(bench.write((plan.batch / plan.slots).clamp(1, 1 + AHEAD) as usize)?);
        Ok((ahead / plain.max(1e-9)).max(1.0))
    }
}

/// A cache in which every sequence says the same, which costs what saying different things does.
struct Bench<'t> {
    cache: Cache<'t>,
    clock: Clock,
    watch: &'t dyn Watch,
    words: u32,
    window: usize,
    prompt: usize,
}

impl<'t> Bench<'t> {
    fn new(tuner: &Tuner<'t>, plan: &Plan) -> Result<Self, Error> {
        tuner.watch.check()?;
        let cache = Cache::new(&tuner.engine.model, backend()?, plan)?;
        let words = u32::try_from(tuner.engine.words.pieces.len()).unwrap_or(1);
        let window = plan.window as usize;
        Ok(Self { cache, clock: tuner.clock, watch: tuner.watch, words, window, prompt: tuner.prompt.min(window / 2) })
    }

    fn word(&self, place: usize) -> u32 {
        u32::try_from(place * 7919 % (self.words as usize)).unwrap_or(0)
    }

    /// Fills every sequence with a prompt; tokens read a second.
    fn read(&mut self) -> Result<f64, Error> {
        let begun = (self.clock)();
        for place in 0..self.prompt {
            self.cache.add(0, self.word(place), Output::Nothing)?;
            if self.cache.room() == 0 {
                self.cache.decode()?;
            }
        }
        self.cache.decode()?;
        let time = (self.clock)().saturating_sub(begun);
        for sequence in 1..self.cache.sequences() {
            self.cache.copy(0, sequence)?;
        }
        Ok(self.prompt as f64 / time.as_secs_f64().max(1e-9))
    }

    /// Writes `tokens` at a time to every sequence for a while; the time and the steps.
    fn write(&mut self, tokens: usize) -> Result<(Duration, u32), Error> {
        let prompt = self.cache.held(0).len();
        let mut steps = 0;
        // The first step has memory to find, and is not counted.
        self.step(tokens)?;
        let begun = (self.clock)();
        loop {
            self.watch.check()?;
            if self.cache.held(0).len() + tokens > self.window {
                (0..self.cache.sequences()).for_each(|sequence| self.cache.keep(sequence, prompt));
            }
            self.step(tokens)?;
            steps += 1;
            let time = (self.clock)().saturating_sub(begun);
            if steps >= FEWEST_STEPS && time >= TIME {
                return Ok((time, steps));
            }
        }
    }

    fn step(&mut self, tokens: usize) -> Result<(), Error> {
        for sequence in 0..self.cache.sequences() {
            for place in 0..tokens {
                self.cache.add(sequence, self.word(place + 1), Output::Logits)?;
            }
        }
        self.cache.decode()
    }
}
