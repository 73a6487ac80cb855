//! A collection from beginning to end, and what a runtime's heap consists of.
//!
//! The heap does not know what finalizers, cleanups and weak handles mean. A [`Weakness`] does, and
//! is called between the steps of a collection:
//!
//! ```text
//! stop -> handles, sources, roots -> drain -> queued -> drain -> retain -> drain -> decide ->
//! drain      -> sweep -> types -> go on -> resumed
//! ```
#![forbid(unsafe_code)]

use crate::base::deadline::Deadline;
use crate::base::events::{span, tell};
use crate::heap::{Heap, HeapError, HeapFault, HeapOptions, HeapReport, Marking};
use crate::types::{TypeDesc, TypeId, Types};
use crate::world::handle::Roots;
use crate::world::safepoint::{Stopped, World};
use crate::world::sources::Sources;
use crate::world::threads::WorldError;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Decides what happens to unreachable objects. Called by the collecting thread with the world
/// stopped; takes its own locks (of ranks below the world's), runs no user code, allocates no
/// objects.
pub(crate) trait Weakness: Send + Sync {
    /// Marks what is alive besides handles: contexts and arguments of registrations.
    fn roots(&self, marking: &mut Marking<'_>);

    /// Called when everything alive is marked. Marks what is kept for calls that earlier
    /// collections have queued.
    fn queued(&self, marking: &mut Marking<'_>) {
        let _ = marking;
    }

    /// Called when everything reachable is marked. Marks what unreachable objects must keep,
    /// without marking these themselves: in Go's order the children of each unmarked finalizable
    /// object.
    fn retain(&self, marking: &mut Marking<'_>);

    /// Called when all that is kept is marked: what is unmarked is dead. Clears weak handles, marks
    /// and queues what is to be finalized, queues cleanups.
    fn decide(&self, marking: &mut Marking<'_>);

    /// Called when types were given back. Forgets what it has stored for them.
    fn forget_types(&self, gone: &HashSet<TypeId>) {
        let _ = gone;
    }

    /// Called when the collection is over and the world runs, with no lock held. The place to wake
    /// other threads and to run user code.
    fn resumed(&self, collection: &Collection) {
        let _ = collection;
    }
}

/// No finalizers, cleanups or weak handles: unreachable objects are just freed.
impl Weakness for () {
    fn roots(&self, _: &mut Marking<'_>) {}
    fn retain(&self, _: &mut Marking<'_>) {}
    fn decide(&self, _: &mut Marking<'_>) {}
}

/// Statistics of one collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collection {
    /// Its number, from 1.
    pub number: u64,
    /// Objects that are alive afterwards, resurrected ones included.
    pub live_objects: usize,
    /// Bytes of their cells.
    pub live_bytes: usize,
    /// Objects that were freed.
    pub freed_objects: usize,
    /// Bytes of their cells.
    pub freed_bytes: usize,
    /// Bytes given back to the system.
    pub released_bytes: usize,
    /// Time until every mutator had stopped.
    pub stopping: Duration,
    /// Time of marking from the roots.
    pub marking: Duration,
    /// Time of deciding about finalizers, cleanups and weak handles.
    pub deciding: Duration,
    /// Time of freeing.
    pub sweeping: Duration,
}

impl Collection {
    /// Returns how long mutators were stopped at most: the sum of all times.
    pub fn pause(&self) -> Duration {
        self.stopping + self.marking + self.deciding + self.sweeping
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One runtime's types, objects, threads and roots.
pub(crate) struct Space {
    heap: Heap,
    world: Arc<World>,
    roots: Arc<Roots>,
    sources: Arc<Sources>,
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
            world: World::new(heap.trust().clone(), heap.wanted().clone()),
            heap,
            roots: Roots::new(),
            sources: Sources::new(),
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

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    pub(crate) fn roots(&self) -> &Arc<Roots> {
        &self.roots
    }

    pub(crate) fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// Calls `visit` with each root: handles, and what sources say. A thread that has stopped the
    /// world calls this.
    pub(crate) fn for_each_root(
        &self,
        stopped: &Stopped<'_>,
        mut visit: impl FnMut(usize),
    ) -> Result<(), WorldError> {
        self.roots.for_each(&mut visit);
        self.sources.for_each(stopped, &mut visit)
    }

    /// Collects, for a thread that has no mutator of this runtime or is in a native region.
    pub(crate) fn collect(&self) -> Result<Collection, WorldError> {
        let from = Instant::now();
        let _span = span(|| tracing::debug_span!("collect"));
        let stopped = self.world.stop_with(None)?;
        self.run(stopped, from)
    }

    /// Stops the world for `look`, for a thread that has no mutator or is in a native region.
    /// Nothing is marked when `look` is called, and marks that it makes are discarded.
    pub(crate) fn inspect<R>(
        &self,
        look: impl FnOnce(&mut Marking<'_>) -> R,
    ) -> Result<R, WorldError> {
        let stopped = self.world.stop_with(None)?;
        Ok(look(&mut self.heap.marking(&stopped)))
    }

    /// As [`Space::inspect`], with all roots.
    pub(crate) fn inspect_with_roots<R>(
        &self,
        look: impl FnOnce(&mut Marking<'_>, &[usize]) -> R,
    ) -> Result<R, WorldError> {
        let stopped = self.world.stop_with(None)?;
        let mut roots = Vec::new();
        self.for_each_root(&stopped, |root| roots.push(root))?;
        Ok(look(&mut self.heap.marking(&stopped), &roots))
    }

    /// As [`Space::inspect`], if the world stops before the deadline.
    pub(crate) fn inspect_before<R>(
        &self,
        deadline: Deadline,
        look: impl FnOnce(&mut Marking<'_>) -> R,
    ) -> Result<R, WorldError> {
        let stopped = self.world.stop_before(None, deadline)?;
        Ok(look(&mut self.heap.marking(&stopped)))
    }

    /// Checks the whole heap with the world stopped, for a thread that has no mutator or is in a
    /// native region.
    pub(crate) fn verify(&self) -> Result<Result<HeapReport, HeapFault>, WorldError> {
        let stopped = self.world.stop_with(None)?;
        Ok(self.heap.verify(&stopped))
    }

    /// Takes back the types that nothing names. The caller drops their descriptors.
    fn give_back_types(&self, stopped: &Stopped<'_>) -> Vec<Arc<TypeDesc>> {
        let gone = self
            .types()
            .give_back(|visit| self.heap.for_each_type(stopped, visit));
        if !gone.is_empty() {
            let ids = gone.iter().map(|desc| desc.id()).collect();
            self.heap.end_windows_of(&ids, stopped);
            self.weakness.forget_types(&ids);
        }
        gone
    }

    /// Runs a collection. `from` is when it was asked for.
    ///
    /// # Errors
    /// A source of roots failed; nothing has happened then.
    pub(crate) fn run(
        &self,
        stopped: Stopped<'_>,
        from: Instant,
    ) -> Result<Collection, WorldError> {
        let mut last = from;
        let mut lap = || {
            let now = Instant::now();
            now - std::mem::replace(&mut last, now)
        };
        let stopping = lap();
        let mut heap = self.heap.marking(&stopped);
        self.for_each_root(&stopped, |addr| heap.mark(addr))?;
        self.weakness.roots(&mut heap);
        heap.drain();
        heap.note_live();
        self.weakness.queued(&mut heap);
        heap.drain();
        let marking = lap();
        self.weakness.retain(&mut heap);
        heap.drain();
        self.weakness.decide(&mut heap);
        heap.drain();
        let deciding = lap();
        let swept = heap.sweep();
        let types = self.give_back_types(&stopped);
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
        drop(types);
        tell(|| {
            tracing::debug!(
                number = collection.number,
                live_objects = collection.live_objects,
                freed_objects = collection.freed_objects,
                pause = ?collection.pause(),
                stopping_ns = nanoseconds(collection.stopping),
                marking_ns = nanoseconds(collection.marking),
                deciding_ns = nanoseconds(collection.deciding),
                sweeping_ns = nanoseconds(collection.sweeping),
                "collection"
            );
        });
        self.weakness.resumed(&collection);
        Ok(collection)
    }
}
