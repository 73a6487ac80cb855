//! Finding the programs tests need, and what happens where one is missing. Knows: `FING_<NAME>`,
//! `.oracles/`, `PATH`.
#![forbid(unsafe_code)]

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The checkout this crate was built in.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is a folder of the checkout")
}

/// The environment variable that names an oracle's file: `FING_` and the name in upper case, `_`
/// for `-`.
fn variable(name: &str) -> String {
    format!("FING_{}", name.to_uppercase().replace('-', "_"))
}

/// The file that the environment names for an oracle.
fn given(name: &str) -> Option<PathBuf> {
    let variable = variable(name);
    let given = PathBuf::from(env::var_os(&variable)?);
    assert!(
        given.is_file(),
        "oracle {name}: {variable} is {}, where no file is",
        given.display()
    );
    Some(given)
}

/// The program `name`: the path in `FING_<NAME>` (upper case: `FING_GO`), else
/// `.oracles/<name>/bin/<name>` in the checkout, else on `PATH`.
///
/// `None` if there is none, which is said on standard error (past the test runner's capture),
/// naming `wanted_for`.
///
/// # Panics
///
/// If there is none and `FING_REQUIRE_ORACLES` is set to `1`; or if `FING_<NAME>` is set and no
/// file is there.
pub fn tool(name: &str, wanted_for: &str) -> Option<PathBuf> {
    if let Some(given) = given(name) {
        return Some(given);
    }
    let variable = variable(name);
    let installed = checkout()
        .join(".oracles")
        .join(name)
        .join("bin")
        .join(name);
    let on_path = env::var_os("PATH").into_iter().flat_map(|path| {
        env::split_paths(&path)
            .map(|folder| folder.join(name))
            .collect::<Vec<_>>()
    });
    let found = std::iter::once(installed)
        .chain(on_path)
        .find(|path| path.is_file());
    if found.is_none() {
        missing(&format!(
            "oracle not found: {name} ({wanted_for}): no {variable}, no .oracles/{name}, none on \
             PATH; scripts/install-oracles installs it"
        ));
    }
    found
}

/// The library `file` of the oracle `name`: the path in `FING_<NAME>`, else
/// `.oracles/<name>/lib/<file>` in the checkout, else the bare name, for the dynamic linker to look
/// for.
///
/// # Panics
///
/// If `FING_<NAME>` is set and no file is there.
pub(crate) fn library(name: &str, file: &str) -> PathBuf {
    if let Some(given) = given(name) {
        return given;
    }
    let installed = checkout()
        .join(".oracles")
        .join(name)
        .join("lib")
        .join(file);
    if installed.is_file() {
        installed
    } else {
        PathBuf::from(file)
    }
}

/// Says that a test is skipped for `why`; fails it where oracles are required.
pub(crate) fn missing(why: &str) {
    assert!(
        env::var_os("FING_REQUIRE_ORACLES").is_none_or(|v| v != "1"),
        "{why}"
    );
    // Written directly: `eprintln!` would be captured by the test runner and dropped when the test
    // passes.
    let _ = writeln!(std::io::stderr(), "{why}: test skipped");
}
