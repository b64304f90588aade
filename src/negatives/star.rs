//! Half hard, half random (STAR, 2104.08051): drawn from the encoder's best, then from the whole corpus. The hard half
//! is the greater of an odd number; a candidate's provenance says as `part` which half it is of. Random ones have
//! ranks after the last that was looked at.

use super::drawn::{Drawn, Everything};
use super::draws::Draws;
use super::ranked::Ranked;
use super::searched::{Searched, vectors};
use super::select::Selector;
use super::{Inputs, NegativeSource, Report, Sink, SourceError, Task};
use crate::data::Seed;
use serde_json::json;
use std::collections::{BTreeSet, HashSet};

pub(super) const NAME: &str = "star";

struct Star<'a> {
    hard: Ranked<'a, Searched<'a>>,
    random: Drawn<'a, Everything>,
    selector: Selector<'a>,
    seed: Seed,
}

pub(super) fn make(inputs: Inputs<'_>) -> Result<Box<dyn NegativeSource + '_>, SourceError> {
    let lister = Searched { ranker: inputs.vectors(NAME)?, scores: vectors };
    let hard = Ranked::new(NAME, lister, &inputs)?;
    let random = Drawn::new(NAME, Everything(inputs.corpus.len()), &inputs);
    Ok(Box::new(Star { hard, random, selector: Selector::new(NAME, &inputs), seed: inputs.seed }))
}

impl NegativeSource for Star<'_> {
    fn propose(&mut self, tasks: &[Task], sink: &mut dyn Sink) -> Result<(), SourceError> {
        let asked = self.selector.settings().num_negatives as usize;
        let depth = u32::try_from(self.hard.depth()).unwrap_or(u32::MAX);
        for tasks in tasks.chunks(256) {
            for (task, (mut judged, _)) in tasks.iter().zip(self.hard.judged(tasks)?) {
                let kept: Vec<usize> = (0..judged.len()).filter(|&place| judged[place].verdict.keeps()).collect();
                let stream = self.seed.stream(&format!("negatives/{NAME}/draw/{}", task.query.id));
                let drawn = Draws::new(kept.len(), stream).take(asked.div_ceil(2));
                let mut taken: BTreeSet<usize> = drawn.map(|place| kept[place]).collect();
                for one in &mut judged {
                    one.candidate.provenance = json!({"part": "hard"});
                }
                let there: HashSet<_> = judged.iter().map(|one| one.candidate.passage.clone()).collect();
                for mut one in self.random.judged(task, asked / 2, &there)? {
                    one.candidate.rank = one.candidate.rank.saturating_add(depth);
                    one.candidate.provenance = json!({"part": "random"});
                    if one.verdict.keeps() {
                        taken.insert(judged.len());
                    }
                    judged.push(one);
                }
                self.selector.hand_over(task, judged, &taken, sink)?;
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        self.selector.report()
    }
}
