//! The embedded heap: precise, non-moving, mark and sweep. It manages objects, blocks and their
//! bits. Threads (`world::safepoint`), roots (`world::handle`) and finalizers (`runtime`) are left
//! to other modules.
//!
//! One range of addresses is reserved for the whole heap, so one comparison finds whether an
//! address is in the heap. The range is divided into blocks of 64 KiB, each with cells of one size.
//! An object larger than 8 KiB is the only cell of one or more contiguous blocks, so that it needs
//! no code of its own. In front of every object is the address of its type descriptor. All else
//! that the heap stores for an object is four bits beside the block (allocated, marked,
//! finalizable, special) and, once any object of the block has had a finalizer, a 32-bit number per
//! cell.
//!
//! ```text
//! block   | 8 bytes | header | payload | header | payload | ...      payloads are aligned to 16
//! ```
//!
//! Allocating bumps through runs of free cells of a block that the mutator owns until the next
//! collection; it takes no lock. Sweeping swaps bitmaps and touches no object.
//!
//! Invariants, beside those of the whole crate:
//! * I12: the range stays mapped, readable and writable, as long as the heap; addresses are checked
//!   against it.
//! * I13: the header of a cell whose bit `Used` is set, and the common header that its block
//!   records, is the address of a descriptor of the heap's own universe, which never moves.
//! * I14: blocks are taken away, and their cells reused, only by a sweep, with every mutator
//!   stopped.
//! * I15: a cell that is not `Used` is touched only by the owner of its block, or by the sweep; a
//!   cell that is, only by atomic accesses of one word.
//! * I33: a type is given back at the end of a collection only, with the world stopped, when the
//!   heap has no object of it.

mod access;
mod alloc;
mod arena;
mod block;
mod books;
mod class;
mod error;
mod field;
mod find;
mod id;
mod ids;
mod marking;
mod os;
mod pacing;
mod place;
mod stats;
mod sweep;
#[cfg(test)]
mod tests;
mod tiny;
mod tracer;
mod verify;
mod window;
mod words;

pub(crate) use access::Word;
pub(crate) use alloc::Cache;
pub(crate) use block::Bit;
pub use error::{AccessError, AccessErrorKind, AllocError, HeapError};
pub(crate) use field::{FieldAt, Reach, Spot};
pub(crate) use find::Location;
pub(crate) use id::{SetId, TypedId};
pub(crate) use marking::Marking;
pub(crate) use pacing::Kept;
pub(crate) use place::Place;
pub use stats::HeapStats;
pub(crate) use sweep::Swept;
pub use verify::{HeapFault, HeapReport};
pub(crate) use window::Window;

use crate::base::lock::{Lock, Rank};
use crate::base::trust::Trust;
use crate::types::{TypeDesc, TypeId, Types, TypesError};
use crate::world::safepoint::Stopped;
use arena::Arena;
use block::Block;
use books::Books;
use class::{BLOCK, FIRST, HEADER};
use pacing::Pacing;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

const _: () = assert!(size_of::<usize>() == 8, "the heap's words are 64 bits");

/// Options of a runtime's embedded heap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapOptions {
    /// Most bytes in blocks, rounded up to 64 KiB; at most [`HeapOptions::MAX_LIMIT`]. That much
    /// address space is reserved when the heap is made; memory is taken as it is used.
    pub limit: usize,
    /// A collection is due when the mutators have allocated this percentage of the bytes that the
    /// last collection found alive, and at least [`HeapOptions::MIN_TRIGGER`] bytes. `None`: never
    /// due; only explicit calls collect, and allocations that find the heap full.
    /// [`Runtime::set_gc_percent`](crate::Runtime::set_gc_percent) changes it.
    pub percent: Option<u32>,
    /// Overwrite the cells of dead objects with [`HeapOptions::POISON`], to expose code that still
    /// uses them. For tests.
    pub poison: bool,
    /// Pack values of fewer than 16 bytes without pointers into shared blocks of 16 bytes, as Go
    /// does. A block lives as long as any of its values, so the finalizers and cleanups of values
    /// that share a block wait for each other. The type of such a value is not stored:
    /// [`Mutator::type_of`](crate::Mutator::type_of) returns the type of the block, so a finalizer
    /// is set with [`Pointer::typed`](crate::Pointer::typed), which names the type.
    pub tiny: bool,
    /// Collect at every safepoint, and at every allocation that may collect, to expose references
    /// that were not rooted; not while [`HeapOptions::percent`] is `None`. For tests.
    pub stress: bool,
}

impl HeapOptions {
    /// The byte that dead objects are filled with if [`HeapOptions::poison`] is set.
    pub const POISON: u8 = 0xdb;
    /// The largest [`HeapOptions::limit`], in bytes: 1 TiB.
    pub const MAX_LIMIT: usize = 1 << 40;
    /// Allocating fewer bytes than this never makes a collection due.
    pub const MIN_TRIGGER: usize = 4 << 20;
    /// Fewer external bytes than this
    /// ([`Mutator::set_external_bytes`](crate::Mutator::set_external_bytes)) never make a
    /// collection due.
    pub const MIN_EXTERNAL_TRIGGER: usize = 32 << 20;

    /// Returns the options with this [`HeapOptions::limit`], in bytes.
    #[must_use]
    pub fn limit(self, limit: usize) -> HeapOptions {
        HeapOptions { limit, ..self }
    }

    /// Returns the options with this [`HeapOptions::percent`]; `None`: no collection is ever due.
    #[must_use]
    pub fn percent(self, percent: Option<u32>) -> HeapOptions {
        HeapOptions { percent, ..self }
    }

    /// Returns the options with this [`HeapOptions::poison`]: whether dead objects are overwritten.
    #[must_use]
    pub fn poison(self, poison: bool) -> HeapOptions {
        HeapOptions { poison, ..self }
    }

    /// Returns the options with this [`HeapOptions::tiny`]: whether small values share blocks.
    #[must_use]
    pub fn tiny(self, tiny: bool) -> HeapOptions {
        HeapOptions { tiny, ..self }
    }

    /// Returns the options with this [`HeapOptions::stress`]: whether every safepoint collects.
    #[must_use]
    pub fn stress(self, stress: bool) -> HeapOptions {
        HeapOptions { stress, ..self }
    }
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

/// A heap. Methods that look at objects may be called only by threads that are attached and
/// running, or that have stopped the world.
#[derive(Debug)]
pub(crate) struct Heap {
    // Object headers point to descriptors in here; nothing in here points to objects.
    types: Arc<Types>,
    arena: Arena,
    /// The block that covers each 64 KiB, null for a free one. Points into `Books::all`.
    table: Box<[AtomicPtr<Block>]>,
    books: Lock<Books>,
    options: HeapOptions,
    /// The type of blocks of tiny values, if there are any.
    tiny: Option<TypeId>,
    pacing: Pacing,
    /// Lost if what an `Obj` names must be looked up; see [`Heap::must_look_up`].
    trust: Trust,
    /// Collections finished. A cache of another epoch is stale.
    epoch: AtomicU64,
    /// Whether collections tell which special objects they mark.
    specials_watched: AtomicBool,
    /// The number of the next registration, if they are numbered; 0 if not.
    next_number: AtomicU64,
    totals: stats::Totals,
    windows: Lock<window::Windows>,
    /// A planted fault: what is left of windows is not unmade.
    #[cfg(test)]
    keep_windows: AtomicBool,
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
        // Block 0 holds only the address that all objects without size share.
        let blocks = 1 + options.limit / BLOCK;
        let arena = Arena::reserve(blocks).map_err(|source| HeapError::Reserve {
            bytes: blocks * BLOCK,
            source,
        })?;
        // SAFETY: I14: zero is the null pointer, the entry of a free block.
        let table = unsafe { Box::<[AtomicPtr<Block>]>::new_zeroed_slice(blocks).assume_init() };
        let mut books = Books::new(blocks);
        books.taken.set(0, 1, true);
        arena.store(arena.start() + FIRST, types.empty().address() as u64);
        let tiny = match options.tiny {
            true => Some(tiny::block_type(&types)?),
            false => None,
        };
        // Values in tiny blocks have no header of their own.
        let trust = Trust::new(if tiny.is_some() { 0 } else { blocks * BLOCK });
        Ok(Heap {
            tiny,
            arena,
            table,
            books: Lock::new(Rank::Heap, books),
            pacing: Pacing::new(options.percent, options.stress, &types),
            types,
            options,
            trust,
            epoch: AtomicU64::new(0),
            specials_watched: AtomicBool::new(false),
            next_number: AtomicU64::new(0),
            totals: stats::Totals::default(),
            windows: Lock::new(Rank::Windows, window::Windows::default()),
            #[cfg(test)]
            keep_windows: AtomicBool::new(false),
        })
    }

    /// The universe of the heap's types.
    pub(crate) fn types(&self) -> &Arc<Types> {
        &self.types
    }

    /// The address that all objects without size share. It is never freed.
    pub(crate) fn zero(&self) -> usize {
        self.arena.start() + FIRST + HEADER
    }

    /// Whether a collection is due: enough was allocated, stated or released since the last one, or
    /// the heap is stressed.
    #[inline]
    pub(crate) fn should_collect(&self) -> bool {
        self.pacing.is_due()
    }

    /// Sets [`HeapOptions::percent`] anew. Returns the one before.
    pub(crate) fn set_percent(&self, percent: Option<u32>) -> Option<u32> {
        self.pacing.set_percent(percent, &self.types)
    }

    /// A word that is not 0 while a collection is due, or every safepoint collects, beside bits of
    /// others.
    pub(crate) fn wanted(&self) -> &Arc<AtomicU32> {
        self.pacing.wanted()
    }

    /// Whether what an `Obj` names is looked up as any address is: the heap has tiny blocks, or the
    /// calling thread may have an `Obj` of a mutator that was revoked, whose object a collection
    /// may have freed.
    #[inline]
    pub(crate) fn must_look_up(&self) -> bool {
        self.trust.is_lost()
    }

    /// Is to be lost before a mutator of this heap is revoked, on its thread.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Records that an object owns `bytes` more bytes outside the heap than was stated before.
    pub(crate) fn state_external(&self, bytes: usize) {
        self.pacing.state_external(bytes);
    }

    /// Whether the heap was made with [`HeapOptions::stress`].
    #[inline]
    pub(crate) fn is_stressed(&self) -> bool {
        self.options.stress
    }

    #[cfg(not(test))]
    const fn keeps_windows(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn keeps_windows(&self) -> bool {
        self.keep_windows.load(Relaxed)
    }

    /// From the next collection on, [`Marking::next_special`] tells which special objects are
    /// marked.
    pub(crate) fn watch_specials(&self) {
        self.specials_watched.store(true, Relaxed);
    }

    /// Number of collections finished.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// The header of an allocated object.
    #[inline]
    fn header_of(&self, block: &Block, index: usize) -> u64 {
        match block.common_header() {
            Some(header) => header,
            None => self.arena.load(block.header(index)),
        }
    }

    /// Whether all objects of the block have one type, and that has no pointers.
    fn are_leaves(&self, block: &Block) -> bool {
        block
            .common_header()
            .is_some_and(|header| !self.desc(header).has_pointers())
    }

    /// The descriptor of an allocated object.
    #[inline]
    fn desc_of(&self, block: &Block, index: usize) -> &TypeDesc {
        debug_assert!(block.get(Bit::Used, index));
        self.desc(self.header_of(block, index))
    }

    /// The descriptor of the object that an `Obj` names, without a search. `None`: it is an object
    /// of another heap, or may be gone, or this heap has tiny blocks, whose values have no header
    /// of their own.
    #[inline]
    fn desc_at(&self, start: usize) -> Option<&TypeDesc> {
        if self.must_look_up() || !self.contains(start) {
            return None;
        }
        debug_assert!(start == self.zero() || self.object_at(start).is_some());
        Some(self.desc(self.arena.load(start - HEADER)))
    }

    /// Calls `visit` with the types of all objects, and of the windows that someone besides their
    /// mutators has. Once for all objects of a block that has objects of one type only.
    pub(crate) fn for_each_type(&self, _proof: &Stopped<'_>, visit: &mut dyn FnMut(&TypeDesc)) {
        for block in &self.books.lock().all {
            if let Some(header) = block.common_header() {
                visit(self.desc(header));
                continue;
            }
            for word in 0..block.words() {
                for index in marking::cells(word, block.word(Bit::Used, word)) {
                    visit(self.desc_of(block, index));
                }
            }
        }
        self.for_each_held_window(&mut |ty| {
            if let Ok(desc) = self.known(ty) {
                visit(desc);
            }
        });
    }

    /// The descriptor of a type. Only for a thread whose mutator runs, or that has stopped the
    /// world.
    #[inline]
    fn known(&self, ty: TypeId) -> Result<&TypeDesc, TypesError> {
        Ok(self.desc(self.types.address(ty)? as u64))
    }

    /// The descriptor whose address is an object's header. Only for a thread whose mutator runs, or
    /// that has stopped the world.
    #[inline]
    fn desc(&self, header: u64) -> &TypeDesc {
        // SAFETY: I13: every caller has read the header from a cell that is `Used`, or in front of
        // an object that an `Obj` names, or has it from `self.types`, so this is the address of a
        // descriptor. I33: it is there at least until the world is stopped the next time, and the
        // caller does not keep it longer.
        unsafe { &*std::ptr::with_exposed_provenance::<TypeDesc>(header as usize) }
    }
}
