//! Orders that cannot be predicted, the same in every round and every run.
#![forbid(unsafe_code)]

/// Random numbers (xorshift64).
pub(crate) fn numbers() -> impl Iterator<Item = usize> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize
    })
}

/// Random numbers below `limit`.
pub(crate) fn below(limit: u8) -> impl Iterator<Item = usize> {
    numbers().map(move |number| number % usize::from(limit.max(1)))
}

/// Puts values into a random order, which depends on their number only (Fisher and Yates).
pub(crate) fn shuffle<T>(values: &mut [T]) {
    for (last, number) in (1..values.len()).rev().zip(numbers()) {
        values.swap(last, number % (last + 1));
    }
}

/// The numbers below `n` in a random order.
pub(crate) fn permutation(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_are_permutations_and_always_the_same() {
        let (mut one, other) = (permutation(1000), permutation(1000));
        assert_eq!(one, other);
        let moved = one.iter().enumerate().filter(|(at, value)| at != *value);
        assert!(moved.count() > 900);
        // A second shuffle gives another order: registrations are taken back in that one.
        shuffle(&mut one);
        assert_ne!(one, other);
        one.sort();
        assert!(one.into_iter().eq(0..1000));
        shuffle::<u8>(&mut []);
    }
}
