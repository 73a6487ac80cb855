//! Values that gcc's own `va_arg` reads wrongly: found right by callees that read them with care.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_stubs::Signature;
use fing_verify::c;
use fing_verify::emulated::Form;
use fing_verify::random::Random;
use fing_verify::targets::TARGETS;

/// Values in two integer registers whose type is aligned to 16 bytes: gcc's `va_arg` reads some of
/// them with an instruction that wants this alignment, from where registers are saved.
const PAIRS: &[&str] = &[
    "C.union { m0 C.longdouble; m1 uint8 : 2; m2 C.int128 }",
    "C.union { m0 C.longdouble; m1 [2]int64 }",
    "struct { m0 C.union { m0 C.int128; m1 C.longdouble } }",
    "[1]C.union { m0 C.longdouble; m1 C.uint128 }",
    "C.struct align 16 { m0 int64; m1 int64 }",
    "C.struct align 16 { m0 [16]int8 }",
    "struct { m0 C.int128 }",
    "C.uint128",
];

#[test]
fn aligned_pairs_of_integer_registers() {
    let target = TARGETS.iter().find(|t| t.convention == "sysv/amd64");
    let target = *target.unwrap();
    let Some(toolchain) = c::toolchain(target) else {
        return;
    };
    let mut cases = Vec::new();
    for pair in PAIRS {
        // An array is a parameter as a struct's member only.
        let pair = match pair.starts_with('[') {
            true => format!("struct {{ m0 {pair} }}"),
            false => (*pair).to_owned(),
        };
        // In registers 1 and 2, 3 and 4, then on the stack; and with five words before it.
        for text in [
            format!("func(int32, ..., {pair}, {pair}, {pair}, float64)"),
            format!("func(int32, ..., int64, int64, int64, int64, int64, {pair}, {pair})"),
            format!("func(int32, int32, ..., complex128, {pair}, C.longdouble, {pair})"),
        ] {
            let signature: Signature = text.parse().unwrap();
            cases.push((signature, Form::Block));
        }
    }
    let compiler = target.compiler().unwrap();
    let mut random = Random::new(1);
    let faults = c::verify(&toolchain, &compiler, target, &cases, &mut random);
    assert_eq!(faults, Ok(Vec::new()));
}
