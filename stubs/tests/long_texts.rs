//! Errors about long texts repeat only the beginning of them.

use fing_stubs::signature::{Signature, Type};
use fing_stubs::{Abi, Arch, Compiler, KeyOptions, StubError, StubKey, assign};

fn numbered(n: usize, end: &str) -> String {
    (0..n).map(|i| format!("F{i}{end}")).collect()
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
        Ok(Arch::Arm64) => None,
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
