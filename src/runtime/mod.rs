//! `Runtime`: heap, registry, queue and finalizer goroutine, put together for an embedder.
#![deny(unsafe_code)]

pub(crate) mod builder;
pub(crate) mod callback;
pub(crate) mod collect;
pub(crate) mod collected;
pub(crate) mod embed;
pub(crate) mod exit;
pub(crate) mod keep_alive;
pub(crate) mod known;
pub(crate) mod lent;
pub(crate) mod mutator;
pub(crate) mod object;
mod register;
pub(crate) mod registry;
mod shared;
pub(crate) mod stats;
pub(crate) mod weak;
pub(crate) mod weak_runtime;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use fing_stubs::AbiError;

use crate::calls::budget::{Budget, Drained};
use crate::calls::builder::Builder;
use crate::calls::due::Due;
use crate::calls::executor::{Closed, Executor, ExecutorError, Goroutine, StartError};
use crate::calls::function::FinalizerFn;
use crate::calls::mailbox::{Mailbox, MailboxOptions};
use crate::calls::options::Handling;
use crate::calls::queue::{CallStage, LaneId, demand, status};
use crate::calls::samples::CallTimes;
use crate::calls::sites::{self, SiteStats};
use crate::calls::thread::ThreadOptions;
use crate::calls::ticket::Ticket;
use crate::heap::{HeapFault, HeapReport};
use crate::order::KeepPath;
use crate::runtime::builder::{RuntimeBuilder, RuntimeError};
use crate::runtime::collect::{Collection, Space};
use crate::runtime::collected::Collected;
use crate::runtime::mutator::Mutator;
use crate::runtime::registry::{
    Listed, PreparedFinalizer, Registry, SetFinalizerError, Suspect, WhyError,
};
use crate::runtime::shared::Shared;
use crate::runtime::stats::RuntimeStats;
use crate::runtime::weak_runtime::WeakRuntime;
use crate::types::{TypeId, Types};
use crate::world::threads::WorldError;

/// A heap whose objects can have finalizers and cleanups, and the goroutine that runs them.
///
/// Clones are handles to one runtime, and each [`Mutator`] has one. When the last one is dropped,
/// the goroutine ends after the call it is running, what is queued is dropped, and nothing waits
/// for that; see [`Runtime::shutdown`] to wait. Code that the runtime owns, such as the closure of
/// a finalizer, holds a [`WeakRuntime`] instead. Runtimes share nothing.
///
/// ```
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
/// // SAFETY: `goodbye` is a C function of one pointer.
/// let goodbye =
///     unsafe { FinalizerFn::builder(signature, Abi::host_native()?).at(goodbye as *const ()) };
///
/// let mutator = runtime.attach()?;
/// let object = mutator.alloc(ty)?;
/// mutator.store_word(object, 0, 42)?;
/// mutator.set_finalizer(object, &goodbye)?;
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

/// Why [`Runtime::verify_heap`] failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The world could not be stopped.
    #[error("verify_heap: {0}")]
    World(#[from] WorldError),
    /// The heap is not sound.
    #[error(transparent)]
    Fault(#[from] HeapFault),
}

impl Runtime {
    /// Makes a runtime with all defaults.
    ///
    /// # Errors
    /// Those of [`RuntimeBuilder::build`].
    pub fn new() -> Result<Runtime, RuntimeError> {
        Runtime::builder().build()
    }

    /// Returns a builder with all defaults.
    pub fn builder() -> RuntimeBuilder {
        Builder::new(Executor::default(), builder::Options::default())
    }

    /// A runtime on a space that was made separately; its collections do not call the registry.
    #[cfg(test)]
    pub(crate) fn over(space: &Arc<Space>) -> Runtime {
        let mut options = crate::calls::goroutine::CallOptions::default();
        options.code.policy = fing_stubs::CodePolicy::Interpret;
        let calls = options
            .build(Executor::Inline, crate::order::Order::Go)
            .unwrap();
        let registry = Arc::new(Registry::new(&calls, Default::default()));
        let shared = Shared::new(space.clone(), registry, calls, WeakRuntime::default());
        Runtime::of(shared, Executor::Inline, ThreadOptions::default())
    }

    fn of(shared: Arc<Shared>, executor: Executor, thread: ThreadOptions) -> Runtime {
        let goroutine = Arc::new(Goroutine::new(shared.clone(), executor, thread));
        shared.handle.set(&shared, &goroutine);
        Runtime { shared, goroutine }
    }

    /// Returns a handle that does not keep the runtime alive, for code that the runtime owns.
    pub fn downgrade(&self) -> WeakRuntime {
        self.shared.handle.clone()
    }

    /// Returns the types of this runtime.
    pub fn types(&self) -> &Types {
        self.shared.space.types()
    }

    /// Attaches this thread: returns a mutator, by which it may touch objects until the mutator is
    /// dropped. Waits while the world is stopped.
    ///
    /// # Errors
    /// The thread has a mutator of this runtime already; it is in the middle of a collection; it
    /// would wait for threads that wait for it ([`WorldError::Deadlock`]); or this process is a
    /// fork and would wait for a thread that is not in it.
    pub fn attach(&self) -> Result<Mutator, WorldError> {
        Mutator::attach(self)
    }

    /// Runs `body` with a mutator of its own, on a thread that has none or is in a
    /// [native region](Mutator::native): how a native function calls back into the runtime.
    ///
    /// # Errors
    /// The thread runs with a mutator of this runtime; and as [`attach`](Self::attach).
    pub fn enter<R>(&self, body: impl FnOnce(&mut Mutator) -> R) -> Result<R, WorldError> {
        Mutator::enter(self, body)
    }

    /// Runs a collection, and queues the finalizers and cleanups that are due. These may still have
    /// to run when it returns; [`Collected::wait`] waits for them.
    ///
    /// # Errors
    /// This thread runs with a mutator of this runtime: call [`Mutator::gc`] instead; a
    /// [source of roots](Self::add_roots) fails; the thread is in the middle of a collection; it
    /// would wait for threads that wait for it ([`WorldError::Deadlock`]); or this process is a
    /// fork and would wait for a thread that is not in it.
    pub fn gc(&self) -> Result<Collected, WorldError> {
        Ok(self.collected(self.shared.space.collect()?))
    }

    /// Sets the percentage that says when collections are due
    /// ([`HeapOptions::percent`](crate::HeapOptions::percent)), as Go's `debug.SetGCPercent`.
    /// Returns the one before. It holds at once: what was allocated since the last collection
    /// counts. With `None` nothing is due, not even under
    /// [stress](crate::HeapOptions::stress). Any thread may call it.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let ty = runtime.types().define("main.T", "[4096]uint64")?;
    /// let mutator = runtime.attach()?;
    /// // A part of the program that collections would disturb.
    /// let before = runtime.set_gc_percent(None);
    /// for _ in 0..1000 {
    ///     mutator.alloc(ty)?;
    /// }
    /// assert!(!mutator.is_collection_due());
    /// runtime.set_gc_percent(before);
    /// assert!(mutator.is_collection_due());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_gc_percent(&self, percent: Option<u32>) -> Option<u32> {
        self.shared.space.heap().set_percent(percent)
    }

    /// The collection with the ticket of its calls.
    pub(crate) fn collected(&self, collection: Collection) -> Collected {
        let queue = &self.shared.calls.queue;
        let ticket = Ticket::new(collection.number, queue, &self.goroutine);
        Collected { collection, ticket }
    }

    /// Declares a range of addresses as globals: memory outside the heap that lives as long as the
    /// runtime. Finalizers and cleanups of globals are accepted and never run, weak pointers to
    /// them never become nil. Globals are not roots: objects that they refer to are not kept alive
    /// by that.
    pub fn add_global(&self, range: Range<usize>) {
        self.shared.registry.add_global(range);
    }

    /// Looks for finalizers and cleanups that keep their own object alive, so that they never run:
    /// at most 50 of them, with the way from each to its object. Like Go's
    /// `GODEBUG=checkfinalizers=1`, but on request, and it returns what it found instead of ending
    /// the program. Stops the world, and takes time in proportion to registrations times what each
    /// can reach: for tests and debugging.
    ///
    /// # Errors
    /// Those of [`Runtime::gc`].
    pub fn check_finalizers(&self) -> Result<Vec<Suspect>, WorldError> {
        let registry = &self.shared.registry;
        self.shared.space.inspect(|marking| registry.check(marking))
    }

    /// Returns what keeps the object at `address` alive: the shortest path of references to it from
    /// a handle, from what a registration or a queued call holds, or, in Go's order, from the
    /// contents of an object with a finalizer. `None` if nothing does: the next collection would
    /// free it, or queue its finalizer.
    ///
    /// Stops the world, and takes time and memory in proportion to what is reachable: for
    /// debugging. [`Obj`](crate::Obj)s of threads that run are no roots, as a collection never
    /// meets them.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::Runtime;
    /// use fing::check::Keeper;
    ///
    /// let runtime = Runtime::new()?;
    /// let ty = runtime.types().define("main.T", "struct { Next *main.T }")?;
    /// let (first, second) = runtime.enter(|m| {
    ///     let (first, second) = (m.alloc(ty)?, m.alloc(ty)?);
    ///     m.store_ref(first, 0, Some(second))?;
    ///     Ok::<_, Box<dyn std::error::Error>>((m.root(first)?, second.addr()))
    /// })??;
    /// let kept = runtime.why_alive(second)?.unwrap();
    /// assert_eq!((kept.keeper, kept.path[0].object), (Keeper::Root, first.addr()));
    /// drop(first);
    /// assert_eq!(runtime.why_alive(second)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// No object of this runtime is there; or those of [`Runtime::gc`].
    pub fn why_alive(&self, address: usize) -> Result<Option<KeepPath<usize>>, WhyError> {
        let Shared {
            space, registry, ..
        } = &*self.shared;
        space.inspect_with_roots(|marking, roots| registry.why(marking, roots, address))?
    }

    /// Checks once that `finalizer` can be set for objects of type `ty`: what
    /// [`Mutator::set_finalizer`] would check for each of them. The result can be set for any
    /// number of objects, at the cost of one atomic exchange each.
    ///
    /// # Errors
    /// One of Go's checks failed; the function's stub could not be made; or the goroutine's thread
    /// could not be started.
    pub fn prepare_finalizer(
        &self,
        ty: TypeId,
        finalizer: &FinalizerFn,
    ) -> Result<PreparedFinalizer, SetFinalizerError> {
        self.prepare_finalizer_with(ty, finalizer, Handling::new())
    }

    /// As [`prepare_finalizer`](Self::prepare_finalizer), with a policy for cycles, which matters
    /// only in [`Order::Topological`](crate::Order::Topological), with what is done about failures,
    /// and with the site.
    ///
    /// # Errors
    /// Those of [`prepare_finalizer`](Self::prepare_finalizer).
    pub fn prepare_finalizer_with(
        &self,
        ty: TypeId,
        finalizer: &FinalizerFn,
        handling: impl Into<Handling>,
    ) -> Result<PreparedFinalizer, SetFinalizerError> {
        self.start_goroutine()?;
        let Shared {
            space, registry, ..
        } = &*self.shared;
        registry.prepare(space, ty, finalizer, handling.into())
    }

    /// Stops the cleanup that these words stand for, as [`Cleanup::stop`](crate::Cleanup::stop)
    /// does: they are those that [`Cleanup::words`](crate::Cleanup::words) returned. Other words
    /// stop nothing, or another cleanup of this runtime whose words they are. Needs no mutator. A
    /// cleanup that is registered is searched among what is registered for its object, as in Go.
    pub fn stop_cleanup(&self, words: [u64; 2]) -> CallStage {
        self.registry().stop_cleanup_of(words)
    }

    #[inline]
    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.shared.space
    }

    #[inline]
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// Whether threads that allocate are asked to assist.
    #[inline]
    pub(crate) fn is_assistance_wanted(&self) -> bool {
        self.shared.calls.queue.demands() & demand::ASSIST != 0
    }

    /// Starts the finalizer goroutine, if it has not been started.
    pub(crate) fn start_goroutine(&self) -> Result<(), StartError> {
        self.goroutine.start()
    }

    /// Returns the count of integer argument registers for functions that follow it.
    pub fn int_arg_regs(&self) -> usize {
        self.shared.calls.queue.int_arg_regs().into()
    }

    /// Sets the count of integer argument registers for functions that follow it, from the next
    /// drain on. Returns the previous one. Functions with a fixed ABI keep theirs.
    ///
    /// # Errors
    /// `count` is more than the machine has.
    pub fn set_int_arg_regs(&self, count: usize) -> Result<usize, AbiError> {
        self.shared.calls.set_int_arg_regs(count)
    }

    /// Returns true while the finalizer goroutine exists and is parked.
    pub fn finalizer_goroutine_asleep(&self) -> bool {
        self.shared.calls.queue.status() & status::WAIT != 0
    }

    /// Waits until no finalizer or cleanup is queued or running; after [`Runtime::shutdown`], until
    /// none is running. A thread that may make the calls makes them itself: with
    /// [`Executor::Inline`] the one that built the runtime, with [`Executor::Manual`] any, unless
    /// another one is making them.
    ///
    /// # Errors
    /// `timeout` passes first; a finalizer or a source of roots has called this; the thread runs
    /// with a mutator; or this process is a fork.
    pub fn block_until_finalizer_queue_empty(
        &self,
        timeout: Duration,
    ) -> Result<(), ExecutorError> {
        self.goroutine.wait(timeout)
    }

    /// With [`Executor::Inline`] or [`Executor::Manual`]: runs the queued calls on this thread
    /// until there are none, and returns how many that were.
    ///
    /// # Errors
    /// The executor is [`Executor::Thread`]; it is [`Executor::Inline`] and another thread built
    /// the runtime; another thread runs finalizers; this thread runs with a mutator, or is ending;
    /// or a finalizer or a source of roots has called this.
    pub fn run_finalizers(&self) -> Result<u64, ExecutorError> {
        self.goroutine.run_inline()
    }

    /// As [`run_finalizers`](Self::run_finalizers), but returns when the budget is used up. What is
    /// left stays queued in its order, and the next drain, on whichever thread, goes on with it.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::executor::Budget;
    /// use fing::{Executor, FinalizerFn, Runtime};
    ///
    /// let runtime = Runtime::builder().executor(Executor::Manual).build()?;
    /// let ty = runtime.types().define("main.T", "struct { N uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(*main.T)")?;
    /// let finalizer = FinalizerFn::from_rust(signature, |_mutator, _object| ());
    /// runtime.enter(|mutator| {
    ///     for _ in 0..100 {
    ///         mutator.set_finalizer(mutator.alloc(ty)?, &finalizer)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// runtime.gc()?;
    /// let drained = runtime.drain(Budget::unlimited().calls(30))?;
    /// assert_eq!((drained.calls, drained.left), (30, 70));
    /// let there = runtime.clone();
    /// let rest = std::thread::spawn(move || there.drain(Budget::unlimited())).join().unwrap()?;
    /// assert_eq!((rest.calls, rest.left), (70, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run_finalizers`](Self::run_finalizers).
    pub fn drain(&self, budget: Budget) -> Result<Drained, ExecutorError> {
        self.goroutine.drain(budget)
    }

    /// Takes the next call that is due out of the queue, for the caller to make: see [`Due`]. With
    /// [`Executor::Inline`] or [`Executor::Manual`]; `None` if nothing is due, or finalization was
    /// shut down. The order is that of a [drain](Self::drain). The thread may run with a mutator.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::{Abi, Executor, FinalizerFn, Runtime};
    ///
    /// extern "C" fn close(_file: usize) {}
    ///
    /// let runtime = Runtime::builder().executor(Executor::Manual).build()?;
    /// let file = runtime.types().define("main.File", "struct { FD uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(*main.File)")?;
    /// // SAFETY: `close` is a System V function of one pointer.
    /// let close = unsafe {
    ///     FinalizerFn::builder(signature, Abi::system_v()).at(close as *const ())
    /// };
    /// let mut mutator = runtime.attach()?;
    /// let object = mutator.alloc(file)?;
    /// mutator.store_word(object, 0, 3)?;
    /// mutator.set_finalizer(object, &close)?;
    /// mutator.gc()?;
    /// let due = runtime.next_due()?.unwrap();
    /// // The VM looks its function up by the address, and runs it on a stack of its own. However
    /// // long that takes, the object is there.
    /// mutator.gc()?;
    /// let object = mutator.adopt(due.words()[0] as usize)?;
    /// assert_eq!(mutator.load_word(object, 0)?, 3);
    /// assert!(due.code().is_some() && runtime.next_due()?.is_none());
    /// drop(due);
    /// assert_eq!(runtime.stats().executed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The executor is [`Executor::Thread`]; it is [`Executor::Inline`] and another thread built
    /// the runtime; another thread runs finalizers, or a finalizer that a drain runs has called
    /// this; or this process is a fork.
    pub fn next_due(&self) -> Result<Option<Due>, ExecutorError> {
        self.goroutine.next_due()
    }

    /// Makes a [`Mailbox`]: calls that a thread of the embedder makes, apart from those of the
    /// executor.
    ///
    /// # Errors
    /// Finalization was shut down, or this process is a fork.
    pub fn mailbox(&self, options: MailboxOptions) -> Result<Mailbox, Closed> {
        self.goroutine.mailbox(options)
    }

    /// Returns a descriptor that is readable while calls are queued that no drain has begun with,
    /// or that one has left: for an event loop to poll. Nothing may be read from it; a drain makes
    /// it unreadable. It is made by the first call.
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

    /// Ends the finalizer goroutine: runs the queued calls if `drain`, or else drops them, and
    /// waits at most `timeout` for the end. The heap can still be used, but nothing is finalized
    /// any more.
    ///
    /// Returns how many queued calls were dropped.
    ///
    /// # Errors
    /// `timeout` passes first (the goroutine ends when the finalizer that is running returns); this
    /// thread is the one that runs finalizers; this process is a fork; or, with `drain`, the thread
    /// runs with a mutator or is in the middle of a collection.
    pub fn shutdown(&self, drain: bool, timeout: Duration) -> Result<u64, ExecutorError> {
        let discarded = self.goroutine.shutdown(drain, timeout)?;
        self.registry().exit_begun.store(false, Release);
        self.end_callbacks();
        Ok(discarded)
    }

    /// Frees the callbacks that objects own.
    fn end_callbacks(&self) {
        let registry = &self.shared.registry;
        registry.release_attachments("at the shutdown of its runtime");
    }

    /// Checks every object of the heap with the world stopped, and returns counts of what was
    /// found. For tests and debugging.
    ///
    /// # Errors
    /// The heap is not sound, which is a bug of this crate or of code that writes past a mutator;
    /// or this thread runs with a mutator of this runtime.
    pub fn verify_heap(&self) -> Result<HeapReport, VerifyError> {
        Ok(self.shared.space.verify()??)
    }

    /// Returns everything that is registered or queued, as data: what it is of, which function is
    /// called, how big the object is. Registrations come first, by the addresses of their objects;
    /// then calls whose turn it is. Finalizers set for all objects of a type are among them.
    ///
    /// Stops the world, and takes time and memory in proportion to what is listed.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use std::collections::BTreeMap;
    ///
    /// let runtime = fing::Runtime::new()?;
    /// let mut by_type = BTreeMap::new();
    /// for entry in runtime.list()? {
    ///     *by_type.entry((entry.state, entry.ty)).or_insert(0) += entry.bytes;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Runtime::gc`].
    pub fn list(&self) -> Result<Vec<Listed>, WorldError> {
        let registry = &self.shared.registry;
        self.shared.space.inspect(|marking| registry.list(marking))
    }

    /// Returns the times of the calls that were sampled so far; `None` unless
    /// [`RuntimeBuilder::sample_calls`] was called.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let every = std::num::NonZeroU32::new(64).unwrap();
    /// let runtime = fing::Runtime::builder().sample_calls(every).build()?;
    /// for call in runtime.call_times().unwrap().slowest {
    ///     println!("{:?} in {}", call.time, call.signature);
    /// }
    /// # Ok::<(), fing::error::RuntimeError>(())
    /// ```
    pub fn call_times(&self) -> Option<CallTimes> {
        Some(self.shared.calls.samples.as_ref()?.times())
    }

    /// Returns what has become of registrations and calls, one row for each function, type of
    /// pointer and place of registration ([`record_site`](crate::FinalizerOptions::record_site)),
    /// those with the most calls waiting first. Their counts are of one moment, but for `failed`.
    ///
    /// Stops the world, and takes time in proportion to what is registered and queued. Counting
    /// the calls costs next to nothing while they are made: they are counted a block at a time.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use std::collections::BTreeMap;
    /// use fing::observe::CallStats;
    ///
    /// let runtime = fing::Runtime::new()?;
    /// let mut by_type = BTreeMap::<String, CallStats>::new();
    /// for row in runtime.stats_by_site()? {
    ///     if let Some(site) = row.site {
    ///         println!("{} calls wait of {} at {site}", row.backlog.calls, row.signature);
    ///     }
    ///     let ty = row.pointer.map_or_else(String::new, |pointer| pointer.to_string());
    ///     *by_type.entry(ty).or_default() += row.calls;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Runtime::gc`].
    pub fn stats_by_site(&self) -> Result<Vec<SiteStats>, WorldError> {
        let Shared {
            space,
            registry,
            calls,
            ..
        } = &*self.shared;
        let counts = space
            .inspect(|marking| sites::Counts::new(calls, registry.registered_by_shape(marking)))?;
        let types = space.types();
        Ok(counts.rows(calls, |ty| Some(types.desc(ty).ok()?.ty().clone())))
    }

    /// Returns the current statistics.
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
