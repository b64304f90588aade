//! The house's rules that the compiler does not know: a layer imports only those on its left,
//! only `cli` talks to the outside, unsafe code stands where it may, and files stay readable.

use std::fs;
use std::path::{Path, PathBuf};

const LAYERS: [&str; 15] = [
    "data",
    "text",
    "model",
    "encode",
    "retrieve",
    "generate",
    "filter",
    "negatives",
    "mix",
    "train",
    "eval",
    "analyse",
    "report",
    "experiment",
    "cli",
];

/// Every source file below `src`, with the layer it belongs to; `lib.rs` and `main.rs` belong to none.
fn sources() -> Vec<(PathBuf, Option<usize>, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let sources: Vec<_> = paths
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).expect("below src");
            let first = inside.components().next().and_then(|c| c.as_os_str().to_str()).unwrap_or_default();
            let layer = LAYERS.iter().position(|&l| l == first);
            assert!(
                layer.is_some() || inside.components().count() == 1,
                "{first}/ is no layer: add it to LAYERS and the README"
            );
            let text = fs::read_to_string(&path).expect("source can be read");
            (path, layer, text)
        })
        .collect();
    assert!(sources.len() > 30, "the test found only {} files: is it looking in the right place?", sources.len());
    sources
}

/// The text before `#[cfg(test)]`, without comments.
fn code(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
    shipped.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_layer_imports_only_those_on_its_left() {
    let mut wrong = Vec::new();
    for (path, layer, text) in sources() {
        let Some(layer) = layer else { continue };
        let code = code(&text);
        for (other, name) in LAYERS.iter().enumerate().skip(layer + 1) {
            let named = |pattern: String| code.contains(&pattern);
            if named(format!("crate::{name}::")) || named(format!("crate::{name};")) || named(format!("{{{name}::")) {
                wrong.push(format!("{} ({}) names {name}", path.display(), LAYERS[layer]));
            }
            assert!(other > layer);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_talks_to_the_outside() {
    let forbidden = [
        "println!",
        "print!(",
        "eprint",
        "std::env::",
        "env::var",
        "current_dir",
        "SystemTime::now",
        "Instant::now",
        "process::exit",
    ];
    let mut wrong = Vec::new();
    for (path, layer, text) in sources() {
        let tests = path.to_string_lossy().ends_with("tests.rs");
        if tests || layer.is_none_or(|layer| LAYERS[layer] == "cli") {
            continue;
        }
        let code = code(&text);
        wrong.extend(forbidden.iter().filter(|f| code.contains(**f)).map(|f| format!("{}: {f}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_where_it_may_and_says_why() {
    let allowed = [
        "data/arrays.rs",
        "model/gguf.rs",
        "encode/kernels/mod.rs",
        "encode/kernels/buffer.rs",
        "encode/kernels/lanes.rs",
        "encode/kernels/x86.rs",
        "encode/kernels/neon.rs",
        "encode/kernels/tile.rs",
        "encode/kernels/product.rs",
        "encode/kernels/panels.rs",
        "encode/kernels/outer.rs",
        "encode/kernels/dropout.rs",
        "encode/kernels/attention.rs",
        "encode/kernels/attention_slopes.rs",
        "encode/kernels/rows.rs",
        "retrieve/hnsw.rs",
        "generate/llama.rs",
        "generate/llama/log.rs",
        "src/main.rs",
    ];
    for (path, _, text) in sources() {
        let here = code(&text);
        if here.contains("unsafe {") || here.contains("unsafe fn") || here.contains("unsafe impl") {
            assert!(allowed.iter().any(|a| path.ends_with(a)), "{} has unsafe code", path.display());
            assert!(text.contains("SAFETY:"), "{} has unsafe code without a SAFETY note", path.display());
        }
    }
}

#[test]
fn every_file_opens_with_what_it_is_for_and_stays_readable() {
    for (path, _, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines: two things live in one room", path.display());
    }
}
