//! A collection from beginning to end, and what a runtime's heap consists of.
//!
//! The heap knows nothing of what finalizers, cleanups and weak handles mean. That is for a [`Weakness`], which is
//! asked at three points:
//!
//! ```text
//! stop -> handles, extra_roots -> drain -> retain -> drain -> decide -> drain -> sweep -> go on -> resumed
//! ```
#![forbid(unsafe_code)]

use crate::handle::Roots;
use crate::heap::{Cycle, Heap, HeapError, HeapFault, HeapOptions, HeapReport};
use crate::safepoint::{Stopped, World, WorldError};
use crate::types::Types;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What decides over the dying. Called by the collecting thread with the world stopped; takes its own locks (of
/// ranks below the world's), runs no user code, allocates no objects.
pub(crate) trait Weakness: Send + Sync {
    /// Marks what is alive besides handles: queued objects, contexts, arguments.
    fn extra_roots(&self, cycle: &mut Cycle<'_>);

    /// Everything reachable is marked. Marks what the dying must keep, without marking the dying themselves: in Go's
    /// order the children of each unmarked finalizable object.
    fn retain(&self, cycle: &mut Cycle<'_>);

    /// What is unmarked now is dead. Clears weak handles, marks and queues what is to be finalized, queues cleanups.
    fn decide(&self, cycle: &mut Cycle<'_>);

    /// The collection is over and the world runs; nothing is locked. The place to wake somebody.
    fn resumed(&self, collection: &Collection) {
        let _ = collection;
    }
}

/// Nothing but handles matters: objects die without a word.
impl Weakness for () {
    fn extra_roots(&self, _: &mut Cycle<'_>) {}
    fn retain(&self, _: &mut Cycle<'_>) {}
    fn decide(&self, _: &mut Cycle<'_>) {}
}

/// One collection in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collection {
    /// Its number, from 1.
    pub number: u64,
    /// Objects that live on, resurrected ones too.
    pub live_objects: usize,
    /// Bytes of their cells.
    pub live_bytes: usize,
    /// Objects that are gone.
    pub freed_objects: usize,
    /// Bytes of their cells.
    pub freed_bytes: usize,
    /// Bytes given back to the system.
    pub released_bytes: usize,
    /// Until every mutator had stopped.
    pub stopping: Duration,
    /// Marking from the roots.
    pub marking: Duration,
    /// Deciding over finalizers, cleanups and weak handles.
    pub deciding: Duration,
    /// Freeing.
    pub sweeping: Duration,
}

impl Collection {
    /// How long mutators stood still, at most.
    pub fn pause(&self) -> Duration {
        self.stopping + self.marking + self.deciding + self.sweeping
    }
}

/// One runtime's types, objects, threads and roots.
pub(crate) struct Space {
    heap: Heap,
    world: World,
    roots: Arc<Roots>,
    weakness: Arc<dyn Weakness>,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space")
            .field("heap", &self.heap)
            .field("world", &self.world)
            .finish_non_exhaustive()
    }
}

impl Space {
    pub(crate) fn new(
        types: Arc<Types>,
        options: HeapOptions,
        weakness: Arc<dyn Weakness>,
    ) -> Result<Arc<Space>, HeapError> {
        let heap = Heap::new(types, options)?;
        Ok(Arc::new(Space {
            heap,
            world: World::new(),
            roots: Roots::new(),
            weakness,
        }))
    }

    #[inline]
    pub(crate) fn heap(&self) -> &Heap {
        &self.heap
    }

    pub(crate) fn types(&self) -> &Arc<Types> {
        self.heap.types()
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn roots(&self) -> &Arc<Roots> {
        &self.roots
    }

    /// Collects, for a thread that has no mutator or is in a native region.
    pub(crate) fn collect(&self) -> Result<Collection, WorldError> {
        let from = Instant::now();
        let stopped = self.world.stop(None)?;
        Ok(self.run(stopped, from))
    }

    /// Stops the world for `look`, for a thread that has no mutator or is in a native region. Nothing is marked, and
    /// what is marked meanwhile is forgotten.
    pub(crate) fn inspect<R>(
        &self,
        look: impl FnOnce(&mut Cycle<'_>) -> R,
    ) -> Result<R, WorldError> {
        let stopped = self.world.stop(None)?;
        Ok(look(&mut self.heap.cycle(&stopped)))
    }

    /// Looks at the whole heap with the world stopped, for a thread that has no mutator or is in a native region.
    pub(crate) fn verify(&self) -> Result<Result<HeapReport, HeapFault>, WorldError> {
        let stopped = self.world.stop(None)?;
        Ok(self.heap.verify(&stopped))
    }

    /// The collection itself. `from`: when somebody asked for it.
    pub(crate) fn run(&self, stopped: Stopped<'_>, from: Instant) -> Collection {
        let mut last = from;
        let mut lap = || {
            let now = Instant::now();
            now - std::mem::replace(&mut last, now)
        };
        let stopping = lap();
        let mut cycle = self.heap.cycle(&stopped);
        self.roots.for_each(|addr| cycle.mark(addr));
        self.weakness.extra_roots(&mut cycle);
        cycle.drain();
        let marking = lap();
        self.weakness.retain(&mut cycle);
        cycle.drain();
        self.weakness.decide(&mut cycle);
        cycle.drain();
        let deciding = lap();
        let swept = cycle.sweep();
        let collection = Collection {
            number: self.heap.epoch(),
            live_objects: swept.live_objects,
            live_bytes: swept.live_bytes,
            freed_objects: swept.freed_objects,
            freed_bytes: swept.freed_bytes,
            released_bytes: swept.released_bytes,
            stopping,
            marking,
            deciding,
            sweeping: lap(),
        };
        drop(stopped);
        tracing::debug!(
            number = collection.number,
            live_objects = collection.live_objects,
            freed_objects = collection.freed_objects,
            pause = ?collection.pause(),
            "collection"
        );
        self.weakness.resumed(&collection);
        collection
    }
}
