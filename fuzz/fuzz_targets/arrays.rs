//! Reads files of arrays, and the table of ids in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::IdTable;
use nearmiss::data::arrays::ArrayFile;

fuzz_target!(|bytes: &[u8]| {
    nearmiss_fuzz::as_file(bytes, |path| {
        if let Ok(file) = ArrayFile::open(path, "fuzz") {
            let _ = (file.array::<u8>("a"), file.array::<u16>("a"), file.array::<u64>("a"), file.array::<f32>("a"));
            let _ = (file.fact("form"), IdTable::of_file(&file));
        }
    });
});
