//! One vector from the vectors of a text's tokens: of tensors with a backward, and of rows on the CPU.
//! What each kind computes is that of sentence-transformers' Pooling module.

use super::Result;
use super::packing::PackedBatch;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// How token vectors become one vector for the text; special tokens count as any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The first token's vector.
    Cls,
    /// The mean over all tokens.
    Mean,
    /// The largest value over all tokens, for each component.
    Max,
    /// The sum over all tokens, divided by the square root of their number.
    MeanSqrtLength,
    /// The mean over all tokens, the first counting once, the second twice, and so on (SGPT, arXiv 2202.08904).
    WeightedMean,
    /// The last token's vector.
    LastToken,
}

impl Pooling {
    /// Each kind with its name in the older layout (after `pooling_mode_`) and in the newer (`pooling_mode`).
    pub const NAMES: [(Self, &'static str, &'static str); 6] = [
        (Self::Cls, "cls_token", "cls"),
        (Self::Mean, "mean_tokens", "mean"),
        (Self::Max, "max_tokens", "max"),
        (Self::MeanSqrtLength, "mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
        (Self::WeightedMean, "weightedmean_tokens", "weightedmean"),
        (Self::LastToken, "lasttoken", "lasttoken"),
    ];
}

/// What the tokens of a text of `length` tokens count in a mean: `(length,)`.
#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^24")]
fn shares(pooling: Pooling, length: usize) -> Vec<f32> {
    match pooling {
        Pooling::WeightedMean => {
            let total = (length * (length + 1)) as f32 / 2.0;
            (1..=length).map(|place| place as f32 / total).collect()
        }
        Pooling::MeanSqrtLength => vec![1.0 / (length as f32).sqrt(); length],
        _ => vec![1.0 / length as f32; length],
    }
}

/// `(B, D)` from the packed token vectors `(T, D)`.
pub(super) fn pool(tokens: &Tensor, batch: &PackedBatch, pooling: Pooling) -> Result<Tensor> {
    let count = batch.lengths().len();
    let ranges = || batch.starts().into_iter().zip(batch.lengths().iter().copied());
    let select = |rows: Vec<u32>| Ok(tokens.index_select(&Tensor::from_vec(rows, count, tokens.device())?, 0)?);
    match (pooling, batch.uniform()) {
        (Pooling::Cls, _) => select(batch.starts()),
        (Pooling::LastToken, _) => {
            select(ranges().map(|(start, length)| start + u32::try_from(length - 1).unwrap_or(0)).collect())
        }
        (Pooling::Max, _) => {
            let rows = ranges()
                .map(|(start, length)| Ok(tokens.narrow(0, start as usize, length)?.max_keepdim(0)?))
                .collect::<Result<Vec<_>>>()?;
            Ok(Tensor::cat(&rows, 0)?)
        }
        (Pooling::Mean, Some(length)) => Ok(tokens.reshape((count, length, ()))?.mean(1)?),
        (Pooling::Mean | Pooling::MeanSqrtLength | Pooling::WeightedMean, _) => {
            // A (B, T) matrix that sums each sequence by its shares: one product, with a backward.
            let total = batch.ids().len();
            let mut matrix = vec![0.0f32; count * total];
            for (row, (start, length)) in ranges().enumerate() {
                matrix[row * total + start as usize..][..length].copy_from_slice(&shares(pooling, length));
            }
            Ok(Tensor::from_vec(matrix, (count, total), tokens.device())?.matmul(tokens)?)
        }
    }
}

/// Puts the vector of one text, from the rows of its `length` tokens, into `vector`; rows may be longer than it.
pub(super) fn pool_rows<'r>(
    mut tokens: impl Iterator<Item = &'r [f32]>,
    length: usize,
    pooling: Pooling,
    vector: &mut [f32],
) {
    let width = vector.len();
    match pooling {
        Pooling::Cls | Pooling::LastToken => {
            let wanted = if pooling == Pooling::Cls { 0 } else { length - 1 };
            if let Some(token) = tokens.nth(wanted) {
                vector.copy_from_slice(&token[..width]);
            }
        }
        Pooling::Max => {
            vector.fill(f32::NEG_INFINITY);
            for token in tokens {
                vector.iter_mut().zip(token).for_each(|(most, value)| *most = most.max(*value));
            }
        }
        Pooling::Mean => {
            vector.fill(0.0);
            for token in tokens {
                vector.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
            }
            #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^24")]
            let count = length as f32;
            for sum in vector.iter_mut() {
                *sum /= count;
            }
        }
        Pooling::MeanSqrtLength | Pooling::WeightedMean => {
            vector.fill(0.0);
            for (token, share) in tokens.zip(shares(pooling, length)) {
                vector.iter_mut().zip(token).for_each(|(sum, value)| *sum += share * value);
            }
        }
    }
}

/// `(B, D)` rows divided by their Euclidean norm.
pub(super) fn unit(rows: &Tensor) -> Result<Tensor> {
    // The floor is that of torch.nn.functional.normalize.
    let norm = rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
    Ok(rows.broadcast_div(&norm)?)
}

/// Divides `vector` by its Euclidean norm.
pub(super) fn unit_row(vector: &mut [f32]) {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    for value in vector {
        *value /= norm;
    }
}

/// What [`pool_rows`] hands back: adds to each row of `slopes` what `slope`, along the text's vector, is along that row.
/// `tokens` are the rows that were pooled; rows of both may be longer than the vector.
pub(super) fn spread_rows(tokens: &[&[f32]], mut slopes: Vec<&mut [f32]>, pooling: Pooling, slope: &[f32]) {
    let add = |row: &mut [f32], share: f32| row.iter_mut().zip(slope).for_each(|(to, value)| *to += share * value);
    let length = slopes.len();
    match pooling {
        Pooling::Cls => add(slopes[0], 1.0),
        Pooling::LastToken => add(slopes[length - 1], 1.0),
        Pooling::Max => {
            for (column, value) in slope.iter().enumerate() {
                // The first of equals, as PyTorch has it.
                let most = (1..length)
                    .fold(0, |most, row| if tokens[row][column] > tokens[most][column] { row } else { most });
                slopes[most][column] += value;
            }
        }
        Pooling::Mean | Pooling::MeanSqrtLength | Pooling::WeightedMean => {
            slopes.into_iter().zip(shares(pooling, length)).for_each(|(row, share)| add(row, share));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn both_forms_pool_alike_and_as_defined() -> Result<()> {
        let batch = PackedBatch::new(&[&[1, 2, 3], &[4]]);
        let values = [1.0f32, -2.0, 4.0, 0.0, -6.0, 8.0, 5.0, 7.0];
        let tokens = Tensor::from_slice(&values, (4, 2), &Device::Cpu)?;
        let root = 3.0f32.sqrt();
        for (pooling, first) in [
            (Pooling::Cls, [1.0, -2.0]),
            (Pooling::LastToken, [-6.0, 8.0]),
            (Pooling::Max, [4.0, 8.0]),
            (Pooling::Mean, [-1.0 / 3.0, 2.0]),
            (Pooling::MeanSqrtLength, [-1.0 / root, 6.0 / root]),
            (Pooling::WeightedMean, [(1.0 + 8.0 - 18.0) / 6.0, (-2.0 + 24.0) / 6.0]),
        ] {
            let pooled = pool(&tokens, &batch, pooling)?.to_vec2::<f32>()?;
            let mut row = [9.0; 2];
            pool_rows(values.chunks(2).take(3), 3, pooling, &mut row);
            for (found, expected) in pooled[0].iter().chain(&row).zip(first.iter().chain(&first)) {
                assert!((found - expected).abs() < 1e-6, "{pooling:?}: {found}, not {expected}");
            }
            assert_eq!(pooled[1], [5.0, 7.0], "{pooling:?}");
        }
        Ok(())
    }
}
