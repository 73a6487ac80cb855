//! How values lie one after another in a block of memory: as the fields of a struct.
//!
//! The arguments of a call that is made from memory, and the results it hands back, are such
//! blocks. Under Go's ABI0 the frame itself is these two blocks, one behind the other.
#![forbid(unsafe_code)]

use crate::signature::round_up;
use crate::{Abi, Type};

/// Offsets of the values in a block, its size and its alignment.
///
/// Each value begins at the first multiple of its alignment behind its predecessor; the size is
/// rounded up to the largest alignment, and padding means nothing.
///
/// ```
/// use fing_stubs::{BlockLayout, Signature};
/// let signature: Signature = "func(int8, string, bool)".parse()?;
/// let block = BlockLayout::of(signature.arguments());
/// assert_eq!((block.offsets(), block.size(), block.align()), (&[0, 8, 24][..], 32, 8));
/// # Ok::<(), fing_stubs::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BlockLayout {
    offsets: Vec<u64>,
    size: u64,
    align: u64,
    /// The bits of an address that are 0 where the block may lie.
    low_bits: usize,
}

impl BlockLayout {
    /// The block of values of these types by Go's layout. Opaque types are left out; no signature
    /// has one.
    pub fn of<'a>(types: impl IntoIterator<Item = &'a Type>) -> BlockLayout {
        let layouts = types.into_iter().filter_map(Type::layout);
        BlockLayout::place(layouts.map(|layout| (layout.size, layout.align)))
    }

    /// The block of values of these types by the layout of an ABI: C's under the native ones, as a
    /// C struct of the values would be.
    pub fn under<'a>(abi: Abi, types: impl IntoIterator<Item = &'a Type>) -> BlockLayout {
        let layouts = types.into_iter().filter_map(|ty| abi.layout_of(ty));
        BlockLayout::place(layouts.map(|layout| (layout.size, layout.align)))
    }

    /// The block of values of these sizes and alignments.
    fn place(values: impl Iterator<Item = (u64, u64)>) -> BlockLayout {
        let mut block = BlockLayout {
            offsets: Vec::new(),
            size: 0,
            align: 1,
            low_bits: 0,
        };
        for (size, align) in values {
            let offset = round_up(block.size, align);
            block.offsets.push(offset);
            block.size = offset + size;
            block.align = block.align.max(align);
        }
        block.size = round_up(block.size, block.align);
        // Alignments are powers of two. Without bytes a block may lie anywhere.
        if block.size > 0 {
            block.low_bits = block.align as usize - 1;
        }
        block
    }

    /// First byte of each value.
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// Bytes of the block.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The block's address is a multiple of this many bytes.
    pub fn align(&self) -> u64 {
        self.align
    }

    /// Whether the block may lie at an address.
    #[inline]
    pub(crate) fn may_lie_at(&self, address: usize) -> bool {
        address & self.low_bits == 0
    }
}
