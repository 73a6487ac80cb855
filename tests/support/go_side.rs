//! The program that runs in real Go: tests/go_differential.

use std::path::PathBuf;

use fing_oracles::emulator::Isa;

/// Its executable; `None` if Go is not on this machine, which has been said aloud.
pub(crate) fn go_side() -> Option<PathBuf> {
    let sources = [
        ("go.mod", include_str!("../go_differential/go.mod")),
        ("main.go", include_str!("../go_differential/main.go")),
        ("refuse.go", include_str!("../go_differential/refuse.go")),
    ];
    let built = fing_oracles::go_program("differential", Isa::Amd64, &sources)?;
    Some(built.unwrap_or_else(|e| panic!("tests/go_differential: {e}")))
}
