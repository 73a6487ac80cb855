//! What the repository's own checks share: finding and reading files.

use std::fs;
use std::path::{Path, PathBuf};

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `folder` of the checkout whose name ends in one of `endings`, as sorted paths
/// relative to the checkout. Build output, caches and git's own folder are left out. A folder that
/// is not there has no files.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    const NOT_OURS: &[&str] = &["target", ".git", ".oracles", "corpus", "artifacts"];
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.extend((!NOT_OURS.contains(&&*name)).then_some(path));
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(relative(path));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: PathBuf) -> String {
    let path = path.strip_prefix(root()).unwrap_or(&path);
    path.to_string_lossy().into_owned()
}

/// The text of a file of the checkout.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}
