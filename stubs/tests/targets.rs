//! tmp
use fing_stubs::{Abi, Arch, Compiler, Convention, StubKey};
#[test]
fn all() {
    let mut targets: Vec<(&str, Vec<Abi>)> = vec![];
    let n = |c: Convention| Abi::native(c);
    targets.push((
        "x86_64-unknown-linux-gnu",
        vec![
            Abi::go(Arch::Amd64),
            n(Convention::SystemV),
            n(Convention::Fastcall),
            n(Convention::TailAmd64),
        ],
    ));
    targets.push((
        "x86_64-pc-windows-msvc",
        vec![
            Abi::go(Arch::Amd64),
            n(Convention::SystemV),
            n(Convention::Fastcall),
            n(Convention::TailAmd64),
        ],
    ));
    targets.push((
        "aarch64-unknown-linux-gnu",
        vec![
            Abi::go(Arch::Arm64),
            n(Convention::Aapcs64),
            n(Convention::AppleArm64),
            n(Convention::TailArm64),
        ],
    ));
    targets.push((
        "aarch64-apple-darwin",
        vec![
            Abi::go(Arch::Arm64),
            n(Convention::Aapcs64),
            n(Convention::AppleArm64),
            n(Convention::TailArm64),
        ],
    ));
    targets.push((
        "riscv64gc-unknown-linux-gnu",
        vec![
            Abi::go(Arch::Riscv64),
            n(Convention::Lp64d),
            n(Convention::TailRiscv64),
        ],
    ));
    targets.push((
        "s390x-unknown-linux-gnu",
        vec![
            Abi::go(Arch::S390x),
            n(Convention::ElfS390x),
            n(Convention::TailS390x),
        ],
    ));
    targets.push(("pulley64", vec![n(Convention::Pulley)]));
    targets.push(("pulley64be", vec![n(Convention::PulleyBe)]));
    for (t, abis) in targets {
        let c = Compiler::for_target(t.parse().unwrap()).unwrap();
        for abi in abis {
            for sig in [
                "func(*int)",
                "func(interface{}) (int, float32, [10]uint8)",
                "func(float32) [100]int",
            ] {
                let sig = sig.parse().unwrap();
                for key in [
                    StubKey::new(&sig, abi, Default::default()),
                    StubKey::block(&sig, abi, Default::default()),
                ] {
                    let key = key.unwrap();
                    match c.compile(&key, true) {
                        Ok(x) => println!(
                            "{t} {key}: {}+{} {:?}",
                            x.code.len(),
                            x.veneer().len(),
                            x.image().map(|i| i.len()).map_err(|e| e.to_string())
                        ),
                        Err(e) => println!("{t} {key}: ERROR {e}"),
                    }
                }
            }
        }
    }
}
