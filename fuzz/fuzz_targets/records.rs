//! Reads candidates and instances, written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::{Candidate, Instance, jsonl};

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        if let Ok(candidates) = jsonl::read::<Candidate>(path) {
            jsonl::write(path, &candidates).expect("written");
            assert_eq!(jsonl::read::<Candidate>(path).expect("read back"), candidates);
        }
        if let Ok(instances) = jsonl::read::<Instance>(path) {
            jsonl::write(path, &instances).expect("written");
            assert_eq!(jsonl::read::<Instance>(path).expect("read back"), instances);
        }
    });
});
