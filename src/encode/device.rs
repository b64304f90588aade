//! Where tensors live: the CPU, or the accelerator the program was built for.

use super::Result;
use candle_core::Device;

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The first CUDA or Metal device this build knows and the machine has, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU; needs the feature `cuda`.
    Cuda,
    /// The Apple GPU; needs the feature `metal`.
    Metal,
}

/// The device, and its name for provenance.
///
/// # Errors
/// [`super::EncodeError::Candle`] when the device asked for is not built in or not there.
pub fn open(choice: DeviceChoice) -> Result<(Device, &'static str)> {
    match choice {
        DeviceChoice::Cpu => Ok((Device::Cpu, "cpu")),
        DeviceChoice::Cuda => Ok((Device::new_cuda(0)?, "cuda")),
        DeviceChoice::Metal => Ok((Device::new_metal(0)?, "metal")),
        DeviceChoice::Auto if candle_core::utils::cuda_is_available() => open(DeviceChoice::Cuda),
        DeviceChoice::Auto if candle_core::utils::metal_is_available() => open(DeviceChoice::Metal),
        DeviceChoice::Auto => open(DeviceChoice::Cpu),
    }
}
