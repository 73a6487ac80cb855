//! The options that every runtime has, with the embedded heap or with a foreign collector.
#![forbid(unsafe_code)]

use std::num::NonZeroU32;

use fing_stubs::{AbiError, CacheOptions, StubError};

use crate::calls::executor::Executor;
use crate::calls::failing::Policy;
use crate::calls::failure::{Decision, Failure, FailurePolicy};
use crate::calls::goroutine::{CallOptions, Calls};
use crate::calls::lane::Pool;
use crate::calls::misuse::MutatorMisuse;
use crate::calls::observer::Observer;
use crate::calls::pressure::{BacklogAction, BacklogExceeded};
use crate::calls::queue::{BacklogBound, DrainOrder};
use crate::calls::thread::ThreadOptions;
use crate::calls::watchdog::Watchdog;
use crate::order::Order;

/// What a [`Builder`] builds: a [`Runtime`](crate::Runtime), or
/// [`Finalizers`](crate::foreign::Finalizers).
pub trait Buildable {
    /// The options that only it has.
    type Options;
}

/// Why the part of a runtime that makes calls could not be made: the system lacks something, or a
/// limit is out of range.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallsError {
    /// The stub cache could not be made.
    #[error(transparent)]
    Stubs(#[from] StubError),
    /// `int_arg_regs` is more than the machine has.
    #[error("int_arg_regs: {0}")]
    IntArgRegs(#[from] AbiError),
    /// The watchdog is to hand over, and the executor has no threads of its own.
    #[error("watchdog: to hand over, wanted Executor::Thread, found {found:?}")]
    Watchdog {
        /// The executor.
        found: Executor,
    },
    /// There is no memory for a page by which forked children are told.
    #[error("a page that forked children find empty: {0}")]
    Gate(std::io::Error),
}

/// Options of a [`Runtime`](crate::Runtime) ([`RuntimeBuilder`](crate::RuntimeBuilder)), or of
/// [`Finalizers`](crate::foreign::Finalizers)
/// ([`FinalizersBuilder`](crate::foreign::FinalizersBuilder)), which `build` makes. Both have the
/// options listed first.
///
/// ```
/// use fing::{Executor, Order, Runtime, foreign::Finalizers};
///
/// let runtime = Runtime::builder().order(Order::Topological).executor(Executor::Inline).build()?;
/// let finalizers: Finalizers<usize> =
///     Finalizers::builder().order(Order::Topological).executor(Executor::Manual).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder<T: Buildable> {
    pub(crate) calls: CallOptions,
    pub(crate) executor: Executor,
    pub(crate) thread: ThreadOptions,
    pub(crate) order: Order,
    pub(crate) number_registrations: bool,
    /// What only this kind of runtime has.
    pub(crate) own: T::Options,
}

impl<T: Buildable> std::fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("executor", &self.executor)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl<T: Buildable> Builder<T> {
    /// The defaults, with this executor.
    pub(crate) fn new(executor: Executor, own: T::Options) -> Builder<T> {
        Builder {
            calls: CallOptions::default(),
            executor,
            thread: ThreadOptions::default(),
            order: Order::default(),
            number_registrations: false,
            own,
        }
    }

    /// Sets where stubs come from, and their limits.
    pub fn code(mut self, options: CacheOptions) -> Self {
        self.calls.code = options;
        self
    }

    /// Sets which thread runs finalizers. The default of a [`Runtime`](crate::Runtime) is a thread
    /// of its own; that of [`Finalizers`](crate::foreign::Finalizers) is [`Executor::Inline`], on
    /// the thread that calls `build`, as [`Executor::Thread`] is for collectors that do not move
    /// objects.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// Sets the name, the stack and the start of the thread that an [`Executor::Thread`] starts.
    pub fn thread(mut self, options: ThreadOptions) -> Self {
        self.thread = options;
        self
    }

    /// Gives it a pool of threads, beside the executor: for functions that are declared
    /// [free-threaded](crate::function::FunctionBuilder::free_threaded), unless a registration says
    /// otherwise ([`Lane`](crate::executor::Lane)). Calls there are made in no order, several at a
    /// time. By default there is none. An [observer](Self::observer) is told of calls on several
    /// threads at a time then. Not for collectors that move objects.
    ///
    /// ```
    /// use fing::executor::Pool;
    /// use fing::{FinalizerFn, Runtime};
    ///
    /// let threads = std::num::NonZeroUsize::new(2).unwrap();
    /// let runtime = Runtime::builder().pool(Pool::new(threads)).build()?;
    /// let ty = runtime.types().define("main.T", "struct { N uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(*main.T)")?;
    /// let finalizer = FinalizerFn::from_rust(signature, |_mutator, _object| ());
    /// runtime.enter(|mutator| {
    ///     for _ in 0..100 {
    ///         mutator.set_finalizer(mutator.alloc(ty)?, &finalizer)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// runtime.gc()?.wait(std::time::Duration::from_secs(60))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pool(mut self, pool: Pool) -> Self {
        self.calls.pool = Some(pool);
        self
    }

    /// Sets a hook that is called when calls have been queued, with no lock held: to wake the
    /// thread or event loop that will [drain](crate::Runtime::drain) them. It is called for each
    /// collection that has queued some, on the thread that collected (or called
    /// [`finish`](crate::foreign::Finalizers::finish)), also while a drain is under way. It may
    /// call the runtime; a panic is caught and told as a `tracing` event. See
    /// [`Runtime::due_descriptor`](crate::Runtime::due_descriptor) for event loops that poll.
    pub fn on_due(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.calls.on_due = Some(Box::new(hook));
        self
    }

    /// Sets the order in which a drain runs what is due. The default is Go's. In
    /// [`Order::Topological`] it is always [`DrainOrder::Lifo`].
    pub fn drain_order(mut self, order: DrainOrder) -> Self {
        self.calls.drain_order = order;
        self
    }

    /// Sets the count of integer argument registers for Go functions that follow it. The default is
    /// the machine's maximum.
    pub fn int_arg_regs(mut self, count: usize) -> Self {
        self.calls.int_arg_regs = Some(count);
        self
    }

    /// Sets the order of finalization. The default is Go's.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Has registrations numbered in the order in which they are made, which
    /// [`ExitPolicy::LastRegisteredFirst`](crate::ends::ExitPolicy::LastRegisteredFirst) needs. In
    /// a [`Runtime`](crate::Runtime) that takes 8 bytes for each object of a block with finalizers,
    /// and one more atomic addition for each registration; in
    /// [`Finalizers`](crate::foreign::Finalizers) 8 bytes for each registration. By default they
    /// are not numbered.
    pub fn number_registrations(mut self, number: bool) -> Self {
        self.number_registrations = number;
        self
    }

    /// Sets a hook that is told of each failure of a finalizer or cleanup: see [`Failure`]. It is
    /// called on the thread that runs finalizers, or, for one that is stuck or whose thread has
    /// ended, on the watchdog's; with no lock held, so it may do whatever a finalizer may. The
    /// default sends a `tracing` error.
    pub fn on_failure(mut self, hook: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.calls.on_failure = Box::new(hook);
        self
    }

    /// Sets what is done about failures, unless the registration says otherwise. The default is
    /// [`FailurePolicy::Report`].
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.calls.policy = Policy::Fixed(policy);
        self
    }

    /// Has a hook decide what is done about failures, unless the registration says otherwise: in
    /// place of a [`failure_policy`](Self::failure_policy). It is called before
    /// [`on_failure`](Self::on_failure), as that is. If it panics, it has decided to go on.
    pub fn decide_failures(
        mut self,
        hook: impl Fn(&Failure) -> Decision + Send + Sync + 'static,
    ) -> Self {
        self.calls.policy = Policy::Hook(Box::new(hook));
        self
    }

    /// Sets a watchdog; by default there is none. See [`Watchdog`] for what it does and costs.
    pub fn watchdog(mut self, options: Watchdog) -> Self {
        self.calls.watchdog = Some(options);
        self
    }

    /// Adds a bound of the backlog, and says what is done while the backlog exceeds it. Any number
    /// may be added; by default there is none. See `docs/failures.md`.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use std::time::Duration;
    /// use fing::Runtime;
    /// use fing::executor::{BacklogAction, BacklogBound, Budget};
    ///
    /// let some = Budget::unlimited().calls(1000).time(Duration::from_millis(2));
    /// let runtime = Runtime::builder()
    ///     .bound_backlog(BacklogBound::Calls(100_000), BacklogAction::Assist(some))
    ///     .bound_backlog(BacklogBound::ExternalBytes(1 << 30), BacklogAction::Refuse)
    ///     .bound_backlog(BacklogBound::Age(Duration::from_secs(60)), BacklogAction::Tell)
    ///     .on_pressure(|exceeded| eprintln!("{exceeded}"))
    ///     .build()?;
    /// # Ok::<(), fing::error::RuntimeError>(())
    /// ```
    ///
    /// With a foreign collector, what objects own outside the heap is known if the collector says
    /// it ([`Tracer::external_bytes`](crate::foreign::Tracer::external_bytes)), and threads assist
    /// where they call [`Finalizers::assist`](crate::foreign::Finalizers::assist).
    pub fn bound_backlog(mut self, bound: BacklogBound, action: BacklogAction) -> Self {
        self.calls.pressure.rules.push((bound, action));
        self
    }

    /// Sets a hook that is called once when the backlog passes a bound, whatever its action, and
    /// again only after it was within the bound meanwhile. It is called with no lock held, on the
    /// thread that finds out: one that has collected or made calls, that registers or assists, or
    /// the watchdog's. It may call the runtime as that thread may. The default sends a `tracing`
    /// warning.
    pub fn on_pressure(mut self, hook: impl Fn(&BacklogExceeded) + Send + Sync + 'static) -> Self {
        self.calls.pressure.hook = Box::new(hook);
        self
    }

    /// Sets a hook that is called with each finalizer or cleanup that did not leave the mutators of
    /// a [`Runtime`](crate::Runtime) as it found them, after that was mended, on the thread that
    /// runs finalizers. The default sends a `tracing` error.
    pub fn on_misuse(mut self, hook: impl Fn(&MutatorMisuse) + Send + Sync + 'static) -> Self {
        self.calls.on_misuse = Box::new(hook);
        self
    }

    /// Sets an observer of the finalizer goroutine; see [`Observer`] for what that costs. By
    /// default there is none.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.calls.observer = Some(Box::new(observer));
        self
    }

    /// Has one of so many calls made by itself and timed; see
    /// [`Runtime::call_times`](crate::Runtime::call_times) and its twin of
    /// [`Finalizers`](crate::foreign::Finalizers::call_times). Calls between those are made in
    /// batches as ever. By default none is timed.
    pub fn sample_calls(mut self, every: NonZeroU32) -> Self {
        self.calls.sample_every = Some(every);
        self
    }
}

impl CallOptions {
    /// Checks the options together, and makes what calls need.
    pub(crate) fn build(mut self, executor: Executor, order: Order) -> Result<Calls, CallsError> {
        let hands_over = self.watchdog.is_some_and(|watchdog| watchdog.hands_over());
        if hands_over && executor != Executor::Thread {
            return Err(CallsError::Watchdog { found: executor });
        }
        if order == Order::Topological {
            // The plan's order is kept only by a queue that is last in, first out.
            self.drain_order = DrainOrder::Lifo;
        }
        Calls::new(self)
    }
}
