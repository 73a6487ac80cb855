//! Which thread the finalizer goroutine runs on, and how it is started and stopped.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use fing_stubs::{Gate, GateState};

use crate::base::deadline::Deadline;
use crate::calls::budget::{Budget, Drained};
use crate::calls::goroutine::Calls;
use crate::calls::lent::Lender;
use crate::calls::queue::{Dropped, status};
use crate::calls::thread::ThreadOptions;
use crate::calls::watchdog;
use crate::world::threads;

/// Which thread runs finalizers and cleanups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Executor {
    /// A thread of the runtime's own, started with the first registration.
    #[default]
    Thread,
    /// The thread that builds the runtime, whenever it calls
    /// [`Runtime::run_finalizers`](crate::Runtime::run_finalizers): for VMs that are not `Send`.
    Inline,
    /// Any thread that calls [`Runtime::drain`](crate::Runtime::drain) or
    /// [`Runtime::run_finalizers`](crate::Runtime::run_finalizers), one at a time: for threads and
    /// event loops that are told that calls are due
    /// ([`RuntimeBuilder::on_due`](crate::RuntimeBuilder::on_due)).
    Manual,
}

/// Why finalizers were not run or waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The timeout passed before the queue was empty.
    #[error("waiting for finalizers: {due} calls due after {timeout:?}, wanted 0")]
    Timeout {
        /// Calls queued and not done, or 0 if the goroutine was not parked yet.
        due: u64,
        /// How long was waited.
        timeout: Duration,
    },
    /// The calling thread is the one that runs finalizers: it would wait for itself.
    #[error("waiting for finalizers: this thread runs them, wanted another one")]
    OnGoroutine,
    /// `run_finalizers` or `drain` was called, and the executor is [`Executor::Thread`].
    #[error("run_finalizers: the executor is Thread, which runs them itself, wanted another one")]
    NotInline,
    /// `run_finalizers` was called on another thread than the one that built the runtime.
    #[error("run_finalizers: called on {found:?}, wanted {wanted:?}, which built the runtime")]
    WrongThread {
        /// This thread.
        found: ThreadId,
        /// The runtime's.
        wanted: ThreadId,
    },
    /// Another thread is running finalizers.
    #[error("run_finalizers: another thread is running them, wanted none")]
    Busy,
    /// The thread is ending: its thread-local values are being destroyed.
    #[error("run_finalizers: this thread is ending, wanted one whose thread-local values exist")]
    ThreadEnds,
    /// A finalizer called `run_finalizers`.
    #[error("run_finalizers: called by a finalizer it is running")]
    Reentered,
    /// The calling thread runs with a mutator. A finalizer may stop the world, which waits for that
    /// mutator, so waiting for finalizers could never end.
    #[error("{operation}: this thread runs with a mutator, wanted a native region or no mutator")]
    HoldsMutator {
        /// What was tried.
        operation: &'static str,
    },
    /// Calls were dropped at a shutdown, and will never be made.
    #[error("waiting for finalizers: {calls} calls were dropped at a shutdown, wanted all done")]
    Discarded {
        /// How many of those that were waited for.
        calls: u64,
    },
    /// This process is a fork of the one that made the runtime: the finalizer goroutine is not in
    /// it, and locks may be held by threads that are not either.
    #[error(
        "{operation}: made by process {owner}, used by its fork {found}; a forked child needs a \
         runtime of its own"
    )]
    Forked {
        /// What was tried.
        operation: &'static str,
        /// The process that made it.
        owner: u32,
        /// This process.
        found: u32,
    },
}

/// Why nothing is registered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// `shutdown` was called: nothing is finalized any more.
    #[error("registering: finalization was shut down, wanted a registration before that")]
    ShutDown,
    /// This process is a fork of the one that made the runtime: the finalizer goroutine is not in
    /// it, and locks may be held by threads that are not either.
    #[error(
        "registering: made by process {owner}, used by its fork {found}; a forked child needs a \
         runtime of its own"
    )]
    Forked {
        /// The process that made it.
        owner: u32,
        /// This process.
        found: u32,
    },
}

impl Closed {
    /// Why the gate is not open, if it is not.
    #[inline]
    pub(crate) fn check(gate: &Gate) -> Result<(), Closed> {
        if gate.is_open() {
            return Ok(());
        }
        Closed::reason(gate)
    }

    #[cold]
    fn reason(gate: &Gate) -> Result<(), Closed> {
        match gate.state() {
            GateState::Open => Ok(()),
            GateState::Closed => Err(Closed::ShutDown),
            GateState::Forked => Err(Closed::Forked {
                owner: gate.owner(),
                found: std::process::id(),
            }),
        }
    }
}

/// Why the goroutine does not run.
#[derive(Debug)]
pub(crate) enum StartError {
    Closed(Closed),
    NoThread(std::io::Error),
}

/// The owner of a finalizer goroutine. The goroutine's thread keeps it alive.
pub(crate) trait Owner: Lender + Send + Sync {
    /// The queue and the stubs that the goroutine works with.
    fn calls(&self) -> &Calls;

    /// Whether the calling thread may touch objects now, so that no finalizer can run on it.
    fn is_running_here(&self) -> bool;
}

/// The finalizer goroutine of one runtime. Dropping this ends it without waiting.
pub(crate) struct Goroutine {
    owner: Arc<dyn Owner>,
    executor: Executor,
    /// The thread of an inline executor.
    thread: Option<ThreadId>,
    started: AtomicBool,
    /// Whether the watchdog has been started.
    watched: AtomicBool,
    /// The thread of the embedder that runs finalizers now; 0 if none does.
    runner: AtomicUsize,
    options: ThreadOptions,
}

impl Goroutine {
    pub(crate) fn new(
        owner: Arc<dyn Owner>,
        executor: Executor,
        options: ThreadOptions,
    ) -> Goroutine {
        let is_embedders = executor != Executor::Thread;
        if is_embedders {
            owner
                .calls()
                .queue
                .set_status(status::CREATED | status::WAIT, true);
        }
        // An embedder's executor has no thread to be started but the watchdog's.
        let started = is_embedders && owner.calls().watchdog.is_none();
        Goroutine {
            owner,
            executor,
            thread: (executor == Executor::Inline).then(|| thread::current().id()),
            started: AtomicBool::new(started),
            watched: AtomicBool::new(false),
            runner: AtomicUsize::new(0),
            options,
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        self.owner.calls()
    }

    pub(super) fn executor(&self) -> Executor {
        self.executor
    }

    /// Starts the goroutine's thread and the watchdog's, if they have not been started.
    ///
    /// # Errors
    /// The thread could not be started; the next registration tries again. Or nothing may be
    /// registered any more.
    #[inline]
    pub(crate) fn start(&self) -> Result<(), StartError> {
        Closed::check(&self.owner.calls().gate).map_err(StartError::Closed)?;
        if self.started.load(Ordering::Acquire) {
            return Ok(());
        }
        self.start_first().map_err(StartError::NoThread)
    }

    #[cold]
    fn start_first(&self) -> std::io::Result<()> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.start_threads()
            .inspect_err(|_| self.started.store(false, Ordering::Release))
    }

    fn start_threads(&self) -> std::io::Result<()> {
        let restart = self.executor == Executor::Thread;
        if let Some(options) = self.owner.calls().watchdog
            && !self.watched.swap(true, Ordering::AcqRel)
        {
            watchdog::spawn(&self.owner, options, restart.then(|| self.options.clone()))
                .inspect_err(|_| self.watched.store(false, Ordering::Release))?;
        }
        match restart {
            true => {
                watchdog::spawn_worker(&self.owner, &self.options, |calls| Some(calls.queue.turn()))
            }
            false => Ok(()),
        }
    }

    /// The error for a forked child.
    fn check_fork(&self, operation: &'static str) -> Result<(), ExecutorError> {
        let gate = &self.owner.calls().gate;
        if !gate.is_forked() {
            return Ok(());
        }
        Err(ExecutorError::Forked {
            operation,
            owner: gate.owner(),
            found: std::process::id(),
        })
    }

    fn check_no_mutator(&self, operation: &'static str) -> Result<(), ExecutorError> {
        if self.owner.is_running_here() {
            return Err(ExecutorError::HoldsMutator { operation });
        }
        Ok(())
    }

    /// Whether this thread may drain.
    fn may_run_here(&self) -> bool {
        match self.executor {
            Executor::Thread => false,
            Executor::Inline => self.thread == Some(thread::current().id()),
            Executor::Manual => true,
        }
    }

    /// Whether this thread runs finalizers now, or may have to.
    fn runs_here(&self) -> bool {
        if self.executor == Executor::Thread {
            return self.owner.calls().workers.has_this_thread();
        }
        let runner = self.runner.load(Ordering::Acquire);
        runner != 0 && runner == threads::key()
    }

    /// Runs what is due on this thread. Returns how many records were run.
    pub(crate) fn run_inline(&self) -> Result<u64, ExecutorError> {
        Ok(self.drain(Budget::unlimited())?.calls)
    }

    /// Runs what is due on this thread, until the budget is used up.
    pub(crate) fn drain(&self, budget: Budget) -> Result<Drained, ExecutorError> {
        if self.executor == Executor::Thread {
            return Err(ExecutorError::NotInline);
        }
        self.check_fork("run_finalizers")?;
        let found = thread::current().id();
        if let Some(wanted) = self.thread.filter(|&wanted| wanted != found) {
            return Err(ExecutorError::WrongThread { found, wanted });
        }
        self.check_no_mutator("run_finalizers")?;
        let here = threads::key();
        if here == 0 {
            return Err(ExecutorError::ThreadEnds);
        }
        let began = self
            .runner
            .compare_exchange(0, here, Ordering::AcqRel, Ordering::Acquire);
        match began {
            Ok(_) => {}
            Err(runner) if runner == here => return Err(ExecutorError::Reentered),
            Err(_) => return Err(ExecutorError::Busy),
        }
        /// Resets the runner also when a bug of this crate panics.
        struct Running<'a>(&'a AtomicUsize);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Release);
            }
        }
        let _running = Running(&self.runner);
        let calls = self.owner.calls();
        calls.mailbox.begin();
        let made = calls.run_due(budget, &*self.owner);
        let left = calls.queue.due();
        calls.mailbox.end(left);
        Ok(Drained { calls: made, left })
    }

    /// Waits until nothing is due; runs it, on the thread of an inline executor.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), ExecutorError> {
        self.prepare_to_wait()?;
        let deadline = Deadline::after(timeout);
        let settled = self.owner.calls().queue.wait_until_settled(deadline);
        settled.map_err(|due| ExecutorError::Timeout { due, timeout })
    }

    /// Checks that this thread may wait for calls, and, on a thread that may run them, runs what is
    /// due.
    pub(crate) fn prepare_to_wait(&self) -> Result<(), ExecutorError> {
        self.check_fork("waiting for finalizers")?;
        if self.runs_here() {
            return Err(ExecutorError::OnGoroutine);
        }
        self.check_no_mutator("waiting for finalizers")?;
        if !self.may_run_here() {
            return Ok(());
        }
        match self.run_inline() {
            // The other thread is waited for.
            Ok(_) | Err(ExecutorError::Busy) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells the goroutine to end, without waiting for it. Nothing can be registered afterwards,
    /// and what is queued is dropped.
    pub(crate) fn stop(&self) {
        let calls = self.owner.calls();
        // A forked child has no goroutine, and may not take the queue's lock.
        if !calls.gate.is_forked() {
            calls.gate.close();
            calls.queue.stop();
        }
    }

    /// Ends the goroutine and waits for its end, after running what is due if `drain`. Returns how
    /// many queued records were dropped.
    pub(crate) fn shutdown(&self, drain: bool, timeout: Duration) -> Result<u64, ExecutorError> {
        self.check_fork("shutdown")?;
        let deadline = Deadline::after(timeout);
        if drain {
            self.wait(timeout)?;
        } else if self.runs_here() {
            return Err(ExecutorError::OnGoroutine);
        }
        self.stop();
        let ended = self.owner.calls().queue.wait_until_ended(deadline);
        ended.map_err(|due| ExecutorError::Timeout { due, timeout })?;
        Ok(self.owner.calls().queue.counts().discarded)
    }
}

impl Goroutine {
    /// Checks that this thread may end finalization.
    pub(crate) fn may_exit(&self) -> Result<(), ExecutorError> {
        self.check_fork("exit")?;
        if self.runs_here() {
            return Err(ExecutorError::OnGoroutine);
        }
        self.check_no_mutator("exit")
    }

    /// Ends the goroutine, after running what is queued if `run`. Returns what did not run.
    pub(crate) fn exit(&self, run: bool, deadline: Deadline) -> Vec<Dropped> {
        let queue = &self.owner.calls().queue;
        let stopped = if run { self.run_until(deadline) } else { None };
        let dropped = stopped.unwrap_or_else(|| queue.stop_and_list());
        // Whether the call that is running returns in time or not, nothing else can be done.
        let _ = queue.wait_until_ended(deadline);
        dropped
    }

    /// Has what is queued run until the deadline. On a thread that runs it itself, another thread
    /// stops the queue then, and what did not run is returned.
    fn run_until(&self, deadline: Deadline) -> Option<Vec<Dropped>> {
        let calls = self.owner.calls();
        let queue = &calls.queue;
        if !self.may_run_here() {
            calls.mailbox.wake(queue);
            let _ = queue.wait_until_settled(deadline);
            return None;
        }
        thread::scope(|scope| {
            let watch = || match queue.wait_until_settled(deadline) {
                Ok(()) => None,
                Err(_) => Some(queue.stop_and_list()),
            };
            // Without a thread that watches the time, the calls are made until all are done.
            let watching = thread::Builder::new().spawn_scoped(scope, watch);
            // Refused only if a finalizer has called this, which was checked, or another thread
            // runs what is queued.
            let _ = self.run_inline();
            watching.ok()?.join().ok()?
        })
    }
}

impl Drop for Goroutine {
    fn drop(&mut self) {
        self.stop();
    }
}
