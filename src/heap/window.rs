//! Windows: free cells that were made objects in advance, for generated code to take by itself.
//!
//! A window is a row of objects of one type in one block: zeroes, with headers, whose bits `Used`
//! are set. Nothing refers to them. Generated code takes the first and moves the window's `next`
//! behind it; so the heap need not know which are taken, but where it is asked for the object at an
//! address: its block names the window then. And when it collects, verifies or lists objects, since
//! one that is not taken would be finalized if its type says so. First of all, with the world
//! stopped, the objects that no one has taken are unmade.
#![forbid(unsafe_code)]

use super::block::{Bit, Block};
use super::words::Words;
use super::{AllocError, Heap, class};
use crate::base::lock::{Lock, Rank};
use crate::types::TypeId;
use crate::world::safepoint::Stopped;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};

/// Who has a window that no one else uses: the heap's list and its mutator.
const OWNERS: usize = 2;

/// The block in which a window lies. Written by the window's thread while one of its mutators runs,
/// and with the world stopped.
#[derive(Debug, Default)]
struct Owned {
    block: Option<Arc<Block>>,
    pool: usize,
    /// Collections finished when the block was taken: a sweep takes it away.
    epoch: u64,
}

/// Objects of windows that no one has taken.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) objects: usize,
    /// Bytes of their cells.
    pub(super) bytes: usize,
    /// Those that have an id because their type implies one.
    pub(super) with_ids: usize,
}

/// The windows of a heap.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// By their addresses.
    open: BTreeMap<usize, Arc<Window>>,
    /// Those that ended since the world was stopped: a thread may be looking at one.
    ended: Vec<Arc<Window>>,
}

/// One window.
#[derive(Debug)]
pub(crate) struct Window {
    words: Words,
    ty: TypeId,
    header: u64,
    pub(crate) stride: usize,
    class: usize,
    /// Whether its mutator is gone.
    closed: AtomicBool,
    owned: Lock<Owned>,
}

impl Window {
    /// Where its words are, as long as it exists.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(&self.words).expose_provenance()
    }

    /// Tells it from the other windows that exist.
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn ty(&self) -> TypeId {
        self.ty
    }

    /// Whether no object can be taken any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Whether the address is in an object that no one has taken.
    #[inline]
    pub(super) fn is_left(&self, addr: usize) -> bool {
        self.words.has(addr)
    }

    /// Objects that no one has taken.
    pub(super) fn left(&self) -> usize {
        let end = self.words.end.load(Relaxed);
        (end.saturating_sub(self.words.next.load(Relaxed)) as usize) / self.stride
    }
}

impl Heap {
    /// A window for objects of the type, without objects.
    pub(crate) fn window(&self, ty: TypeId) -> Result<Arc<Window>, AllocError> {
        let desc = self.known(ty)?;
        let refuse = |reason| {
            let ty = desc.ty().to_string();
            Err(AllocError::NoWindow { ty, reason })
        };
        if desc.tail().is_some() {
            return refuse("its objects are of several sizes");
        }
        if desc.size() == 0 {
            return refuse("all values without size have one address");
        }
        if self.is_tiny(desc) {
            return refuse("such small values share blocks in this heap");
        }
        let Some(class) = class::class_of(desc.size()) else {
            return refuse("such large objects have blocks of their own");
        };
        let window = Arc::new(Window {
            words: Words::default(),
            ty,
            header: desc.address() as u64,
            stride: class::CLASSES[class].into(),
            class,
            closed: AtomicBool::new(false),
            owned: Lock::new(Rank::Window, Owned::default()),
        });
        self.windows
            .lock()
            .open
            .insert(window.key(), window.clone());
        Ok(window)
    }

    /// Takes an object of the window, which gets new ones if it has none. Never collects. Only for
    /// the window's thread, while one of its mutators runs.
    #[inline]
    pub(crate) fn alloc_in(&self, window: &Window) -> Result<usize, AllocError> {
        match window.words.take(window.stride) {
            Some(object) if !window.is_closed() => Ok(object),
            _ => self.refill_window(window),
        }
    }

    #[cold]
    fn refill_window(&self, window: &Window) -> Result<usize, AllocError> {
        let desc = self.known(window.ty)?;
        if window.closed.load(Relaxed) {
            let ty = desc.ty().to_string();
            return Err(AllocError::ClosedWindow { ty });
        }
        let mut owned = window.owned.lock();
        if owned.epoch != self.epoch() {
            // The world was stopped, so it names no window.
            owned.block = None;
        }
        loop {
            // Under stress each object is taken by a call, so that each may be a safepoint.
            let most = if self.is_stressed() { 1 } else { usize::MAX };
            if let Some(block) = &owned.block
                && let Some((first, count)) = self.take_run(block, most)
            {
                let behind = block.object(first) + count * window.stride;
                // Whoever sees them made sees that no one has taken them.
                window
                    .words
                    .set(block.object(first) + window.stride, behind);
                block.set_window(window);
                self.make_objects(block, first, count, window.header);
                return Ok(block.object(first));
            }
            if let Some(block) = owned.block.take() {
                block.set_window(std::ptr::null());
            }
            let pool = desc
                .imply(None)
                .map_or(window.class, |implied| implied.pool);
            let block = self.block_with_free_cells(pool, window.class, desc)?;
            *owned = Owned {
                block: Some(block),
                pool,
                epoch: self.epoch(),
            };
        }
    }

    /// Turns zeroed free cells, which only the caller may use, into objects.
    fn make_objects(&self, block: &Block, first: usize, count: usize, header: u64) {
        block.announce(header);
        let at = block.header(first);
        self.arena.store_each(at, block.cell, count, header);
        block.set_owned_run(Bit::Used, first, count);
    }

    /// Unmakes the objects of all windows that no one has taken.
    pub(super) fn close_windows(&self, _proof: &Stopped<'_>) {
        let mut windows = self.windows.lock();
        windows.open.values().for_each(|window| self.close(window));
        windows
            .open
            .retain(|_, window| !window.closed.load(Relaxed));
        windows.ended = Vec::new();
    }

    /// Calls `visit` with the type of each window that someone besides its mutator has.
    pub(super) fn for_each_held_window(&self, visit: &mut dyn FnMut(TypeId)) {
        let windows = self.windows.lock();
        let held = windows
            .open
            .values()
            .filter(|window| Arc::strong_count(window) > OWNERS);
        held.for_each(|window| visit(window.ty));
    }

    /// Ends the windows of types that are given back. Only with the world stopped.
    pub(crate) fn end_windows_of(&self, gone: &HashSet<TypeId>, _proof: &Stopped<'_>) {
        let mut windows = self.windows.lock();
        windows.open.retain(|_, window| {
            let stays = !gone.contains(&window.ty);
            if !stays {
                window.closed.store(true, Relaxed);
                *window.owned.lock() = Owned::default();
            }
            stays
        });
    }

    /// Ends a window whose mutator goes, on its thread. `runs`: whether that mutator still runs. If
    /// it does not, the next thread that stops the world removes the window.
    pub(crate) fn end_window(&self, window: &Arc<Window>, runs: bool) {
        window.closed.store(true, Relaxed);
        if !runs {
            return;
        }
        self.close(window);
        let mut windows = self.windows.lock();
        let ended = windows.open.remove(&window.key());
        windows.ended.extend(ended);
        drop(windows);
        // So many windows that end make a collection due.
        self.pacing.add(size_of::<Window>());
        let mut owned = window.owned.lock();
        let (epoch, pool) = (owned.epoch, owned.pool);
        let block = owned.block.take().filter(|_| epoch == self.epoch());
        drop(owned);
        if let Some(block) = block {
            self.books.lock().partial[pool].push(block);
        }
    }

    /// Unmakes what is left of a window. The block stays the window's, which may have its cells
    /// again. Only for the window's thread, or with the world stopped.
    fn close(&self, window: &Window) {
        let (owned, left) = (window.owned.lock(), window.left());
        // Since a sweep the block may be another window's.
        let block = owned.block.as_ref().filter(|_| owned.epoch == self.epoch());
        if left > 0
            && !self.keeps_windows()
            && let Some(block) = block
            && let Some((first, _)) = block.cell_of(window.words.next.load(Relaxed) as usize)
        {
            block.clear_run(Bit::Used, first, left);
            block.set_cursor(first);
            self.pacing.take_back(left * window.stride);
        }
        // In this order: whoever sees no window sees that the objects are unmade.
        window.words.clear();
        if let Some(block) = block {
            block.set_window(std::ptr::null());
        }
    }

    /// What is left in windows at the moment, while threads take it.
    pub(super) fn left_in_windows(&self) -> Left {
        let windows = self.windows.lock().open.clone();
        let mut all = Left::default();
        for window in windows.values() {
            let left = window.left();
            let desc = self.types.desc(window.ty);
            all.objects += left;
            all.bytes += left * window.stride;
            all.with_ids += match desc.is_ok_and(|desc| desc.implies()) {
                true => left,
                false => 0,
            };
        }
        all
    }
}
