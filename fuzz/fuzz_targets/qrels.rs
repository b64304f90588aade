//! Reads judgements in BEIR and in TREC form, written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::{Qrels, beir, msmarco};

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        let lenient = &mut nearmiss_fuzz::gates(path)[1];
        let beir = Qrels::read_beir_with(path, lenient, |_, _| Ok(()));
        for qrels in [beir, Qrels::read_trec(path)].into_iter().flatten() {
            beir::write_qrels(path, &qrels).expect("written");
            assert_eq!(Qrels::read_beir(path).expect("read back"), qrels);
            msmarco::write_qrels(path, &qrels).expect("written");
            assert_eq!(Qrels::read_trec(path).expect("read back"), qrels);
        }
    });
});
