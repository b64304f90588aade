//! The CPU's own kernels: matrix products over packed weights, attention, GELU, softmax, layer norm; f32 or bf16.
//!
//! Each is written once over `lanes::Lanes`, a register of f32, and compiled for every instruction set the
//! architecture may have; [`Instructions`] names the one that runs. No kernel starts a thread or keeps memory.
//! What comes out for a row depends on that row alone (and, in attention, on its sequence): never on which rows
//! stand beside it, so that a text has the same vector, bit for bit, in whatever batch.

#![expect(unsafe_code, reason = "registers, and places computed from checked sizes; each block says why it is sound")]
#![expect(clippy::inline_always, reason = "what is inlined is compiled for the caller's instruction set")]

mod attention;
mod attention_slopes;
mod buffer;
mod dropout;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod outer;
mod panels;
mod product;
mod rows;
#[cfg(test)]
mod slope_tests;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use attention::{Attention, AttentionScratch, SequenceDropout, attend};
pub use attention_slopes::{AttentionSlopes, AttentionSlopesScratch, attend_slopes};
pub use buffer::Buffer;
pub use dropout::{Dropout, DropoutRow};
pub use outer::{OuterScratch, add_outer};
pub use product::{Onto, Packed, Precision, ProductScratch, Rows};
pub use rows::{
    Norm, add_columns, add_norm, gelu, gelu_slope, norm, norm_parameter_slopes, norm_slope, softmax, softmax_slope,
};

/// Which instructions kernels are compiled for; one that this machine lacks cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// AVX-512 with products of bf16 pairs (Zen 4, Cooper Lake and newer).
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// AVX-512 (F, BW, DQ, VL).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Advanced SIMD, which every aarch64 has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// What the compiler makes of plain loops.
    Portable,
}

impl Instructions {
    /// The fastest this machine has.
    #[must_use]
    pub fn best() -> Self {
        Self::here()[0]
    }

    /// All this machine has, fastest first; the last is the portable one.
    #[must_use]
    pub fn here() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("fma") {
                if has!("avx512bf16") {
                    sets.push(Set::Avx512Bf16);
                }
                sets.push(Set::Avx512);
            }
            if has!("avx2") && has!("fma") {
                sets.push(Set::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Set::Neon);
        sets.push(Set::Portable);
        sets.into_iter().map(Self).collect()
    }

    /// "avx512-bf16", "avx512", "avx2", "neon" or "portable".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }

    /// Columns of a packed panel: what the tile of the product holds in registers.
    fn panel(self) -> usize {
        use lanes::Lanes;
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 => x86::Avx512::<true>::PANEL,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => x86::Avx512::<false>::PANEL,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => x86::Avx2::PANEL,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon::Neon::PANEL,
            Set::Portable => lanes::Portable::PANEL,
        }
    }
}

/// Calls `$kernel::<L>($argument, ..)`, an `unsafe fn` that is `#[inline(always)]`, compiled for the instructions of
/// `$instructions`.
macro_rules! run {
    ($instructions:expr, $kernel:ident($($name:ident: $kind:ty = $value:expr),* $(,)?) $(-> $result:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
        fn avx512_bf16($($name: $kind),*) $(-> $result)? {
            // SAFETY: the instructions are enabled for this function.
            unsafe { $kernel::<super::x86::Avx512<true>>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512($($name: $kind),*) $(-> $result)? {
            // SAFETY: the instructions are enabled for this function.
            unsafe { $kernel::<super::x86::Avx512<false>>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2($($name: $kind),*) $(-> $result)? {
            // SAFETY: the instructions are enabled for this function.
            unsafe { $kernel::<super::x86::Avx2>($($name),*) }
        }
        match $instructions.0 {
            // SAFETY: `Instructions` holds only what was found on this machine.
            #[cfg(target_arch = "x86_64")]
            super::Set::Avx512Bf16 => unsafe { avx512_bf16($($value),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            super::Set::Avx512 => unsafe { avx512($($value),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            super::Set::Avx2 => unsafe { avx2($($value),*) },
            // SAFETY: every aarch64 has it.
            #[cfg(target_arch = "aarch64")]
            super::Set::Neon => unsafe { $kernel::<super::neon::Neon>($($value),*) },
            // SAFETY: it needs no instruction that the target may lack.
            super::Set::Portable => unsafe { $kernel::<super::lanes::Portable>($($value),*) },
        }
    }};
}
use run;
