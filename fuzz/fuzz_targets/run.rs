//! Reads TREC runs, written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::Run;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        if let Ok(run) = Run::read_trec(path) {
            run.write_trec(path, "fuzz").expect("written");
            assert_eq!(Run::read_trec(path).expect("read back"), run);
        }
    });
});
