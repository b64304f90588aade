//! Reads configuration and weights of encoders.
#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use nearmiss::encode::bert::read_config;
use nearmiss::encode::parameters::WeightFile;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        if let Ok(value) = serde_json::from_slice(bytes) {
            let _ = read_config(&value, path);
        }
        let _ = WeightFile::open(path, &Device::Cpu);
    });
});
