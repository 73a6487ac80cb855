//! Random numbers that tell apart things of the same kind, such as runtimes.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number that is not 0. Two of them are equal with a probability of 2^-63. Random,
/// because runtimes share no state, not even a counter.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}
