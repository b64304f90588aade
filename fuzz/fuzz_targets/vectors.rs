//! Reads vector files, written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::encode::Vectors;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        if let Ok(vectors) = Vectors::read(path) {
            assert_eq!(vectors.len() * vectors.dimension(), vectors.widened(0..vectors.len()).len());
            // Beside it: the file is mapped.
            let copy = path.with_extension("copy");
            vectors.write(&copy).expect("written");
            assert_eq!(Vectors::read(&copy).expect("read back"), vectors);
        }
    });
});
