//! GELU, softmax and layer norm for the CPU, each as one candle operation with its own backward:
//! composed of candle's operations they take as long as the matrix products.
//! The loops are plain Rust that the compiler vectorises for several instruction sets, one chosen at run time.
//! Border: f32 on the CPU only; everywhere else, and as the reference in tests, the composed forms serve.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use multiversion::multiversion;

/// Values handled together: one AVX-512 register of f32; sums run in so many lanes, in a fixed order.
const LANES: usize = 16;

/// `x Φ(x)`, elementwise (Hendrycks and Gimpel 2016, arXiv 1606.08415), any shape.
///
/// # Errors
/// candle's, when `x` is not f32 on the CPU.
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Gelu)
}

/// Softmax over the last dimension, any shape; minus infinity becomes exactly 0.
///
/// # Errors
/// As [`gelu`].
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Softmax)
}

/// Layer norm over the last dimension (Ba et al. 2016, arXiv 1607.06450): `x` `(.., D)`, `weight` and `bias` `(D,)`.
///
/// # Errors
/// As [`gelu`].
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    #[expect(clippy::cast_possible_truncation, reason = "an epsilon")]
    x.contiguous()?.apply_op3(weight, bias, LayerNorm { eps: eps as f32 })
}

struct Gelu;
struct GeluBackward;
struct Softmax;
struct SoftmaxBackward;
struct LayerNorm {
    eps: f32,
}
struct LayerNormBackward {
    eps: f32,
}
struct LayerNormParameters {
    eps: f32,
}

fn values<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
    let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        candle_core::bail!("a fused CPU operation takes contiguous f32");
    };
    Ok(&values[start..end])
}

fn width(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1)
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut out = vec![0.0; x.len()];
        gelu_of(x, &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, slope: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.apply_op2_no_bwd(&slope.contiguous()?, &GeluBackward)?))
    }
}

impl CustomOp2 for GeluBackward {
    fn name(&self) -> &'static str {
        "gelu-backward"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, slope: &CpuStorage, ls: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, slope) = (values(x, lx)?, values(slope, ls)?);
        let mut out = vec![0.0; x.len()];
        gelu_slope(x, slope, &mut out);
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = values(x, layout)?.to_vec();
        softmax_rows(&mut out, width(layout));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, shares: &Tensor, slope: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(shares.apply_op2_no_bwd(&slope.contiguous()?, &SoftmaxBackward)?))
    }
}

impl CustomOp2 for SoftmaxBackward {
    fn name(&self) -> &'static str {
        "softmax-backward"
    }

    fn cpu_fwd(&self, y: &CpuStorage, ly: &Layout, slope: &CpuStorage, ls: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = values(slope, ls)?.to_vec();
        softmax_slope(values(y, ly)?, &mut out, width(ly));
        Ok((CpuStorage::F32(out), ly.shape().clone()))
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        weight: &CpuStorage,
        lw: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut out = values(x, lx)?.to_vec();
        norm_rows(&mut out, values(weight, lw)?, values(bias, lb)?, self.eps);
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        slope: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let slope = slope.contiguous()?;
        let of_x = x.apply_op3_no_bwd(weight, &slope, &LayerNormBackward { eps: self.eps })?;
        let of_parameters = x.apply_op2_no_bwd(&slope, &LayerNormParameters { eps: self.eps })?;
        Ok((Some(of_x), Some(of_parameters.get(0)?), Some(of_parameters.get(1)?)))
    }
}

impl CustomOp3 for LayerNormBackward {
    fn name(&self) -> &'static str {
        "layer-norm-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        weight: &CpuStorage,
        lw: &Layout,
        slope: &CpuStorage,
        ls: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut out = values(slope, ls)?.to_vec();
        norm_slope(values(x, lx)?, values(weight, lw)?, &mut out, self.eps);
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }
}

impl CustomOp2 for LayerNormParameters {
    fn name(&self) -> &'static str {
        "layer-norm-parameters"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, slope: &CpuStorage, ls: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = width(lx);
        let mut out = vec![0.0; 2 * width];
        norm_parameter_slopes(values(x, lx)?, values(slope, ls)?, &mut out, self.eps);
        Ok((CpuStorage::F32(out), (2, width).into()))
    }
}

/// `e^x` within 2 units in the last place for `x` up to 88; 0 below -87 (Cephes' polynomial).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let n = clamped * LOG2_E + ROUND - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p =
        ((((1.987_569_1e-4 * r + 1.398_2e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 1.666_666_5e-1) * r + 0.5;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "n is a whole number from -126 to 127")]
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    let value = (p * r * r + r + 1.0) * power;
    if x < -87.0 { 0.0 } else { value }
}

/// Φ(x) and φ(x), the normal distribution and its density: Φ within 1e-7
/// (Abramowitz and Stegun 1964, formula 7.1.26, for the error function).
#[expect(clippy::inline_always, reason = "must be compiled for the caller's instruction set")]
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let decay = exp(-z * z);
    let tail = ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_74) * t + 0.254_829_6) * t * decay;
    let half = 0.5 * tail;
    (if x < 0.0 { half } else { 1.0 - half }, decay * 0.398_942_3)
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn gelu_of(x: &[f32], out: &mut [f32]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = x * normal(x).0;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn gelu_slope(x: &[f32], slope: &[f32], out: &mut [f32]) {
    for ((out, &x), &slope) in out.iter_mut().zip(x).zip(slope) {
        let (share, density) = normal(x);
        *out = slope * (share + x * density);
    }
}

/// Sum of `term(i)` over `0..count`, in [`LANES`] lanes.
#[expect(clippy::inline_always, reason = "must be compiled for the caller's instruction set")]
#[inline(always)]
fn sum(count: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = count / LANES * LANES;
    let mut start = 0;
    while start < whole {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += term(start + lane);
        }
        start += LANES;
    }
    let mut total = 0.0;
    for lane in lanes {
        total += lane;
    }
    for index in whole..count {
        total += term(index);
    }
    total
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn softmax_rows(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = row.as_chunks::<LANES>();
        for chunk in whole {
            for (most, &value) in lanes.iter_mut().zip(chunk) {
                *most = if value > *most { value } else { *most };
            }
        }
        let most = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
        for value in row.iter_mut() {
            *value = exp(*value - most);
        }
        let scale = 1.0 / sum(width, |i| row[i]);
        for value in row.iter_mut() {
            *value *= scale;
        }
    }
}

/// `y (g - Σ g y)` in place of g.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn softmax_slope(shares: &[f32], slopes: &mut [f32], width: usize) {
    for (y, g) in shares.chunks_exact(width).zip(slopes.chunks_exact_mut(width)) {
        let inner = sum(width, |i| g[i] * y[i]);
        for (g, &y) in g.iter_mut().zip(y) {
            *g = y * (*g - inner);
        }
    }
}

/// Mean and 1 / deviation of a row.
#[expect(clippy::inline_always, reason = "must be compiled for the caller's instruction set")]
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = sum(row.len(), |i| row[i]) / count;
    let variance = sum(row.len(), |i| (row[i] - mean) * (row[i] - mean)) / count;
    (mean, 1.0 / (variance + eps).sqrt())
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn norm_rows(rows: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    for row in rows.chunks_exact_mut(weight.len()) {
        let (mean, scale) = moments(row, eps);
        for ((value, &weight), &bias) in row.iter_mut().zip(weight).zip(bias) {
            *value = (*value - mean) * scale * weight + bias;
        }
    }
}

/// `(g w - mean(g w) - x̂ mean(g w x̂)) / deviation` in place of g.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn norm_slope(rows: &[f32], weight: &[f32], slopes: &mut [f32], eps: f32) {
    let width = weight.len();
    for (x, g) in rows.chunks_exact(width).zip(slopes.chunks_exact_mut(width)) {
        let (mean, scale) = moments(x, eps);
        let count = width as f32;
        let first = sum(width, |i| g[i] * weight[i]) / count;
        let second = sum(width, |i| g[i] * weight[i] * (x[i] - mean) * scale) / count;
        for ((g, &x), &weight) in g.iter_mut().zip(x).zip(weight) {
            *g = (*g * weight - first - (x - mean) * scale * second) * scale;
        }
    }
}

/// Σ g x̂ in the first half of `out`, Σ g in the second.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn norm_parameter_slopes(rows: &[f32], slopes: &[f32], out: &mut [f32], eps: f32) {
    let width = out.len() / 2;
    let (of_weight, of_bias) = out.split_at_mut(width);
    for (x, g) in rows.chunks_exact(width).zip(slopes.chunks_exact(width)) {
        let (mean, scale) = moments(x, eps);
        for (((of_weight, of_bias), &x), &g) in of_weight.iter_mut().zip(of_bias.iter_mut()).zip(x).zip(g) {
            *of_weight += g * (x - mean) * scale;
            *of_bias += g;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Device, Var};

    fn compare(
        name: &str,
        fused: impl Fn(&Tensor) -> Result<Tensor>,
        composed: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let values: Vec<f32> = (0..5 * 37).map(|i| ((i * 7919 % 1009) as f32 / 1009.0 - 0.5) * 14.0).collect();
        let weights = Tensor::from_vec(values.iter().rev().copied().collect::<Vec<_>>(), (5, 37), &Device::Cpu)?;
        let run = |form: &dyn Fn(&Tensor) -> Result<Tensor>| -> Result<[Vec<f32>; 2]> {
            let x = Var::from_vec(values.clone(), (5, 37), &Device::Cpu)?;
            let y = form(x.as_tensor())?;
            let slopes = (&y * &weights)?.sum_all()?.backward()?;
            let slope = slopes.get(&x).ok_or_else(|| candle_core::Error::Msg("no gradient".into()))?;
            Ok([y.flatten_all()?.to_vec1()?, slope.flatten_all()?.to_vec1()?])
        };
        for (what, (ours, theirs)) in ["value", "gradient"].iter().zip(run(&fused)?.iter().zip(run(&composed)?)) {
            let largest = theirs.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            for (a, b) in ours.iter().zip(&theirs) {
                assert!((a - b).abs() < 2e-6 * largest, "{name} {what}: {a} for {b}");
            }
        }
        Ok(())
    }

    #[test]
    fn values_and_gradients_are_those_of_the_composed_forms() -> Result<()> {
        compare("gelu", gelu, Tensor::gelu_erf)?;
        compare("softmax", softmax, |x| candle_nn::ops::softmax(x, D::Minus1))?;
        let weight = Tensor::from_vec((0..37).map(|i| 0.5 + i as f32 / 40.0).collect::<Vec<_>>(), 37, &Device::Cpu)?;
        let bias = Tensor::from_vec((0..37).map(|i| i as f32 / 90.0 - 0.2).collect::<Vec<_>>(), 37, &Device::Cpu)?;
        compare(
            "layer norm",
            |x| layer_norm(x, &weight, &bias, 1e-5),
            |x| candle_nn::ops::layer_norm_slow(x, &weight, &bias, 1e-5),
        )
    }

    #[test]
    fn parameters_of_the_norm_get_their_gradients() -> Result<()> {
        let x =
            Tensor::from_vec((0..48).map(|i| ((i * 31 % 17) as f32).sin()).collect::<Vec<_>>(), (4, 12), &Device::Cpu)?;
        let slopes = |form: &dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>| -> Result<Vec<f32>> {
            let (weight, bias) = (
                Var::ones(12, candle_core::DType::F32, &Device::Cpu)?,
                Var::zeros(12, candle_core::DType::F32, &Device::Cpu)?,
            );
            let store = (form(&x, &weight, &bias)? * &x)?.sum_all()?.backward()?;
            let mut all = Vec::new();
            for variable in [&weight, &bias] {
                all.extend(store.get(variable).map_or_else(|| Ok(vec![]), Tensor::to_vec1::<f32>)?);
            }
            Ok(all)
        };
        let ours = slopes(&|x, w, b| layer_norm(x, w, b, 1e-5))?;
        let theirs = slopes(&|x, w, b| candle_nn::ops::layer_norm_slow(x, w, b, 1e-5))?;
        assert_eq!(ours.len(), 24);
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-5), "{ours:?} for {theirs:?}");
        Ok(())
    }

    #[test]
    fn masked_places_get_nothing() -> Result<()> {
        let x = Tensor::new(&[[1.0f32, f32::NEG_INFINITY, 1.0]], &Device::Cpu)?;
        assert_eq!(softmax(&x)?.to_vec2::<f32>()?, [[0.5, 0.0, 0.5]]);
        Ok(())
    }
}
