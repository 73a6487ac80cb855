//! Allocation. A mutator bumps through a run of free cells in a block it owns; all other paths are
//! rare.

use super::block::{Bit, Block};
use super::class::{self, HEADER};
use super::ids::CellId;
use super::tiny::Open;
use super::{AllocError, Heap};
use crate::types::{Implied, TypeDesc, TypeId};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// Free cells of one class, from `next` to `end` of a block that belongs to the cache.
#[derive(Debug, Default)]
struct Run {
    next: usize,
    end: usize,
    block: Option<Arc<Block>>,
}

/// What the fast path must know to allocate an object of a type.
#[derive(Debug, Clone, Copy)]
struct Recent {
    ty: TypeId,
    header: u64,
    pool: usize,
}

/// Number of types that a cache remembers, a power of two.
const RECENT: usize = 8;

/// One mutator's allocation cache: cells that it has taken from the heap in advance. Valid until
/// the next collection.
#[derive(Debug)]
pub(crate) struct Cache {
    /// By pool; empty until the first allocation.
    runs: Vec<Run>,
    /// The types allocated last, by the last bits of their index.
    recent: [Option<Recent>; RECENT],
    epoch: u64,
    pub(super) tiny: Open,
}

impl Heap {
    /// An empty cache of the current epoch.
    pub(crate) fn cache(&self) -> Cache {
        Cache {
            runs: Vec::new(),
            recent: [None; RECENT],
            epoch: self.epoch(),
            tiny: Open::default(),
        }
    }

    /// Empties a cache if there was a collection since it was filled, and returns whether there
    /// was. A mutator that may have been stopped calls this before it allocates.
    pub(crate) fn refresh(&self, cache: &mut Cache) -> bool {
        let stale = cache.epoch != self.epoch();
        if stale {
            *cache = self.cache();
        }
        stale
    }

    /// Gives back the unused cells of a mutator that detaches.
    pub(crate) fn retire(&self, cache: &mut Cache) {
        if self.refresh(cache) || cache.runs.is_empty() {
            return;
        }
        let cache = std::mem::replace(cache, self.cache());
        let mut books = self.books.lock();
        for (pool, run) in cache.runs.into_iter().enumerate() {
            if let Some(block) = run.block {
                self.pacing.take_back((run.end - run.next) * block.cell);
                block.set_cursor(run.next);
                books.partial[pool].push(block);
            }
        }
    }

    /// Allocates a zeroed object and returns its address, which is [`Heap::zero`] when the type has
    /// no size. Never collects. The cache must be of the current epoch ([`Heap::refresh`]).
    #[inline]
    pub(crate) fn alloc(&self, cache: &mut Cache, ty: TypeId) -> Result<usize, AllocError> {
        debug_assert_eq!(cache.epoch, self.epoch());
        if let Some(recent) = &cache.recent[ty.slot(RECENT)]
            && recent.ty == ty
            && let Some(run) = cache.runs.get_mut(recent.pool)
            && run.next != run.end
            && let Some(block) = &run.block
        {
            let index = run.next;
            run.next += 1;
            return Ok(self.hand_out(block, index, recent.header));
        }
        self.alloc_slow(cache, ty)
    }

    #[cold]
    fn alloc_slow(&self, cache: &mut Cache, ty: TypeId) -> Result<usize, AllocError> {
        let desc = self.known(ty)?;
        if desc.size() == 0 {
            return Ok(self.zero());
        }
        if let Some(block) = self.tiny_type(desc) {
            return self.alloc_tiny(cache, desc.size(), block);
        }
        let implied = desc.imply(None);
        let Some(class) = class::class_of(desc.size()) else {
            return self.alloc_large(desc, desc.size(), implied);
        };
        let header = desc.address() as u64;
        let pool = implied.map_or(class, |implied| implied.pool);
        cache.recent[ty.slot(RECENT)] = Some(Recent { ty, header, pool });
        if cache.runs.len() <= pool {
            cache.runs.resize_with(pool + 1, Run::default);
        }
        let run = &mut cache.runs[pool];
        if run.next == run.end {
            self.refill(run, pool, class, desc)?;
        }
        let index = run.next;
        run.next += 1;
        match &run.block {
            Some(block) => Ok(self.hand_out(block, index, header)),
            None => Err(self.full(desc, desc.size())),
        }
    }

    /// Allocates an object of an array type with room for at least so many elements. As
    /// [`Heap::alloc`] otherwise.
    pub(crate) fn alloc_array(
        &self,
        cache: &mut Cache,
        ty: TypeId,
        elements: usize,
    ) -> Result<usize, AllocError> {
        debug_assert_eq!(cache.epoch, self.epoch());
        let desc = self.known(ty)?;
        let Some(tail) = desc.tail() else {
            let ty = desc.ty().to_string();
            return Err(AllocError::NoArray { ty });
        };
        let bytes = match elements {
            0 => Some(desc.size()),
            _ => tail.bytes(elements),
        };
        let Some(bytes) = bytes else {
            let ty = desc.ty().to_string();
            return Err(AllocError::TooLong { ty, elements });
        };
        if bytes == 0 {
            return Ok(self.zero());
        }
        let Some(class) = class::class_of(bytes) else {
            return self.alloc_large(desc, bytes, None);
        };
        if cache.runs.len() <= class {
            cache.runs.resize_with(class + 1, Run::default);
        }
        let run = &mut cache.runs[class];
        if run.next == run.end {
            let filled = self.refill(run, class, class, desc);
            filled.map_err(|_| self.full(desc, bytes))?;
        }
        let index = run.next;
        run.next += 1;
        match &run.block {
            Some(block) => Ok(self.hand_out(block, index, desc.address() as u64)),
            None => Err(self.full(desc, bytes)),
        }
    }

    /// Turns a free, zeroed cell that only the caller may use into an object, and returns its
    /// address.
    #[inline]
    fn hand_out(&self, block: &Block, index: usize, header: u64) -> usize {
        let at = block.header(index);
        self.arena.store(at, header);
        block.announce(header);
        block.set_owned(Bit::Used, index);
        at + HEADER
    }

    /// Finds the next run of free cells and zeroes it.
    #[cold]
    fn refill(
        &self,
        run: &mut Run,
        pool: usize,
        class: usize,
        desc: &TypeDesc,
    ) -> Result<(), AllocError> {
        loop {
            if let Some(block) = &run.block
                && let Some((first, count)) = self.take_run(block, usize::MAX)
            {
                (run.next, run.end) = (first, first + count);
                return Ok(());
            }
            *run = Run {
                block: Some(self.block_with_free_cells(pool, class, desc)?),
                ..Run::default()
            };
        }
    }

    /// Takes a run of at most `most` free cells of a block that the caller owns, and zeroes it.
    pub(super) fn take_run(&self, block: &Block, most: usize) -> Option<(usize, usize)> {
        let (first, found) = block.next_run()?;
        let count = found.min(most);
        block.set_cursor(first + count);
        if !block.fresh.load(Relaxed) {
            // SAFETY: I15: free cells of a block that the caller owns.
            unsafe { self.arena.fill(block.header(first), count * block.cell, 0) };
        }
        self.pacing.add(count * block.cell);
        Some((first, count))
    }

    /// A block of the pool with free cells and no owner, or a new one.
    pub(super) fn block_with_free_cells(
        &self,
        pool: usize,
        class: usize,
        desc: &TypeDesc,
    ) -> Result<Arc<Block>, AllocError> {
        let mut books = self.books.lock();
        if let Some(block) = books.partial[pool].pop() {
            return Ok(block);
        }
        let Some((index, fresh)) = books.take(1) else {
            drop(books);
            return Err(self.full(desc, desc.size()));
        };
        let block = Arc::new(Block::of_class(
            (self.arena.block_start(index), index),
            class,
            pool,
            fresh,
            implied_id(desc, desc.imply(None)),
        ));
        self.publish(&block, true);
        books.all.push(block.clone());
        Ok(block)
    }

    #[cold]
    fn alloc_large(
        &self,
        desc: &TypeDesc,
        size: usize,
        implied: Option<Implied>,
    ) -> Result<usize, AllocError> {
        let span = class::blocks_for(size).ok_or_else(|| self.full(desc, size))?;
        let block = {
            let mut books = self.books.lock();
            let Some((index, fresh)) = books.take(span) else {
                drop(books);
                return Err(self.full(desc, size));
            };
            let block = Arc::new(Block::large(
                (self.arena.block_start(index), index),
                span,
                fresh,
                implied_id(desc, implied),
            ));
            self.publish(&block, true);
            books.all.push(block.clone());
            block
        };
        if !block.fresh.load(Relaxed) {
            // SAFETY: I15: the only cell of a block that was taken just now and is not `Used` yet.
            unsafe {
                self.arena
                    .fill(block.object(0), block.extent(desc).next_multiple_of(8), 0)
            };
        }
        self.pacing.add(span * class::BLOCK);
        Ok(self.hand_out(&block, 0, desc.address() as u64))
    }

    fn full(&self, desc: &TypeDesc, requested: usize) -> AllocError {
        let in_use = self.books.lock().in_use * class::BLOCK;
        AllocError::HeapLimit {
            ty: desc.ty().to_string(),
            requested,
            in_use,
            limit: self.options.limit,
        }
    }
}

/// The id that every object of the type has from the beginning, as cells store it.
fn implied_id(desc: &TypeDesc, implied: Option<Implied>) -> Option<CellId> {
    implied.map(|implied| CellId::new(implied.id, !desc.has_pointers(), false))
}
