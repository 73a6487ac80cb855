//! Assignments as a reader sees them. `BLESS=1 cargo test -p fing-stubs --test golden_assign`
//! writes the files anew.
//!
//! Each row of [`SOURCES`] is one file in `tests/golden/assign`; a file without a row fails the
//! test.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use fing_stubs::abi::Abi;
use fing_stubs::assign::assign;
use fing_stubs::check::check;
use fing_stubs::signature::Signature;

const SOURCES: &[(&str, &str)] = &[
    (
        "finalizer-pointer",
        "func(*struct { P *int }) (int, float32, [10]uint8)",
    ),
    ("finalizer-any", "func(interface{}) [4]int64"),
    ("finalizer-interface", "func(interface{ M() }) error"),
    ("empty", "func()"),
    ("small-ints", "func(int8, uint16, bool) (uint8, int32)"),
    (
        "floats",
        "func(float32, float64, complex64) (float32, float32, bool)",
    ),
    (
        "strings",
        "func(string, []int, string, []int) (string, error)",
    ),
    (
        "registers-run-out",
        "func(int, int, int, int, int, int, int, int, interface{}, int) (int, int)",
    ),
    (
        "struct",
        "func(struct { A int8; B float64; _ string }, [2]int, [1]int) struct { A int32; B \
         struct{} }",
    ),
    (
        "zero-size",
        "func(int8, [0]int64, struct{}, [3]int8) ([0]int32, int8)",
    ),
    ("method", "recv(*int) func(float32, ...string) bool"),
    (
        "callback",
        "func(unsafe.Pointer, interface{}, uint8, float64) unsafe.Pointer",
    ),
    ("hidden-result", "func(*int, float32) (int, string)"),
    ("packed-results", "func(*int) (int32, float32, float32)"),
];

const ABIS: &[&str] = &[
    "go/amd64",
    "go/amd64:2",
    "go/amd64:1",
    "go/amd64:0",
    "go/arm64",
    "go/riscv64",
    "go/s390x",
    "go/ppc64",
    "sysv/amd64",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/assign")
}

fn render(text: &str) -> String {
    let sig: Signature = text.parse().unwrap();
    let mut out = format!("signature: {sig}\n");
    for abi in ABIS {
        let abi: Abi = abi.parse().unwrap();
        writeln!(out, "\n==== {abi}\n").unwrap();
        match assign(&sig, abi) {
            Ok(a) => {
                check(&sig, &a).unwrap();
                writeln!(out, "{a}\n\n{}", a.frame_picture().trim_end()).unwrap();
            }
            Err(error) => writeln!(out, "{error}").unwrap(),
        }
    }
    out
}

#[test]
fn pictures_are_as_blessed() {
    let bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    fs::create_dir_all(folder()).unwrap();
    for (name, text) in SOURCES {
        let path = folder().join(format!("{name}.txt"));
        let found = render(text);
        if bless {
            fs::write(&path, &found).unwrap();
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            wanted == found,
            "{} differs; BLESS=1 accepts this:\n{found}",
            path.display()
        );
    }
}

#[test]
fn no_golden_is_an_orphan() {
    let sources: BTreeSet<String> = SOURCES
        .iter()
        .map(|(name, _)| format!("{name}.txt"))
        .collect();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            sources.contains(&name),
            "tests/golden/assign/{name} has no row in SOURCES"
        );
    }
}
