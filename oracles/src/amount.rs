//! How much a test tries that has more to try than it takes.
#![forbid(unsafe_code)]

/// Set where tests run in an emulator, to what starts a program there.
const RUNNER: &str = "FING_TEST_RUNNER";

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|e| panic!("{variable}={text}: {e}, wanted a number")))
}

/// How many cases, rounds or objects a test takes: `FING_CASES`, or else the usual number. Of that
/// a quarter, though at least one, where tests run in an emulator, which is ten times as slow.
///
/// # Panics
/// If `FING_CASES` is set to something else than a number.
pub fn cases(usual: u64) -> u64 {
    let emulated = std::env::var_os(RUNNER).is_some_and(|runner| !runner.is_empty());
    number("FING_CASES").unwrap_or(if emulated { usual.div_ceil(4) } else { usual })
}

/// The first case that a test tries: `FING_SEED`, or else 0.
///
/// # Panics
/// If `FING_SEED` is set to something else than a number.
pub fn seed() -> u64 {
    number("FING_SEED").unwrap_or(0)
}
