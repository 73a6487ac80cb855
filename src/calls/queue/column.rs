//! One word for each record of a block, where most blocks need none.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::BLOCK_RECORDS;

/// A table of a block's length that is made with its first word that is not 0. Until then, all
/// words are 0.
#[derive(Debug, Default)]
pub(super) struct Column(Box<[u64]>);

impl Column {
    #[inline]
    pub(super) fn set(&mut self, at: usize, word: u64) {
        if word != 0 || !self.0.is_empty() {
            self.make()[at] = word;
        }
    }

    fn make(&mut self) -> &mut [u64] {
        if self.0.is_empty() {
            self.0 = vec![0; BLOCK_RECORDS].into_boxed_slice();
        }
        &mut self.0
    }

    pub(super) fn get(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or_default()
    }

    pub(super) fn swap(&mut self, a: usize, b: usize) {
        if !self.0.is_empty() {
            self.0.swap(a, b);
        }
    }

    /// Copies the words in this range from another column.
    pub(super) fn copy(&mut self, range: Range<usize>, from: &Column) {
        match from.0.get(range.clone()) {
            Some(words) => self.make()[range].copy_from_slice(words),
            None if self.0.is_empty() => {}
            None => self.0[range].fill(0),
        }
    }

    /// Whether no word was ever set.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn sum(&self, range: Range<usize>) -> u128 {
        let words = self.0.get(range).unwrap_or_default();
        words.iter().map(|&word| u128::from(word)).sum()
    }
}
