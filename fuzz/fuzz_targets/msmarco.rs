//! Reads the tab-separated files of MS MARCO.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::msmarco;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        for limit in 0..2 {
            let gate = || nearmiss_fuzz::gates(path).into_iter().nth(limit).expect("two gates");
            let _ = msmarco::each_passage(path, &mut gate(), |_| Ok(()));
            let _ = msmarco::each_query(path, &mut gate(), |_| Ok(()));
            let _ = msmarco::each_triple(path, &mut gate(), |_| Ok(()));
            let _ = msmarco::each_text_triple(path, &mut gate(), |_| Ok(()));
        }
    });
});
