//! Which thread the finalizer goroutine runs on, and how it is started and stopped.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::calls::budget::{Budget, Drained};
use crate::calls::goroutine::Calls;
use crate::calls::lent::Lender;
use crate::calls::queue::status;
use crate::calls::thread::ThreadOptions;
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
    /// The thread it runs on; empty until it has been started.
    thread: Arc<OnceLock<ThreadId>>,
    started: AtomicBool,
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
        let thread = Arc::new(OnceLock::new());
        if executor == Executor::Inline {
            let _ = thread.set(thread::current().id());
        }
        let is_embedders = executor != Executor::Thread;
        if is_embedders {
            let queue = &owner.calls().queue;
            queue.set_status(status::CREATED | status::WAIT, true);
        }
        Goroutine {
            owner,
            executor,
            thread,
            started: AtomicBool::new(is_embedders),
            runner: AtomicUsize::new(0),
            options,
        }
    }

    /// Starts the goroutine's thread, if it has not been started.
    ///
    /// # Errors
    /// The thread could not be started; the next registration tries again.
    #[inline]
    pub(crate) fn start(&self) -> std::io::Result<()> {
        if self.started.load(Ordering::Acquire) {
            return Ok(());
        }
        self.start_first()
    }

    #[cold]
    fn start_first(&self) -> std::io::Result<()> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (owner, thread) = (self.owner.clone(), self.thread.clone());
        let body = move || {
            let _ = thread.set(thread::current().id());
            let calls = owner.calls();
            calls.queue.set_status(status::CREATED, true);
            calls.run_until_stopped(&*owner);
        };
        let begun = self.options.spawn(body);
        begun.inspect_err(|_| self.started.store(false, Ordering::Release))
    }

    fn check_no_mutator(&self, operation: &'static str) -> Result<(), ExecutorError> {
        if self.owner.is_running_here() {
            return Err(ExecutorError::HoldsMutator { operation });
        }
        Ok(())
    }

    fn is_this_thread(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
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
        let found = thread::current().id();
        if let Some(&wanted) = self.thread.get().filter(|&&wanted| wanted != found) {
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

    /// Whether this thread of the embedder runs finalizers now.
    fn runs_here(&self) -> bool {
        let runner = self.runner.load(Ordering::Acquire);
        runner != 0 && runner == threads::key()
    }

    /// Waits until nothing is due; runs it, on the thread of an inline executor.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), ExecutorError> {
        if self.executor == Executor::Thread && self.is_this_thread() || self.runs_here() {
            return Err(ExecutorError::OnGoroutine);
        }
        self.check_no_mutator("waiting for finalizers")?;
        match self.executor {
            Executor::Inline if self.is_this_thread() => drop(self.run_inline()?),
            Executor::Manual => match self.run_inline() {
                // The other thread is waited for.
                Ok(_) | Err(ExecutorError::Busy) => {}
                Err(error) => return Err(error),
            },
            _ => {}
        }
        let settled = self.owner.calls().queue.wait_until_settled(timeout);
        settled.map_err(|due| ExecutorError::Timeout { due, timeout })
    }

    /// Tells the goroutine to end, without waiting for it.
    pub(crate) fn stop(&self) {
        self.owner.calls().queue.stop();
    }

    /// Ends the goroutine and waits for its end, after running what is due if `drain`. Returns how
    /// many queued records were dropped.
    pub(crate) fn shutdown(&self, drain: bool, timeout: Duration) -> Result<u64, ExecutorError> {
        if drain {
            self.wait(timeout)?;
        } else if self.is_this_thread() && self.executor == Executor::Thread {
            return Err(ExecutorError::OnGoroutine);
        }
        self.stop();
        let ended = self.owner.calls().queue.wait_until_ended(timeout);
        ended.map_err(|due| ExecutorError::Timeout { due, timeout })?;
        self.owner.calls().discard();
        Ok(self.owner.calls().queue.counts().discarded)
    }
}

impl Drop for Goroutine {
    fn drop(&mut self) {
        self.stop();
    }
}
