//! Continuous batching: many conversations over one cache, each in a slot with a sequence of its own.
//! Every step decodes one token of each reply under way, together with as much of new prompts as
//! the batch takes. A slot whose conversation ended is filled at once.
//!
//! Prompts share what they begin with. A bounded number of conversations wait as tokens; a free
//! slot takes the one that shares most with what any sequence holds, copies that sequence and cuts
//! it where they part. What another slot is just decoding is waited for. So the prompts that wait
//! are gone through as a tree of common beginnings, each decoded once as long as some slot holds it.
//!
//! Where it pays, replies are decoded some tokens ahead of what is drawn ([`crate::generate::draft`]).
//!
//! With one slot, prompts are decoded in pieces that end at multiples of [`GRID`] and shared in
//! such pieces only. So each number is computed in the same shape whatever came before, and a
//! reply depends on its request alone, to the last bit.

use super::cache::{Cache, Output};
use super::talk::{Next, Talk};
use super::{LlamaEngine, Plan};
use crate::data::{self, Watch};
use crate::generate::conversation::Conversation;
use crate::generate::draft::{Drafting, guess};
use crate::generate::engine::{Error, Finished};

/// Conversations that wait as tokens, for each slot.
const WAITING: usize = 8;
/// Tokens that a copy must save, to be worth moving a sequence's cells.
const WORTH: usize = 32;
/// Tokens of a piece of a prompt when there is one slot.
const GRID: usize = 64;
/// Tokens still to decode up to which a slot counts as writing, not as reading a prompt.
const SHORT: usize = 32;

pub(super) struct Scheduler<'e, C> {
    engine: &'e LlamaEngine,
    plan: Plan,
    cache: Cache<'e>,
    slots: Vec<Option<Talk<C>>>,
    waiting: Vec<Talk<C>>,
    drafting: Drafting,
    /// Guesses that were not decoded, with the place of their first token, to learn whether they would pay.
    noted: Vec<Option<(usize, Vec<u32>)>>,
}

/// A slot whose tokens are all decoded: the row of its last one's logits, and the guess behind it.
struct Ready {
    slot: usize,
    row: usize,
    guess: Vec<u32>,
}

/// How conversations come in and go out.
pub(super) struct Ports<'p, C> {
    pub(super) conversations: &'p mut dyn Iterator<Item = C>,
    pub(super) finished: &'p mut dyn FnMut(Finished<C>) -> data::Result<()>,
    pub(super) watch: &'p dyn Watch,
}

impl<'e, C: Conversation> Scheduler<'e, C> {
    pub(super) fn new(engine: &'e LlamaEngine) -> Result<Self, Error> {
        let cache = engine.cache()?;
        let slots: Vec<_> = (0..cache.sequences()).map(|_| None).collect();
        let plan = engine.plan;
        let most = if plan.no_sharing.is_some() { 0 } else { plan.draft };
        let drafting = Drafting::new(most, plan.draft_cost);
        let noted = vec![None; slots.len()];
        Ok(Self { engine, plan, cache, slots, waiting: Vec::new(), drafting, noted })
    }

    /// Runs all conversations to their ends.
    pub(super) fn run(mut self, mut ports: Ports<'_, C>) -> Result<(), Error> {
        loop {
            ports.watch.check()?;
            self.fill(&mut ports)?;
            if self.slots.iter().all(Option::is_none) {
                if self.waiting.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let ready = self.engine.meter.decode(|| self.decode())?;
            for Ready { slot, row, guess } in ready {
                let Some(talk) = &mut self.slots[slot] else { continue };
                let decoded = talk.tokens.len();
                let mut next = Next::Decode;
                // As long as the guess is what was drawn, its logits are there already.
                while matches!(next, Next::Decode) {
                    let ahead = talk.tokens.len() - decoded;
                    if ahead > guess.len() || talk.tokens[decoded..] != guess[..ahead] {
                        break;
                    }
                    let logits = self.cache.logits(row + ahead)?;
                    next = self.engine.meter.draw(|| talk.advance(self.engine, logits))?;
                }
                let right = common(&guess, &talk.tokens[decoded..]);
                if !guess.is_empty() {
                    self.drafting.note(right);
                    self.engine.meter.drafted(guess.len(), right);
                }
                self.cache.keep(slot, decoded + right);
                if let Next::End(refused) = next
                    && let Some(talk) = self.slots[slot].take()
                {
                    (ports.finished)(talk.finish(refused))?;
                }
            }
        }
    }

    /// Gives free slots the conversations that share most with what is decoded.
    fn fill(&mut self, ports: &mut Ports<'_, C>) -> Result<(), Error> {
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_some() {
                continue;
            }
            while self.waiting.len() < WAITING * self.slots.len() {
                let Some(conversation) = ports.conversations.next() else { break };
                match self.engine.meter.prepare(|| Talk::begin(self.engine, conversation))? {
                    Ok(talk) => self.waiting.push(talk),
                    Err(refused) => (ports.finished)(refused)?,
                }
            }
            let Some(Start { place, source, shared }) = self.choose(slot) else { continue };
            let mut talk = self.waiting.remove(place);
            if let Next::End(refused) = self.engine.meter.prepare(|| talk.begin_reply(self.engine))? {
                (ports.finished)(talk.finish(refused))?;
                continue;
            }
            self.cache.copy(source, slot)?;
            self.cache.keep(slot, shared);
            talk.usage.tokens_reused = u32::try_from(self.cache.held(slot).len()).unwrap_or(u32::MAX);
            self.noted[slot] = None;
            self.slots[slot] = Some(talk);
        }
        Ok(())
    }

    /// The waiting conversation that needs the least decoding in `slot`, and where its beginning is;
    /// None when the others are just decoding more of each one's beginning.
    fn choose(&self, slot: usize) -> Option<Start> {
        let starts = self.waiting.iter().enumerate().filter_map(|(place, talk)| {
            let own = self.shareable(self.cache.held(slot), &talk.tokens);
            let held = (0..self.slots.len()).map(|other| (other, self.cache.held(other)));
            let (source, most) = held
                .map(|(other, held)| (other, self.shareable(held, &talk.tokens)))
                .max_by_key(|&(other, shared)| (shared, std::cmp::Reverse(other)))?;
            let coming = self.slots.iter().flatten().map(|other| self.shareable(&other.tokens, &talk.tokens)).max();
            if coming.is_some_and(|coming| coming >= most + WORTH) {
                return None;
            }
            let (source, shared) = if most >= own + WORTH { (source, most) } else { (slot, own) };
            Some(Start { place, source, shared })
        });
        // Of equals the first, so that order is kept where it costs nothing.
        starts.max_by_key(|start| (start.shared, std::cmp::Reverse(start.place)))
    }

    /// How many of `tokens`, from the first, need no decoding where `held` is.
    fn shareable(&self, held: &[u32], tokens: &[u32]) -> usize {
        if self.plan.no_sharing.is_some() {
            return 0;
        }
        // The last one is always decoded anew: its logits are wanted.
        let common = common(held, tokens).min(tokens.len().saturating_sub(1));
        if self.slots.len() == 1 { common / GRID * GRID } else { common }
    }

    /// Decodes a batch; the slots whose tokens are all decoded now.
    fn decode(&mut self) -> Result<Vec<Ready>, Error> {
        let mut ready = Vec::new();
        let shares = self.shares();
        // Guesses take what is over when every slot has its share.
        let mut spare = self.cache.room() - shares.iter().sum::<usize>();
        for (slot, take) in shares.into_iter().enumerate() {
            let Some(talk) = &self.slots[slot] else { continue };
            let held = self.cache.held(slot).len();
            let whole = take > 0 && held + take == talk.tokens.len();
            for &token in &talk.tokens[held..held + take - usize::from(whole)] {
                self.cache.add(slot, token, Output::Nothing)?;
            }
            if !whole {
                continue;
            }
            let row = self.cache.add(slot, talk.tokens[held + take - 1], Output::Logits)?;
            let most = self.drafting.most().min(self.plan.window as usize - talk.tokens.len());
            let mut guess = guess(&talk.tokens, most).to_vec();
            if !self.drafting.pays() {
                note(&mut self.noted[slot], &mut self.drafting, (&talk.tokens, &guess));
                guess.clear();
            }
            guess.truncate(spare);
            spare -= guess.len();
            for &token in &guess {
                self.cache.add(slot, token, Output::Logits)?;
            }
            ready.push(Ready { slot, row, guess });
        }
        self.cache.decode()?;
        Ok(ready)
    }

    /// Tokens of each slot in the next batch: replies first, then the prompts nearest their end.
    fn shares(&self) -> Vec<usize> {
        let pending = |slot: usize| match &self.slots[slot] {
            Some(talk) => talk.tokens.len() - self.cache.held(slot).len(),
            None => 0,
        };
        let mut order: Vec<usize> = (0..self.slots.len()).collect();
        order.sort_by_key(|&slot| pending(slot));
        let mut room = self.cache.room();
        let mut shares = vec![0; self.slots.len()];
        let mut reading = 0;
        for slot in order {
            let mut take = pending(slot).min(room);
            if self.slots.len() == 1 {
                take = take.min(GRID - self.cache.held(slot).len() % GRID);
            }
            // Prompts one after the other: the first to be whole begins to write, and lends its beginning.
            if take > SHORT {
                reading += 1;
                if reading > 1 {
                    continue;
                }
            }
            shares[slot] = take;
            room -= take;
        }
        shares
    }
}

/// How many of the first are the same in both.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Judges the guess noted before, once all of its places are written, and notes another.
fn note(noted: &mut Option<(usize, Vec<u32>)>, drafting: &mut Drafting, (tokens, guess): (&[u32], &[u32])) {
    if let Some((place, before)) = noted {
        let Some(written) = tokens.get(*place..) else {
            *noted = None;
            return;
        };
        if written.len() < before.len() {
            return;
        }
        drafting.note(common(before, written));
        *noted = None;
    }
    if !guess.is_empty() {
        *noted = Some((tokens.len(), guess.to_vec()));
    }
}

/// Where a waiting conversation begins.
struct Start {
    place: usize,
    source: usize,
    shared: usize,
}
