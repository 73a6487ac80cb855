//! Random C signatures of all classes: what the walk assigns, the checker accepts, the key parses
//! back, and the text is read as the same signature.

use fing_stubs::fuzzing::{Rng, c_signature};
use fing_stubs::{Abi, Convention, KeyOptions, Signature, StubKey, assign, check::check};

const C: [Convention; 6] = [
    Convention::SystemV,
    Convention::Fastcall,
    Convention::Aapcs64,
    Convention::AppleArm64,
    Convention::Lp64d,
    Convention::ElfS390x,
];

/// `FING_CASES` says how many for each convention; 10,000 take half a minute.
#[test]
fn random_signatures_for_each_convention() {
    let cases = fing_oracles::cases(1500);
    for convention in C {
        let abi = Abi::native(convention);
        let mut rng = Rng::new(11);
        for n in 0..cases {
            let signature = c_signature(&mut rng, abi);
            let named = || format!("{abi}, number {n}: {signature}");
            let assignment = assign(&signature, abi).unwrap_or_else(|e| panic!("{}: {e}", named()));
            check(&signature, &assignment).unwrap_or_else(|e| panic!("{}: {e}", named()));
            let text = signature.to_string();
            assert_eq!(
                text.parse::<Signature>().as_ref(),
                Ok(&signature),
                "{}",
                named()
            );
            if n % 10 == 0 {
                let key = StubKey::block(&signature, abi, KeyOptions::default());
                let key = key.unwrap_or_else(|e| panic!("{}: {e}", named()));
                assert_eq!(
                    key.to_string().parse::<StubKey>().unwrap(),
                    key,
                    "{}",
                    named()
                );
            }
        }
    }
}
