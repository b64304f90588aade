//! Records the git revision for provenance, and lists the prompts to compile in.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // The reflog grows with every commit and checkout, in worktrees too; a source archive has neither.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={log}");
    }
    let revision = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown revision".to_owned());
    println!("cargo:rustc-env=NEARMISS_REVISION={revision}");
    list_prompts();
}

/// Writes `prompts.rs`: a constant `FILES` with name and text of every prompts/*.toml, sorted by name.
fn list_prompts() {
    println!("cargo:rerun-if-changed=prompts");
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let folder = Path::new(&root).join("prompts");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the folder prompts/ can be read")
        .map(|entry| entry.expect("the folder prompts/ can be read").file_name())
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".toml")?.to_owned()))
        .collect();
    names.sort();
    let mut table = "/// Name and text of every file in prompts/.\nconst FILES: &[(&str, &str)] = &[\n".to_owned();
    for name in &names {
        // Found when it is compiled: a target folder may outlive the checkout that it was made for.
        let place = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/prompts/{name}.toml\")");
        writeln!(table, "    ({name:?}, include_str!({place})),").expect("a string can be written to");
    }
    table.push_str("];\n");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("prompts.rs"), table).expect("OUT_DIR can be written");
}
