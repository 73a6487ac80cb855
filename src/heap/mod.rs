//! The embedded heap: precise, non-moving, mark and sweep. It knows objects, blocks and bits; it knows no threads
//! (`safepoint`), no roots (`handle`) and nothing of what a finalizer is (the finalizer side of `collect`).
//!
//! One range of addresses is reserved for the whole heap, so "is this address ours" is a comparison. It is cut into
//! blocks of 64 KiB with cells of one size each; an object larger than 8 KiB has blocks of its own, as one cell, so
//! that there is one case only. In front of every object lies the address of its type descriptor. What else the
//! heap knows of an object is four bits beside the block (allocated, marked, finalizable, special) and, once an
//! object of the block had a finalizer, a 32-bit number per cell.
//!
//! ```text
//! block   | 8 bytes | header | payload | header | payload | ...      payloads are aligned to 16
//! ```
//!
//! Allocating bumps through runs of free cells of a block that the mutator owns until the next collection; it takes
//! no lock. Sweeping swaps bitmaps and touches no object.
//!
//! Invariants, beside those of the whole crate:
//! * I12: the range stays mapped, readable and writable, as long as the heap; addresses are checked against it.
//! * I13: the header of a cell whose bit `Used` is set, and what its block says that all headers are, is the address of
//!   a descriptor of the heap's own universe, which the heap keeps alive and which never moves.
//! * I14: blocks are taken away, and their cells reused, only by a sweep, with every mutator stopped.
//! * I15: a cell that is not `Used` is touched only by the owner of its block, or by the sweep; a cell that is, only
//!   by atomic accesses of one word.

mod access;
mod alloc;
mod arena;
mod attach;
mod block;
mod books;
mod class;
mod cycle;
mod error;
mod find;
mod ids;
mod os;
mod stats;
mod sweep;
#[cfg(test)]
mod tests;
mod tiny;
mod tracer;
mod verify;

pub(crate) use access::Word;
pub(crate) use alloc::Cache;
pub(crate) use attach::TypedId;
pub(crate) use block::Bit;
pub(crate) use cycle::Cycle;
pub use error::{AccessError, AllocError, HeapError};
pub(crate) use find::{Location, Place};
pub use stats::HeapStats;
pub(crate) use sweep::Swept;
pub use verify::{HeapFault, HeapReport};

use crate::lock::{Lock, Rank};
use crate::types::{TypeDesc, TypeId, Types};
use arena::Arena;
use block::Block;
use books::Books;
use class::{BLOCK, FIRST, HEADER};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};

const _: () = assert!(size_of::<usize>() == 8, "the heap's words are 64 bits");

/// How a heap is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeapOptions {
    /// Most bytes in blocks, rounded up to 64 KiB. Reserved as addresses at once, as memory when used. At most 1 TiB.
    pub limit: usize,
    /// A collection is due when the mutators have allocated this part of what survived the last one, in percent (and
    /// at least 4 MiB). `None`: never due.
    pub percent: Option<u32>,
    /// Fill the cells of dead objects with [`HeapOptions::POISON`], to find what still uses them. For tests.
    pub poison: bool,
    /// Put values of fewer than 16 bytes without pointers together in blocks of 16 bytes, as Go does. A block lives as
    /// long as any of its values, and so their finalizers and cleanups wait for each other. The type of such a value
    /// is not remembered: [`Mutator::type_of`](crate::Mutator::type_of) answers the block's, so that a finalizer is set
    /// with [`Value::new`](crate::Value::new), which names the type.
    pub tiny: bool,
    /// Collect at every safepoint, and at every allocation that may: to find references that were not rooted. For tests.
    pub stress: bool,
}

impl HeapOptions {
    /// The byte dead objects are filled with on demand.
    pub const POISON: u8 = 0xdb;
    /// The largest limit, in bytes.
    pub const MAX_LIMIT: usize = 1 << 40;
    /// Allocating less than this many bytes never makes a collection due.
    pub const MIN_TRIGGER: usize = 4 << 20;
}

impl Default for HeapOptions {
    /// 1 GiB, 100 percent, no poison, no tiny blocks, no stress.
    fn default() -> HeapOptions {
        HeapOptions {
            limit: 1 << 30,
            percent: Some(100),
            poison: false,
            tiny: false,
            stress: false,
        }
    }
}

/// A heap. All methods take a shared reference; those that look at objects are for threads that are attached and
/// running, or that have stopped the world.
#[derive(Debug)]
pub(crate) struct Heap {
    // Objects point into the universe, never the other way round.
    types: Arc<Types>,
    arena: Arena,
    /// The block that covers each 64 KiB, null for a free one. Points into `Books::all`.
    table: Box<[AtomicPtr<Block>]>,
    books: Lock<Books>,
    options: HeapOptions,
    /// The type of blocks of tiny values, if there are any.
    tiny: Option<TypeId>,
    /// Bytes of cells handed to mutators since the last collection.
    allocated: AtomicUsize,
    /// A collection is due when `allocated` passes it.
    trigger: AtomicUsize,
    /// Collections finished. A cache of another epoch is stale.
    epoch: AtomicU64,
    totals: stats::Totals,
}

impl Heap {
    /// Reserves the heap's addresses.
    pub(crate) fn new(types: Arc<Types>, mut options: HeapOptions) -> Result<Heap, HeapError> {
        if options.limit > HeapOptions::MAX_LIMIT {
            return Err(HeapError::Limit {
                limit: options.limit,
                max: HeapOptions::MAX_LIMIT,
            });
        }
        options.limit = options.limit.max(1).next_multiple_of(BLOCK);
        // Block 0 is the address of everything that has no size, and holds nothing else.
        let blocks = 1 + options.limit / BLOCK;
        let arena = Arena::reserve(blocks).map_err(|source| HeapError::Reserve {
            bytes: blocks * BLOCK,
            source,
        })?;
        // SAFETY: I14: zero is the null pointer, which says that no block is there.
        let table = unsafe { Box::<[AtomicPtr<Block>]>::new_zeroed_slice(blocks).assume_init() };
        let mut books = Books::new(blocks);
        books.taken.set(0, 1, true);
        arena.store(arena.start() + FIRST, types.empty().address() as u64);
        let tiny = match options.tiny {
            true => Some(tiny::block_type(&types)?),
            false => None,
        };
        Ok(Heap {
            types,
            tiny,
            arena,
            table,
            books: Lock::new(Rank::Heap, books),
            allocated: AtomicUsize::new(0),
            trigger: AtomicUsize::new(
                options
                    .percent
                    .map_or(usize::MAX, |_| HeapOptions::MIN_TRIGGER),
            ),
            options,
            epoch: AtomicU64::new(0),
            totals: stats::Totals::default(),
        })
    }

    /// The universe of the heap's types.
    pub(crate) fn types(&self) -> &Arc<Types> {
        &self.types
    }

    /// The address of every object without size. It never dies.
    pub(crate) fn zero(&self) -> usize {
        self.arena.start() + FIRST + HEADER
    }

    /// Enough was allocated since the last collection for another one to be worth it.
    #[inline]
    pub(crate) fn should_collect(&self) -> bool {
        self.options.stress || self.allocated.load(Relaxed) > self.trigger.load(Relaxed)
    }

    /// A collection is due at every safepoint.
    #[inline]
    pub(crate) fn is_stressed(&self) -> bool {
        self.options.stress
    }

    /// Number of collections finished.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// The header of an object that is allocated.
    #[inline]
    fn header_of(&self, block: &Block, index: usize) -> u64 {
        match block.common_header() {
            Some(header) => header,
            None => self.arena.load(block.header(index)),
        }
    }

    /// Whether no object of the block has pointers, as far as is known without looking at each.
    fn are_leaves(&self, block: &Block) -> bool {
        block
            .common_header()
            .is_some_and(|header| !self.desc(header).has_pointers())
    }

    /// The descriptor of an object that is allocated.
    #[inline]
    fn desc_of(&self, block: &Block, index: usize) -> &TypeDesc {
        debug_assert!(block.get(Bit::Used, index));
        self.desc(self.header_of(block, index))
    }

    /// The descriptor of what an `Obj` names: an object that is allocated, or one of another heap. `None`: of another
    /// heap, or it may be a value that shares its block, and so has no header of its own.
    #[inline]
    fn desc_at(&self, start: usize) -> Option<&TypeDesc> {
        if self.tiny.is_some() || !self.contains(start) {
            return None;
        }
        debug_assert!(start == self.zero() || self.object_at(start).is_some());
        Some(self.desc(self.arena.load(start - HEADER)))
    }

    /// The descriptor that an object's header stands for.
    #[inline]
    fn desc(&self, header: u64) -> &TypeDesc {
        // SAFETY: I13: every caller has the header from a cell that is `Used` or was, or from before an object that an
        // `Obj` names, so this is the address of a descriptor that lives as long as `self.types`.
        unsafe { &*std::ptr::with_exposed_provenance::<TypeDesc>(header as usize) }
    }
}
