//! `Finalizers`: what an embedder with a collector of its own holds. Registrations, queue and finalizer goroutine,
//! without a heap.
#![expect(
    unsafe_code,
    reason = "declares the unsafe functions that trust a reference; contains no unsafe block"
)]

mod due;
mod error;
mod prepared;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fing_stubs::{AbiError, CacheOptions, CacheStats, StubError};

use due::Handing;
pub use error::RegisterError;
pub use prepared::PreparedFinalizer;

use crate::collector::{
    CyclePolicy, Id, Kind, Order, Part, Reference, Registration, Scope, Table, Tracer,
};
use crate::executor::{Executor, ExecutorError, Goroutine, Owner};
use crate::finalizer::FinalizerFn;
use crate::fing::{CallOptions, Calls, CallsError, FinalizerPanic};
use crate::lock::{Lock, Rank};
use crate::shapes::{Argument, Manner};

/// Finalizers, cleanups and weak handles for the objects of any collector.
///
/// Clones are handles to one table. When the last one is dropped, the goroutine ends after the batch it is running.
///
/// A mutator registers; the collector, with the world stopped, calls [`begin`](Self::begin) when it starts, and
/// [`step`](Self::step) when it has followed everything from its own roots; and once the world goes on,
/// [`finish`](Self::finish) hands over what is due. A collection that can follow references at any moment is one call:
/// [`collect`](Self::collect). The answers come from a [`Tracer`]. No thread may be stopped inside of a call of this type.
///
/// With a collector that moves objects, finalizers run on a thread that takes part in collections
/// ([`Executor::Inline`], the default), and no collection happens while one is under way but inside of a finalizer.
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

struct Shared<R> {
    table: Lock<Table<R>>,
    calls: Calls,
}

impl<R: Reference> Owner for Shared<R> {
    fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The embedder knows.
    fn is_running_here(&self) -> bool {
        false
    }
}

/// Why there are no [`Finalizers`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinalizersError {
    /// No stubs.
    #[error(transparent)]
    Stubs(#[from] StubError),
    /// More registers than the machine has.
    #[error("int_arg_regs: {0}")]
    IntArgRegs(#[from] AbiError),
}

/// [`Finalizers`] in the making.
pub struct FinalizersBuilder<R> {
    table: Table<R>,
    calls: CallOptions,
    executor: Executor,
}

impl<R: Reference> FinalizersBuilder<R> {
    /// Where stubs come from, and their limits.
    pub fn code(mut self, options: CacheOptions) -> Self {
        self.calls.code = options;
        self
    }

    /// Which thread runs finalizers: the one that builds this, unless told otherwise. [`Executor::Thread`] is for
    /// collectors that do not move objects.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// The order of finalization; Go's unless told otherwise.
    pub fn order(mut self, order: Order) -> Self {
        let faults = self.table.faults;
        self.table = Table::new(order);
        self.table.faults = faults;
        self
    }

    /// Integer argument registers of Go functions that follow the count; the machine's maximum unless told otherwise.
    pub fn int_arg_regs(mut self, count: usize) -> Self {
        self.calls.int_arg_regs = Some(count);
        self
    }

    /// Called with each panic of a finalizer, on the thread that runs finalizers. Without it, a `tracing` error tells.
    pub fn on_panic(mut self, hook: impl Fn(&FinalizerPanic) + Send + Sync + 'static) -> Self {
        self.calls.on_panic = Box::new(hook);
        self
    }

    /// Gets the algorithm wrong.
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    pub fn fault(mut self, fault: Option<crate::collector::Fault>) -> Self {
        self.table.faults.only = fault;
        self
    }

    /// Makes them.
    ///
    /// # Errors
    /// No executable memory, limits out of range.
    pub fn build(self) -> Result<Finalizers<R>, FinalizersError> {
        let calls = Calls::new(self.calls).map_err(|error| match error {
            CallsError::Stubs(error) => FinalizersError::Stubs(error),
            CallsError::IntArgRegs(error) => FinalizersError::IntArgRegs(error),
        })?;
        let shared = Arc::new(Shared {
            table: Lock::new(Rank::Registry, self.table),
            calls,
        });
        let goroutine = Arc::new(Goroutine::new(shared.clone(), self.executor));
        Ok(Finalizers { shared, goroutine })
    }
}

/// How a finalizer is set.
#[derive(Clone, Copy, Debug)]
pub struct FinalizerOptions<R> {
    /// The function's context: an object of the collector, kept until the finalizer has run. The function must have
    /// been made with a [`context`](crate::FinalizerFnBuilder::context), which this takes the place of.
    pub context: Option<R>,
    /// What becomes of a cycle the object is on, in [`Order::Topological`].
    pub cycle: CyclePolicy,
}

impl<R> Default for FinalizerOptions<R> {
    fn default() -> Self {
        FinalizerOptions {
            context: None,
            cycle: CyclePolicy::default(),
        }
    }
}

/// What a foreign collector's cleanup is called with: one word, captured when it is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignArgument<R> {
    /// Anything but an object of the collector.
    Word(u64),
    /// An object. It is kept until the cleanup has run.
    Object(R),
}

/// Names a cleanup of [`Finalizers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CleanupId(Id);

/// Names a weak handle of [`Finalizers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeakId(Id);

/// What a collection has brought about.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Finished<R> {
    /// Calls queued.
    pub queued: usize,
    /// Cycles to be reported ([`CyclePolicy::Report`]): each object refers to the next one, and the last to the first.
    /// Good until the next collection.
    pub cycles: Vec<Vec<R>>,
}

/// [`Finalizers`] in numbers; calls since they were made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FinalizersStats {
    /// Objects that have a finalizer.
    pub finalizers: u64,
    /// Cleanups that are neither stopped nor due.
    pub cleanups: u64,
    /// Weak handles of objects that are alive.
    pub weak: u64,
    /// Calls queued.
    pub queued: u64,
    /// Calls done.
    pub executed: u64,
    /// Calls that panicked, of those done.
    pub panicked: u64,
    /// The stub cache.
    pub stubs: CacheStats,
}

impl<R: Reference> Finalizers<R> {
    /// With every default.
    ///
    /// # Errors
    /// As [`FinalizersBuilder::build`].
    pub fn new() -> Result<Finalizers<R>, FinalizersError> {
        Finalizers::builder().build()
    }

    /// Begins.
    pub fn builder() -> FinalizersBuilder<R> {
        FinalizersBuilder {
            table: Table::new(Order::default()),
            calls: CallOptions::default(),
            executor: Executor::Inline,
        }
    }

    // ------------------------------------------------------------------------------------------ mutators

    /// Sets the finalizer of an object: `function` is called with the object's word when it is unreachable. The
    /// function has one parameter: a pointer, an integer, or an interface whose first word it was
    /// [told](crate::FinalizerFnBuilder::interface_word).
    ///
    /// # Safety
    /// The object, and the context, are whole and of the collector whose [`Tracer`] is given to
    /// [`step`](Self::step); the function may be called with them.
    ///
    /// # Errors
    /// The object has a finalizer, the function can't be called so, or there is no stub for it.
    pub unsafe fn set_finalizer(
        &self,
        object: R,
        function: &FinalizerFn,
        options: FinalizerOptions<R>,
    ) -> Result<(), RegisterError> {
        let argument = error::check(function)?;
        if options.context.is_some() && function.context().is_none() {
            return Err(RegisterError::NoContext {
                function: function.signature().clone(),
            });
        }
        let manner = Manner {
            traced_context: options.context.is_some(),
            cycle: CyclePolicy::default(),
        };
        self.add(
            Kind::Finalizer,
            object,
            function,
            argument,
            manner,
            options.cycle,
            options.context.map(ForeignArgument::Object),
        )
        .map(drop)
    }

    /// Checks a finalizer once, to be attached to any number of objects: much faster than to set it for each.
    ///
    /// # Errors
    /// As [`set_finalizer`](Self::set_finalizer), of the function.
    pub fn prepare(
        &self,
        function: &FinalizerFn,
        cycle: CyclePolicy,
    ) -> Result<PreparedFinalizer<R>, RegisterError> {
        PreparedFinalizer::new(self, function, cycle)
    }

    /// Takes the finalizer of an object away. Answers whether there was one.
    pub fn clear_finalizer(&self, object: R) -> bool {
        let shape = self.shared.table.lock().clear_finalizer(object);
        self.drop_shape(shape)
    }

    /// Has `cleanup` called with `argument` once the object is gone. Any number can be added to an object.
    ///
    /// # Safety
    /// As [`set_finalizer`](Self::set_finalizer), of the object and the argument.
    ///
    /// # Errors
    /// The argument is the object, the function can't be called so, or there is no stub for it.
    pub unsafe fn add_cleanup(
        &self,
        object: R,
        cleanup: &FinalizerFn,
        argument: ForeignArgument<R>,
    ) -> Result<CleanupId, RegisterError> {
        if argument == ForeignArgument::Object(object) {
            return Err(RegisterError::ArgumentIsObject {
                word: object.to_word(),
            });
        }
        if let Argument::Interface(_) = error::check(cleanup)? {
            return Err(RegisterError::NotOneWord {
                function: cleanup.signature().clone(),
            });
        }
        let reference = matches!(argument, ForeignArgument::Object(_));
        self.add(
            Kind::Cleanup,
            object,
            cleanup,
            Argument::Image {
                references: u8::from(reference),
            },
            Manner::default(),
            CyclePolicy::default(),
            Some(argument),
        )
        .map(CleanupId)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two callers, which differ in all of them"
    )]
    fn add(
        &self,
        kind: Kind,
        object: R,
        function: &FinalizerFn,
        argument: Argument,
        manner: Manner,
        policy: CyclePolicy,
        word: Option<ForeignArgument<R>>,
    ) -> Result<Id, RegisterError> {
        let calls = &self.shared.calls;
        self.goroutine.start().map_err(RegisterError::NoThread)?;
        let shape = calls
            .shapes
            .acquire(function, argument, manner, &calls.stubs)?;
        let (word, reference) = match word {
            None => (0, false),
            Some(ForeignArgument::Word(word)) => (word, false),
            Some(ForeignArgument::Object(object)) => (object.to_word(), true),
        };
        let added = self.shared.table.lock().add(Registration {
            kind,
            object,
            shape,
            word,
            reference,
            policy,
        });
        if added.is_none() {
            drop(calls.shapes.withdraw(shape));
        }
        added.ok_or(RegisterError::AlreadySet {
            word: object.to_word(),
        })
    }

    fn drop_shape(&self, shape: Option<u32>) -> bool {
        if let Some(shape) = shape {
            drop(self.shared.calls.shapes.withdraw(shape));
        }
        shape.is_some()
    }

    /// Takes a cleanup back. False if it is due, done or stopped.
    pub fn stop_cleanup(&self, cleanup: CleanupId) -> bool {
        let shape = self.shared.table.lock().stop_cleanup(cleanup.0);
        self.drop_shape(shape)
    }

    /// The weak handle of an object: one for each. It ends when the object is found unreachable, before its finalizer
    /// is queued.
    pub fn weak(&self, object: R) -> WeakId {
        WeakId(self.shared.table.lock().weak(object))
    }

    /// The object of a weak handle, if it was reachable in the last collection. (During a collection that marks while
    /// mutators run, the collector has to be told that there is a reference again.)
    pub fn upgrade(&self, weak: WeakId) -> Option<R> {
        self.shared.table.lock().upgrade(weak.0)
    }

    // ------------------------------------------------------------------------------------------ the collector

    /// A collection begins.
    ///
    /// # Panics
    /// If one is under way.
    pub fn begin(&self, scope: Scope) {
        let begun = self.shared.table.lock().begin(scope);
        assert!(begun, "begin: a collection is under way");
    }

    /// Optional, for collectors that mark while mutators run: makes roots now of what will be roots in the first step,
    /// as Go does, so that little is left for the last pause. Costs a look at the contents of *every* finalizable
    /// object. In [`Order::Topological`] only queued calls, contexts and arguments are roots.
    ///
    /// # Panics
    /// If no collection was begun, or it has made a step.
    pub fn early_roots<T: Tracer<Ref = R>>(&self, tracer: &mut T) {
        let mut table = self.shared.table.lock();
        let scope = table.at_start();
        let scope = scope.expect("early_roots: between begin and the first step");
        self.trace_queue(&mut table, tracer, true);
        table.early_roots(scope, tracer);
    }

    /// One step of the collection that was begun, with the world stopped, after everything reachable so far has been
    /// followed. True: follow what was traced, then call again. False: decided; follow what was traced (a collector
    /// that does not move objects finds nothing to do).
    ///
    /// Two steps in Go's order, three in topological order.
    pub fn step<T: Tracer<Ref = R>>(&self, tracer: &mut T) -> bool {
        let mut table = self.shared.table.lock();
        self.trace_queue(&mut table, tracer, false);
        table.step(tracer, None)
    }

    /// As [`step`](Self::step), with what grows with the number of registrations cut in `parts`, or in fewer where there
    /// are few hundred of them. `run` is called with
    /// them, perhaps more than once, and has to [run](Part::run) each, on any thread; the rest is done with `tracer`.
    /// Minor collections are not cut. A part asks `children` of an object after `is_reached` has said no, so a collector
    /// that moves objects on several threads must stand that another one moves the object in between.
    pub fn step_in_parts<T: Tracer<Ref = R>>(
        &self,
        tracer: &mut T,
        parts: usize,
        mut run: impl FnMut(Vec<Part<'_, R>>),
    ) -> bool {
        let mut table = self.shared.table.lock();
        self.trace_queue(&mut table, tracer, false);
        table.step(tracer, Some((parts, &mut run)))
    }

    fn trace_queue<T: Tracer<Ref = R>>(&self, table: &mut Table<R>, tracer: &mut T, early: bool) {
        if table.is_queue_due(early) {
            let queue = &self.shared.calls.queue;
            queue.trace(&mut |word| tracer.trace(R::from_word(word)).to_word());
        }
    }

    /// For collectors that move objects when all are marked (mark and compact): after the last step, and before the world
    /// goes on, puts the new address of every object in the place of the old one.
    pub fn forward(&self, mut new: impl FnMut(R) -> R) {
        let mut table = self.shared.table.lock();
        let queue = &self.shared.calls.queue;
        queue.trace(&mut |word| new(R::from_word(word)).to_word());
        table.forward(new);
    }

    /// The collection is over, and the world may go on: hands what is due to the finalizer goroutine. Until then
    /// the calls wait in the table, where they are roots too.
    pub fn finish(&self) -> Finished<R> {
        let calls = &self.shared.calls;
        let mut table = self.shared.table.lock();
        let queued = calls.queue.fill(|queue| {
            let mut handing = Handing::new(&calls.shapes, queue);
            table.take_due(|due| handing.hand_over(&due));
            handing.finish()
        });
        let cycles = table.take_reports();
        let unnamed = due::take_unnamed(calls, &table);
        drop(table);
        calls.queue.wake();
        drop(unnamed);
        Finished { queued, cycles }
    }

    /// All steps of a collection that has followed everything from its own roots, for collectors that can follow
    /// references at any moment: `follow` follows what was traced.
    pub fn collect<T: Tracer<Ref = R>>(
        &self,
        scope: Scope,
        tracer: &mut T,
        mut follow: impl FnMut(&mut T),
    ) {
        self.begin(scope);
        while self.step(tracer) {
            follow(tracer);
        }
        follow(tracer);
    }

    // ------------------------------------------------------------------------------------------ calls

    /// [`Executor::Inline`]: runs what is due on this thread, and returns how many calls that were.
    ///
    /// # Errors
    /// The executor has a thread of its own, or is another thread's; this thread is inside such a call already.
    pub fn run_finalizers(&self) -> Result<u64, ExecutorError> {
        self.goroutine.run_inline()
    }

    /// Waits until no call is queued or running.
    ///
    /// # Errors
    /// The time is over; this thread is the one that runs finalizers.
    pub fn block_until_finalizer_queue_empty(
        &self,
        timeout: Duration,
    ) -> Result<(), ExecutorError> {
        self.goroutine.wait(timeout)
    }

    /// Ends the finalizer goroutine; see [`Runtime::shutdown`](crate::Runtime::shutdown).
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&self, drain: bool, timeout: Duration) -> Result<u64, ExecutorError> {
        self.goroutine.shutdown(drain, timeout)
    }

    /// Sets the register count for functions that follow it, from the next drain on; returns the one before.
    ///
    /// # Errors
    /// More than the machine has.
    pub fn set_int_arg_regs(&self, count: usize) -> Result<usize, AbiError> {
        self.shared.calls.set_int_arg_regs(count)
    }

    /// The figures so far.
    pub fn stats(&self) -> FinalizersStats {
        let table = self.shared.table.lock();
        let calls = &self.shared.calls;
        let counts = calls.queue.counts();
        FinalizersStats {
            finalizers: table.count(Kind::Finalizer),
            cleanups: table.count(Kind::Cleanup),
            weak: table.count(Kind::Weak),
            queued: counts.queued,
            executed: counts.executed,
            panicked: calls.panics.load(Ordering::Relaxed),
            stubs: calls.stubs.stats(),
        }
    }
}

impl<R: Reference> std::fmt::Debug for Finalizers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Finalizers").field(&self.stats()).finish()
    }
}
