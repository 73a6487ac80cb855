//! Tiny values: several small values without pointers in one object of 16 bytes, as Go packs them.
//! The object lives as long as any of them.
#![forbid(unsafe_code)]

use super::{AllocError, Cache, Heap, HeapError};
use crate::types::{TypeDesc, TypeId, Types};

/// Values of fewer bytes than this are tiny, if they have no pointers.
pub(super) const TINY: usize = 16;

/// The tiny block in which a mutator allocates its next tiny value.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Address of the block; 0 if there is none.
    start: usize,
    /// Bytes of it that are taken.
    used: usize,
}

/// Defines the type of tiny blocks.
pub(super) fn block_type(types: &Types) -> Result<TypeId, HeapError> {
    let ty = types.define("runtime.tinyBlock", "[16]uint8")?;
    types.desc(ty)?.keep();
    Ok(ty)
}

/// Go's rule: the alignment follows from the size, whatever the type.
fn align_of(size: usize) -> usize {
    1 << size.trailing_zeros().min(3)
}

impl Heap {
    /// The type of tiny blocks, if this heap has them and a value of type `desc` is tiny.
    #[inline]
    pub(super) fn tiny_type(&self, desc: &TypeDesc) -> Option<TypeId> {
        let tiny = self.tiny?;
        let is_tiny = desc.size() < TINY && !desc.has_pointers() && desc.tail().is_none();
        (is_tiny && desc.id() != tiny).then_some(tiny)
    }

    /// Whether values of this type share blocks.
    pub(crate) fn is_tiny(&self, desc: &TypeDesc) -> bool {
        desc.size() > 0 && self.tiny_type(desc).is_some()
    }

    /// Whether objects of this type are blocks of tiny values.
    #[inline]
    pub(crate) fn is_tiny_block(&self, desc: &TypeDesc) -> bool {
        self.tiny == Some(desc.id())
    }

    /// Allocates a tiny value: in the open block if it fits, or else in a new one.
    pub(super) fn alloc_tiny(
        &self,
        cache: &mut Cache,
        size: usize,
        block: TypeId,
    ) -> Result<usize, AllocError> {
        let at = cache.tiny.used.next_multiple_of(align_of(size));
        if cache.tiny.start != 0 && at + size <= TINY {
            cache.tiny.used = at + size;
            return Ok(cache.tiny.start + at);
        }
        let start = self.alloc(cache, block)?;
        // The block with more free bytes stays open, or becomes it.
        if cache.tiny.start == 0 || size < cache.tiny.used {
            cache.tiny = Open { start, used: size };
        }
        Ok(start)
    }
}

#[test]
fn alignment_follows_the_size() {
    let all: Vec<usize> = (1..TINY).map(align_of).collect();
    assert_eq!(all, [1, 2, 1, 4, 1, 2, 1, 8, 1, 2, 1, 4, 1, 2, 1]);
}
