//! Reads the passages of a collection.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::corpus(bytes);
});
