//! Reads experiment files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::experiment::Recipe;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        let _ = Recipe::read(path);
    });
});
