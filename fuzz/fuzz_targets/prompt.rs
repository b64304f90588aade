//! Reads prompt files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::Seed;
use nearmiss::text::prompt::Prompt;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(prompt) = Prompt::parse(text, Path::new("prompt.toml"), &["query", "positive", "num_negatives", "min_words", "max_words"]) {
        let values = prompt.draw(Seed(1));
        let _ = (prompt.system(&values), prompt.user(&values), prompt.reflection(&values, "none"));
    }
});
