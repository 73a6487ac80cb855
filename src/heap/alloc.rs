//! Making objects. A mutator bumps through a run of free cells in a block it owns; everything else is rare.

use super::block::{Bit, Block};
use super::class::{self, CLASSES, HEADER};
use super::ids::Prepared;
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

/// What is needed to make an object of a type that shares blocks.
#[derive(Debug, Clone, Copy)]
struct Known {
    ty: TypeId,
    header: u64,
    pool: usize,
}

/// Types a cache knows at a time, a power of two.
const KNOWN: usize = 8;

/// What one mutator has taken from the heap in advance. Good until the next collection.
#[derive(Debug)]
pub(crate) struct Cache {
    /// By pool.
    runs: Vec<Run>,
    /// The types it made objects of last, by the last bits of their index.
    known: [Option<Known>; KNOWN],
    epoch: u64,
    pub(super) tiny: Open,
}

impl Heap {
    /// An empty cache of the present epoch.
    pub(crate) fn cache(&self) -> Cache {
        Cache {
            runs: (0..CLASSES.len()).map(|_| Run::default()).collect(),
            known: [None; KNOWN],
            epoch: self.epoch(),
            tiny: Open::default(),
        }
    }

    /// Forgets what is in a cache if there was a collection since. To be called by a mutator that may have been
    /// stopped, before it allocates.
    pub(crate) fn refresh(&self, cache: &mut Cache) {
        if cache.epoch != self.epoch() {
            *cache = self.cache();
        }
    }

    /// Gives back what a mutator that goes has not used.
    pub(crate) fn retire(&self, cache: &mut Cache) {
        self.refresh(cache);
        let cache = std::mem::replace(cache, self.cache());
        let mut books = self.books.lock();
        for (pool, run) in cache.runs.into_iter().enumerate() {
            if let Some(block) = run.block {
                self.allocated
                    .fetch_sub((run.end - run.next) * block.cell, Relaxed);
                block.set_cursor(run.next);
                books.partial[pool].push(block);
            }
        }
    }

    /// Makes an object of zeroes and answers its address; that of [`Heap::zero`] when the type has no size. Never
    /// collects. The cache must be fresh ([`Heap::refresh`]).
    #[inline]
    pub(crate) fn alloc(&self, cache: &mut Cache, ty: TypeId) -> Result<usize, AllocError> {
        debug_assert_eq!(cache.epoch, self.epoch());
        if let Some(known) = &cache.known[ty.slot(KNOWN)]
            && known.ty == ty
            && let Some(run) = cache.runs.get_mut(known.pool)
            && run.next != run.end
            && let Some(block) = &run.block
        {
            let index = run.next;
            run.next += 1;
            return Ok(self.hand_out(block, index, known.header));
        }
        self.alloc_slow(cache, ty)
    }

    #[cold]
    fn alloc_slow(&self, cache: &mut Cache, ty: TypeId) -> Result<usize, AllocError> {
        let desc = self.types.desc(ty)?;
        if desc.size() == 0 {
            return Ok(self.zero());
        }
        if let Some(block) = self.tiny_type(desc) {
            return self.alloc_tiny(cache, desc.size(), block);
        }
        let implied = desc.imply(None);
        let Some(class) = class::class_of(desc.size()) else {
            return self.alloc_large(desc, implied);
        };
        let header = desc.address() as u64;
        let pool = implied.map_or(class, |implied| implied.pool);
        cache.known[ty.slot(KNOWN)] = Some(Known { ty, header, pool });
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

    /// Turns a free, zeroed cell that is the caller's own into an object.
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
                && let Some((first, count)) = block.next_run()
            {
                if !block.fresh.load(Relaxed) {
                    // SAFETY: I15: free cells of a block that this cache owns.
                    unsafe { self.arena.fill(block.header(first), count * block.cell, 0) };
                }
                (run.next, run.end) = (first, first + count);
                self.allocated.fetch_add(count * block.cell, Relaxed);
                return Ok(());
            }
            *run = Run {
                block: Some(self.block_with_room(pool, class, desc)?),
                ..Run::default()
            };
        }
    }

    fn block_with_room(
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
            prepared(desc, desc.imply(None)),
        ));
        self.publish(&block, true);
        books.all.push(block.clone());
        Ok(block)
    }

    #[cold]
    fn alloc_large(&self, desc: &TypeDesc, implied: Option<Implied>) -> Result<usize, AllocError> {
        let size = desc.size();
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
                prepared(desc, implied),
            ));
            self.publish(&block, true);
            books.all.push(block.clone());
            block
        };
        if !block.fresh.load(Relaxed) {
            // SAFETY: I15: the only cell of a block that was taken just now and is not `Used` yet.
            unsafe {
                self.arena
                    .fill(block.object(0), size.next_multiple_of(8), 0)
            };
        }
        self.allocated.fetch_add(span * class::BLOCK, Relaxed);
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

/// The id that every object of the type has.
fn prepared(desc: &TypeDesc, implied: Option<Implied>) -> Option<Prepared> {
    implied.map(|implied| Prepared::new(implied.id, !desc.has_pointers()))
}
