//! Where an object lies, in numbers.
#![forbid(unsafe_code)]

/// The block and cell of an object, by which tables beside the heap are indexed. Valid as long as
/// the object lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Index of its (first) block in the arena.
    pub(crate) block: u32,
    /// Its cell in the block.
    pub(crate) cell: u16,
    /// Cells of the block, at most 4095.
    pub(crate) cells: u16,
}

impl Place {
    /// Returns it as one word.
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.block) << 32 | u64::from(self.cell) << 16 | u64::from(self.cells)
    }

    /// Returns what [`to_word`](Self::to_word) has made a word of; of another word, a place where
    /// perhaps nothing is.
    pub(crate) fn of_word(word: u64) -> Place {
        Place {
            block: (word >> 32) as u32,
            cell: (word >> 16) as u16,
            cells: word as u16,
        }
    }
}
