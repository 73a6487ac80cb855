//! A set of small numbers, for iterating from any number on: a bit for each, and a bit for each 64
//! of those. Iterating takes time in proportion to the members, and to a 4096th of the limit.
#![forbid(unsafe_code)]

/// Numbers below a limit.
#[derive(Debug, Default)]
pub(super) struct Set {
    bits: Vec<u64>,
    /// Bit n: some bit of `bits[n]` is set.
    summary: Vec<u64>,
}

/// The first bit that is set from `from` on.
fn first_bit(words: &[u64], from: usize) -> Option<usize> {
    let start = from / 64;
    let first = words.get(start)? & u64::MAX << (from % 64);
    let rest = words.get(start + 1..).unwrap_or_default();
    std::iter::once(first)
        .chain(rest.iter().copied())
        .zip(start..)
        .find(|(word, _)| *word != 0)
        .map(|(word, at)| at * 64 + word.trailing_zeros() as usize)
}

impl Set {
    /// Makes room for the numbers below `limit`.
    pub(super) fn reserve(&mut self, limit: usize) {
        let words = limit.div_ceil(64);
        if words > self.bits.len() {
            self.bits.resize(words, 0);
            self.summary.resize(words.div_ceil(64), 0);
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, n: usize) {
        self.bits[n / 64] |= 1 << (n % 64);
        self.summary[n / 4096] |= 1 << (n / 64 % 64);
    }

    #[inline]
    pub(super) fn remove(&mut self, n: usize) {
        let word = &mut self.bits[n / 64];
        *word &= !(1 << (n % 64));
        if *word == 0 {
            self.summary[n / 4096] &= !(1 << (n / 64 % 64));
        }
    }

    /// The smallest member that is not below `from`.
    #[inline]
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let word = self.bits.get(from / 64)? >> (from % 64);
        if word != 0 {
            return Some(from + word.trailing_zeros() as usize);
        }
        let at = first_bit(&self.summary, from / 64 + 1)?;
        Some(at * 64 + self.bits[at].trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_sorted_set() {
        const LIMIT: u64 = 20_000;
        let (mut set, mut model) = (Set::default(), BTreeSet::new());
        set.reserve(LIMIT as usize);
        let mut state = 7_u64;
        for step in 0..60_000_u64 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(step);
            // Few members at times, many at others.
            let n = ((state >> 33) % LIMIT) as usize;
            if state >> 20 & 3 < if step / 10_000 % 2 == 0 { 1 } else { 3 } {
                set.insert(n);
                model.insert(n);
            } else {
                set.remove(n);
                model.remove(&n);
            }
            let from = ((state >> 13) % LIMIT) as usize;
            assert_eq!(set.next(from), model.range(from..).next().copied());
        }
        while let Some(n) = set.next(0) {
            assert!(model.remove(&n));
            set.remove(n);
        }
        assert!(model.is_empty() && set.next(LIMIT as usize * 2).is_none());
    }
}
