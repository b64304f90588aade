//! Training's way through a trunk: from sequences to one row each, and from slopes along the rows back to the gradient
//! of every weight. On the CPU both ways are our own kernels (`record`, `back`, `slopes`); where those have no
//! form for the device or architecture, candle's operations and its backward (`graph`).
//!
//! Nothing depends on the number of threads: groups are cut by tokens, every sum runs over the tokens in one order, and
//! a mask of dropout is a function of a key and a place. A batch that would need too much memory goes in parts, forward
//! twice ([`Learner::parts`]): the same gradient, bit for bit.

mod back;
mod gradients;
mod graph;
mod record;
mod slopes;
mod tape;

pub use gradients::Gradients;

use super::bert_config::BertConfig;
use super::drops::Drops;
use super::fast_bert::FastBert;
use super::packing::{PackedBatch, group_by_length};
use super::parameters::Parameters;
use super::pooling::Pooling;
use super::trunk::{Architecture, Computing, Kernels, absent};
use super::{Result, workers};
use back::BackLayer;
use candle_core::{Device, Tensor};
use graph::GraphLearner;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tape::{Group, Scratch, Widths};

/// Tokens of a group; fixed, because it decides which tokens a norm's slopes are summed over first.
const TOKENS_PER_GROUP: usize = 512;

/// Token ids of one text, or of a pair with the side of each token.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'s> {
    /// Token ids.
    pub ids: &'s [u32],
    /// Which text of a pair each token is of.
    pub sides: Option<&'s [u32]>,
}

/// What is dropped in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropping {
    /// Share of the values after the embeddings and after each block; `None`: what `config.json` says.
    pub share: Option<f64>,
    /// Decides the masks, with the place of a sequence among those of the step.
    pub key: u64,
}

/// A trunk as training uses it.
pub struct Learner<'e> {
    config: &'e BertConfig,
    parameters: &'e Parameters,
    pooling: Pooling,
    engine: Engine<'e>,
}

enum Engine<'e> {
    Fast(Box<FastLearner>),
    Graph(GraphLearner<'e>),
}

/// The CPU's own kernels, and the memory they work in.
struct FastLearner {
    architecture: Architecture,
    computing: Computing,
    /// Weights as packed after so many changes.
    packed: Option<(u64, FastBert, Vec<BackLayer>)>,
    /// Where a parameter stands among all, by the trunk's name of it.
    index: HashMap<String, usize>,
    spare: Vec<Group>,
    scratch: workers::Own<Scratch>,
    /// Lowest layers that the way back does not reach, nor the embeddings below them; `None`: it reaches all.
    frozen: Option<usize>,
}

/// Sequences that went through, with what the way back needs.
pub struct Recording {
    kept: Kept,
}

enum Kept {
    Groups(Vec<Group>, Drops),
    Graph(Vec<(Vec<usize>, Tensor)>),
}

impl<'e> Learner<'e> {
    /// The trunk of `architecture` over `parameters`.
    ///
    /// # Errors
    /// [`super::EncodeError::Frozen`] when it is not trained; [`super::EncodeError::Precision`],
    /// [`super::EncodeError::ArchitecturePrecision`] when bf16 is not to be had.
    pub(super) fn new(
        (architecture, parameters): (&'e Architecture, &'e Parameters),
        pooling: Pooling,
        computing: Computing,
        device: &'e Device,
    ) -> Result<Self> {
        let config = architecture.trained()?;
        let engine = match architecture.inference(computing)? {
            Kernels::Fused => Engine::Fast(Box::new(FastLearner {
                architecture: architecture.clone(),
                computing,
                packed: None,
                index: parameters.iter().enumerate().map(|(index, (name, _))| (name.to_owned(), index)).collect(),
                spare: Vec::new(),
                scratch: workers::Own::default(),
                frozen: None,
            })),
            Kernels::Composed => Engine::Graph(GraphLearner::new((architecture, parameters), computing, device)?),
        };
        Ok(Self { config, parameters, pooling, engine })
    }

    /// The same, with a way back that ends above the `layers` lowest layers, which with the embeddings are not trained;
    /// `None`: it goes to the embeddings. Gradients of what it leaves out stay as they are, where our own kernels compute.
    #[must_use]
    pub fn frozen_below(mut self, layers: Option<usize>) -> Self {
        if let Engine::Fast(fast) = &mut self.engine {
            fast.frozen = layers;
        }
        self
    }

    /// D, the width of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.config.hidden_size
    }

    /// Bytes that a batch of `tokens` tokens needs at once, forward and back; 0 where it is not known.
    #[must_use]
    pub fn bytes(&self, tokens: usize) -> usize {
        match &self.engine {
            Engine::Fast(_) => {
                let config = self.config;
                let heads = (config.num_attention_heads, config.hidden_size / config.num_attention_heads);
                let widths = Widths { hidden: config.hidden_size, inner: config.intermediate_size, heads };
                widths.per_token(config.num_hidden_layers) * tokens * size_of::<f32>()
            }
            Engine::Graph(_) => 0,
        }
    }

    /// The places of `sequences` in parts that each need at most `memory` bytes, as far as a group of sequences does.
    /// Parts are whole groups: in them every sum has the order that it has in the whole.
    #[must_use]
    pub fn parts(&self, sequences: &[Sequence<'_>], memory: usize) -> Vec<Vec<usize>> {
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.ids.len()).collect();
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut tokens = 0;
        for group in group_by_length(&lengths, TOKENS_PER_GROUP) {
            let more: usize = group.iter().map(|&place| lengths[place]).sum();
            match parts.last_mut() {
                Some(part) if self.bytes(tokens + more) <= memory => part.extend(group),
                _ => {
                    parts.push(group);
                    tokens = 0;
                }
            }
            tokens += more;
        }
        parts
    }

    /// A pooled row for each of the `members` of `sequences`, `(B, D)`, and nothing kept.
    ///
    /// # Errors
    /// As [`super::trunk::Trunk::forward`].
    pub fn rows(
        &mut self,
        sequences: &[Sequence<'_>],
        members: &[usize],
        dropping: Option<Dropping>,
    ) -> Result<Tensor> {
        let (rows, recording) = self.record(sequences, members, dropping)?;
        self.forget(recording);
        Ok(rows)
    }

    /// A pooled row for each of the `members` of `sequences`, `(B, D)`, without a graph, and what leads back from them.
    ///
    /// # Errors
    /// As [`super::trunk::Trunk::forward`].
    pub fn record(
        &mut self,
        sequences: &[Sequence<'_>],
        members: &[usize],
        dropping: Option<Dropping>,
    ) -> Result<(Tensor, Recording)> {
        let config = self.config;
        let drops = dropping.map_or_else(Drops::default, |Dropping { share, key }| {
            let own = (config.hidden_dropout_prob, config.attention_probs_dropout_prob);
            Drops::new(share.map_or(own, |share| (share, share)), config.family.attended, key)
        });
        match &mut self.engine {
            Engine::Fast(fast) => {
                let groups = fast.record(self.parameters, sequences, members, &drops)?;
                let width = config.hidden_size;
                let mut values = vec![0.0; members.len() * width];
                for group in &groups {
                    let rows = record::pooled(group, width, self.pooling);
                    for (&row, from) in group.rows.iter().zip(rows.chunks_exact(width)) {
                        values[row * width..][..width].copy_from_slice(from);
                    }
                }
                let rows = Tensor::from_vec(values, (members.len(), width), &Device::Cpu)?;
                Ok((rows, Recording { kept: Kept::Groups(groups, drops) }))
            }
            Engine::Graph(graph) => {
                let (rows, chunks) = graph.record(sequences, members, &drops, self.pooling)?;
                Ok((rows, Recording { kept: Kept::Graph(chunks) }))
            }
        }
    }

    /// Adds to `gradients` what `slopes`, `(B, D)` along the rows that were recorded, are along every weight.
    ///
    /// # Errors
    /// [`super::EncodeError::Candle`].
    pub fn carry_back(&mut self, recording: Recording, slopes: &Tensor, gradients: &mut Gradients) -> Result<()> {
        match (&mut self.engine, recording.kept, gradients) {
            (Engine::Fast(fast), Kept::Groups(mut groups, drops), Gradients::Host(gradients)) => {
                let slopes = slopes.flatten_all()?.to_vec1::<f32>()?;
                fast.carry_back(&mut groups, &slopes, (self.pooling, &drops), gradients);
                fast.spare.append(&mut groups);
                Ok(())
            }
            (Engine::Graph(graph), Kept::Graph(chunks), gradients) => graph.carry_back(&chunks, slopes, gradients),
            _ => unreachable!("a recording goes back through the learner that made it"),
        }
    }

    /// Takes back the memory of a recording that will not be carried back.
    pub fn forget(&mut self, recording: Recording) {
        if let (Engine::Fast(fast), Kept::Groups(mut groups, _)) = (&mut self.engine, recording.kept) {
            fast.spare.append(&mut groups);
        }
    }
}

impl FastLearner {
    /// Packs the weights again if they changed.
    fn refresh(&mut self, parameters: &Parameters) -> Result<()> {
        let changes = parameters.changes();
        if self.packed.as_ref().is_some_and(|&(after, ..)| after == changes) {
            return Ok(());
        }
        let weights = |name: &str| Ok(parameters.get(name).ok_or_else(|| absent(name))?.detach());
        self.packed = None;
        let fast = self.architecture.build_fast(self.computing, &weights)?;
        let back =
            (0..fast.layers.len()).map(|number| BackLayer::new(&fast, number, &weights)).collect::<Result<_>>()?;
        self.packed = Some((changes, fast, back));
        Ok(())
    }

    /// Sends sequences through, in groups of near-equal lengths.
    fn record(
        &mut self,
        parameters: &Parameters,
        sequences: &[Sequence<'_>],
        members: &[usize],
        drops: &Drops,
    ) -> Result<Vec<Group>> {
        self.refresh(parameters)?;
        let Some((_, fast, _)) = &self.packed else { unreachable!("packed a line ago") };
        let lengths: Vec<usize> = members.iter().map(|&member| sequences[member].ids.len()).collect();
        let mut spare = std::mem::take(&mut self.spare).into_iter();
        let mut groups: Vec<Group> = group_by_length(&lengths, TOKENS_PER_GROUP)
            .into_iter()
            .map(|rows| {
                let places: Vec<usize> = rows.iter().map(|&row| members[row]).collect();
                Group::renewed(spare.next(), packed(sequences, &places), (places, rows), fast.layers.len())
            })
            .collect();
        self.spare.extend(spare);
        let failed = Mutex::new(None);
        workers::each(groups.iter_mut().collect(), &self.scratch, |scratch, group| {
            if let Err(error) = record::record(fast, group, drops, scratch) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(groups),
        }
    }

    /// Takes the slopes along the rows back through all layers.
    fn carry_back(
        &self,
        groups: &mut [Group],
        slopes: &[f32],
        (pooling, drops): (Pooling, &Drops),
        gradients: &mut [Vec<f32>],
    ) {
        let Some((_, fast, back)) = &self.packed else { unreachable!("packed when it was recorded") };
        let width = fast.config.hidden_size;
        workers::each(groups.iter_mut().collect(), &self.scratch, |_, group| {
            back::spread(group, width, pooling, slopes);
        });
        for (number, packed) in back.iter().enumerate().skip(self.frozen.unwrap_or(0)).rev() {
            workers::each(groups.iter_mut().collect(), &self.scratch, |scratch, group| {
                back::through_layer((fast, packed), number, group, drops, scratch);
            });
            slopes::of_layer(fast, number, groups, (gradients, &self.index), &self.scratch);
        }
        if self.frozen.is_none() {
            workers::each(groups.iter_mut().collect(), &self.scratch, |_, group| {
                back::through_embeddings(fast, group, drops);
            });
            slopes::of_embeddings(fast, groups, (gradients, &self.index));
        }
    }
}

/// The `members` of `sequences`, packed.
fn packed(sequences: &[Sequence<'_>], members: &[usize]) -> PackedBatch {
    let ids: Vec<&[u32]> = members.iter().map(|&member| sequences[member].ids).collect();
    let batch = PackedBatch::new(&ids);
    match members.iter().map(|&member| sequences[member].sides).collect::<Option<Vec<_>>>() {
        Some(sides) => batch.with_sides(&sides),
        None => batch,
    }
}
