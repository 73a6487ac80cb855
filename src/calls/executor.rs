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
use crate::calls::lane::{Lane, MailboxId};
use crate::calls::lent::Lender;
use crate::calls::mailbox::{Mailbox, MailboxOptions};
use crate::calls::post::{Draining, Post, Taken};
use crate::calls::queue::{Dropped, LaneId, status};
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
    /// Another thread is running finalizers, or drains the mailbox.
    #[error("run_finalizers: another thread is running them, wanted none")]
    Busy,
    /// The thread is ending: its thread-local values are being destroyed.
    #[error("run_finalizers: this thread is ending, wanted one whose thread-local values exist")]
    ThreadEnds,
    /// The runtime of a mailbox was dropped, or that of a call which takes a mutator.
    #[error("making a call: its runtime was dropped, wanted one that exists")]
    Gone,
    /// A finalizer called `run_finalizers`, or drained the mailbox that it was called from.
    #[error("run_finalizers: called by a finalizer it is running")]
    Reentered,
    /// The calling thread runs with a mutator. A finalizer may stop the world, which waits for that
    /// mutator, so waiting for finalizers could never end.
    #[error("{operation}: this thread runs with a mutator, wanted a native region or no mutator")]
    HoldsMutator {
        /// What was tried.
        operation: &'static str,
    },
    /// The calling thread is in the middle of a collection: a
    /// [source of roots](crate::Runtime::add_roots) has called this. No call can be lent a mutator
    /// then.
    #[error("{operation}: this thread is in the middle of a collection, wanted one that is not")]
    Collecting {
        /// What was tried.
        operation: &'static str,
    },
    /// Calls were dropped, at a shutdown or with their mailbox, and will never be made.
    #[error(
        "waiting for finalizers: {calls} calls were dropped at a shutdown or with their mailbox, \
         wanted all done"
    )]
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

    /// Whether there are mutators for calls that take one: the runtime's last handle was not
    /// dropped.
    fn has_mutators(&self) -> bool {
        true
    }

    /// Whether the calling thread has stopped the threads that touch objects.
    fn is_collecting_here(&self) -> bool {
        false
    }
}

/// Checks that calls can be made on this thread, as far as that depends on what it does with
/// objects now.
fn check_idle(owner: &dyn Owner, operation: &'static str) -> Result<(), ExecutorError> {
    if owner.is_running_here() {
        return Err(ExecutorError::HoldsMutator { operation });
    }
    match owner.is_collecting_here() {
        true => Err(ExecutorError::Collecting { operation }),
        false => Ok(()),
    }
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
    /// How many threads of the pool have been started.
    pooled: AtomicUsize,
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
        // An embedder's executor has no thread to be started but the watchdog's and the pool's.
        let calls = owner.calls();
        let started = is_embedders && calls.watchdog.is_none() && calls.pool.is_none();
        Goroutine {
            owner,
            executor,
            thread: (executor == Executor::Inline).then(|| thread::current().id()),
            started: AtomicBool::new(started),
            watched: AtomicBool::new(false),
            pooled: AtomicUsize::new(0),
            options,
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        self.owner.calls()
    }

    pub(super) fn owner(&self) -> &Arc<dyn Owner> {
        &self.owner
    }

    pub(super) fn executor(&self) -> Executor {
        self.executor
    }

    /// Starts the goroutine's thread, the pool's and the watchdog's, if they have not been started.
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
        if let Some(pool) = &self.owner.calls().pool {
            for seat in self.pooled.load(Ordering::Acquire)..pool.threads.get() {
                watchdog::spawn_worker(&self.owner, &pool.options, move |calls| {
                    calls.queue.turns_of(LaneId::POOL).get(seat).cloned()
                })?;
                self.pooled.store(seat + 1, Ordering::Release);
            }
        }
        match restart {
            true => {
                watchdog::spawn_worker(&self.owner, &self.options, |calls| Some(calls.queue.turn()))
            }
            false => Ok(()),
        }
    }

    /// Makes a mailbox.
    pub(crate) fn mailbox(self: &Arc<Self>, options: MailboxOptions) -> Result<Mailbox, Closed> {
        let calls = self.owner.calls();
        Closed::check(&calls.gate)?;
        let lane = calls.queue.open_lane();
        let post = calls.posts.add(lane, options.on_due);
        let of = calls.shapes.lanes().identity;
        Ok(Mailbox::new(MailboxId { of, lane }, post, self))
    }

    /// Ends the lane of a mailbox. What waits there is dropped and counted.
    pub(crate) fn close_post(&self, lane: LaneId) -> Option<Arc<Post>> {
        let calls = self.owner.calls();
        // A forked child may not take the locks.
        if calls.gate.is_forked() {
            return None;
        }
        calls.queue.close_lane(lane);
        calls.posts.remove(lane)
    }

    /// A lane as registrations name it.
    pub(crate) fn lane(&self, lane: LaneId) -> Lane {
        self.owner.calls().shapes.lanes().named(lane)
    }

    /// Calls of a lane that have not returned.
    pub(crate) fn due_in(&self, lane: LaneId) -> u64 {
        let calls = self.owner.calls();
        match calls.gate.is_forked() {
            true => 0,
            false => calls.queue.due_in(lane),
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

    /// Checks that this thread may make a call that was handed out.
    pub(super) fn may_call(owner: &dyn Owner) -> Result<(), ExecutorError> {
        let operation = "Due::call";
        let gate = &owner.calls().gate;
        if gate.is_forked() {
            return Err(ExecutorError::Forked {
                operation,
                owner: gate.owner(),
                found: std::process::id(),
            });
        }
        check_idle(owner, operation)?;
        match threads::key() {
            0 => Err(ExecutorError::ThreadEnds),
            _ => Ok(()),
        }
    }

    fn check_idle(&self, operation: &'static str) -> Result<(), ExecutorError> {
        check_idle(&*self.owner, operation)
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
        let calls = self.owner.calls();
        calls.workers.has_this_thread() || calls.posts.is_drained_here()
    }

    /// Runs what is due on this thread. Returns how many records were run.
    pub(crate) fn run_inline(&self) -> Result<u64, ExecutorError> {
        Ok(self.drain(Budget::unlimited())?.calls)
    }

    /// Runs what is due on this thread, until the budget is used up.
    pub(crate) fn drain(&self, budget: Budget) -> Result<Drained, ExecutorError> {
        self.check_executor("run_finalizers")?;
        self.drain_post(&self.owner.calls().posts.executor, budget)
    }

    /// Checks that the executor's calls may be made on this thread.
    pub(super) fn check_executor(&self, operation: &'static str) -> Result<(), ExecutorError> {
        if self.executor == Executor::Thread {
            return Err(ExecutorError::NotInline);
        }
        self.check_fork(operation)?;
        let found = thread::current().id();
        match self.thread.filter(|&wanted| wanted != found) {
            Some(wanted) => Err(ExecutorError::WrongThread { found, wanted }),
            None => Ok(()),
        }
    }

    /// Has this thread be the one that takes calls out of a lane.
    pub(super) fn begin(post: &Post) -> Result<Draining<'_>, ExecutorError> {
        post.begin().map_err(|taken| match taken {
            Taken::Here => ExecutorError::Reentered,
            Taken::Elsewhere => ExecutorError::Busy,
        })
    }

    /// Runs what is due in a lane on this thread, until the budget is used up.
    pub(crate) fn drain_post(&self, post: &Post, budget: Budget) -> Result<Drained, ExecutorError> {
        self.check_fork("run_finalizers")?;
        self.check_idle("run_finalizers")?;
        if threads::key() == 0 {
            return Err(ExecutorError::ThreadEnds);
        }
        let _draining = Goroutine::begin(post)?;
        let calls = self.owner.calls();
        post.signal.begin();
        let made = calls.run_due(post.lane, budget, &*self.owner);
        let left = calls.queue.due_in(post.lane);
        post.signal.end(left);
        Ok(Drained { calls: made, left })
    }

    /// Waits until nothing is due; runs it, on the thread of an inline executor.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), ExecutorError> {
        let deadline = Deadline::after(timeout);
        self.prepare_to_wait(deadline)?;
        let settled = self.owner.calls().queue.wait_until_settled(deadline);
        settled.map_err(|due| ExecutorError::Timeout { due, timeout })
    }

    /// Checks that this thread may wait for calls, and, on a thread that may run them, runs what is
    /// due, until the deadline.
    pub(crate) fn prepare_to_wait(&self, deadline: Deadline) -> Result<(), ExecutorError> {
        self.check_fork("waiting for finalizers")?;
        if self.runs_here() {
            return Err(ExecutorError::OnGoroutine);
        }
        self.check_idle("waiting for finalizers")?;
        self.run_here(deadline)
    }

    /// Runs what is due on this thread: what the executor makes here, and the mailboxes that are
    /// this thread's. Begins no call after the deadline, except the first of each lane: other
    /// threads may queue calls as fast as this one makes them.
    fn run_here(&self, deadline: Deadline) -> Result<(), ExecutorError> {
        let posts = &self.owner.calls().posts;
        let executor = self.may_run_here().then_some(&posts.executor);
        let mailboxes = posts.owned_here();
        // A call may bring about others, in another lane.
        let mut again = true;
        while std::mem::take(&mut again) {
            let budget = Budget::unlimited().time(deadline.left());
            for post in executor
                .into_iter()
                .chain(mailboxes.iter().map(|post| &**post))
            {
                match self.drain_post(post, budget) {
                    Ok(drained) => again |= drained.calls > 0 && !deadline.left().is_zero(),
                    // The other thread is waited for.
                    Err(ExecutorError::Busy) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Whether there is anything that this thread has to run itself.
    fn has_to_run_here(&self) -> bool {
        self.may_run_here() || !self.owner.calls().posts.owned_here().is_empty()
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
        self.check_idle("exit")
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
        calls.posts.wake(queue);
        if !self.has_to_run_here() {
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
            let _ = self.run_here(Deadline::after(Duration::MAX));
            watching.ok()?.join().ok()?
        })
    }
}

impl Drop for Goroutine {
    fn drop(&mut self) {
        self.stop();
    }
}
