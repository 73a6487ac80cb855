//! Which oracles are here: said aloud by every `cargo test`, so that nobody takes a skipped
//! comparison for a passed one.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::io::Write;

use fing_oracles::emulator::Isa;

#[test]
fn oracles_found_and_skipped() {
    let mut lines = Vec::new();
    let mut note = |name: String, found: Option<String>| {
        let found = found.map_or("skipped: not here".to_owned(), |place| {
            format!("found: {place}")
        });
        lines.push(format!("oracle {name:22} {found}"));
    };
    let go = fing_oracles::tool("go", "functions compiled by the Go compiler");
    note("go".into(), go.map(|path| path.display().to_string()));
    let emulator = fing_oracles::emulator::library();
    let version = emulator.map(|library| library.version());
    note(
        "unicorn".into(),
        version.map(|(major, minor)| format!("version {major}.{minor}")),
    );
    for isa in [Isa::Amd64, Isa::Arm64, Isa::Riscv64, Isa::S390x] {
        let toolchain = fing_oracles::c::toolchain(isa);
        note(
            format!("C compiler, {isa:?}"),
            toolchain.map(|toolchain| format!("{toolchain:?}")),
        );
    }
    // Always here: a dependency of the tests.
    note("pulley".into(), Some("in this process".into()));
    // Written directly: the test runner would keep it to itself.
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    assert_eq!(lines.len(), 7);
}
