//! What a batch stub reads: one record per call.
#![forbid(unsafe_code)]

use std::cell::Cell;

/// Bytes of argument a record can hold.
pub const RECORD_ARGUMENT: u64 = 16;

/// One call, ready to be made: 32 bytes, 8-aligned, read by generated code.
///
/// | offset | field | meaning |
/// |---|---|---|
/// | 0 | `code` | address of the callee's first instruction |
/// | 8 | `context` | closure context (Go), or the last argument (native, if the key asks for it) |
/// | 16 | `words` | the argument's bytes: a pointer in word 0, an interface in words 0 and 1 |
///
/// Under a [block key](crate::StubKey::block) word 0 is the address of a block of arguments, word 1
/// of a block for results.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Address of the callee's first instruction.
    pub code: usize,
    /// The closure context: in Go the address of the closure, whose first word is `code`.
    pub context: usize,
    /// The argument's bytes as they lie in memory.
    pub words: [u64; 2],
}

/// Offsets that generated code uses; asserted against the structure below.
pub(crate) const CODE_OFFSET: i32 = 0;
pub(crate) const CONTEXT_OFFSET: i32 = 8;
pub(crate) const WORDS_OFFSET: i32 = 16;
pub(crate) const RECORD_SIZE: i64 = 32;

const _: () = {
    assert!(size_of::<Record>() as i64 == RECORD_SIZE);
    assert!(std::mem::offset_of!(Record, code) as i32 == CODE_OFFSET);
    assert!(std::mem::offset_of!(Record, context) as i32 == CONTEXT_OFFSET);
    assert!(std::mem::offset_of!(Record, words) as i32 == WORDS_OFFSET);
};

/// Bytes of a [`GBlock`]: Go's `g` is 400-odd bytes; callees without a runtime read its first few
/// words only.
const G_BLOCK: usize = 512;

/// A substitute for Go's current goroutine (`g`): a block of zeroes. Its third word is the stack
/// guard, and a guard of zero lets every stack check pass. Callees may write to it; each thread
/// that calls Go functions has its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct GBlock([Cell<u64>; G_BLOCK / 8]);

impl GBlock {
    /// A block of zeroes.
    pub const fn zeroed() -> GBlock {
        GBlock([const { Cell::new(0) }; G_BLOCK / 8])
    }
}

impl Default for GBlock {
    fn default() -> Self {
        GBlock::zeroed()
    }
}
