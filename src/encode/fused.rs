//! GELU, softmax and layer norm for the CPU, each as one candle operation with its own backward:
//! composed of candle's operations they take as long as the matrix products.
//! The loops are those of [`super::kernels`].
//! Border: f32 on the CPU only; everywhere else, and as the reference in tests, the composed forms serve.

use super::kernels::{self, Instructions, Norm};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

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
        let mut out = values(x, layout)?.to_vec();
        kernels::gelu(Instructions::best(), &mut out);
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
        let mut out = values(slope, ls)?.to_vec();
        kernels::gelu_slope(Instructions::best(), values(x, lx)?, &mut out);
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = values(x, layout)?.to_vec();
        kernels::softmax(Instructions::best(), &mut out, width(layout));
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
        kernels::softmax_slope(Instructions::best(), values(y, ly)?, &mut out, width(ly));
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
        let by = Norm { weight: values(weight, lw)?, bias: values(bias, lb)?, eps: self.eps };
        kernels::norm(Instructions::best(), &mut out, width(lx), by);
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
        let weight = values(weight, lw)?;
        let by = Norm { weight, bias: weight, eps: self.eps };
        kernels::norm_slope(Instructions::best(), values(x, lx)?, &mut out, width(lx), by);
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
        let (x, slope) = (values(x, lx)?, values(slope, ls)?);
        let width = out.len() / 2;
        kernels::norm_parameter_slopes(Instructions::best(), (x, slope), width, &mut out, self.eps);
        Ok((CpuStorage::F32(out), (2, width).into()))
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
