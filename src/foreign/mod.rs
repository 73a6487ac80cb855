//! `Finalizers`: registrations, queue and finalizer goroutine, without a heap, for an embedder that
//! has a collector of its own.
//!
//! `table` holds the registrations; `steps` has the steps by which a `collection` decides which of
//! them are due; `due` turns calls that are due into records of the queue.
#![expect(
    unsafe_code,
    reason = "declares the unsafe functions that trust a reference; contains no unsafe block"
)]

mod after;
pub(crate) mod builder;
mod candidates;
mod collection;
mod due;
mod entries;
mod entry;
mod ephemerons;
mod error;
mod exit;
mod follow;
mod index;
mod part;
mod prepared;
mod set;
mod steps;
mod table;
mod take_back;
mod watch;
mod why;

use std::sync::{Arc, Weak as WeakArc};
use std::time::Duration;

use fing_stubs::{AbiError, CacheStats};

pub use crate::order::{Reference, Scope, Tracer};
pub use builder::FinalizersBuilder;
pub use collection::Collection;
pub use error::RegisterError;
pub use exit::{Exit, ExitError};
pub use part::Part;
pub use prepared::PreparedFinalizer;

use crate::base::events::drop_guarded;
use crate::base::lock::Lock;
use crate::calls::budget::{Budget, Drained};
use crate::calls::builder::{Builder, CallsError};
use crate::calls::due::Due;
use crate::calls::executor::{Closed, Executor, ExecutorError, Goroutine, Owner};
use crate::calls::exit::ExitPolicy;
use crate::calls::function::{CleanupFn, FinalizerFn, Function};
use crate::calls::goroutine::Calls;
use crate::calls::lent::{Lender, Lent, NotLent};
use crate::calls::lookup::Lookup;
use crate::calls::mailbox::{Mailbox, MailboxOptions};
use crate::calls::options::{FinalizerOptions, Handling, HeldValue};
use crate::calls::queue::{Backlog, CallId, CallStage, CallStats, LaneId, demand};
use crate::calls::samples::CallTimes;
use crate::calls::shape::Argument;
use crate::calls::shapes::Named;
use crate::calls::sites::{self, SiteStats};
use crate::calls::ticket::Ticket;
use crate::order::{CyclePolicy, KeepPath};
use entry::Kind;
use table::{Id, Registration, Table};

/// Finalizers, cleanups and weak handles for the objects of any collector.
///
/// Clones are handles to one table. When the last one is dropped, the goroutine ends after the
/// call it is running, and what is queued is dropped. Code that these `Finalizers` own, such as the
/// closure of a finalizer, holds a [`WeakFinalizers`] instead.
///
/// Mutators register. The collector, with the world stopped, calls [`begin`](Self::begin) when it
/// starts, and [`step`](Collection::step) when it has followed everything from its own roots; and
/// once the world goes on, [`finish`](Self::finish) hands over what is due. A collection that can
/// follow references at any moment is one call: [`collect`](Self::collect). A [`Tracer`] says what
/// is reachable. No thread may be stopped inside of a call of this type.
///
/// With a collector that moves objects, finalizers must run on a thread that takes part in
/// collections ([`Executor::Inline`], the default). While [`run_finalizers`](Self::run_finalizers)
/// is under way there, collections may happen only inside of the finalizers it calls.
pub struct Finalizers<R: Reference> {
    shared: Arc<Shared<R>>,
    goroutine: Arc<Goroutine>,
}

impl<R: Reference> Clone for Finalizers<R> {
    fn clone(&self) -> Self {
        Finalizers {
            shared: self.shared.clone(),
            goroutine: self.goroutine.clone(),
        }
    }
}

/// A handle of [`Finalizers`] that does not keep them alive: for code that they own, such as
/// closures of finalizers and hooks. [`Finalizers::to_weak`] returns it.
pub struct WeakFinalizers<R: Reference> {
    shared: WeakArc<Shared<R>>,
    goroutine: WeakArc<Goroutine>,
}

impl<R: Reference> WeakFinalizers<R> {
    /// Returns the finalizers, or `None` if their last handle was dropped.
    pub fn upgrade(&self) -> Option<Finalizers<R>> {
        Some(Finalizers {
            goroutine: self.goroutine.upgrade()?,
            shared: self.shared.upgrade()?,
        })
    }
}

impl<R: Reference> Clone for WeakFinalizers<R> {
    fn clone(&self) -> Self {
        WeakFinalizers {
            shared: self.shared.clone(),
            goroutine: self.goroutine.clone(),
        }
    }
}

impl<R: Reference> std::fmt::Debug for WeakFinalizers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakFinalizers")
    }
}

struct Shared<R> {
    table: Lock<Table<R>>,
    calls: Calls,
    /// Tells the ids of different `Finalizers` apart.
    identity: u64,
}

impl<R: Reference> Shared<R> {
    /// Removes the finalizer of an object by `registered`, or else cancels its call, of a function
    /// whose shape `allowed` takes.
    fn clear_finalizer(
        &self,
        object: R,
        registered: impl FnOnce(&mut Table<R>) -> bool,
        allowed: impl Fn(u32) -> bool,
    ) -> CallStage {
        // Locked to the end: a collection may take the call back, and register it again.
        let mut table = self.table.lock();
        if registered(&mut table) {
            return CallStage::Registered;
        }
        if table.cancel_due_finalizer(object, &allowed) {
            return CallStage::Queued;
        }
        let id = CallId::Finalizer(object.to_word());
        self.calls.queue.cancel(id, allowed)
    }
}

impl<R: Reference> Owner for Shared<R> {
    fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Always false: the embedder alone knows which threads run with mutators.
    fn is_running_here(&self) -> bool {
        false
    }
}

impl<R: Reference> Lender for Shared<R> {
    /// Registering functions that take a mutator is refused.
    fn lend(&self, _: &mut dyn FnMut(&mut dyn Lent)) -> Result<(), NotLent> {
        Err(NotLent(
            "a foreign collector's mutators are not known".to_owned(),
        ))
    }
}

/// A cleanup that was added, for [`Finalizers::stop_cleanup`]. Only the [`Finalizers`] that
/// returned it know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cleanup {
    of: u64,
    id: Id,
}

/// A watcher that was added, for [`Finalizers::stop_watcher`]. Only the [`Finalizers`] that
/// returned it know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watcher {
    of: u64,
    id: Id,
}

/// A weak handle of an object, for [`Finalizers::upgrade`]. Only the [`Finalizers`] that returned
/// it know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weak {
    of: u64,
    id: Id,
}

/// An entry of a weak map, for [`Finalizers::ephemeron_entry`]. Only the [`Finalizers`] that
/// returned it know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ephemeron {
    of: u64,
    id: Id,
}

/// Why a collection could not begin or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// There is a [`Collection`] that has not made its last step and was not dropped.
    #[error("a collection of these finalizers is under way, wanted none")]
    UnderWay,
    /// `early_roots` was called after the first step.
    #[error("early_roots: the collection has made a step, wanted none yet")]
    Stepped,
}

/// The results of a collection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finished<R> {
    /// The ticket of these calls, to wait for them.
    pub ticket: Ticket,
    /// Number of calls that were queued.
    pub queued: usize,
    /// Cycles to be reported ([`CyclePolicy::Report`]): each object refers to the next one, and the
    /// last to the first. The references are valid until the next collection.
    pub cycles: Vec<Vec<R>>,
}

/// Statistics of [`Finalizers`]. Calls are counted since these were made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FinalizersStats {
    /// Calls of finalizers, by what became of them.
    pub finalizer_calls: CallStats,
    /// Calls of cleanups, by what became of them.
    pub cleanup_calls: CallStats,
    /// Calls that are queued and have not begun.
    pub backlog: Backlog,
    /// Finalizers that are set, and watchers.
    pub finalizers: u64,
    /// Cleanups that are neither stopped nor due.
    pub cleanups: u64,
    /// Weak handles of objects that are alive.
    pub weak: u64,
    /// Entries of weak maps.
    pub ephemerons: u64,
    /// Number of calls that were queued.
    pub queued: u64,
    /// Calls done.
    pub executed: u64,
    /// Calls that were cancelled after they had been queued, or, in topological order, registered
    /// again as their objects were revived.
    pub cancelled: u64,
    /// Calls dropped because of a shutdown: those that were queued then, and those of registrations
    /// that the first collection after it has found.
    pub discarded: u64,
    /// Calls that failed, and calls that were not made as their function is in quarantine.
    pub failed: u64,
    /// Calls that were queued again after they had failed.
    pub requeued: u64,
    /// Calls that were not made, as their function is in quarantine.
    pub quarantined: u64,
    /// Calls that another thread has taken over from, and that have not returned.
    pub stuck: u64,
    /// Times that another thread took over from one that was stuck or had ended.
    pub taken_over: u64,
    /// Registrations that were refused as the backlog exceeded a bound.
    pub refused: u64,
    /// Calls that threads have made, or waited for, in [`Finalizers::assist`].
    pub assisted: u64,
    /// Statistics of the stub cache.
    pub stubs: CacheStats,
}

impl<R: Reference> Finalizers<R> {
    /// Makes [`Finalizers`] with all defaults.
    ///
    /// # Errors
    /// Those of [`FinalizersBuilder::build`].
    pub fn new() -> Result<Finalizers<R>, CallsError> {
        Finalizers::builder().build()
    }

    /// Returns a builder with all defaults.
    pub fn builder() -> FinalizersBuilder<R> {
        Builder::new(Executor::Inline, builder::Options::default())
    }

    /// Returns a handle that does not keep these `Finalizers` alive, for code that they own.
    pub fn to_weak(&self) -> WeakFinalizers<R> {
        WeakFinalizers {
            shared: Arc::downgrade(&self.shared),
            goroutine: Arc::downgrade(&self.goroutine),
        }
    }

    // ------------------------------------------------------------------------------------------
    // mutators

    /// Sets the finalizer of an object. When a collection finds the object unreachable, it clears
    /// the registration, keeps the object, and queues a call of `function` with the object's word.
    /// The rules are those of [`Mutator::set_finalizer`](crate::Mutator::set_finalizer), except
    /// that a foreign collector's objects have no types. The function must have exactly one
    /// parameter: a pointer, an unsigned integer of 4 or 8 bytes, or an interface, for which the
    /// function must have an [`interface_word`](crate::function::FunctionBuilder::interface_word).
    ///
    /// # Safety
    /// The object is alive and initialized, it is one of the collector that drives these
    /// `Finalizers` (see [`begin`](Self::begin)), and the function may be called with it.
    ///
    /// # Errors
    /// The object has a finalizer already; the function has other parameters than these, a null
    /// address, or a context per registration; its stub could not be made; or the goroutine's
    /// thread could not be started. Nothing is changed then.
    pub unsafe fn set_finalizer(
        &self,
        object: R,
        function: &FinalizerFn,
    ) -> Result<(), RegisterError> {
        self.add_finalizer(object, function, FinalizerOptions::new())
    }

    /// As [`set_finalizer`](Self::set_finalizer), with options: a context of this registration, and
    /// a policy for cycles.
    ///
    /// # Safety
    /// Those of [`set_finalizer`](Self::set_finalizer), for the object and for a context that is an
    /// object.
    ///
    /// # Errors
    /// Those of [`set_finalizer`](Self::set_finalizer), except that the context must be what the
    /// function was declared to take.
    pub unsafe fn set_finalizer_with(
        &self,
        object: R,
        function: &FinalizerFn,
        options: FinalizerOptions<R>,
    ) -> Result<(), RegisterError> {
        self.add_finalizer(object, function, options)
    }

    fn add_finalizer(
        &self,
        object: R,
        finalizer: &FinalizerFn,
        options: FinalizerOptions<R>,
    ) -> Result<(), RegisterError> {
        let registration = self.finalizer(object, finalizer, options)?;
        let added = self.shared.table.lock().add(registration);
        added.map(drop).ok_or(RegisterError::AlreadySet {
            word: object.to_word(),
        })
    }

    /// Adds a watcher: a finalizer of the object beside its own. An object may have any number. A
    /// collection that finds the object unreachable queues all their calls, and that of the
    /// object's finalizer, in an order that is not promised; the object is kept until all have
    /// returned. The rules are those of
    /// [`Mutator::add_watcher`](crate::Mutator::add_watcher).
    ///
    /// # Safety
    /// Those of [`set_finalizer_with`](Self::set_finalizer_with).
    ///
    /// # Errors
    /// Those of [`set_finalizer_with`](Self::set_finalizer_with), except that the object may have
    /// finalizers already. Nothing is added then.
    pub unsafe fn add_watcher(
        &self,
        object: R,
        finalizer: &FinalizerFn,
        options: FinalizerOptions<R>,
    ) -> Result<Watcher, RegisterError> {
        let registration = Registration {
            watches: true,
            ..self.finalizer(object, finalizer, options)?
        };
        let added = self.shared.table.lock().add(registration);
        let id = added.unwrap_or_else(|| unreachable!("an object may have any number of watchers"));
        let of = self.shared.identity;
        Ok(Watcher { of, id })
    }

    /// Removes a watcher, or cancels its call if that is queued and has not begun. Returns how far
    /// it had come; [`CallStage::Done`] for a watcher of other `Finalizers`.
    pub fn stop_watcher(&self, watcher: Watcher) -> CallStage {
        if watcher.of != self.shared.identity {
            return CallStage::Done;
        }
        let mut table = self.shared.table.lock();
        if table.stop_watcher(watcher.id) {
            return CallStage::Registered;
        }
        if table.cancel_due_watcher(watcher.id) {
            return CallStage::Queued;
        }
        // With the table locked: a collection may take the call back, and register it again.
        let id = CallId::Watcher(watcher.id.number());
        self.shared.calls.queue.cancel(id, |_| true)
    }

    /// Checks a finalizer of an object, and returns its registration.
    fn finalizer(
        &self,
        object: R,
        finalizer: &FinalizerFn,
        options: FinalizerOptions<R>,
    ) -> Result<Registration<R>, RegisterError> {
        self.admit()?;
        let function = finalizer.function();
        let argument = error::check(function)?;
        let context = error::check_context(function, options.context)?;
        Ok(Registration {
            kind: Kind::Finalizer,
            watches: false,
            object,
            shape: self.shape(function, argument, options.handling)?,
            held: context,
            policy: options.handling.cycle,
        })
    }

    /// Returns the shape of a function, after starting the goroutine that will call it.
    fn shape(
        &self,
        function: &Function,
        argument: Argument,
        handling: Handling,
    ) -> Result<u32, RegisterError> {
        let calls = &self.shared.calls;
        self.goroutine.start()?;
        let shape = calls
            .shapes
            .index_of(function, argument, handling, &calls.stubs)?;
        Ok(shape)
    }

    /// Checks a finalizer once, for any number of objects. Setting the result is much faster than
    /// [`set_finalizer`](Self::set_finalizer), which checks for each object.
    ///
    /// # Errors
    /// Those of [`set_finalizer`](Self::set_finalizer) that are about the function.
    pub fn prepare_finalizer(
        &self,
        function: &FinalizerFn,
        handling: impl Into<Handling>,
    ) -> Result<PreparedFinalizer<R>, RegisterError> {
        PreparedFinalizer::new(self, function, handling.into())
    }

    /// Removes the finalizer of an object, or cancels its call if that is queued and has not begun.
    /// Returns how far it had come. With a collector that moves objects, a queued call is known by
    /// the object's address after the last collection.
    pub fn clear_finalizer(&self, object: R) -> CallStage {
        let registered = |table: &mut Table<R>| table.clear_finalizer(object);
        self.shared.clear_finalizer(object, registered, |_| true)
    }

    /// Adds a cleanup: when a collection finds the object dead, it queues a call of `cleanup` with
    /// `argument`. Any number can be added to an object, and none of them keeps it alive. If the
    /// object has a finalizer too, its cleanups wait until it is dead after that has run. An
    /// argument that is an object is kept alive until the call has returned.
    ///
    /// # Safety
    /// Those of [`set_finalizer`](Self::set_finalizer), for the object and for an argument that is
    /// an object; and the function may be called with the argument.
    ///
    /// # Errors
    /// The argument is the object; the function does not have exactly one parameter that is a
    /// pointer or an unsigned integer of 4 or 8 bytes, or it has a null address or a context per
    /// registration; its stub could not be made; or the goroutine's thread could not be started.
    /// Nothing is added then.
    pub unsafe fn add_cleanup(
        &self,
        object: R,
        cleanup: &CleanupFn,
        argument: HeldValue<R>,
    ) -> Result<Cleanup, RegisterError> {
        self.add_cleanup_to(object, cleanup, argument, Handling::new())
    }

    /// As [`add_cleanup`](Self::add_cleanup), with what is done about failures, and where this is
    /// called. (A cleanup has no policy for cycles.)
    ///
    /// # Safety
    /// Those of [`add_cleanup`](Self::add_cleanup).
    ///
    /// # Errors
    /// Those of [`add_cleanup`](Self::add_cleanup).
    pub unsafe fn add_cleanup_with(
        &self,
        object: R,
        cleanup: &CleanupFn,
        argument: HeldValue<R>,
        options: Handling,
    ) -> Result<Cleanup, RegisterError> {
        self.add_cleanup_to(object, cleanup, argument, options)
    }

    fn add_cleanup_to(
        &self,
        object: R,
        cleanup: &CleanupFn,
        argument: HeldValue<R>,
        options: Handling,
    ) -> Result<Cleanup, RegisterError> {
        self.admit()?;
        if argument == HeldValue::Object(object) {
            return Err(RegisterError::ArgumentIsObject {
                word: object.to_word(),
            });
        }
        let function = cleanup.function();
        if let Argument::Interface(_) = error::check(function)? {
            return Err(RegisterError::NotOneWord {
                function: function.signature().clone(),
            });
        }
        error::check_context::<R>(function, None)?;
        let reference = matches!(argument, HeldValue::Object(_));
        let word = Argument::Word {
            references: u8::from(reference),
        };
        let registration = Registration {
            kind: Kind::Cleanup,
            watches: false,
            object,
            shape: self.shape(function, word, options)?,
            held: Some(argument),
            policy: CyclePolicy::default(),
        };
        let added = self.shared.table.lock().add(registration);
        let id = added.unwrap_or_else(|| unreachable!("an object may have any number of cleanups"));
        let of = self.shared.identity;
        Ok(Cleanup { of, id })
    }

    /// Removes a cleanup, or cancels its call if that is queued and has not begun. Returns how far
    /// it had come; [`CallStage::Done`] for a cleanup of other `Finalizers`.
    pub fn stop_cleanup(&self, cleanup: Cleanup) -> CallStage {
        if cleanup.of != self.shared.identity {
            return CallStage::Done;
        }
        let mut table = self.shared.table.lock();
        if table.stop_cleanup(cleanup.id) {
            return CallStage::Registered;
        }
        if table.cancel_due_id(cleanup.id) {
            return CallStage::Queued;
        }
        drop(table);
        let id = CallId::Cleanup(cleanup.id.number());
        self.shared.calls.queue.cancel(id, |_| true)
    }

    /// Declares that `object` is finalized after `parent`, though no reference shows it: a
    /// statement after its connection. As a reference from `parent` to `object` would do: `object`
    /// lives as long as `parent` is reachable, and `parent` is not kept by it. In
    /// [`Order::Topological`](crate::Order::Topological) both are finalized in one collection,
    /// `parent` first, in Go's order one after the other.
    ///
    /// Each collection, minor ones included, looks at all declarations of living objects.
    ///
    /// # Safety
    /// Those of [`set_finalizer`](Self::set_finalizer), for both objects.
    ///
    /// # Errors
    /// The declarations would go round in a circle; the error names it. Or nothing is finalized any
    /// more. Nothing is changed then.
    pub unsafe fn finalize_after(&self, object: R, parent: R) -> Result<(), RegisterError> {
        self.check_open()?;
        self.shared.table.lock().declare(object, parent)
    }

    /// Checks that finalization goes on.
    fn check_open(&self) -> Result<(), RegisterError> {
        Closed::check(&self.shared.calls.gate).map_err(RegisterError::Closed)
    }

    /// Checks that something may be registered.
    #[inline]
    fn admit(&self) -> Result<(), RegisterError> {
        let calls = &self.shared.calls;
        self.check_open()?;
        if calls.queue.demands() == 0 {
            return Ok(());
        }
        calls.pressure.admit(&calls.queue)?;
        Ok(())
    }

    /// Returns the weak handle of an object, of which there is one at a time. A collection that
    /// finds the object unreachable ends it, before it queues the object's finalizer.
    ///
    /// # Safety
    /// Those of [`set_finalizer`](Self::set_finalizer), for the object.
    pub unsafe fn downgrade(&self, object: R) -> Weak {
        Weak {
            of: self.shared.identity,
            id: self.shared.table.lock().weak(object),
        }
    }

    /// Returns the object of a weak handle, or `None` if a collection has found it unreachable, or
    /// the handle is one of other `Finalizers`. (During a collection that marks while mutators run,
    /// the collector has to be told that there is a reference again.)
    pub fn upgrade(&self, weak: Weak) -> Option<R> {
        let own = weak.of == self.shared.identity;
        own.then(|| self.shared.table.lock().upgrade(weak.id))?
    }

    /// Adds an entry to a weak map: an ephemeron. It does not keep its key. It keeps its value as
    /// long as `map` is alive and the key is, the key by another way than through the value.
    ///
    /// `map` is the object whose entry this is, such as the VM's weak map itself: the entry counts
    /// as an object to which only `map` refers. A collection that finds the entry or its key
    /// unreachable ends it, when it ends [weak handles](Self::downgrade): before the finalizer of
    /// the key is queued. In [topological order](crate::Order::Topological) an entry whose key is
    /// finalized ends too if another object that is finalized refers to the key.
    ///
    /// What entries keep is found in time linear in their number and in what they keep, also where
    /// the value of one is the key or the map of the next. A minor collection looks at entries that
    /// refer to something young. During a collection that marks while mutators run, the collector
    /// has to be told of the objects of a new entry, and of what
    /// [`ephemeron_entry`](Self::ephemeron_entry) returns, as of any new reference.
    ///
    /// # Safety
    /// Those of [`set_finalizer`](Self::set_finalizer), for the three objects.
    pub unsafe fn ephemeron(&self, map: R, key: R, value: R) -> Ephemeron {
        Ephemeron {
            of: self.shared.identity,
            id: self.shared.table.lock().add_ephemeron(map, key, value),
        }
    }

    /// Returns the key and the value of an entry, or `None` if it was removed, a collection has
    /// ended it, or it is one of other `Finalizers`.
    pub fn ephemeron_entry(&self, ephemeron: Ephemeron) -> Option<(R, R)> {
        let id = self.own(ephemeron)?;
        self.shared.table.lock().ephemeron(id)
    }

    /// Replaces the value of an entry. Returns whether the entry is there, as
    /// [`ephemeron_entry`](Self::ephemeron_entry) does.
    ///
    /// # Safety
    /// Those of [`set_finalizer`](Self::set_finalizer), for the value.
    pub unsafe fn set_ephemeron_value(&self, ephemeron: Ephemeron, value: R) -> bool {
        let own = self.own(ephemeron);
        own.is_some_and(|id| self.shared.table.lock().set_ephemeron_value(id, value))
    }

    /// Removes an entry. Returns whether it was there, as
    /// [`ephemeron_entry`](Self::ephemeron_entry) does.
    pub fn remove_ephemeron(&self, ephemeron: Ephemeron) -> bool {
        let own = self.own(ephemeron);
        own.is_some_and(|id| self.shared.table.lock().remove_ephemeron(id))
    }

    fn own(&self, ephemeron: Ephemeron) -> Option<Id> {
        (ephemeron.of == self.shared.identity).then_some(ephemeron.id)
    }

    // ------------------------------------------------------------------------------------------
    // the collector

    /// Begins a collection, which is driven by the [`Collection`] that this returns.
    ///
    /// # Safety
    /// The caller is the collector whose objects are registered. Until the collection has ended or
    /// is given up:
    ///
    /// * every [`Tracer`] that the `Collection` is given is one of this collector, and the world is
    ///   stopped while it works;
    /// * what [`forward`](Collection::forward) is told is where the objects are afterwards.
    ///
    /// # Errors
    /// [`CollectionError::UnderWay`] if a collection is under way.
    pub unsafe fn begin(&self, scope: Scope) -> Result<Collection<R>, CollectionError> {
        self.begin_collection(scope)
    }

    fn begin_collection(&self, scope: Scope) -> Result<Collection<R>, CollectionError> {
        let mut table = self.shared.table.lock();
        if !table.begin(scope) {
            return Err(CollectionError::UnderWay);
        }
        if !self.shared.calls.gate.is_open() {
            let number = table.handed_over;
            let dropped = table.drop_calls();
            let queue = &self.shared.calls.queue;
            queue.fill(number, |queue| queue.discard(dropped));
        }
        drop(table);
        Ok(Collection::new(self.clone()))
    }

    /// Hands the calls that are due to the finalizer goroutine, and releases functions that are no
    /// longer used. To be called when the collection is over and the world may go on. Until then
    /// the calls wait in the table, where they are roots too.
    pub fn finish(&self) -> Finished<R> {
        let calls = &self.shared.calls;
        let mut table = self.shared.table.lock();
        let mut lookup = Lookup::between_sweeps(&calls.shapes);
        let mut queued = 0;
        let number = table.next_hand_over();
        calls.queue.fill(number, |filling| {
            table.take_due(|due| {
                due::queue(&due, &mut lookup, filling);
                queued += 1;
            });
        });
        drop(lookup);
        let cycles = table.take_reports();
        let name = |named: &mut Named| {
            table.for_each_shape(|shape| named.add(shape));
            calls.queue.for_each_shape(|shape| named.add(shape));
        };
        let forget = |shapes: &[u32]| calls.queue.forget_shapes(shapes);
        let removed = calls.shapes.sweep(name, forget);
        drop(table);
        calls.posts.wake(&calls.queue);
        calls.pressure.look(&calls.queue);
        for shape in removed {
            drop_guarded("the owner of a function", shape);
        }
        Finished {
            ticket: Ticket::new(number, &calls.queue, &self.goroutine),
            queued,
            cycles,
        }
    }

    /// Makes all steps of a collection, for collectors that can follow references at any moment. To
    /// be called when everything reachable from the collector's own roots has been followed.
    /// `follow` is called after each step, to follow what the step has traced. The caller calls
    /// [`finish`](Self::finish) afterwards.
    ///
    /// # Safety
    /// As [`begin`](Self::begin).
    ///
    /// # Errors
    /// [`CollectionError::UnderWay`] if a collection is under way.
    pub unsafe fn collect<T: Tracer<Ref = R>>(
        &self,
        scope: Scope,
        tracer: &mut T,
        mut follow: impl FnMut(&mut T),
    ) -> Result<(), CollectionError> {
        let mut collection = self.begin_collection(scope)?;
        while collection.step(tracer) {
            follow(tracer);
        }
        follow(tracer);
        Ok(())
    }

    /// Returns what keeps an object alive: the shortest path of references to it from `roots`,
    /// which are the collector's own, from what a registration or a queued call holds, or, in Go's
    /// order, from the contents of an object with a finalizer. An [entry of a weak
    /// map](Self::ephemeron) leads from its key to its value. `None` if nothing does: the next
    /// collection would find it dead, or queue its finalizer.
    ///
    /// To be called with the world stopped, between collections. It takes time and memory in
    /// proportion to what is reachable: for debugging.
    ///
    /// # Safety
    /// The roots and the object are whole objects of the collector whose objects are registered,
    /// and the tracer is one of it.
    ///
    /// # Errors
    /// [`CollectionError::UnderWay`] if a collection is under way.
    pub unsafe fn why_alive<T: Tracer<Ref = R>>(
        &self,
        tracer: &mut T,
        roots: impl IntoIterator<Item = R>,
        object: R,
    ) -> Result<Option<KeepPath<R>>, CollectionError> {
        // The embedder's iterator runs without a lock.
        let roots: Vec<R> = roots.into_iter().collect();
        let table = self.shared.table.lock();
        if table.is_under_way() {
            return Err(CollectionError::UnderWay);
        }
        let mut calls = Vec::new();
        let queue = &self.shared.calls.queue;
        queue.visit_references(&mut |word| calls.push(word));
        Ok(table.why(tracer, roots.into_iter(), calls, object))
    }

    // ------------------------------------------------------------------------------------------
    // calls

    /// With [`Executor::Inline`] or [`Executor::Manual`]: runs the queued calls on this thread
    /// until there are none, and returns how many that were.
    ///
    /// # Errors
    /// The executor is [`Executor::Thread`]; it is [`Executor::Inline`] and another thread made
    /// these `Finalizers`; another thread runs finalizers; this thread is ending; or a finalizer
    /// has called this.
    pub fn run_finalizers(&self) -> Result<u64, ExecutorError> {
        self.goroutine.run_inline()
    }

    /// As [`run_finalizers`](Self::run_finalizers), but returns when the budget is used up; see
    /// [`Runtime::drain`](crate::Runtime::drain).
    ///
    /// # Errors
    /// Those of [`run_finalizers`](Self::run_finalizers).
    pub fn drain(&self, budget: Budget) -> Result<Drained, ExecutorError> {
        self.goroutine.drain(budget)
    }

    /// Takes the next call that is due out of the queue, for the caller to make; see
    /// [`Runtime::next_due`](crate::Runtime::next_due). What it takes is traced, and updated where
    /// a collector moves objects, until the call has ended.
    ///
    /// # Errors
    /// Those of [`Runtime::next_due`](crate::Runtime::next_due).
    pub fn next_due(&self) -> Result<Option<Due>, ExecutorError> {
        self.goroutine.next_due()
    }

    /// If the backlog exceeds a bound that asks for assistance, makes calls on
    /// this thread, or waits while other threads make them. Returns how many were made meanwhile.
    /// If no bound is exceeded, it costs one load. For threads of the embedder to call before they
    /// allocate, where a collection may happen: it may make calls on this thread as
    /// [`run_finalizers`](Self::run_finalizers) does.
    #[inline]
    pub fn assist(&self) -> u64 {
        match self.shared.calls.queue.demands() & demand::ASSIST {
            0 => 0,
            _ => self.goroutine.assist(),
        }
    }

    /// Makes a [`Mailbox`]: calls that a thread of the embedder makes, apart from those of the
    /// executor.
    ///
    /// # Errors
    /// Finalization was shut down, or this process is a fork.
    pub fn mailbox(&self, options: MailboxOptions) -> Result<Mailbox, Closed> {
        self.goroutine.mailbox(options)
    }

    /// Returns a descriptor that is readable while calls are queued; see
    /// [`Runtime::due_descriptor`](crate::Runtime::due_descriptor).
    ///
    /// # Errors
    /// The system's, if the descriptor can't be made.
    #[cfg(unix)]
    pub fn due_descriptor(&self) -> std::io::Result<std::os::fd::BorrowedFd<'_>> {
        let calls = &self.shared.calls;
        calls
            .posts
            .executor
            .signal
            .descriptor(|| calls.queue.is_due_in(LaneId::EXECUTOR))
    }

    /// Waits until no call is queued or running. With [`Executor::Inline`], on the thread that made
    /// these `Finalizers`, runs them.
    ///
    /// # Errors
    /// `timeout` passes first, or a finalizer has called this.
    pub fn block_until_finalizer_queue_empty(
        &self,
        timeout: Duration,
    ) -> Result<(), ExecutorError> {
        self.goroutine.wait(timeout)
    }

    /// Ends the finalizer goroutine: runs the queued calls if `drain`, or else drops them, and
    /// waits at most `timeout` for the end. Nothing is finalized any more after that. Returns how
    /// many queued calls were dropped.
    ///
    /// # Errors
    /// Those of [`Runtime::shutdown`](crate::Runtime::shutdown).
    pub fn shutdown(&self, drain: bool, timeout: Duration) -> Result<u64, ExecutorError> {
        self.goroutine.shutdown(drain, timeout)
    }

    /// Begins to end finalization, for a program that is about to end: nothing can be registered
    /// from now on, and what the policy says is queued, in its order. To be called with the world
    /// stopped, between collections. [`Exit::run`] does the rest, once the world may go on.
    ///
    /// The tracer is asked only in [`ExitPolicy::Topological`], and only for the contents of
    /// objects, of which this may visit all that are registered or reachable from these.
    ///
    /// # Safety
    /// The caller is the collector whose objects are registered, and the tracer is one of it.
    ///
    /// # Errors
    /// A finalizer calls this; a collection is under way; the order of registrations is asked for
    /// and not known; or this process is a fork. Nothing is ended then.
    pub unsafe fn begin_exit<T: Tracer<Ref = R>>(
        &self,
        policy: ExitPolicy,
        tracer: &mut T,
    ) -> Result<Exit<R>, ExitError> {
        Exit::begin(self, policy, tracer)
    }

    /// Sets the count of integer argument registers for functions that follow it, from the next
    /// drain on. Returns the previous one.
    ///
    /// # Errors
    /// `count` is more than the machine has.
    pub fn set_int_arg_regs(&self, count: usize) -> Result<usize, AbiError> {
        self.shared.calls.set_int_arg_regs(count)
    }

    /// Returns the times of the calls that were sampled so far; `None` unless
    /// [`sample_calls`](FinalizersBuilder::sample_calls) was called.
    pub fn call_times(&self) -> Option<CallTimes> {
        Some(self.shared.calls.samples.as_ref()?.times())
    }

    /// Returns the current statistics.
    pub fn stats(&self) -> FinalizersStats {
        let table = self.shared.table.lock();
        let calls = &self.shared.calls;
        let mut counts = calls.queue.counts();
        counts.fates.cancelled.add_all(table.cancelled);
        let registered = [Kind::Finalizer, Kind::Cleanup].map(|kind| table.count(kind));
        let [finalizer_calls, cleanup_calls] = calls.stats(&counts, registered);
        FinalizersStats {
            finalizer_calls,
            cleanup_calls,
            backlog: counts.backlog,
            finalizers: table.count(Kind::Finalizer),
            cleanups: table.count(Kind::Cleanup),
            weak: table.count(Kind::Weak),
            ephemerons: table.ephemerons.count,
            queued: counts.queued,
            executed: counts.executed,
            cancelled: counts.cancelled + table.cancelled.all(),
            discarded: counts.discarded,
            failed: calls.failures.failed(),
            requeued: calls.failures.requeued(),
            quarantined: counts.quarantined,
            stuck: counts.stuck,
            taken_over: counts.taken_over,
            refused: calls.pressure.refused(),
            assisted: calls.pressure.assisted(),
            stubs: calls.stubs.stats(),
        }
    }
}

impl<R: Reference> Finalizers<R> {
    /// Returns what has become of registrations and calls by function and place of registration;
    /// see [`Runtime::stats_by_site`](crate::Runtime::stats_by_site). Objects have no types here,
    /// and calls that a collection has found due count as registered until
    /// [`finish`](Self::finish) hands them over. Takes time in proportion to what is registered and
    /// queued; registering waits meanwhile.
    pub fn stats_by_site(&self) -> Vec<SiteStats> {
        let calls = &self.shared.calls;
        let table = self.shared.table.lock();
        let mut registered = sites::Registered::default();
        table.for_each_shape(|shape| registered.add(shape));
        let counts = sites::Counts::new(calls, registered);
        drop(table);
        counts.rows(calls, |_| None)
    }
}

impl<R: Reference> std::fmt::Debug for Finalizers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Finalizers").field(&self.stats()).finish()
    }
}
