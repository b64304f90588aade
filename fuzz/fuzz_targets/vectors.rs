//! Reads vector files, written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::encode::Vectors;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        if let Ok(vectors) = Vectors::read(path) {
            assert_eq!(vectors.len() * vectors.dimension(), vectors.values().len());
            vectors.write(path).expect("written");
            assert_eq!(Vectors::read(path).expect("read back"), vectors);
        }
    });
});
