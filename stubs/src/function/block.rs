//! Memory for the values of one call.
#![forbid(unsafe_code)]

use std::mem::MaybeUninit;

/// Words in the frame of the caller. Larger blocks are allocated.
const WORDS: usize = 16;

/// A block of so many bytes, aligned to 16. Its bytes are not initialized: a stub reads the values
/// of a block and nothing between them.
pub(super) struct Block {
    own: [MaybeUninit<u128>; WORDS],
    large: Vec<MaybeUninit<u128>>,
}

impl Block {
    #[inline]
    pub(super) fn new(bytes: usize) -> Block {
        Block {
            own: [const { MaybeUninit::uninit() }; WORDS],
            large: match bytes <= size_of::<[u128; WORDS]>() {
                true => Vec::new(),
                false => vec![MaybeUninit::uninit(); bytes.div_ceil(size_of::<u128>())],
            },
        }
    }

    /// The first byte. It stays there until the block is moved.
    #[inline]
    pub(super) fn start(&mut self) -> *mut u8 {
        match self.large.is_empty() {
            true => self.own.as_mut_ptr().cast(),
            false => self.large.as_mut_ptr().cast(),
        }
    }
}
