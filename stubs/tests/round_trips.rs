//! What is printed is read as the same value, of every public type that is both.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::{Abi, Arch, Convention, KeyOptions, Signature, StubKey, Type};

fn round_trip<T>(values: impl IntoIterator<Item = T>)
where
    T: Display + FromStr<Err: Debug> + PartialEq + Debug,
{
    for value in values {
        let text = value.to_string();
        let read = text.parse::<T>();
        assert!(
            read.as_ref().is_ok_and(|read| *read == value),
            "{text}: {read:?}"
        );
    }
}

/// Every ABI of Go's family, and every native one.
fn abis() -> impl Iterator<Item = Abi> {
    let counts = |arch| {
        let full = Abi::go(arch);
        let ints = 0..=full.int_regs();
        ints.flat_map(move |ints| (0..=full.float_regs()).map(move |floats| (ints, floats)))
            .map(move |(ints, floats)| full.with_registers(ints, floats).unwrap())
    };
    let go = Arch::ALL.into_iter().flat_map(counts);
    go.chain(Convention::ALL.into_iter().map(Abi::native))
}

#[test]
fn machines_and_abis() {
    round_trip(Arch::ALL);
    round_trip(Convention::ALL);
    round_trip(abis());
}

#[test]
fn types_signatures_and_keys() {
    let mut rng = Rng::new(5);
    let signatures: Vec<Signature> = (0..300)
        .map(|_| fuzzing::random_signature(&mut rng))
        .collect();
    let types = |signature: &Signature| signature.arguments().cloned().collect::<Vec<Type>>();
    round_trip(signatures.iter().flat_map(types));
    let keys = abis().step_by(7).zip(&signatures);
    round_trip(
        keys.filter_map(|(abi, signature)| {
            StubKey::block(signature, abi, KeyOptions::default()).ok()
        }),
    );
    round_trip(signatures);
}

#[test]
fn what_is_no_machine_is_told_all_there_are() {
    let error = "z80".parse::<Arch>().unwrap_err().to_string();
    assert_eq!(
        error,
        "ABI: machine \"z80\", wanted one of amd64, arm64, riscv64, s390x, ppc64, loong64, \
         pulley64, pulley64be"
    );
}
