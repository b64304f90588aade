//! Losses over the vectors of a batch, one file each; a new one is a file and a row of [`TABLE`].
//! A loss is a pure function of differentiable tensors: it knows no encoder, no file and no step. Beside its value it
//! gives the softmax weight of every passage, from which the training statistics are made.

mod causal_neg;
mod comparisons;
pub mod cross_encoder;
mod debiased;
mod decoupled;
mod info_nce;
mod listwise_kl;
mod logits;
mod margin_mse;
mod matryoshka;
mod settings;

pub use comparisons::{Comparisons, GuideMargin};
pub use settings::{Directions, LossSettings};

use candle_core::{Result, Tensor};

/// What a loss is taken over: B queries with one positive and H negatives each.
pub struct Batch<'b> {
    /// Vectors of the queries, `(B, D)`.
    pub queries: &'b Tensor,
    /// Vectors of the passages, `(C, D)` with C = B + B·H: the positives, then the negatives instance by instance.
    pub passages: &'b Tensor,
    /// Who stands against whom.
    pub comparisons: &'b Comparisons,
    /// τ: similarities are divided by it.
    pub temperature: f64,
    /// What a teacher thinks of each query's own passages, `(B, 1 + H)` row-major, the positive first; in the
    /// teacher's unit, higher is more relevant. Empty where there is no teacher.
    pub teacher: &'b [f32],
    /// Which passages a language model wrote, C flags. Empty where none was.
    pub written: &'b [bool],
}

impl Batch<'_> {
    /// The same batch with other vectors.
    fn with<'a>(&'a self, queries: &'a Tensor, passages: &'a Tensor) -> Batch<'a> {
        Batch { queries, passages, ..*self }
    }
}

/// The value of a loss over a batch.
pub struct Outcome {
    /// Mean over the queries, with its graph; a scalar.
    pub value: Tensor,
    /// Softmax weight of each passage for each query, `(B, C)` row-major, 0 where they are not compared; without graph.
    /// In `InfoNCE` a negative's share of the query's gradient is its share of the negatives' weights.
    pub weights: Vec<f32>,
}

/// A function from the vectors of a batch to a number to be made small.
pub trait Loss: Send + Sync {
    /// The loss over `batch`.
    ///
    /// # Errors
    /// candle's, when shapes do not fit or memory runs out.
    fn of(&self, batch: &Batch) -> Result<Outcome>;
}

/// What a loss must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Vectors alone.
    Vectors,
    /// A teacher's scores of every query's own passages, and at least one negative.
    Teacher,
}

/// One row of the table of losses.
pub struct Row {
    /// Its name in settings.
    pub name: &'static str,
    /// What it does, for help texts.
    pub about: &'static str,
    /// Keys of [`LossSettings`] that it reads.
    pub reads: &'static [&'static str],
    /// What it must be given.
    pub needs: Needs,
    make: fn(&LossSettings) -> Box<dyn Loss>,
}

/// Every loss.
pub const TABLE: [Row; 6] = [
    Row {
        name: info_nce::NAME,
        about: "the positive against all passages compared with the query",
        reads: &["directions", "hardness_strength"],
        needs: Needs::Vectors,
        make: info_nce::make,
    },
    Row {
        name: decoupled::NAME,
        about: "InfoNCE without the positive in the sum",
        reads: &[],
        needs: Needs::Vectors,
        make: decoupled::make,
    },
    Row {
        name: debiased::NAME,
        about: "InfoNCE that takes a share of the negatives for unjudged answers; hard negatives weigh more with beta",
        reads: &["positive_prior", "beta"],
        needs: Needs::Vectors,
        make: debiased::make,
    },
    Row {
        name: causal_neg::NAME,
        about: "InfoNCE that spreads the weight of written negatives and holds it at their share",
        reads: &["entropy_temperature", "entropy_weight"],
        needs: Needs::Vectors,
        make: causal_neg::make,
    },
    Row {
        name: margin_mse::NAME,
        about: "the teacher's margin between positive and negative, by squared error",
        reads: &[],
        needs: Needs::Teacher,
        make: margin_mse::make,
    },
    Row {
        name: listwise_kl::NAME,
        about: "the teacher's distribution over a query's own passages, by divergence",
        reads: &["teacher_temperature"],
        needs: Needs::Teacher,
        make: listwise_kl::make,
    },
];

/// The row called `name`.
#[must_use]
pub fn named(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests;
