//! Reads gzip and Zstandard; an input that unpacks to more than 64 MB is left alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        if let Ok((text, _)) = nearmiss::data::packed::open(path) {
            let _ = text.take(64 << 20).read_to_end(&mut Vec::new());
        }
    });
});
