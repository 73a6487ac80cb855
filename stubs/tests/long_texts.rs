//! Long texts: read in a time that grows as they do, and repeated in errors only at their beginning.

use std::time::{Duration, Instant};

use fing_stubs::signature::{Signature, Type, parse_signature_with};
use fing_stubs::{Abi, Arch, Compiler, KeyOptions, StubError, StubKey, assign};

/// Texts of about `n` types each.
const SHAPES: &[(&str, fn(usize) -> String)] = &[
    ("parameters", |n| format!("func({}int)", "int, ".repeat(n))),
    ("results", |n| format!("func() ({}int)", "int, ".repeat(n))),
    ("names", |n| format!("func({}a int)", "a, ".repeat(n))),
    ("fields", |n| {
        format!("func(*struct {{ {}A int }})", numbered(n, " int; "))
    }),
    ("field names", |n| {
        format!("func(*struct {{ {}A int }})", numbered(n, ", "))
    }),
    ("methods", |n| {
        format!("func(interface {{ {}M() }})", numbered(n, "(); "))
    }),
    ("structs", |n| {
        format!("func({}int)", "struct { A, B int }, ".repeat(n / 3))
    }),
    ("pointers", |n| {
        format!("func({}int)", "***int, ".repeat(n / 4))
    }),
    ("maps", |n| {
        format!("func({}int)", "map[string]int, ".repeat(n / 3))
    }),
    ("defined", |n| {
        format!("func({}int)", "*main.Node, ".repeat(n / 2))
    }),
    ("one path", |n| format!("func(*{}a)", "a.".repeat(4 * n))),
    ("one name", |n| format!("func(*{})", "a".repeat(8 * n))),
    ("one length", |n| {
        format!("func(*[{}1]int)", "0".repeat(8 * n))
    }),
    ("one tag", |n| {
        format!("func(*struct {{ A int \"{}\" }})", "\\n".repeat(4 * n))
    }),
    ("spaces", |n| format!("func({}int)", " ".repeat(8 * n))),
];

fn numbered(n: usize, end: &str) -> String {
    (0..n).map(|i| format!("F{i}{end}")).collect()
}

/// The shortest of several times.
fn time(text: &str) -> Duration {
    let node = Type::opaque("main.Node").unwrap();
    let resolve = |name: &str| (name == "main.Node").then(|| node.clone());
    let run = |_| {
        let begun = Instant::now();
        let _ = parse_signature_with(text, &resolve).map_err(|error| error.to_string());
        begun.elapsed()
    };
    (0..3).map(run).min().unwrap_or_default()
}

/// Quadratic work takes 256 times as long for 16 times the text; linear work 16 times, on a busy machine some more.
#[test]
fn sixteen_times_the_text_is_no_more_than_eighty_times_the_work() {
    for (name, text) in SHAPES {
        let (short, long) = (time(&text(1000)), time(&text(16_000)));
        assert!(
            long < 80 * short.max(Duration::from_micros(20)),
            "{name}: {short:?}, {long:?}"
        );
    }
}

/// Errors about texts of 100,000 characters and more.
#[test]
fn errors_repeat_the_beginning() {
    let many = "int, ".repeat(20_000);
    let wide = format!("struct {{ {} }}", numbered(20_000, " int; "));
    let parse = |text: &str| text.parse::<Signature>();
    let signature = parse(&format!("func({many}int)")).unwrap();
    let large = parse(&format!("func({wide})")).unwrap();
    let amd64 = Abi::go(Arch::Amd64);
    let key = |signature: &Signature, abi| StubKey::new(signature, abi, KeyOptions::default());
    let block = |signature: &Signature, abi| StubKey::block(signature, abi, KeyOptions::default());
    let key_text = format!("go/arm64;block;{}frame=128", "8@0>m0;".repeat(20_000));
    let long_key: StubKey = key_text.parse().unwrap();
    let mut errors: Vec<String> = vec![
        key(&signature, amd64).unwrap_err().to_string(),
        key(&large, amd64).unwrap_err().to_string(),
        block(&signature, amd64).unwrap_err().to_string(),
        block(&large, Abi::system_v()).unwrap_err().to_string(),
        StubKey::of(
            &signature,
            &assign(&large, amd64).unwrap(),
            KeyOptions::default(),
        )
        .unwrap_err()
        .to_string(),
        key_text
            .replace("frame=128", "frame=1")
            .parse::<StubKey>()
            .unwrap_err()
            .to_string(),
        key_text.parse::<Abi>().unwrap_err().to_string(),
        key_text.parse::<Arch>().unwrap_err().to_string(),
        format!("go/{key_text}")
            .parse::<Abi>()
            .unwrap_err()
            .to_string(),
    ];
    let wrong_host = match Abi::host_native().map(Abi::arch) {
        Some(Arch::Arm64) => None,
        _ => Compiler::host().unwrap().compile(&long_key, false).err(),
    };
    errors.extend(wrong_host.map(|error| {
        assert!(matches!(error, StubError::WrongHost { .. }), "{error}");
        error.to_string()
    }));
    for text in [
        format!("func(map[struct {{ {wide} }}]int)"),
        format!(
            "func(map[struct {{ F []int; {}A int }}]int)",
            numbered(20_000, " int; ")
        ),
        format!("func({})", "a".repeat(100_000)),
        format!("func(*{}a)", "a.".repeat(100_000)),
        format!("func(struct {{ {} int }})", "a".repeat(100_000)),
        format!("func(interface {{ {}() }})", "a".repeat(100_000)),
        format!("func() {many}"),
        "é".repeat(100_000),
    ] {
        errors.push(parse(&text).unwrap_err().to_string());
    }
    errors.push(
        Type::named(&"a ".repeat(100_000), Type::int())
            .unwrap_err()
            .to_string(),
    );
    errors.push(
        Type::func(vec![large.params()[0].clone()], vec![], true)
            .unwrap_err()
            .to_string(),
    );
    for error in errors {
        assert!(error.len() < 600, "{} bytes: {error:.300}", error.len());
    }
}
