//! Reads the check of generators before llama.cpp sees them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::model::Gguf;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let _ = Gguf::check(bytes, Path::new("model.gguf"));
});
