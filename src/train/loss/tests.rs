//! Losses against PyTorch's values and gradients, and against what they must be by their nature.

use super::*;
use crate::train::InBatch;
use candle_core::{Device, Var};
use proptest::prelude::*;
use serde::Deserialize;

type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
type Rows = Vec<Vec<f32>>;

/// What tests/peers/losses.py computed with PyTorch in f64.
#[derive(Deserialize)]
struct Golden {
    queries: Rows,
    passages: Rows,
    teacher: Rows,
    forbidden: Vec<(usize, usize)>,
    written: Vec<bool>,
    cross_encoder: Pairs,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    loss: LossSettings,
    temperature: f64,
    in_batch: InBatch,
    value: f64,
    queries: Vec<Vec<f64>>,
    passages: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Pairs {
    binary: PairCase,
    listwise: PairCase,
    labels: Vec<f32>,
    positive_weight: f64,
}

#[derive(Deserialize)]
struct PairCase {
    logits: Rows,
    value: f64,
    gradient: Vec<Vec<f64>>,
}

fn golden() -> Outcome<Golden> {
    Ok(serde_json::from_str(include_str!("../../../tests/peers/losses.json"))?)
}

fn variable(rows: &Rows) -> Result<Var> {
    Var::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu)
}

/// Value and gradients of a loss over queries and passages, both `(rows, D)` row-major.
struct Slopes {
    value: f64,
    queries: Vec<f32>,
    passages: Vec<f32>,
    weights: Vec<f32>,
}

struct Given<'g> {
    queries: &'g Rows,
    passages: &'g Rows,
    teacher: &'g Rows,
    written: &'g [bool],
    comparisons: Comparisons,
}

fn slopes(settings: &LossSettings, temperature: f64, given: &Given) -> Outcome<Slopes> {
    let (queries, passages) = (variable(given.queries)?, variable(given.passages)?);
    let outcome = settings.of_width(given.queries[0].len())?.of(&Batch {
        queries: &queries,
        passages: &passages,
        comparisons: &given.comparisons,
        temperature,
        teacher: &given.teacher.concat(),
        written: given.written,
    })?;
    let gradients = outcome.value.backward()?;
    let slope = |variable: &Var| -> Result<Vec<f32>> {
        gradients.get(variable).map_or_else(|| variable.zeros_like(), |g| Ok(g.clone()))?.flatten_all()?.to_vec1()
    };
    Ok(Slopes {
        value: f64::from(outcome.value.to_scalar::<f32>()?),
        queries: slope(&queries)?,
        passages: slope(&passages)?,
        weights: outcome.weights,
    })
}

/// `|a - b| / |b|` by the L2 norm over everything.
fn relative_error(ours: &[f32], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let error = square(&mut ours.iter().zip(theirs).map(|(&a, b)| f64::from(a) - b));
    (error / square(&mut theirs.iter().copied())).sqrt()
}

#[test]
fn values_and_gradients_of_every_loss_are_those_of_pytorch() -> Outcome {
    let golden = golden()?;
    for case in &golden.cases {
        let settings = &case.loss;
        settings.check()?;
        let forbidden = |q, c| golden.forbidden.contains(&(q, c));
        let given = Given {
            queries: &golden.queries,
            passages: &golden.passages,
            teacher: &golden.teacher,
            written: &golden.written,
            comparisons: Comparisons::new(4, 2, case.in_batch, forbidden),
        };
        let found = slopes(settings, case.temperature, &given)?;
        let label = format!("{settings:?} τ {} {:?}", case.temperature, case.in_batch);
        let off = (found.value - case.value).abs() / case.value.abs().max(1.0);
        assert!(off < 1e-5, "{label}: {} for {}", found.value, case.value);
        let theirs = [case.queries.concat(), case.passages.concat()].concat();
        let error = relative_error(&[found.queries, found.passages].concat(), &theirs);
        assert!(error < 1e-5, "{label}: gradient off by {error:e}");
    }
    for row in &TABLE {
        assert!(golden.cases.iter().any(|case| case.loss.name == row.name), "no golden numbers for {}", row.name);
    }
    Ok(())
}

/// From logits to a scalar.
type PairLoss<'l> = &'l dyn Fn(&Tensor) -> Result<Tensor>;

#[test]
fn losses_of_cross_encoders_are_those_of_pytorch() -> Outcome {
    let pairs = golden()?.cross_encoder;
    let binary = |z: &Tensor| cross_encoder::binary_cross_entropy(z, &pairs.labels, pairs.positive_weight);
    let listwise: PairLoss = &cross_encoder::listwise_cross_entropy;
    for (golden, loss) in [(&pairs.binary, &binary as PairLoss), (&pairs.listwise, listwise)] {
        let logits = variable(&golden.logits)?;
        let value = loss(&logits)?;
        let gradient = value.backward()?.get(&logits).ok_or("no gradient")?.flatten_all()?.to_vec1::<f32>()?;
        assert!((f64::from(value.to_scalar::<f32>()?) - golden.value).abs() < 1e-5);
        assert!(relative_error(&gradient, &golden.gradient.concat()) < 1e-5);
        // Logits whose exponentials f32 cannot hold.
        assert!(loss(&(logits.as_tensor() * 1e3)?)?.to_scalar::<f32>()?.is_finite());
    }
    Ok(())
}

/// A batch of unit vectors: B queries, H negatives each, dimension 6, forbidden pairs, a teacher's scores.
#[derive(Debug, Clone)]
struct World {
    negatives: usize,
    queries: Rows,
    passages: Rows,
    teacher: Rows,
    written: Vec<bool>,
    forbidden: Vec<bool>,
}

fn unit(length: usize) -> impl Strategy<Value = Rows> {
    let row =
        prop::collection::vec(-1.0f32..1.0, 6).prop_filter("a direction", |row| row.iter().any(|x| x.abs() > 0.1));
    let row = row.prop_map(|row| {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter().map(|x| x / norm).collect()
    });
    prop::collection::vec(row, length)
}

fn world() -> impl Strategy<Value = World> {
    (1..5usize, 1..4usize).prop_flat_map(|(b, h)| {
        let columns = b * (1 + h);
        let teacher = prop::collection::vec(prop::collection::vec(-5.0f32..5.0, 1 + h), b);
        let forbidden = prop::collection::vec(prop::bool::weighted(0.1), b * columns);
        (unit(b), unit(columns), teacher, prop::collection::vec(any::<bool>(), columns), forbidden).prop_map(
            move |(queries, passages, teacher, written, forbidden)| World {
                negatives: h,
                queries,
                passages,
                teacher,
                written,
                forbidden,
            },
        )
    })
}

impl World {
    fn of(&self, settings: &LossSettings, in_batch: InBatch) -> Outcome<Slopes> {
        let columns = self.passages.len();
        let forbidden = |q: usize, c: usize| self.forbidden[q * columns + c];
        let given = Given {
            queries: &self.queries,
            passages: &self.passages,
            teacher: &self.teacher,
            written: &self.written,
            comparisons: Comparisons::new(self.queries.len(), self.negatives, in_batch, forbidden),
        };
        slopes(settings, 0.1, &given)
    }

    /// The instance of one query alone.
    fn alone(&self, query: usize) -> Self {
        let (b, h) = (self.queries.len(), self.negatives);
        let columns: Vec<usize> = std::iter::once(query).chain(b + query * h..b + (query + 1) * h).collect();
        Self {
            negatives: h,
            queries: vec![self.queries[query].clone()],
            passages: columns.iter().map(|&c| self.passages[c].clone()).collect(),
            teacher: vec![self.teacher[query].clone()],
            written: columns.iter().map(|&c| self.written[c]).collect(),
            forbidden: columns.iter().map(|&c| self.forbidden[query * self.passages.len() + c]).collect(),
        }
    }

    /// The same with each query's own negatives in reverse order.
    fn reversed(&self) -> Self {
        let (b, h, columns) = (self.queries.len(), self.negatives, self.passages.len());
        let place = |c: usize| if c < b { c } else { b + (c - b) / h * h + (h - 1 - (c - b) % h) };
        let mut other = self.clone();
        for c in 0..columns {
            other.passages[c].clone_from(&self.passages[place(c)]);
            other.written[c] = self.written[place(c)];
            for q in 0..b {
                other.forbidden[q * columns + c] = self.forbidden[q * columns + place(c)];
            }
        }
        for scores in &mut other.teacher {
            scores[1..].reverse();
        }
        other
    }
}

/// Every loss of the table, with numbers that make it do all it can.
fn losses() -> Vec<LossSettings> {
    let named = LossSettings::named;
    let all: Vec<LossSettings> = TABLE.iter().map(|row| named(row.name)).collect();
    let more = [
        LossSettings { hardness_strength: Some(3.0), ..named("info-nce") },
        LossSettings { beta: Some(0.5), positive_prior: Some(0.05), ..named("debiased") },
        LossSettings { matryoshka_dims: vec![6, 3], ..named("info-nce") },
    ];
    [all, more.to_vec()].concat()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * (1.0 + a.abs().max(b.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_order_of_negatives_changes_nothing(world in world()) {
        for settings in losses() {
            let here = world.of(&settings, InBatch::All).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let there = world.reversed().of(&settings, InBatch::All).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert!(close(here.value, there.value), "{settings:?}: {} and {}", here.value, there.value);
        }
    }

    #[test]
    fn without_in_batch_negatives_a_batch_is_the_mean_of_its_queries(world in world()) {
        for settings in losses() {
            let batch = world.of(&settings, InBatch::None).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let b = world.queries.len();
            let mut mean = 0.0;
            for query in 0..b {
                for kind in [InBatch::None, InBatch::All] {
                    let alone = world.alone(query).of(&settings, kind).map_err(|e| TestCaseError::fail(e.to_string()))?;
                    mean += alone.value / b as f64 / 2.0;
                }
            }
            prop_assert!(close(batch.value, mean), "{settings:?}: {} and {mean}", batch.value);
        }
    }

    #[test]
    fn values_and_gradients_are_finite_and_weights_sum_to_1(world in world()) {
        for settings in losses() {
            for kind in [InBatch::None, InBatch::Positives, InBatch::All] {
                let found = world.of(&settings, kind).map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert!(found.value.is_finite());
                prop_assert!(found.queries.iter().chain(&found.passages).all(|slope| slope.is_finite()), "{settings:?}");
                for row in found.weights.chunks(world.passages.len()) {
                    prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn info_nce_bounds_the_others(world in world()) {
        let value = |settings: &LossSettings| {
            world.of(settings, InBatch::All).map(|found| found.value).map_err(|e| TestCaseError::fail(e.to_string()))
        };
        let plain = value(&LossSettings::default())?;
        prop_assert!(plain >= 0.0);
        // The positive in the sum only adds to it, and so does weight on negatives.
        prop_assert!(value(&LossSettings::named("decoupled"))? <= plain + 1e-5);
        let undebiased = LossSettings { positive_prior: Some(0.0), ..LossSettings::named("debiased") };
        prop_assert!(close(value(&undebiased)?, plain), "no prior and no hardness is InfoNCE");
        let hard = value(&LossSettings { beta: Some(1.0), ..undebiased })?;
        prop_assert!(hard >= plain - 1e-5);
        // The whole width alone is the loss itself.
        let whole = LossSettings { matryoshka_dims: vec![6], ..LossSettings::default() };
        prop_assert!((value(&whole)? - plain).abs() < 1e-7);
        let halved = LossSettings { matryoshka_weights: vec![0.5], ..whole };
        prop_assert!(close(value(&halved)?, plain / 2.0));
    }
}

#[test]
fn a_teacher_that_is_the_student_leaves_nothing_to_learn() -> Outcome {
    let golden = golden()?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let score = |q: usize, c: usize| dot(&golden.queries[q], &golden.passages[c]) / 0.1;
    let teacher: Rows = (0..4).map(|q| [q, 4 + 2 * q, 5 + 2 * q].map(|c| score(q, c)).to_vec()).collect();
    for row in TABLE.iter().filter(|row| row.needs == Needs::Teacher) {
        let given = Given {
            queries: &golden.queries,
            passages: &golden.passages,
            teacher: &teacher,
            written: &[],
            comparisons: Comparisons::new(4, 2, InBatch::All, |_, _| false),
        };
        let found = slopes(&LossSettings::named(row.name), 0.1, &given)?;
        assert!(found.value.abs() < 1e-6 && found.queries.iter().all(|slope| slope.abs() < 1e-4), "{}", row.name);
    }
    Ok(())
}

#[test]
fn decoupled_over_two_columns_is_the_margin() -> Outcome {
    let (queries, passages) = (vec![vec![1.0, 0.0]], vec![vec![0.8, 0.6], vec![0.6, 0.8]]);
    let comparisons = Comparisons::new(1, 1, InBatch::None, |_, _| false);
    let given = Given { queries: &queries, passages: &passages, teacher: &vec![], written: &[], comparisons };
    let found = slopes(&LossSettings::named("decoupled"), 0.1, &given)?;
    assert!((found.value - (0.6 - 0.8) / 0.1).abs() < 1e-5, "{}", found.value);
    // At a temperature whose exponentials f32 cannot hold.
    for row in TABLE.iter().filter(|row| row.needs == Needs::Vectors) {
        let found = slopes(&LossSettings::named(row.name), 0.005, &given)?;
        assert!(found.value.is_finite() && found.queries.iter().all(|slope| slope.is_finite()), "{}", row.name);
    }
    Ok(())
}

#[test]
fn a_guide_takes_out_what_it_finds_nearer_than_the_positive() {
    let mask = |margin, positive: f32| {
        let mut comparisons = Comparisons::new(2, 1, InBatch::All, |_, _| false);
        let guide = [positive, 0.5, 0.46, 0.9, 0.2, 0.8, 0.1, 0.8];
        let masked = comparisons.mask_by_guide(&guide, margin);
        let left: Vec<Vec<usize>> = (0..2).map(|q| (0..4).filter(|&c| comparisons.compares(q, c)).collect()).collect();
        assert_eq!(masked, 8 - left.concat().len());
        left
    };
    // The first query's positive has 0.5: as near is not nearer.
    assert_eq!(mask(GuideMargin::Absolute(0.0), 0.5), [vec![0, 1, 2], vec![0, 1, 2, 3]]);
    assert_eq!(mask(GuideMargin::Absolute(0.05), 0.5), [vec![0], vec![0, 1, 2]]);
    assert_eq!(mask(GuideMargin::Relative(0.05), 0.5), [vec![0, 2], vec![0, 1, 2]]);
    // A positive below 0: the margin still lies below it.
    assert_eq!(mask(GuideMargin::Relative(0.5), -0.1), [vec![0], vec![0, 1, 2]]);
}

#[test]
fn settings_of_another_loss_and_out_of_range_are_refused() {
    let refused = |settings: LossSettings| settings.check().err().map(|e| e.to_string()).unwrap_or_default();
    let unknown = refused(LossSettings::named("infonce"));
    assert!(
        unknown.starts_with("`name`: expected one of info-nce, decoupled")
            && unknown.ends_with("did you mean `info-nce`?"),
        "{unknown}"
    );
    let foreign = refused(LossSettings { beta: Some(1.0), ..LossSettings::default() });
    assert_eq!(
        foreign,
        "`beta`: expected what info-nce reads (directions, hardness_strength), found a number of debiased"
    );
    let range = refused(LossSettings { positive_prior: Some(1.0), ..LossSettings::named("debiased") });
    assert_eq!(range, "`positive_prior`: expected a share from 0 to below 1, found 1");
    let twice = refused(LossSettings { matryoshka_dims: vec![4, 4], ..LossSettings::default() });
    assert!(twice.contains("each once"), "{twice}");
    let uneven =
        LossSettings { matryoshka_dims: vec![4], matryoshka_weights: vec![1.0, 2.0], ..LossSettings::default() };
    assert!(refused(uneven).contains("expected 1 numbers above 0"));
    let wide = LossSettings { matryoshka_dims: vec![16], ..LossSettings::default() }.of_width(8);
    assert!(wide.err().is_some_and(|e| e.to_string().contains("up to 8")));
}
