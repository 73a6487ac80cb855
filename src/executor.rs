//! Which thread the finalizer goroutine runs on, and how it begins and ends.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::fing::Calls;
use crate::queue::status;

/// Which thread runs finalizers and cleanups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// A thread of the runtime's own, started with the first registration.
    #[default]
    Thread,
    /// The thread that builds the runtime, whenever it calls [`Runtime::run_finalizers`](crate::Runtime::run_finalizers):
    /// for VMs that are not `Send`.
    Inline,
}

/// Why finalizers were not run or waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The queue was not empty in time.
    #[error("waiting for finalizers: {due} calls due after {timeout:?}, wanted 0")]
    Timeout {
        /// Calls queued and not done, or 0 if the goroutine was not parked yet.
        due: u64,
        /// How long was waited.
        timeout: Duration,
    },
    /// The wait would be for itself.
    #[error("waiting for finalizers: this thread runs them, wanted another one")]
    OnGoroutine,
    /// `run_finalizers` is for `Executor::Inline`.
    #[error("run_finalizers: the executor is Thread, which runs them by itself, wanted Inline")]
    NotInline,
    /// Not the thread that built the runtime.
    #[error("run_finalizers: called on {found:?}, wanted {wanted:?}, which built the runtime")]
    WrongThread {
        /// This thread.
        found: ThreadId,
        /// The runtime's.
        wanted: ThreadId,
    },
    /// A finalizer called it.
    #[error("run_finalizers: called by a finalizer it is running")]
    Reentered,
    /// A finalizer may stop the world, so nobody may wait for one who is in it.
    #[error("{operation}: this thread runs with a mutator, wanted a native region or no mutator")]
    HoldsMutator {
        /// What was tried.
        operation: &'static str,
    },
}

/// Whose goroutine it is. It is kept until the goroutine's thread has ended.
pub(crate) trait Owner: Send + Sync {
    /// What the goroutine works with.
    fn calls(&self) -> &Calls;

    /// This thread may touch objects now, so no finalizer can run on it.
    fn is_running_here(&self) -> bool;
}

/// The finalizer goroutine of one runtime. It ends when this is dropped, and nothing waits for it.
pub(crate) struct Goroutine {
    owner: Arc<dyn Owner>,
    executor: Executor,
    /// The thread it runs on; empty until it has been started.
    thread: Arc<OnceLock<ThreadId>>,
    started: AtomicBool,
    running: AtomicBool,
}

impl Goroutine {
    pub(crate) fn new(owner: Arc<dyn Owner>, executor: Executor) -> Goroutine {
        let thread = Arc::new(OnceLock::new());
        if executor == Executor::Inline {
            let _ = thread.set(thread::current().id());
            owner
                .calls()
                .queue
                .set_status(status::CREATED | status::WAIT, true);
        }
        let inline = executor == Executor::Inline;
        Goroutine {
            owner,
            executor,
            thread,
            started: AtomicBool::new(inline),
            running: AtomicBool::new(false),
        }
    }

    /// Begins it, once.
    ///
    /// # Errors
    /// The system has no thread for it; the next registration tries again.
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
            calls.run_until_stopped();
        };
        let begun = thread::Builder::new().name("fing".to_owned()).spawn(body);
        begun
            .map(drop)
            .inspect_err(|_| self.started.store(false, Ordering::Release))
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

    /// Runs what is due, here.
    pub(crate) fn run_inline(&self) -> Result<u64, ExecutorError> {
        if self.executor != Executor::Inline {
            return Err(ExecutorError::NotInline);
        }
        let found = thread::current().id();
        if let Some(&wanted) = self.thread.get().filter(|&&wanted| wanted != found) {
            return Err(ExecutorError::WrongThread { found, wanted });
        }
        self.check_no_mutator("run_finalizers")?;
        if self.running.swap(true, Ordering::AcqRel) {
            return Err(ExecutorError::Reentered);
        }
        let executed = self.owner.calls().run_due();
        self.running.store(false, Ordering::Release);
        Ok(executed)
    }

    /// Waits until nothing is due.
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

    /// Ends it without waiting.
    pub(crate) fn stop(&self) {
        self.owner.calls().queue.stop();
    }

    pub(crate) fn shutdown(&self, drain: bool, timeout: Duration) -> Result<u64, ExecutorError> {
        if drain {
            self.wait(timeout)?;
        } else if self.is_this_thread() && self.executor == Executor::Thread {
            return Err(ExecutorError::OnGoroutine);
        }
        self.stop();
        let ended = self.owner.calls().queue.wait_until_ended(timeout);
        ended.map_err(|due| ExecutorError::Timeout { due, timeout })?;
        self.owner.calls().release_discarded();
        Ok(self.owner.calls().queue.counts().discarded)
    }
}

impl Drop for Goroutine {
    fn drop(&mut self) {
        self.stop();
    }
}
