//! Stubs for every machine, convention and number of argument registers, compiled on any host.
//!
//! Goldens are in `tests/golden/code/<target>-<abi>/<case>.txt`: key, CLIF, Cranelift's listing,
//! the veneer's listing. `BLESS=1 cargo test -p fing-stubs --all-features --test targets` writes
//! them anew; a file that no case makes fails.
#![cfg(feature = "all-arch")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::{
    Abi, Compiled, Compiler, Convention, DEFAULT_FRAME_LIMIT, Family, KeyOptions, Signature,
    StubError, StubKey, assign,
};

/// Each target with the ABIs of functions that its stubs call.
const TARGETS: &[(&str, &[&str])] = &[
    (
        "x86_64-unknown-linux-gnu",
        &["go/amd64", "sysv/amd64", "fastcall/amd64", "tail/amd64"],
    ),
    (
        "x86_64-pc-windows-msvc",
        &["go/amd64", "sysv/amd64", "fastcall/amd64", "tail/amd64"],
    ),
    (
        "aarch64-unknown-linux-gnu",
        &["go/arm64", "aapcs/arm64", "apple/arm64", "tail/arm64"],
    ),
    (
        "aarch64-apple-darwin",
        &["go/arm64", "aapcs/arm64", "apple/arm64", "tail/arm64"],
    ),
    (
        "riscv64gc-unknown-linux-gnu",
        &["go/riscv64", "lp64d/riscv64", "tail/riscv64"],
    ),
    (
        "s390x-unknown-linux-gnu",
        &["go/s390x", "elf/s390x", "tail/s390x"],
    ),
    ("pulley64", &["c/pulley64"]),
    ("pulley64be", &["c/pulley64be"]),
];

/// Signatures of the goldens: a finalizer's pointer and interface, a cleanup's float, a call with
/// everything.
const CASES: &[(&str, &str, bool)] = &[
    ("pointer", "func(*int) (int, float32, [10]uint8)", false),
    ("interface", "func(interface{}) [4]int64", false),
    ("float", "func(float32)", false),
    (
        "call",
        "func(int8, float32, interface{}, uint32) (int8, float32)",
        true,
    ),
    (
        "stack",
        "func(int, int, int, int, int, int, int, int, int, int16, int, int, int, int, int, int, \
         int, interface{}) string",
        true,
    ),
];

/// Random signatures for each ABI; `FING_CASES` overrides.
fn cases() -> u64 {
    fing_oracles::cases(25)
}

fn compiler(target: &str) -> Compiler {
    Compiler::for_target(target.parse().unwrap()).unwrap()
}

fn abis() -> impl Iterator<Item = (&'static str, Abi)> {
    TARGETS.iter().flat_map(|(target, abis)| {
        abis.iter()
            .map(move |abi| (*target, abi.parse::<Abi>().unwrap()))
    })
}

/// What every compiled stub is.
fn check(target: &str, key: &StubKey, compiled: &Compiled) {
    let name = format!("{target} {key}");
    let go = key.abi().family() == Family::Go;
    assert_eq!(compiled.veneer().is_empty(), !go, "{name}");
    let image = compiled.image().unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(compiled.code.len() <= image.len(), "{name}");
    if go {
        assert!(image.ends_with(compiled.veneer()), "{name}");
        assert_eq!((image.len() - compiled.veneer().len()) % 16, 0, "{name}");
        let at = compiled.stub_offset() - compiled.entrance().len().next_multiple_of(16);
        assert!(
            at <= 16 && compiled.stub_offset().is_multiple_of(16),
            "{name}"
        );
        // The veneer's listing covers its bytes.
        let offsets: Vec<usize> = compiled.veneer_listing().iter().map(|l| l.0).collect();
        assert!(offsets.is_sorted() && offsets[0] == 0, "{name}");
    } else {
        // Position-independent: nothing to relocate.
        assert_eq!((compiled.stub_offset(), compiled.entrance()), (0, &[][..]));
        assert_eq!(image[..compiled.code.len()], compiled.code, "{name}");
    }
    // Windows and large frames make the most of it.
    let limit = 1500 + 16 * key.moves().len() + 16 * key.results().len() + key.frame() as usize / 8;
    assert!(image.len() < limit, "{name}: {} bytes", image.len());
}

#[test]
fn finalizers_at_every_register_count() {
    for (target, abi) in abis() {
        let compiler = compiler(target);
        let counts = match abi.family() {
            Family::Go => abi.int_regs(),
            Family::Native(_) => 0,
        };
        let mut keys = BTreeSet::new();
        for n in 0..=counts {
            let abi = match abi.family() {
                Family::Go => abi.with_int_arg_regs(n).unwrap(),
                Family::Native(_) => abi,
            };
            for (_, text, block) in CASES {
                let signature: Signature = text.parse().unwrap();
                let key = match block {
                    true => StubKey::block(&signature, abi, KeyOptions::default()),
                    false => StubKey::new(&signature, abi, KeyOptions::default()),
                };
                let key = key.unwrap();
                if keys.insert(key.to_string()) {
                    let compiled = compiler.compile(&key, false).unwrap();
                    check(target, &key, &compiled);
                }
            }
        }
        // A handful of stubs serves every count.
        assert!(
            keys.len() <= 4 * CASES.len() + counts,
            "{target} {abi}: {}",
            keys.len()
        );
    }
}

#[test]
fn random_signatures_on_every_target() {
    for (target, abi) in abis() {
        let compiler = compiler(target);
        let mut rng = Rng::new(21);
        for _ in 0..cases() {
            let (signature, abi) = match abi.family() {
                Family::Go => (
                    fuzzing::random_signature(&mut rng),
                    fuzzing::random_go_abi(&mut rng, abi.arch()),
                ),
                Family::Native(_) => (fuzzing::native_signature(&mut rng), abi),
            };
            let a = assign(&signature, abi).unwrap();
            if a.frame_size + a.hidden_result.unwrap_or(0) > DEFAULT_FRAME_LIMIT {
                continue;
            }
            let key = StubKey::block(&signature, abi, KeyOptions::default()).unwrap();
            assert_eq!(key.to_string().parse::<StubKey>().unwrap(), key, "{key}");
            let compiled = compiler.compile(&key, false);
            let compiled = compiled.unwrap_or_else(|e| panic!("{target}: {signature}: {e}"));
            check(target, &key, &compiled);
        }
    }
}

#[test]
fn every_convention_has_a_target() {
    let here: BTreeSet<Abi> = abis().map(|(_, abi)| abi).collect();
    for convention in Convention::ALL {
        assert!(here.contains(&Abi::native(convention)), "{convention}");
        assert_eq!(convention.to_string().parse(), Ok(convention));
        let abi = Abi::native(convention);
        assert_eq!(abi.to_string().parse(), Ok(abi));
    }
}

#[test]
fn refusals() {
    let key = |abi: &str| {
        let signature = "func(*int)".parse().unwrap();
        StubKey::new(&signature, abi.parse().unwrap(), KeyOptions::default()).unwrap()
    };
    let compiler = compiler("aarch64-unknown-linux-gnu");
    let error = compiler.compile(&key("sysv/amd64"), false).err().unwrap();
    assert_eq!(
        error.to_string(),
        "stub sysv/amd64;8@0>i0: it is code for amd64, and this host is aarch64-unknown-linux-gnu"
    );
    let error = compiler.compile(&key("go/ppc64"), false).err().unwrap();
    assert!(matches!(error, StubError::WrongHost { .. }), "{error}");
    let error = Compiler::for_target("powerpc64-unknown-linux-gnu".parse().unwrap());
    assert!(matches!(error.err().unwrap(), StubError::NoTarget { .. }));
    // A frame beyond the reach of the machine's veneer.
    let signature = "func(int) [80000]int".parse().unwrap();
    let options = KeyOptions::default().frame_limit(1 << 20);
    let key = StubKey::new(&signature, "go/s390x".parse().unwrap(), options).unwrap();
    let error = self::compiler("s390x-unknown-linux-gnu").compile(&key, false);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("wanted it below 512 KiB"), "{error}");
}

fn golden_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/code")
}

fn render(target: &str, signature: &str, key: &StubKey, compiled: &Compiled) -> String {
    let mut out = String::new();
    let bytes = (compiled.code.len(), compiled.veneer().len());
    write!(
        out,
        "{signature}\n{key}\n{target}: {} + {} bytes",
        bytes.0, bytes.1
    )
    .unwrap();
    match compiled.entrance().len() {
        0 => writeln!(out, "\n").unwrap(),
        shared => writeln!(out, ", entrance {shared}\n").unwrap(),
    }
    writeln!(out, "{}", compiled.clif().trim_end()).unwrap();
    writeln!(
        out,
        "\n{}",
        compiled.listing().unwrap_or_default().trim_end()
    )
    .unwrap();
    if let Some(listing) = compiled.entrance_listing() {
        writeln!(out, "\nentrance:\n{}", listing.trim_end()).unwrap();
    }
    if !compiled.veneer_listing().is_empty() {
        writeln!(out, "\nveneer:").unwrap();
    }
    let ends = compiled.veneer_listing().iter().skip(1).map(|line| line.0);
    for ((at, text), end) in compiled
        .veneer_listing()
        .iter()
        .zip(ends.chain([compiled.veneer().len()]))
    {
        let bytes: String = compiled.veneer()[*at..end]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(out, "{at:4}  {bytes:20}  {text}").unwrap();
    }
    out
}

#[test]
fn code_is_as_golden() {
    let bless = env::var_os("BLESS").is_some();
    let (mut made, mut faults) = (BTreeSet::new(), Vec::new());
    for (target, abi) in abis() {
        let compiler = compiler(target);
        let short = match abi.family() {
            Family::Go => format!("go-{}", abi.arch()),
            Family::Native(convention) => convention.to_string().replace('/', "-"),
        };
        for (case, signature, block) in CASES {
            let parsed: Signature = signature.parse().unwrap();
            let key = match block {
                true => StubKey::block(&parsed, abi, KeyOptions::default()).unwrap(),
                false => StubKey::new(&parsed, abi, KeyOptions::default()).unwrap(),
            };
            let compiled = compiler.compile(&key, true).unwrap();
            let text = render(target, signature, &key, &compiled);
            let path = golden_root().join(format!("{target}-{short}/{case}.txt"));
            if bless {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &text).unwrap();
            }
            if fs::read_to_string(&path).unwrap_or_default() != text {
                faults.push(format!(
                    "{}: differs; BLESS=1 writes it anew",
                    path.display()
                ));
            }
            made.insert(path);
        }
    }
    for folder in fs::read_dir(golden_root()).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if !made.contains(&path) {
                faults.push(format!("{}: no case makes it", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
