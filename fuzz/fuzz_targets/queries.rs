//! Reads the queries of a collection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::Queries;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        for mut gate in nearmiss_fuzz::gates(path) {
            let _ = Queries::read_with(path, &mut gate);
        }
    });
});
