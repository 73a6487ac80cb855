//! Which thread the finalizer goroutine runs on, and how it is started and stopped.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::calls::goroutine::Calls;
use crate::calls::queue::status;
use crate::calls::watchdog;

/// Which thread runs finalizers and cleanups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// A thread of the runtime's own, started with the first registration.
    #[default]
    Thread,
    /// The thread that builds the runtime, whenever it calls
    /// [`Runtime::run_finalizers`](crate::Runtime::run_finalizers): for VMs that are not `Send`.
    Inline,
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
    /// `run_finalizers` was called, and the executor is not [`Executor::Inline`].
    #[error("run_finalizers: the executor is Thread, which runs them by itself, wanted Inline")]
    NotInline,
    /// `run_finalizers` was called on another thread than the one that built the runtime.
    #[error("run_finalizers: called on {found:?}, wanted {wanted:?}, which built the runtime")]
    WrongThread {
        /// This thread.
        found: ThreadId,
        /// The runtime's.
        wanted: ThreadId,
    },
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
pub(crate) trait Owner: Send + Sync {
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
    running: AtomicBool,
}

impl Goroutine {
    pub(crate) fn new(owner: Arc<dyn Owner>, executor: Executor) -> Goroutine {
        let inline = executor == Executor::Inline;
        if inline {
            owner
                .calls()
                .queue
                .set_status(status::CREATED | status::WAIT, true);
        }
        // An inline executor has no thread to be started but the watchdog's.
        let started = inline && owner.calls().watchdog.is_none();
        Goroutine {
            owner,
            executor,
            thread: inline.then(|| thread::current().id()),
            started: AtomicBool::new(started),
            watched: AtomicBool::new(false),
            running: AtomicBool::new(false),
        }
    }

    /// Starts the goroutine's thread and the watchdog's, if they have not been started.
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
        self.start_threads()
            .inspect_err(|_| self.started.store(false, Ordering::Release))
    }

    fn start_threads(&self) -> std::io::Result<()> {
        let restart = self.executor == Executor::Thread;
        if let Some(options) = self.owner.calls().watchdog
            && !self.watched.swap(true, Ordering::AcqRel)
        {
            watchdog::spawn(&self.owner, options, restart)
                .inspect_err(|_| self.watched.store(false, Ordering::Release))?;
        }
        match restart {
            true => watchdog::spawn_worker(&self.owner, |calls| Some(calls.queue.turn())),
            false => Ok(()),
        }
    }

    fn check_no_mutator(&self, operation: &'static str) -> Result<(), ExecutorError> {
        if self.owner.is_running_here() {
            return Err(ExecutorError::HoldsMutator { operation });
        }
        Ok(())
    }

    fn is_this_thread(&self) -> bool {
        match self.executor {
            Executor::Thread => self.owner.calls().workers.has_this_thread(),
            Executor::Inline => self.thread == Some(thread::current().id()),
        }
    }

    /// Runs what is due on this thread. Returns how many records were run.
    pub(crate) fn run_inline(&self) -> Result<u64, ExecutorError> {
        if self.executor != Executor::Inline {
            return Err(ExecutorError::NotInline);
        }
        let found = thread::current().id();
        if let Some(wanted) = self.thread.filter(|&wanted| wanted != found) {
            return Err(ExecutorError::WrongThread { found, wanted });
        }
        self.check_no_mutator("run_finalizers")?;
        if self.running.swap(true, Ordering::AcqRel) {
            return Err(ExecutorError::Reentered);
        }
        /// Resets the flag also when a bug of this crate panics.
        struct Running<'a>(&'a AtomicBool);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        let _running = Running(&self.running);
        Ok(self.owner.calls().run_due())
    }

    /// Waits until nothing is due; runs it, on the thread of an inline executor.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), ExecutorError> {
        if self.is_this_thread()
            && (self.executor == Executor::Thread || self.running.load(Ordering::Acquire))
        {
            return Err(ExecutorError::OnGoroutine);
        }
        self.check_no_mutator("waiting for finalizers")?;
        if self.executor == Executor::Inline && self.is_this_thread() {
            self.run_inline()?;
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
