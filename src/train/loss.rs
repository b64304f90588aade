//! Contrastive losses over the vectors of a batch.

use super::settings::InBatch;
use candle_core::{D, Result, Tensor};

/// Which passage of a batch stands against which query: `(B, C)`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparisons {
    queries: usize,
    columns: usize,
    compared: Vec<bool>,
}

impl Comparisons {
    /// For B instances of H negatives each; the columns are the B positives, then the negatives instance by instance
    /// (C = B + B·H). `forbidden(query, column)` says that the column's passage is known to answer the query: it is
    /// then never its negative.
    #[must_use]
    pub fn new(
        instances: usize,
        negatives: usize,
        in_batch: InBatch,
        forbidden: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let columns = instances * (1 + negatives);
        let mut compared = Vec::with_capacity(instances * columns);
        for query in 0..instances {
            for column in 0..columns {
                let owner = if column < instances { column } else { (column - instances) / negatives.max(1) };
                let positive = column < instances;
                compared.push(match (owner == query, in_batch) {
                    (true, _) if positive => true,
                    (true, _) | (false, InBatch::All) => !forbidden(query, column),
                    (false, InBatch::Positives) => positive && !forbidden(query, column),
                    (false, InBatch::None) => false,
                });
            }
        }
        Self { queries: instances, columns, compared }
    }
}

/// `InfoNCE` (van den Oord et al. 2018, arXiv 1807.03748, equation 4), mean over the B queries, in nats:
/// `-log( exp(q·p/τ) / Σ exp(q·c/τ) )` over the query's own positive and every passage it is compared with.
/// `queries` is `(B, D)`, `passages` `(C, D)` in the columns of `comparisons`; column i is query i's positive.
///
/// # Errors
/// candle's, when shapes do not fit or memory runs out.
pub fn info_nce(queries: &Tensor, passages: &Tensor, comparisons: &Comparisons, temperature: f64) -> Result<Tensor> {
    let shape = (comparisons.queries, comparisons.columns);
    let mask: Vec<f32> = comparisons.compared.iter().map(|&c| if c { 0.0 } else { f32::NEG_INFINITY }).collect();
    let mask = Tensor::from_vec(mask, shape, queries.device())?;
    let similarities = (queries.matmul(&passages.t()?)? / temperature)?;
    let logits = (&similarities + mask)?;
    // The largest logit is taken out so that exp does not overflow; it is a constant for the gradient.
    let largest = logits.max_keepdim(D::Minus1)?.detach();
    let total = (logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(D::Minus1)?.log()? + largest)?;
    let own: Vec<f32> = (0..shape.0).flat_map(|q| (0..shape.1).map(move |c| f32::from(u8::from(q == c)))).collect();
    let own = Tensor::from_vec(own, shape, queries.device())?;
    let positive = (similarities * own)?.sum_keepdim(D::Minus1)?;
    (total - positive)?.mean_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    type Compared = fn(usize, usize) -> bool;

    #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
    fn narrow(value: f64) -> f32 {
        value as f32
    }

    fn reference(queries: &[[f64; 2]], passages: &[[f64; 2]], compared: &dyn Fn(usize, usize) -> bool, t: f64) -> f64 {
        let dot = |a: &[f64; 2], b: &[f64; 2]| a[0] * b[0] + a[1] * b[1];
        let losses = queries.iter().enumerate().map(|(i, q)| {
            let sum: f64 =
                passages.iter().enumerate().filter(|&(c, _)| compared(i, c)).map(|(_, p)| (dot(q, p) / t).exp()).sum();
            -((dot(q, &passages[i]) / t).exp() / sum).ln()
        });
        losses.sum::<f64>() / 2.0
    }

    #[test]
    fn the_loss_is_the_formula_for_every_kind_of_comparison() -> Result<()> {
        let (q, p) = ([[0.6, 0.8], [1.0, 0.0]], [[0.5, 0.2], [0.3, -0.4], [0.9, 0.1], [-0.2, 0.7]]);
        let tensor = |rows: &[[f64; 2]]| {
            Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu)?.to_dtype(candle_core::DType::F32)
        };
        let kinds: [(InBatch, Compared); 3] = [
            (InBatch::None, |q, c| c == q || c == q + 2),
            (InBatch::Positives, |q, c| c < 2 || c == q + 2),
            (InBatch::All, |_, _| true),
        ];
        for (kind, compared) in kinds {
            let comparisons = Comparisons::new(2, 1, kind, |_, _| false);
            let loss = info_nce(&tensor(&q)?, &tensor(&p)?, &comparisons, 0.1)?.to_scalar::<f32>()?;
            let expected = reference(&q, &p, &compared, 0.1);
            assert!((f64::from(loss) - expected).abs() < 1e-5, "{kind:?}: {loss} for {expected}");
        }
        // A known positive of the query is no negative, whoever brought it.
        let comparisons = Comparisons::new(2, 1, InBatch::All, |q, c| (q, c) == (0, 3));
        let loss = info_nce(&tensor(&q)?, &tensor(&p)?, &comparisons, 0.1)?.to_scalar::<f32>()?;
        assert!((f64::from(loss) - reference(&q, &p, &|q, c| (q, c) != (0, 3), 0.1)).abs() < 1e-5);
        Ok(())
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() -> Result<()> {
        let values = [0.3f64, -0.5, 0.8, 0.1, 0.7, 0.2, -0.6, 0.4];
        let comparisons = Comparisons::new(2, 1, InBatch::All, |_, _| false);
        let queries = Tensor::new(&[[0.6f64, 0.8], [1.0, 0.0]], &Device::Cpu)?.to_dtype(candle_core::DType::F32)?;
        let loss_of = |values: &[f64]| -> Result<(Var, Tensor)> {
            let rows: Vec<f32> = values.iter().map(|&v| narrow(v)).collect();
            let passages = Var::from_vec(rows, (4, 2), &Device::Cpu)?;
            let loss = info_nce(&queries, passages.as_tensor(), &comparisons, 0.5)?;
            Ok((passages, loss))
        };
        let (passages, loss) = loss_of(&values)?;
        let gradient: Vec<f32> =
            loss.backward()?.get(&passages).map_or_else(|| Ok(vec![]), |g| g.flatten_all()?.to_vec1())?;
        assert_eq!(gradient.len(), values.len());
        for (index, &slope) in gradient.iter().enumerate() {
            let shifted = |by: f64| -> Result<f64> {
                let mut moved = values;
                moved[index] += by;
                Ok(f64::from(loss_of(&moved)?.1.to_scalar::<f32>()?))
            };
            let measured = (shifted(1e-2)? - shifted(-1e-2)?) / 2e-2;
            assert!((measured - f64::from(slope)).abs() < 2e-3, "{index}: {slope} for {measured}");
        }
        Ok(())
    }
}
