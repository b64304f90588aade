//! Dot products of two vectors, in the forms that graphs and rescoring keep them. Each is a plain loop over sixteen sums,
//! compiled for several instruction sets; one is chosen at run time. All dense scores come from [`single`], so that a
//! passage has the same score, to the last bit, however it was found.

#![expect(clippy::inline_always, reason = "what is inlined is compiled for the caller's instruction set")]

use half::{bf16, f16};
use multiversion::multiversion;

/// Sums side by side: one register of AVX-512.
const LANES: usize = 16;

/// What a vector in a graph is made of.
pub trait Component: Copy {
    /// Its value.
    fn value(self) -> f32;
}

impl Component for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

impl Component for bf16 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Component for f16 {
    /// Right for every finite value: the multiplication moves the exponent, of small ones too.
    #[inline(always)]
    fn value(self) -> f32 {
        const MOVE: f32 = f32::from_bits((127 + 112) << 23);
        let bits = u32::from(self.to_bits());
        let size = f32::from_bits((bits & 0x7fff) << 13) * MOVE;
        f32::from_bits(size.to_bits() | (bits & 0x8000) << 16)
    }
}

#[inline(always)]
fn sum<T: Component>(a: &[T], b: &[T]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_blocks.remainder(), b_blocks.remainder());
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] = a[lane].value().mul_add(b[lane].value(), sums[lane]);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum = a.value().mul_add(b.value(), *sum);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The dot product of f32.
#[must_use]
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn single(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b)
}

/// The dot product of bf16.
#[must_use]
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn brain(a: &[bf16], b: &[bf16]) -> f32 {
    sum(a, b)
}

/// The dot product of f16.
#[must_use]
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn half(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b)
}

/// The dot product of whole numbers from -127 to 127.
#[expect(clippy::cast_precision_loss, reason = "a graph's order needs no more digits")]
#[must_use]
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn whole(a: &[i8], b: &[i8]) -> f32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_forms_sum_the_products(a in proptest::collection::vec(-1.0f32..1.0, 0..70)) {
            let b: Vec<f32> = a.iter().rev().map(|value| 0.5 - value).collect();
            let due = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
            prop_assert!((f64::from(single(&a, &b)) - due(&a, &b)).abs() < 1e-5);
            let brains = [&a, &b].map(|v| v.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>());
            let wide = brains.each_ref().map(|v| v.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
            prop_assert!((f64::from(brain(&brains[0], &brains[1])) - due(&wide[0], &wide[1])).abs() < 1e-5);
            let halves = [&a, &b].map(|v| v.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>());
            let wide = halves.each_ref().map(|v| v.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
            prop_assert!((f64::from(half(&halves[0], &halves[1])) - due(&wide[0], &wide[1])).abs() < 1e-5);
            #[expect(clippy::cast_possible_truncation, reason = "-127 to 127")]
            let codes = [&a, &b].map(|v| v.iter().map(|x| (x * 60.0) as i8).collect::<Vec<_>>());
            let wide = codes.each_ref().map(|v| v.iter().map(|x| f32::from(*x)).collect::<Vec<_>>());
            prop_assert!((f64::from(whole(&codes[0], &codes[1])) - due(&wide[0], &wide[1])).abs() < 1e-3);
        }
    }

    #[test]
    fn f16_is_widened_as_the_library_does_it() {
        for bits in (0..=u16::MAX).map(f16::from_bits).filter(|value| value.is_finite()) {
            assert_eq!(Component::value(bits).to_bits(), bits.to_f32().to_bits(), "{bits}");
        }
    }
}
