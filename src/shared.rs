//! Where tests find the collections and golden numbers that are not part of the repository.

use std::path::{Path, PathBuf};

/// `name` under the folder `../shared` beside the checkout, or under `$NEARMISS_SHARED`; says so when it is absent.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("NEARMISS_SHARED").map_or(beside, PathBuf::from).join(name);
    if !path.exists() {
        eprintln!("skipped: what needs {name} (../shared is absent)");
        return None;
    }
    Some(path)
}
