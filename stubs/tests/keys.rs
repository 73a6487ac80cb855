//! What a text must say to be read as a stub key.

use fing_stubs::{Abi, Arch, Compiler, KeyOptions, Signature, StubError, StubKey, assign};

/// Texts that are refused, each with what is found and a part of what is wanted instead.
const REFUSED: &[(&str, &str, &str)] = &[
    // The text is none of a key.
    ("", "", "an ABI such as"),
    ("go", "go", "an ABI such as"),
    ("go/z80", "go/z80", "an ABI such as"),
    ("go/amd64;", "", "a move such as"),
    ("go/amd64;8@0>i+0", "8@0>i+0", "a move such as"),
    (
        "go/amd64;block;m0+4>4@0;frame=16",
        "m0+4>4@0",
        "a move such as",
    ),
    ("go/amd64;frame=16;frame=32", "frame=32", "each area once"),
    // Areas.
    ("sysv/amd64;frame=17", "frame=17", "a frame class"),
    (
        "sysv/amd64;hidden=1073741824",
        "hidden=1073741824",
        "a frame class",
    ),
    (
        "sysv/amd64;frame=536870912;hidden=16",
        "frame=536870912;hidden=16",
        "at most 512 MiB",
    ),
    (
        "go/amd64;8@0>i0;hidden=16",
        "frame=0;hidden=16",
        "no hidden area",
    ),
    // What a move reads.
    ("go/amd64;3@0>i0", "3@0>i0", "1, 2, 4 or 8 bytes"),
    ("go/amd64;8@9>i0", "8@9>i0", "bytes of the record's 16"),
    (
        "go/amd64;block;0@0>m0;frame=16",
        "0@0>m0",
        "at least one byte",
    ),
    (
        "go/amd64;block;8@1073741824>i0",
        "8@1073741824>i0",
        "bytes below 1 GiB",
    ),
    ("sysv/amd64;s8@0>i0", "s8@0>i0", "a sign only"),
    ("lp64d/riscv64;2@0>f0", "2@0>f0", "4 or 8 bytes"),
    ("sysv/amd64;s4@0>f0", "s4@0>f0", "without a sign"),
    ("sysv/amd64;s4@0>m0;frame=16", "s4@0>m0", "without a sign"),
    (
        "sysv/amd64;ctx>f0",
        "ctx>f0",
        "an integer register or a word",
    ),
    ("elf/s390x;&m0>i0", "&m0>i0", "a place in the frame"),
    (
        "tail/amd64;&m0>i0;frame=16",
        "&m0>i0",
        "a frame of the stub's own",
    ),
    // Bytes of C's structs.
    ("elf/s390x;3@0>i0", "3@0>i0", "1, 2, 4 or 8"),
    ("sysv/amd64;9@0>i0", "9@0>i0", "1 to 8 bytes"),
    ("aapcs/arm64;block;s4@0>f0", "s4@0>f0", "without a sign"),
    // Variadic calls.
    (
        "sysv/amd64;al=0;8@0>f0",
        "al=0",
        "no fewer than the float registers",
    ),
    (
        "sysv/amd64;al=9",
        "al=9",
        "no fewer than the float registers",
    ),
    ("fastcall/amd64;al=1", "al=1", "only under sysv/amd64"),
    ("sysv/amd64;al=1;al=1", "al=1", "al= once"),
    ("sysv/amd64;al=x", "al=x", "al= once"),
    (
        "fastcall/amd64;block;8@0>f0;8@8>i0",
        "8@0>f0;8@8>i0",
        "without gaps",
    ),
    // Where it goes.
    ("go/amd64;8@0>i9", "8@0>i9", "a register of the ABI"),
    ("sysv/amd64;8@0>f8", "8@0>f8", "a register of the ABI"),
    ("tail/amd64;8@0>i1", "8@0>i1", "without gaps"),
    ("elf/s390x;8@0>i1", "8@0>i1", "without gaps"),
    ("fastcall/amd64;8@0>i1", "8@0>i1", "without gaps"),
    ("sysv/amd64;8@0>i0;hidden=32", "8@0>i0", "without gaps"),
    ("sysv/amd64;8@0>i0;8@8>i0", "8@0>i0;8@8>i0", "without gaps"),
    (
        "fastcall/amd64;8@0>i0;8@8>f0",
        "8@0>i0;8@8>f0",
        "without gaps",
    ),
    ("fastcall/amd64;8@0>i0;hidden=32", "8@0>i0", "without gaps"),
    (
        "sysv/amd64;8@0>m16;frame=16",
        "8@0>m16",
        "a place in the frame",
    ),
    ("sysv/amd64;8@0>w4;frame=16", "8@0>w4", "a multiple of 8"),
    (
        "tail/amd64;8@0>m0;frame=16",
        "8@0>m0",
        "a frame of the stub's own",
    ),
    (
        "tail/amd64;8@0>w0;frame=16",
        "8@0>w0",
        "no register is left",
    ),
    ("tail/amd64;frame=16", "frame=16", "just the words"),
    // Results.
    (
        "sysv/amd64;8@0>i0;i0>8@0",
        "i0>8@0",
        "only in a key with blocks",
    ),
    ("sysv/amd64;block;i2>8@0", "i2>8@0", "a result register"),
    ("sysv/amd64;block;i0+6>4@0", "i0+6>4@0", "an aligned part"),
    ("go/amd64;block;f0>2@0", "f0>2@0", "4 or 8 bytes"),
    ("sysv/amd64;block;f0>9@0", "f0>9@0", "1 to 8 bytes, or 16"),
    ("sysv/amd64;block;i0>16@0", "i0>16@0", "1 to 8 bytes"),
    (
        "sysv/amd64;block;f0>16@0;f0>4@16",
        "f0>16@0",
        "an aligned part",
    ),
    ("sysv/amd64;block;i0+6>3@0", "i0+6>3@0", "an aligned part"),
    ("go/amd64;block;i0+4>4@0", "i0+4>4@0", "the low bytes"),
    (
        "sysv/amd64;block;m0>8@0;frame=16",
        "m0>8@0",
        "only under Go's ABI",
    ),
    (
        "sysv/amd64;block;h8>16@0;hidden=16",
        "h8>16@0",
        "a place in the hidden area",
    ),
    (
        "sysv/amd64;block;8@0>i1;h0>24@0;f0>4@24;hidden=32",
        "f0>4@24",
        "all results in the hidden area",
    ),
];

#[test]
fn texts_of_which_no_stub_can_be_made() {
    for &(text, found, wanted) in REFUSED {
        match text.parse::<StubKey>() {
            Err(StubError::Key {
                found: own_found,
                wanted: own_wanted,
                ..
            }) => {
                assert_eq!(own_found, found, "{text}");
                assert!(own_wanted.contains(wanted), "{text}: {own_wanted}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

/// The largest areas that a key may have are within what Cranelift makes.
#[test]
fn the_largest_frames_can_be_compiled() {
    let compiler = Compiler::host().unwrap();
    let Some(arch) = compiler.arch() else { return };
    let native = Abi::host_native().unwrap();
    for text in [
        format!("{native};frame=536870912"),
        format!("{native};hidden=536870912"),
        format!("{native};frame=268435456;hidden=268435456"),
        format!("go/{arch};block;m16>268435456@0;frame=536870912"),
    ] {
        match compiler.compile(&text.parse().unwrap(), false) {
            Ok(_) | Err(StubError::NoGenerator { .. }) => {}
            Err(error) => panic!("{text}: {error}"),
        }
    }
    let options = KeyOptions::default().frame_limit(u64::MAX);
    for results in ["[536870912]byte", "[536870913]byte", "[1073741824]byte"] {
        let signature: Signature = format!("func(*int) {results}").parse().unwrap();
        for abi in [native, Abi::go(arch)] {
            let error = StubKey::new(&signature, abi, options).err();
            let too_large = matches!(
                error,
                Some(StubError::FrameTooLarge { found, limit, .. }) if found > limit
            );
            let fits = results == "[536870912]byte" && abi == native;
            assert!(too_large != fits, "{signature} by {abi}: {error:?}");
        }
    }
}

#[test]
fn an_assignment_must_be_its_signatures_own() {
    let signature: Signature = "func(*int) (int, string)".parse().unwrap();
    let mut assignment = assign(&signature, Abi::go(Arch::Amd64)).unwrap();
    let key = StubKey::of(&signature, &assignment, KeyOptions::default()).unwrap();
    let new = StubKey::new(&signature, assignment.abi, KeyOptions::default()).unwrap();
    assert_eq!(key, new);
    let other: Signature = "func(*int) string".parse().unwrap();
    let error = StubKey::of(&other, &assignment, KeyOptions::default()).unwrap_err();
    assert!(
        matches!(error, StubError::OtherAssignment { .. }),
        "{error}"
    );
    assignment.args[0].size = u64::MAX;
    let error = StubKey::of(&signature, &assignment, KeyOptions::default()).unwrap_err();
    assert!(
        matches!(error, StubError::OtherAssignment { .. }),
        "{error}"
    );
}
