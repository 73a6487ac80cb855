//! Memory that is no object and never dies: the embedder's globals.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of addresses, of which no two overlap: where each begins, and ends.
#[derive(Debug, Default)]
pub(super) struct Globals(BTreeMap<usize, usize>);

impl Globals {
    /// Adds a range, which may overlap others.
    pub(super) fn add(&mut self, range: Range<usize>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // The last one that begins before its end is merged with it, as long as it reaches it.
        while let Some((&before, &to)) = self.0.range(..=end).next_back()
            && to >= start
        {
            self.0.remove(&before);
            (start, end) = (start.min(before), end.max(to));
        }
        self.0.insert(start, end);
    }

    pub(super) fn contain(&self, addr: usize) -> bool {
        let before = self.0.range(..=addr).next_back();
        before.is_some_and(|(_, end)| addr < *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_are_one() {
        let mut globals = Globals::default();
        let mut there = [false; 200];
        // Pairs of numbers that look random, by a step that has no factor in common with 151.
        for n in 0..60 {
            let (start, length) = (n * 83 % 151, n * 29 % 23);
            globals.add(start..start + length);
            there[start..start + length].fill(true);
            for (addr, there) in there.iter().enumerate() {
                assert_eq!(globals.contain(addr), *there, "{addr} after {n}");
            }
        }
        globals.add(Range { start: 9, end: 3 });
        globals.add(0..usize::MAX);
        assert_eq!(globals.0.len(), 1);
        assert!(globals.contain(0) && !globals.contain(usize::MAX));
    }
}
