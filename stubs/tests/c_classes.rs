//! Every class of value of C under every native convention: where each travels, by name.
//!
//! The places are written as keys are: `8@0>i1` is bytes 0 to 8 of the arguments in integer
//! register 1, `m` and `w` are stack places, `&m16` the address of a copy, `h` is behind the hidden
//! pointer; `-` means that the convention refuses it, and the reason follows.

use fing_stubs::{Abi, KeyOptions, Signature, StubError, StubKey};

const ABIS: [&str; 6] = [
    "sysv/amd64",
    "fastcall/amd64",
    "aapcs/arm64",
    "apple/arm64",
    "lp64d/riscv64",
    "elf/s390x",
];

/// What it is, a signature, and its place by each of the conventions.
type Row = (&'static str, &'static str, [&'static str; 6]);

include!("classes/rows.rs");

fn place(text: &str, abi: Abi) -> String {
    let signature: Signature = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    match StubKey::block(&signature, abi, KeyOptions::default()) {
        Ok(key) => {
            let text = key.to_string();
            let mut parts: Vec<&str> = text.split(';').skip(2).collect();
            parts.retain(|part| !part.starts_with("frame=") && !part.starts_with("hidden="));
            parts.join(";")
        }
        Err(StubError::Assign(error)) => {
            let text = error.to_string();
            let (_, why) = text.split_once("does not pass: ").unwrap_or(("", &text));
            format!("- {why}")
        }
        Err(error) => panic!("{text} by {abi}: {error}"),
    }
}

#[test]
fn every_class_has_its_place() {
    let mut faults = Vec::new();
    for (what, signature, wanted) in ROWS {
        let found = ABIS.map(|abi| place(signature, abi.parse().unwrap()));
        for ((abi, wanted), found) in ABIS.iter().zip(wanted).zip(&found) {
            if found != wanted {
                faults.push(format!(
                    "{what}: {signature} by {abi}: {found}, wanted {wanted}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
