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

/// Arrays of no elements and misplaced members, which gcc and clang look at in different ways, are
/// refused where that makes a difference under System V, and only there.
#[test]
fn what_compilers_class_otherwise_is_refused() {
    const ARRAY: &str =
        "- compilers differ on whether an array of length 0 behind floats makes them an integer";
    const MEMBER: &str = "- compilers differ on a member of a packed struct that lies at no \
                          multiple of its alignment while all scalars in it do";
    for (ty, wanted) in [
        ("struct { A float32; B [0]int32 }", ARRAY),
        (
            "struct { A float64; B float32; C struct { D [0]int8 } }",
            ARRAY,
        ),
        ("struct { A float32; B C.union { C [0]int16 } }", ARRAY),
        ("struct { A float32; B [3][0]int32 }", ARRAY),
        ("struct { A float32; B [0]float32 }", "4@0>f0"),
        ("struct { A float64; B [0]int32 }", "8@0>f0"),
        ("struct { A int32; B [0]float32 }", "s4@0>i0"),
        ("struct { A int32; B [0]int32 }", "s4@0>i0"),
        ("struct { A float32; B [1099511627776]struct{} }", "4@0>f0"),
        ("C.struct pack 1 { A int8; B [0]int32 }", MEMBER),
        (
            "C.struct pack 1 { A int8; B C.union { C int64 : 58 } }",
            MEMBER,
        ),
        (
            "C.struct pack 1 { A int8; B [2]C.struct { C int32 : 20 } }",
            MEMBER,
        ),
        (
            "C.struct pack 1 { A int8; B C.struct align 8 { C int8 } }",
            MEMBER,
        ),
        (
            "C.struct pack 1 { A int8; B C.struct { C int8 : 3 } }",
            "2@0>i0",
        ),
        ("C.struct pack 1 { A int8; B struct { C int32 } }", "5@0>m0"),
    ] {
        let found = place(&format!("func({ty})"), Abi::system_v());
        assert_eq!(found, wanted, "{ty}");
    }
}
