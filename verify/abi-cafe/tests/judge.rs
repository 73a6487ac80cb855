//! The judge with one set: it passes, and it doesn't with a planted mistake. `cargo run -p
//! fing-abi-cafe` has all.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::process::{Command, Output};

/// A set with a struct of floats, a float, an enum and a pointer.
fn judge(fault: &str) -> Option<Output> {
    fing_oracles::tool("abi-cafe", "fing as a C compiler")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_fing-abi-cafe"));
    command.arg("simple").env("FING_ABI_CAFE_FAULT", fault);
    Some(command.output().unwrap())
}

#[test]
fn a_set_passes_in_both_directions() {
    let Some(output) = judge("0") else { return };
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    assert!(printed.ends_with("2 of 2 passed, 0 faults\n"), "{printed}");
}

#[test]
fn a_planted_mistake_is_seen_in_both_directions() {
    let Some(output) = judge("1") else { return };
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    for direction in ["fing calls gcc", "gcc calls fing"] {
        let line = format!("{:<20} {direction:<14} FAILED: ", "simple");
        assert!(printed.contains(&line), "{line}\n{printed}");
    }
}
