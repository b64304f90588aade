//! The slopes of the weights: sums over all tokens, in the order of the tokens, a block of a weight at a time. Blocks
//! are independent, so threads share them and change nothing.

use super::super::fast_bert::FastBert;
use super::super::kernels::{Rows, add_columns, add_outer};
use super::super::workers;
use super::tape::{Group, Scratch, Widths, rows};
use std::collections::HashMap;
use std::ops::Range;

/// Rows and columns of the block of a weight whose sums are made together, in one piece of memory: they stay in the
/// second cache, and packing what is multiplied costs little beside the products.
const BLOCK: usize = 384;

/// A product of a layer.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Of queries (0), keys (1) or values (2).
    Attention(usize),
    Attended,
    Intermediate,
    Output,
}

const PARTS: [(Part, &str); 6] = [
    (Part::Attention(0), "attention.self.query"),
    (Part::Attention(1), "attention.self.key"),
    (Part::Attention(2), "attention.self.value"),
    (Part::Attended, "attention.output.dense"),
    (Part::Intermediate, "intermediate.dense"),
    (Part::Output, "output.dense"),
];

impl Part {
    /// What had gone into the product, and the slopes along what came out.
    fn sides(self, group: &Group, layer: usize, widths: Widths) -> (Rows<'_>, Rows<'_>) {
        let (tape, back, tokens) = (&group.layers[layer], &group.back, group.tokens());
        let narrow = |buffer| rows(buffer, tokens, widths.hidden);
        let wide = |buffer| rows(buffer, tokens, widths.inner);
        match self {
            Self::Attention(part) => {
                let columns = part * widths.hidden..(part + 1) * widths.hidden;
                (narrow(&back.input), rows(&back.qkv, tokens, 3 * widths.hidden).columns(columns))
            }
            Self::Attended => (narrow(&tape.mixed), narrow(&back.attended)),
            Self::Intermediate => (narrow(&back.middle), wide(&back.wide)),
            Self::Output => (wide(&tape.wide), narrow(&back.output)),
        }
    }
}

/// Sums of a product's weight and bias, with their places among all, while threads work on them.
struct Taken {
    part: Part,
    weight: (usize, Vec<f32>),
    bias: (usize, Vec<f32>),
}

/// A piece of work that nothing else depends on.
enum Task<'g> {
    Weight { part: Part, outputs: Range<usize>, inputs: Range<usize>, rows: Vec<&'g mut [f32]> },
    Bias { part: Part, sums: &'g mut [f32] },
}

/// Adds the slopes of the weights of layer `number` to their `gradients`, found by name in `index`.
pub(super) fn of_layer(
    fast: &FastBert,
    number: usize,
    groups: &[Group],
    (gradients, index): (&mut [Vec<f32>], &HashMap<String, usize>),
    scratch: &workers::Own<Scratch>,
) {
    let widths = Widths::of(fast);
    let place =
        |part: &str, kind: &str| index[&fast.config.family.weight(&format!("encoder.layer.{number}.{part}.{kind}"))];
    let mut taken: Vec<Taken> = PARTS
        .iter()
        .map(|&(part, name)| {
            let mut take = |kind| (place(name, kind), std::mem::take(&mut gradients[place(name, kind)]));
            Taken { part, weight: take("weight"), bias: take("bias") }
        })
        .collect();
    let mut tasks = Vec::new();
    for Taken { part, weight: (_, weight), bias: (_, bias) } in &mut taken {
        let inputs = weight.len() / bias.len();
        let mut rows = weight.chunks_mut(inputs);
        for first in (0..bias.len()).step_by(BLOCK) {
            let outputs = first..bias.len().min(first + BLOCK);
            let mut blocks: Vec<Vec<&mut [f32]>> = (0..inputs.div_ceil(BLOCK)).map(|_| Vec::new()).collect();
            for row in rows.by_ref().take(outputs.len()) {
                row.chunks_mut(BLOCK).zip(&mut blocks).for_each(|(piece, block)| block.push(piece));
            }
            for (number, rows) in blocks.into_iter().enumerate() {
                let inputs = number * BLOCK..inputs.min((number + 1) * BLOCK);
                tasks.push(Task::Weight { part: *part, outputs: outputs.clone(), inputs, rows });
            }
        }
        tasks.push(Task::Bias { part: *part, sums: bias });
    }
    workers::each(tasks, scratch, |scratch, task| match task {
        Task::Weight { part, outputs, inputs, mut rows } => {
            let by = (fast.instructions, fast.precision);
            let sums = scratch.sums.room(outputs.len() * inputs.len());
            sums.chunks_exact_mut(inputs.len()).zip(&rows).for_each(|(sums, row)| sums.copy_from_slice(row));
            for group in groups {
                let (x, g) = part.sides(group, number, widths);
                add_outer(by, g.columns(outputs.clone()), x.columns(inputs.clone()), sums, &mut scratch.outer);
            }
            sums.chunks_exact(inputs.len()).zip(&mut rows).for_each(|(sums, row)| row.copy_from_slice(sums));
        }
        Task::Bias { part, sums } => {
            for group in groups {
                add_columns(fast.instructions, part.sides(group, number, widths).1, sums);
            }
        }
    });
    for (index, sums) in taken.into_iter().flat_map(|taken| [taken.weight, taken.bias]) {
        gradients[index] = sums;
    }
    for (name, attention) in [("attention.output.LayerNorm", true), ("output.LayerNorm", false)] {
        let of = |group: &Group| if attention { &group.back.attention_norm } else { &group.back.output_norm }.clone();
        add_norms(groups, of, (place(name, "weight"), place(name, "bias")), gradients);
    }
}

/// Adds the slopes of a norm's weight and bias, one behind the other for each group.
fn add_norms(
    groups: &[Group],
    of: impl Fn(&Group) -> Vec<f32>,
    (weight, bias): (usize, usize),
    gradients: &mut [Vec<f32>],
) {
    for group in groups {
        let parts = of(group);
        let (of_weight, of_bias) = parts.split_at(parts.len() / 2);
        super::record::add(&mut gradients[weight], of_weight);
        super::record::add(&mut gradients[bias], of_bias);
    }
}

/// Adds the slopes of the embeddings and of their norm.
pub(super) fn of_embeddings(
    fast: &FastBert,
    groups: &[Group],
    (gradients, index): (&mut [Vec<f32>], &HashMap<String, usize>),
) {
    let widths = Widths::of(fast);
    let place = |name: &str| index.get(&fast.config.family.weight(name)).copied();
    let norm = (place("embeddings.LayerNorm.weight"), place("embeddings.LayerNorm.bias"));
    if let (Some(weight), Some(bias)) = norm {
        add_norms(groups, |group| group.back.output_norm.clone(), (weight, bias), gradients);
    }
    for group in groups {
        let sides: Vec<u32> = match fast.config.sides(&group.batch) {
            Some(sides) => sides.to_vec(),
            None => vec![0; group.tokens()],
        };
        let places = fast.config.places(&group.batch);
        for (name, numbers) in [
            ("embeddings.word_embeddings.weight", group.batch.ids()),
            ("embeddings.position_embeddings.weight", &places),
            ("embeddings.token_type_embeddings.weight", &sides),
        ] {
            let Some(sums) = place(name).map(|index| &mut gradients[index]) else { continue };
            for (row, &number) in group.back.slope.values().chunks(widths.narrow()).zip(numbers) {
                super::record::add(&mut sums[number as usize * widths.hidden..][..widths.hidden], row);
            }
        }
    }
}
