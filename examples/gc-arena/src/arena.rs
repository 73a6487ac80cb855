//! An arena with finalizers.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

use fing::Executor;
use fing::error::{CallsError, ExecutorError};
use fing::foreign::{CollectionError, Finalizers, FinalizersBuilder, Finished};
use gc_arena::arena::{CollectionPhase, Root};
use gc_arena::metrics::Metrics;
use gc_arena::{Arena, Collect, Mutation, Rootable};

use crate::{Object, Objects, finish_marking};

/// An [`Arena`] that only this may collect, and the finalizers of its objects.
///
/// Registering is done with [`finalizers`](Self::finalizers). Every method takes `&self`, so that
/// finalizers can mutate the arena, and collect, by a reference that they have to it.
///
/// When it is dropped, nothing is finalized any more: queued calls are discarded. If a finalizer
/// drops it, the arena is leaked, as calls that follow may be of its objects.
pub struct FinalizerArena<R, O>
where
    R: for<'gc> Rootable<'gc>,
    for<'gc> Root<'gc, R>: Sized,
{
    arena: ManuallyDrop<RefCell<Arena<R>>>,
    finalizers: Finalizers<Object>,
    objects: PhantomData<O>,
}

/// Why an arena was not collected, or its root not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArenaError {
    /// It was called inside of `mutate`, whose pointers would dangle.
    Mutating {
        /// The method.
        operation: &'static str,
    },
    /// A collection of its finalizers was begun elsewhere.
    Collection(CollectionError),
}

impl fmt::Display for ArenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArenaError::Mutating { operation } => {
                write!(
                    f,
                    "{operation}: called inside of mutate, wanted outside of it"
                )
            }
            ArenaError::Collection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ArenaError {}

impl From<CollectionError> for ArenaError {
    fn from(error: CollectionError) -> Self {
        ArenaError::Collection(error)
    }
}

impl<R, O> FinalizerArena<R, O>
where
    R: for<'gc> Rootable<'gc>,
    for<'gc> Root<'gc, R>: Collect<'gc> + Sized,
    O: Objects,
{
    /// Makes an arena with a root. The finalizers have the options that are given, but that they
    /// run on this thread only ([`Executor::Inline`]).
    ///
    /// # Errors
    /// Those of [`FinalizersBuilder::build`].
    pub fn new(
        options: FinalizersBuilder<Object>,
        root: impl for<'gc> FnOnce(&'gc Mutation<'gc>) -> Root<'gc, R>,
    ) -> Result<Self, CallsError> {
        let finalizers = options.executor(Executor::Inline).build()?;
        Ok(FinalizerArena {
            arena: ManuallyDrop::new(RefCell::new(Arena::new(root))),
            finalizers,
            objects: PhantomData,
        })
    }

    /// The finalizers of the arena's objects, for registering: an object is named
    /// [`Object::of`] its pointer.
    pub fn finalizers(&self) -> &Finalizers<Object> {
        &self.finalizers
    }

    /// As [`Arena::mutate`]. Calls can be nested.
    ///
    /// # Panics
    /// Inside of a collection: in the destructor of an object.
    pub fn mutate<T>(
        &self,
        change: impl for<'gc> FnOnce(&'gc Mutation<'gc>, &'gc Root<'gc, R>) -> T,
    ) -> T {
        self.arena.borrow().mutate(change)
    }

    /// As [`Arena::mutate_root`].
    ///
    /// # Errors
    /// It was called inside of [`mutate`](Self::mutate).
    pub fn mutate_root<T>(
        &self,
        change: impl for<'gc> FnOnce(&'gc Mutation<'gc>, &'gc mut Root<'gc, R>) -> T,
    ) -> Result<T, ArenaError> {
        Ok(self.exclusive("mutate_root")?.mutate_root(change))
    }

    /// As [`Arena::collect_debt`]: collects until what was allocated is paid for. If marking ended
    /// with this, returns what became due.
    ///
    /// # Errors
    /// It was called inside of [`mutate`](Self::mutate), or a collection of the finalizers was
    /// begun elsewhere.
    pub fn collect_debt(&self) -> Result<Option<Finished<Object>>, ArenaError> {
        let mut arena = self.exclusive("collect_debt")?;
        let mut finished = None;
        // `None` also while it is being swept.
        if arena.mark_debt().is_some() {
            finished = self.end_marking(arena)?;
            arena = self.exclusive("collect_debt")?;
        }
        if arena.collection_phase() == CollectionPhase::Sweeping {
            arena.cycle_debt();
        }
        Ok(finished)
    }

    /// As [`Arena::finish_cycle`]: ends the collection that is under way, or makes a whole one if
    /// there is none. Returns what became due, unless that was known before, as the arena was
    /// being swept already.
    ///
    /// An object that died while the arena was being marked may be kept until the next collection.
    ///
    /// # Errors
    /// Those of [`collect_debt`](Self::collect_debt).
    pub fn finish_cycle(&self) -> Result<Option<Finished<Object>>, ArenaError> {
        let finished = self.end_marking(self.exclusive("finish_cycle")?)?;
        self.exclusive("finish_cycle")?.finish_cycle();
        Ok(finished)
    }

    /// Ends marking, queues what is due, and begins to sweep.
    fn end_marking(
        &self,
        mut arena: RefMut<'_, Arena<R>>,
    ) -> Result<Option<Finished<Object>>, ArenaError> {
        // SAFETY: only these methods collect, and they sweep what this has marked.
        let marked = unsafe { finish_marking::<R, O>(&mut arena, &self.finalizers)? };
        let Some(marked) = marked else {
            return Ok(None);
        };
        marked.start_sweeping();
        drop(arena);
        Ok(Some(self.finalizers.finish()))
    }

    fn exclusive(&self, operation: &'static str) -> Result<RefMut<'_, Arena<R>>, ArenaError> {
        let arena = self.arena.try_borrow_mut();
        arena.map_err(|_| ArenaError::Mutating { operation })
    }

    /// Calls what is due, and what becomes due meanwhile; returns how many calls that were. The
    /// arena is not being mutated, so a finalizer may mutate it, and collect.
    ///
    /// # Errors
    /// A finalizer has called this.
    pub fn run_finalizers(&self) -> Result<u64, ExecutorError> {
        self.finalizers.run_finalizers()
    }

    /// The arena's metrics.
    pub fn metrics(&self) -> Metrics {
        self.arena.borrow().metrics().clone()
    }

    /// What the arena's collector is at.
    pub fn collection_phase(&self) -> CollectionPhase {
        self.arena.borrow().collection_phase()
    }
}

impl<R, O> Drop for FinalizerArena<R, O>
where
    R: for<'gc> Rootable<'gc>,
    for<'gc> Root<'gc, R>: Sized,
{
    fn drop(&mut self) {
        // An error: a finalizer is running, and its batch may have calls of other objects.
        if self.finalizers.shutdown(false, Duration::MAX).is_ok() {
            // SAFETY: dropped once, and not used again.
            unsafe { ManuallyDrop::drop(&mut self.arena) };
        }
    }
}

impl<R, O> fmt::Debug for FinalizerArena<R, O>
where
    R: for<'gc> Rootable<'gc>,
    for<'gc> Root<'gc, R>: Sized,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinalizerArena")
            .field("finalizers", &self.finalizers)
            .finish_non_exhaustive()
    }
}
