//! `Runtime`: what an embedder holds. Heap, registry, queue and finalizer goroutine, put together.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fing_stubs::{AbiError, CacheOptions, StubError};

use crate::collect::{Collection, Space};
use crate::collector::{CyclePolicy, Order};
use crate::executor::{Executor, ExecutorError, Goroutine};
use crate::finalizer::FinalizerFn;
use crate::fing::{CallOptions, Calls, CallsError, FinalizerPanic};
use crate::heap::{HeapError, HeapFault, HeapOptions, HeapReport};
use crate::mutator::Mutator;
use crate::observer::Observer;
use crate::queue::{Policy, status};
use crate::registry::{
    AddCleanupError, Cleanup, CleanupArgument, CycleReport, DowngradeError, FinalizationOrder,
    FinalizerState, Registry, SetFinalizerError, Suspect, TypeFinalizer, Value, set_again,
};
use crate::safepoint::WorldError;
use crate::shared::Shared;
use crate::stats::RuntimeStats;
use crate::types::{TypeId, Types};
use crate::weak::Weak;

/// A heap whose objects can have finalizers and cleanups, and the goroutine that runs them.
///
/// Clones are handles to one runtime. When the last one is dropped, the goroutine ends after the batch it is running,
/// and nothing waits for it; see [`Runtime::shutdown`] to wait. Runtimes share nothing.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use std::time::Duration;
/// use fing::{Abi, FinalizerFn, Runtime};
///
/// extern "C" fn goodbye(object: *const u64) {
///     // SAFETY: a finalizer's object is whole until it returns.
///     println!("finalizing the object of {}", unsafe { *object });
/// }
///
/// let runtime = Runtime::new()?;
/// let ty = runtime.types().define("main.T", "struct { N uint64; Next *main.T }")?;
/// let signature = runtime.types().parse_signature("func(*main.T)")?;
/// // SAFETY: `goodbye` is a System V function of one pointer.
/// let goodbye = unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(goodbye as *const ()) };
///
/// let mutator = runtime.attach()?;
/// let object = mutator.alloc(ty)?;
/// mutator.store_word(object, 0, 42)?;
/// runtime.set_finalizer(&mutator, object.into(), Some(&goodbye))?;
/// drop(mutator);
///
/// runtime.gc()?;
/// runtime.block_until_finalizer_queue_empty(Duration::from_secs(10))?;
/// assert_eq!(runtime.stats().executed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
    /// Ends the goroutine when the last handle goes.
    goroutine: Arc<Goroutine>,
}

/// Why there is no runtime. All the environment's, but for limits out of range.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// No heap.
    #[error(transparent)]
    Heap(#[from] HeapError),
    /// No stubs.
    #[error(transparent)]
    Stubs(#[from] StubError),
    /// More registers than the machine has.
    #[error("int_arg_regs: {0}")]
    IntArgRegs(#[from] AbiError),
}

/// Why a heap was not found sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It could not be looked at.
    #[error("verify_heap: {0}")]
    World(#[from] WorldError),
    /// It is not sound.
    #[error(transparent)]
    Fault(#[from] HeapFault),
}

/// A [`Runtime`] in the making.
pub struct RuntimeBuilder {
    heap: HeapOptions,
    calls: CallOptions,
    executor: Executor,
    order: FinalizationOrder,
}

impl RuntimeBuilder {
    /// Limit, pacing and debugging aids of the heap.
    pub fn heap(mut self, options: HeapOptions) -> Self {
        self.heap = options;
        self
    }

    /// Where stubs come from, and their limits.
    pub fn code(mut self, options: CacheOptions) -> Self {
        self.calls.code = options;
        self
    }

    /// Which thread runs finalizers; a thread of the runtime's own unless told otherwise.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// In which order a drain runs what is due; Go's unless told otherwise.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.calls.policy = policy;
        self
    }

    /// Integer argument registers of Go functions that follow the runtime's count; the machine's maximum unless told
    /// otherwise.
    pub fn int_arg_regs(mut self, count: usize) -> Self {
        self.calls.int_arg_regs = Some(count);
        self
    }

    /// The order of finalization; Go's unless told otherwise.
    pub fn order(mut self, order: Order) -> Self {
        self.order.order = order;
        self
    }

    /// Called with each cycle to be reported ([`CyclePolicy::Report`]), after the collection that found it, on the thread
    /// that collected. Without it, a `tracing` warning tells.
    pub fn on_cycle(mut self, hook: impl Fn(&CycleReport) + Send + Sync + 'static) -> Self {
        self.order.on_cycle = Box::new(hook);
        self
    }

    /// Called with each panic of a finalizer, on the thread that runs finalizers. Without it, a `tracing` error tells.
    pub fn on_panic(mut self, hook: impl Fn(&FinalizerPanic) + Send + Sync + 'static) -> Self {
        self.calls.on_panic = Box::new(hook);
        self
    }

    /// Told what the finalizer goroutine does, as it does it; see [`Observer`] for what that costs.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.calls.observer = Some(Box::new(observer));
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// No addresses for the heap, no executable memory, limits out of range.
    pub fn build(self) -> Result<Runtime, RuntimeError> {
        let mut calls = self.calls;
        if self.order.is_topological() {
            // Its order is that of the queue.
            calls.policy = Policy::Lifo;
        }
        let calls = Calls::new(calls).map_err(|error| match error {
            CallsError::Stubs(error) => RuntimeError::Stubs(error),
            CallsError::IntArgRegs(error) => RuntimeError::IntArgRegs(error),
        })?;
        let registry = Arc::new(Registry::new(
            calls.queue.clone(),
            calls.shapes.clone(),
            calls.stubs.clone(),
            self.order,
        ));
        let space = Space::new(Arc::new(Types::new()), self.heap, registry.clone())?;
        let shared = Arc::new(Shared {
            space,
            registry,
            calls,
        });
        let goroutine = Arc::new(Goroutine::new(shared.clone(), self.executor));
        Ok(Runtime { shared, goroutine })
    }
}

impl Runtime {
    /// A runtime with every default.
    ///
    /// # Errors
    /// As [`RuntimeBuilder::build`].
    pub fn new() -> Result<Runtime, RuntimeError> {
        Runtime::builder().build()
    }

    /// Begins a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            heap: HeapOptions::default(),
            calls: CallOptions::default(),
            executor: Executor::default(),
            order: FinalizationOrder::default(),
        }
    }

    /// The types of this runtime.
    pub fn types(&self) -> &Types {
        self.shared.space.types()
    }

    /// This thread's right to touch objects, until the mutator is dropped. Waits while the world is stopped.
    ///
    /// # Errors
    /// The thread has one already.
    pub fn attach(&self) -> Result<Mutator, WorldError> {
        Mutator::attach(&self.shared.space)
    }

    /// Runs `body` with a mutator of its own, on a thread that has none or is in a
    /// [native region](Mutator::native): how a native function calls back into the runtime.
    ///
    /// # Errors
    /// The thread runs with a mutator of this runtime.
    pub fn enter<R>(&self, body: impl FnOnce(&mut Mutator) -> R) -> Result<R, WorldError> {
        Mutator::enter(&self.shared.space, body)
    }

    /// Collects, and queues what is due. Finalizers may still have to run when it returns.
    ///
    /// # Errors
    /// This thread runs with a mutator of this runtime: call [`Mutator::gc`] instead.
    pub fn gc(&self) -> Result<Collection, WorldError> {
        self.shared.space.collect()
    }

    /// Sets, or with `None` clears, the finalizer of the object that `object` points to. When the object is
    /// unreachable, it is kept, the finalizer is called with its address (or with an interface that holds it), and it
    /// has no finalizer any more. The rules are those of Go's `SetFinalizer`.
    ///
    /// # Errors
    /// One of Go's checks failed, or there is no stub for the function. Nothing was changed then.
    #[inline]
    pub fn set_finalizer(
        &self,
        mutator: &Mutator,
        object: Value<'_>,
        finalizer: Option<&FinalizerFn>,
    ) -> Result<FinalizerState, SetFinalizerError> {
        if let Some(function) = finalizer
            && self.owns(mutator)
            && set_again(mutator, object, function, CyclePolicy::default())
        {
            return Ok(FinalizerState::Set);
        }
        self.set_finalizer_on_cycle(mutator, object, finalizer, CyclePolicy::default())
    }

    /// As [`Runtime::set_finalizer`], and says what is to become of a cycle that the object is on, if the runtime's
    /// order of finalization is [`Order::Topological`](crate::Order::Topological).
    ///
    /// # Errors
    /// As [`Runtime::set_finalizer`].
    pub fn set_finalizer_on_cycle(
        &self,
        mutator: &Mutator,
        object: Value<'_>,
        finalizer: Option<&FinalizerFn>,
        cycle: CyclePolicy,
    ) -> Result<FinalizerState, SetFinalizerError> {
        if !self.owns(mutator) {
            return Err(SetFinalizerError::ForeignMutator);
        }
        if finalizer.is_some() {
            self.goroutine
                .start()
                .map_err(SetFinalizerError::NoThread)?;
        }
        self.shared
            .registry
            .set_finalizer(mutator, object, finalizer, cycle)
    }

    /// Has `cleanup` called with `argument` once the object that `pointer` points into is gone. Any number of cleanups
    /// can be added to an object, and none of them brings it back.
    ///
    /// # Errors
    /// One of Go's checks failed, or there is no stub for the function. Nothing was added then.
    pub fn add_cleanup<'m>(
        &self,
        mutator: &'m Mutator,
        pointer: impl Into<usize>,
        cleanup: &FinalizerFn,
        argument: impl Into<CleanupArgument<'m>>,
    ) -> Result<Cleanup, AddCleanupError> {
        if !self.owns(mutator) {
            return Err(AddCleanupError::ForeignMutator);
        }
        self.goroutine.start().map_err(AddCleanupError::NoThread)?;
        self.shared
            .registry
            .add_cleanup(mutator, pointer.into(), cleanup, argument.into())
    }

    /// A weak pointer to where `pointer` points: an object, a place in one, or a global. Nil for nil. The same place of
    /// the same object answers equal weak pointers.
    ///
    /// # Errors
    /// The mutator is of another runtime, or `pointer` points to nothing this runtime knows.
    pub fn downgrade(
        &self,
        mutator: &Mutator,
        pointer: impl Into<usize>,
    ) -> Result<Weak, DowngradeError> {
        if !self.owns(mutator) {
            return Err(DowngradeError::ForeignMutator);
        }
        self.shared.registry.downgrade(mutator, pointer.into())
    }

    /// Says that these addresses are globals: memory outside the heap that lives as long as the runtime. Finalizers and
    /// cleanups of globals are accepted and never run, weak pointers to them never become nil. What they refer to is
    /// not kept by that.
    pub fn add_global(&self, range: Range<usize>) {
        self.shared.registry.add_global(range);
    }

    /// Looks for finalizers and cleanups that keep their own object alive, so that they never run: at most 50 of them,
    /// with the way from each to its object. As Go's `GODEBUG=checkfinalizers=1`, but asked for, and an answer instead
    /// of the end of the program. Stops the world, and takes time in proportion to registrations times what each can
    /// reach: for tests and debugging.
    ///
    /// # Errors
    /// As [`Runtime::gc`].
    pub fn check_finalizers(&self) -> Result<Vec<Suspect>, WorldError> {
        let registry = &self.shared.registry;
        self.shared.space.inspect(|cycle| registry.check(cycle))
    }

    /// Checks, once, that `finalizer` can be set for objects of type `ty`: what [`Runtime::set_finalizer`] would check
    /// for each of them. The answer attaches it to any number of objects at the price of two stores.
    ///
    /// # Errors
    /// One of Go's checks failed, or there is no stub for the function, or no thread to run it.
    pub fn prepare_finalizer(
        &self,
        ty: TypeId,
        finalizer: &FinalizerFn,
    ) -> Result<TypeFinalizer, SetFinalizerError> {
        self.goroutine
            .start()
            .map_err(SetFinalizerError::NoThread)?;
        let shared = &self.shared;
        shared.registry.prepare(&shared.space, ty, finalizer)
    }

    #[inline]
    fn owns(&self, mutator: &Mutator) -> bool {
        Arc::ptr_eq(mutator.space(), &self.shared.space)
    }

    /// The register count for functions that follow it.
    pub fn int_arg_regs(&self) -> usize {
        self.shared.calls.queue.int_arg_regs().into()
    }

    /// Sets the register count for functions that follow it, from the next drain on; returns the one before.
    /// Functions with a fixed ABI keep theirs.
    ///
    /// # Errors
    /// More than the machine has.
    pub fn set_int_arg_regs(&self, count: usize) -> Result<usize, AbiError> {
        self.shared.calls.set_int_arg_regs(count)
    }

    /// True while the finalizer goroutine exists and is parked.
    pub fn finalizer_goroutine_asleep(&self) -> bool {
        self.shared.calls.queue.status() & status::WAIT != 0
    }

    /// Waits until no finalizer or cleanup is queued or running; after [`Runtime::shutdown`], until none is running.
    ///
    /// # Errors
    /// The time is over; this thread is the one that runs finalizers, or runs with a mutator.
    pub fn block_until_finalizer_queue_empty(
        &self,
        timeout: Duration,
    ) -> Result<(), ExecutorError> {
        self.goroutine.wait(timeout)
    }

    /// [`Executor::Inline`]: runs what is due on this thread, and returns how many calls that were.
    ///
    /// # Errors
    /// The executor has a thread of its own, or is another thread's; this thread runs with a mutator, or is inside
    /// such a call already.
    pub fn run_finalizers(&self) -> Result<u64, ExecutorError> {
        self.goroutine.run_inline()
    }

    /// Ends the finalizer goroutine: runs what is queued if `drain`, or else drops it, and waits for the end. The heap
    /// can be used on, but nothing is finalized any more.
    ///
    /// Returns how many queued calls were dropped.
    ///
    /// # Errors
    /// The time is over (the goroutine ends when the finalizer that is running returns); this thread is the one that
    /// runs finalizers.
    pub fn shutdown(&self, drain: bool, timeout: Duration) -> Result<u64, ExecutorError> {
        self.goroutine.shutdown(drain, timeout)
    }

    /// Looks at every object of the heap with the world stopped, and says what was found. For tests and debugging.
    ///
    /// # Errors
    /// The heap is not sound, which is a bug of this crate or of code that writes past a mutator; or this thread runs
    /// with a mutator of this runtime.
    pub fn verify_heap(&self) -> Result<HeapReport, VerifyError> {
        Ok(self.shared.space.verify()??)
    }

    /// The figures so far.
    pub fn stats(&self) -> RuntimeStats {
        RuntimeStats::of(&self.shared)
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("space", &self.shared.space)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
