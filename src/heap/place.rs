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
