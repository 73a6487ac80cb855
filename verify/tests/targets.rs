//! docs/targets.md is what `matrix::document` says. `BLESS=1` writes it.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::path::Path;

use fing_stubs::{Abi, Arch, Convention, StubKey};
use fing_verify::targets::TARGETS;

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

/// Nothing that fing generates stubs for is left out.
#[test]
fn every_convention_is_a_target() {
    let is_target = |name: &str| TARGETS.iter().any(|target| target.convention == name);
    for convention in Convention::ALL {
        assert!(
            is_target(&convention.to_string()),
            "{convention} is no target"
        );
    }
    let signature = "func(*int)".parse().unwrap();
    for arch in Arch::GO {
        let key = StubKey::new(&signature, Abi::go(arch), Default::default()).unwrap();
        let generated = TARGETS
            .iter()
            .any(|target| target.compiler().unwrap().compile(&key, false).is_ok());
        assert_eq!(generated, is_target(&format!("go/{arch}")), "go/{arch}");
    }
}
