//! Reads prompt files and fills them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearmiss::data::Seed;
use nearmiss::text::prompt::PromptFile;
use std::path::Path;

const INPUTS: [&str; 5] = ["query", "positive", "num_negatives", "min_words", "max_words"];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(prompt) = PromptFile::parse(text, Path::new("prompt.toml"), &INPUTS) {
        let first = prompt.pools().next().unwrap_or("none").to_owned();
        let Ok(pool) = prompt.pool(&first) else { return };
        let mut values = pool.draw(Seed(1));
        values.extend(INPUTS.map(|name| (name.to_owned(), "text".to_owned())));
        let _ = (prompt.system(&values), prompt.user(&values), prompt.reflection(&values, "none"));
    }
});
