//! Registering: finalizers, cleanups, weak pointers and external bytes of objects, by a thread that
//! may touch them.
#![forbid(unsafe_code)]

use crate::calls::function::{CleanupFn, FinalizerFn};
use crate::calls::options::FinalizerOptions;
use crate::heap::AccessError;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::runtime::registry::{
    AddCleanupError, AddWatcherError, AfterError, Cleanup, CleanupArgument, CleanupOptions,
    DowngradeError, FinalizerState, Pointer, SetFinalizerError, Watcher,
};
use crate::runtime::weak::Weak;

impl Mutator {
    /// Sets the finalizer of an object. When a collection finds the object unreachable, it clears
    /// the registration and queues a call `finalizer(object)` on the runtime's finalizer goroutine.
    /// That makes the object reachable again until the call has returned, now without a finalizer;
    /// if it has none set by then and is not referred to from elsewhere, a later collection frees
    /// it.
    ///
    /// The rules are those of Go's `runtime.SetFinalizer`:
    ///
    /// * The object is given as a pointer to its start, an [`Obj`] mostly. A [`Pointer`] of another
    ///   type is good if such a value lies there; one to the inside of an object only if its
    ///   element has no pointers and fewer than 16 bytes, as Go packs such values together.
    /// * The function has exactly one parameter, to which the pointer's type can be assigned: the
    ///   same pointer type, an interface that the pointer implements, or the empty interface. Its
    ///   results are ignored.
    /// * An object has one finalizer at a time; [`clear_finalizer`](Self::clear_finalizer) takes it
    ///   away.
    /// * Finalizers run in dependency order: if A refers to B, both have finalizers, and both are
    ///   otherwise unreachable, only A's runs; B's may once A is freed. An object on a cycle with
    ///   another object is not finalized. Neither holds in
    ///   [`Order::Topological`](crate::Order::Topological).
    /// * An object that its finalizer, or the finalizer's context, leads to is never found
    ///   unreachable.
    /// * There is no guarantee that finalizers run before the program ends. Objects without size,
    ///   and globals, never die.
    /// * Calls are made one after the other, on one thread, in no order that is promised for
    ///   objects which don't refer to each other; a long call should start a thread of its own.
    ///
    /// # Errors
    /// One of Go's checks failed ([`SetFinalizerError::go_text`] returns Go's message); the
    /// function takes a context per registration; its stub could not be made; or the goroutine's
    /// thread could not be started. Nothing is changed then.
    #[inline]
    pub fn set_finalizer<'a>(
        &self,
        object: impl Into<Pointer<'a>>,
        finalizer: &FinalizerFn,
    ) -> Result<FinalizerState, SetFinalizerError> {
        self.set_finalizer_with(object, finalizer, FinalizerOptions::new())
    }

    /// As [`set_finalizer`](Self::set_finalizer), with options: a context of this registration, a
    /// policy for cycles, and external bytes that the object owns.
    ///
    /// # Errors
    /// Those of [`set_finalizer`](Self::set_finalizer), except that the context must be what the
    /// function was declared to take.
    #[inline]
    pub fn set_finalizer_with<'a>(
        &self,
        object: impl Into<Pointer<'a>>,
        finalizer: &FinalizerFn,
        options: FinalizerOptions<Obj<'_>>,
    ) -> Result<FinalizerState, SetFinalizerError> {
        let registry = self.runtime().registry();
        registry.set_finalizer(self, object.into(), finalizer.function(), options)
    }

    /// Removes the finalizer of an object, as Go's `SetFinalizer(object, nil)` does. Other than in
    /// Go, a call that is queued and has not begun is cancelled. Returns
    /// [`FinalizerState::Cleared`], which says how far the finalizer had come, or
    /// [`FinalizerState::Ignored`] for an object that never dies.
    ///
    /// # Errors
    /// One of Go's checks of the object failed.
    #[inline]
    pub fn clear_finalizer<'a>(
        &self,
        object: impl Into<Pointer<'a>>,
    ) -> Result<FinalizerState, SetFinalizerError> {
        let registry = self.runtime().registry();
        registry.clear_finalizer(self, object.into())
    }

    /// Adds a watcher: a finalizer of the object beside its own. An object may have any number, of
    /// one function or of several, whether it has a finalizer or not. When a collection finds the
    /// object unreachable, it queues all their calls, and that of the object's finalizer, and
    /// clears these registrations: each is called once with the object, which is reachable until
    /// all of them have returned. In which order they are called is not promised.
    ///
    /// In everything else a watcher is a finalizer: it may revive the object, cleanups wait for it,
    /// and an object with a watcher is finalized in the order in which one with a finalizer is, so
    /// that one on a cycle may never be. Of the policies for cycles of an object's registrations
    /// the most cautious counts: [`Leave`](crate::CyclePolicy::Leave),
    /// [`Report`](crate::CyclePolicy::Report), [`Break`](crate::CyclePolicy::Break),
    /// [`Unordered`](crate::CyclePolicy::Unordered). [`clear_finalizer`](Self::clear_finalizer)
    /// leaves watchers as they are; [`Watcher::stop`] removes one.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use fing::{Abi, Executor, FinalizerFn, FinalizerOptions, HeldValue, Runtime};
    ///
    /// static HEARD: AtomicUsize = AtomicUsize::new(0);
    /// extern "C" fn hear(_object: *const u64, who: usize) {
    ///     HEARD.fetch_add(who, Ordering::Relaxed);
    /// }
    ///
    /// let runtime = Runtime::builder().executor(Executor::Inline).build()?;
    /// let ty = runtime.types().define("main.T", "struct { N int }")?;
    /// let signature = runtime.types().parse_signature("func(*main.T)")?;
    /// let builder = FinalizerFn::builder(signature, Abi::host_native()?).context_word();
    /// // SAFETY: `hear` is a C function of a pointer and a word.
    /// let hear = unsafe { builder.at(hear as *const ()) };
    ///
    /// let mut mutator = runtime.attach()?;
    /// let object = mutator.alloc(ty)?;
    /// for who in [1, 10, 100] {
    ///     let options = FinalizerOptions::new().context(HeldValue::Word(who));
    ///     let watcher = mutator.add_watcher(object, &hear, options)?;
    ///     if who == 10 {
    ///         assert!(watcher.stop().is_cancelled());
    ///     }
    /// }
    /// mutator.gc()?;
    /// drop(mutator);
    /// runtime.run_finalizers()?;
    /// assert_eq!(HEARD.load(Ordering::Relaxed), 101);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`set_finalizer_with`](Self::set_finalizer_with), except that the object may have
    /// finalizers already. Nothing is added then.
    pub fn add_watcher<'a>(
        &self,
        object: impl Into<Pointer<'a>>,
        finalizer: &FinalizerFn,
        options: FinalizerOptions<Obj<'_>>,
    ) -> Result<Watcher, AddWatcherError> {
        let registry = self.runtime().registry();
        registry.add_watcher(self, object.into(), finalizer.function(), options)
    }

    /// Declares that `object` is finalized after `parent`, though no reference may show it: a
    /// buffer after the file that flushes it. It counts as a reference from `parent` to `object`
    /// that is not in memory. So `object` is kept as long as `parent` is reachable, and if both are
    /// unreachable, the finalizer of `parent` runs first: in the same collection in
    /// [`Order::Topological`](crate::Order::Topological), in an earlier one in Go's order. It does
    /// not keep `parent`, whose memory is free for use once its own finalizer has run. Ends with
    /// the life of either object; declaring it twice is the same as once.
    ///
    /// Usually takes constant time; a declaration between two objects that are both named in others
    /// may search those between them.
    ///
    /// # Errors
    /// The declarations would go round in a circle ([`AfterError::Cycle`] names it); one of the
    /// objects is of another runtime, has no size or shares a block; or nothing is finalized any
    /// more. Nothing is changed then. A circle of declarations and references is found by the
    /// collection, which treats it as one of references ([`CyclePolicy`](crate::CyclePolicy)).
    pub fn finalize_after(&self, object: Obj<'_>, parent: Obj<'_>) -> Result<(), AfterError> {
        let registry = self.runtime().registry();
        registry.finalize_after(self, object, parent)
    }

    /// Adds a cleanup: when a collection finds the object that `pointer` points into unreachable,
    /// it queues a call `cleanup(argument)` and frees the object. Any number of cleanups can be
    /// added to an object, and none of them brings it back. If an object has a finalizer too, its
    /// cleanups wait until it is unreachable after that has run.
    ///
    /// The rules are those of Go's `runtime.AddCleanup`. The argument is captured by value, and
    /// checked to be a value of the function's parameter type. Objects that it refers to are kept
    /// alive; if it leads to the object itself, the cleanup never runs, and where that is seen at
    /// once it is an error.
    ///
    /// # Errors
    /// One of Go's checks failed ([`AddCleanupError::go_text`] returns Go's message); the argument
    /// is no value of the parameter's type; the function takes a context per registration; its stub
    /// could not be made; or the goroutine's thread could not be started. Nothing is added then.
    pub fn add_cleanup<'m>(
        &'m self,
        pointer: impl Into<usize>,
        cleanup: &CleanupFn,
        argument: impl Into<CleanupArgument<'m>>,
    ) -> Result<Cleanup, AddCleanupError> {
        self.add_cleanup_with(pointer, cleanup, argument, CleanupOptions::new())
    }

    /// As [`add_cleanup`](Self::add_cleanup), with a context of this cleanup.
    ///
    /// # Errors
    /// Those of [`add_cleanup`](Self::add_cleanup), except that the context must be what the
    /// function was declared to take.
    #[inline]
    pub fn add_cleanup_with<'m>(
        &'m self,
        pointer: impl Into<usize>,
        cleanup: &CleanupFn,
        argument: impl Into<CleanupArgument<'m>>,
        options: CleanupOptions<'m>,
    ) -> Result<Cleanup, AddCleanupError> {
        let registry = self.runtime().registry();
        let (function, argument) = (cleanup.function(), argument.into());
        registry.add_cleanup(self, pointer.into(), function, argument, options)
    }

    /// Returns a weak pointer to where `pointer` points: an object, a place in one, or a global. It
    /// is nil if `pointer` is. Weak pointers that were made from the same place of the same object
    /// are equal.
    ///
    /// # Errors
    /// `pointer` points to nothing that this runtime knows.
    pub fn downgrade(&self, pointer: impl Into<usize>) -> Result<Weak, DowngradeError> {
        self.runtime().registry().downgrade(self, pointer.into())
    }

    /// Sets how many bytes outside the heap the object owns, in place of the previous figure: a
    /// buffer, a texture, a mapping that its finalizer or cleanup frees. They count until the
    /// object is freed.
    ///
    /// Objects without size never die, so nothing is counted for them. Values that share a block
    /// ([`HeapOptions::tiny`](crate::HeapOptions::tiny)) have one figure together, the last one.
    ///
    /// A collection becomes due when as many external bytes were stated since the last one as
    /// objects that were alive then own ([`HeapOptions::percent`](crate::HeapOptions::percent) says
    /// how much that is), at least
    /// [`HeapOptions::MIN_EXTERNAL_TRIGGER`](crate::HeapOptions::MIN_EXTERNAL_TRIGGER) bytes, in at
    /// least 32 calls that raised an object's figure. So external memory stays below about twice
    /// what is alive plus that minimum, and figures that are all wrong by a constant factor make at
    /// most twice as many collections as right ones.
    ///
    /// # Errors
    /// The object is of another runtime.
    pub fn set_external_bytes(&self, object: Obj<'_>, bytes: usize) -> Result<(), AccessError> {
        self.space().heap().type_at(object.addr())?;
        let registry = self.runtime().registry();
        registry.set_external_bytes(self.space(), object.addr(), bytes);
        Ok(())
    }
}
