//! What is done when the backlog exceeds a bound: the rules of a runtime, and telling its hook.
//! When that is so is decided by the queue.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::events::{guarded, tell};
use crate::calls::budget::Budget;
use crate::calls::queue::{BacklogBound, Crossing, Limit, Queue, demand};

/// What is done while the backlog exceeds a [`BacklogBound`], beside telling the hook
/// ([`Builder::on_pressure`](crate::RuntimeBuilder::on_pressure)) once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BacklogAction {
    /// Nothing else.
    Tell,
    /// Threads that allocate make calls, so that they can't allocate faster than calls are made:
    /// each time as many as this budget allows, of the executor's lane. With
    /// [`Executor::Thread`](crate::Executor::Thread), whose calls are made by one thread in order,
    /// they wait for that thread and the pool's instead, until the backlog is within the bound or
    /// the budget is used up, or these threads have no calls: for a
    /// [`Mailbox`](crate::executor::Mailbox) nobody waits.
    ///
    /// They do so in [`Mutator::alloc_collecting`](crate::Mutator::alloc_collecting),
    /// [`Mutator::collect_if_due`](crate::Mutator::collect_if_due) and
    /// [`Mutator::assist`](crate::Mutator::assist), and a thread that has registered in its next
    /// [`Mutator::safepoint`](crate::Mutator::safepoint); with a collector of the embedder's, in
    /// [`Finalizers::assist`](crate::foreign::Finalizers::assist). Never inside of a finalizer, a
    /// cleanup, or while the thread runs with a mutator of another runtime; and only on threads
    /// that may [drain](crate::Runtime::drain) or wait.
    ///
    /// A finalizer that waits for a lock which such a thread holds does not get it before the
    /// budget's time is over. So a budget should have a bound of time.
    Assist(Budget),
    /// Finalizers and cleanups are not registered: that is an error which has a
    /// [`BacklogExceeded`] in it. What is registered already stays so, and allocating is not
    /// refused.
    Refuse,
}

impl BacklogAction {
    fn demand(self) -> u32 {
        match self {
            BacklogAction::Tell => 0,
            BacklogAction::Assist(_) => demand::ASSIST,
            BacklogAction::Refuse => demand::REFUSE,
        }
    }
}

/// The backlog exceeds a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backlog of finalization has {found}, wanted at most {bound}")]
#[non_exhaustive]
pub struct BacklogExceeded {
    /// The bound.
    pub bound: BacklogBound,
    /// What the backlog is, in the bound's unit.
    pub found: BacklogBound,
    /// What is done.
    pub action: BacklogAction,
}

/// The hook that is told of bounds that were passed.
pub(crate) type PressureHook = dyn Fn(&BacklogExceeded) + Send + Sync;

/// A runtime's bounds.
pub(crate) struct Pressure {
    rules: Vec<(BacklogBound, BacklogAction)>,
    hook: Box<PressureHook>,
    refused: AtomicU64,
    assisted: AtomicU64,
}

impl std::fmt::Debug for Pressure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pressure")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// What [`Pressure`] is made of.
pub(crate) struct PressureOptions {
    pub(crate) rules: Vec<(BacklogBound, BacklogAction)>,
    pub(crate) hook: Box<PressureHook>,
}

impl Default for PressureOptions {
    fn default() -> PressureOptions {
        PressureOptions {
            rules: Vec::new(),
            hook: Box::new(|exceeded| {
                tell(|| tracing::warn!(%exceeded, action = ?exceeded.action, "pressure"));
            }),
        }
    }
}

impl Pressure {
    /// The rules for this queue, to which nothing was added so far.
    pub(super) fn new(options: PressureOptions, queue: &Queue) -> Pressure {
        queue.set_limits(options.rules.iter().map(|&(bound, action)| Limit {
            bound,
            demand: action.demand(),
        }));
        Pressure {
            rules: options.rules,
            hook: options.hook,
            refused: AtomicU64::new(0),
            assisted: AtomicU64::new(0),
        }
    }

    fn exceeded(&self, crossing: Crossing) -> BacklogExceeded {
        let (bound, action) = self.rules[crossing.limit];
        BacklogExceeded {
            bound,
            found: crossing.found,
            action,
        }
    }

    /// How many registrations were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many calls threads that assist have made or waited for.
    pub(crate) fn assisted(&self) -> u64 {
        self.assisted.load(Ordering::Relaxed)
    }

    pub(super) fn note_assisted(&self, calls: u64) {
        self.assisted.fetch_add(calls, Ordering::Relaxed);
    }

    /// Tells the hook of the bounds that were passed. Runs the hook, so no lock may be held.
    #[inline]
    pub(crate) fn tell(&self, queue: &Queue) {
        if queue.demands() & demand::TELL != 0 {
            self.tell_crossings(queue);
        }
    }

    /// As [`Pressure::tell`], after looking at the age of the backlog, which passes a bound without
    /// any change of the queue.
    pub(crate) fn look(&self, queue: &Queue) {
        if !self.rules.is_empty() {
            self.tell_crossings(queue);
        }
    }

    #[cold]
    fn tell_crossings(&self, queue: &Queue) {
        for crossing in queue.take_crossings() {
            let exceeded = self.exceeded(crossing);
            guarded("the hook for pressure", || (self.hook)(&exceeded));
        }
    }

    /// Whether a registration may be made. Returns true if the thread should assist as soon as it
    /// can. Runs the hook, so no lock may be held; not for a fast path: that looks at
    /// [`Queue::demands`].
    ///
    /// # Errors
    /// A bound is exceeded, whose action is to refuse.
    pub(crate) fn admit(&self, queue: &Queue) -> Result<bool, BacklogExceeded> {
        if queue.demands() == 0 {
            return Ok(false);
        }
        self.look(queue);
        if let Some(crossing) = queue.exceeded(demand::REFUSE) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(self.exceeded(crossing));
        }
        Ok(queue.demands() & demand::ASSIST != 0)
    }

    /// The budget by which a thread is to assist now.
    pub(super) fn assistance(&self, queue: &Queue) -> Option<Budget> {
        match self.rules[queue.exceeded(demand::ASSIST)?.limit].1 {
            BacklogAction::Assist(budget) => Some(budget),
            BacklogAction::Tell | BacklogAction::Refuse => None,
        }
    }
}
