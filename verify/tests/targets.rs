//! docs/targets.md is what `matrix::document` says. `BLESS=1` writes it.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::path::Path;

#[test]
fn document_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/targets.md");
    let wanted = fing_verify::document::document();
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/targets.md is not what it should be: BLESS=1 cargo test -p fing-verify --test targets"
    );
}
