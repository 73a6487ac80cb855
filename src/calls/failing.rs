//! Handles failed calls: reports each, and does what its policy says.
#![forbid(unsafe_code)]

use std::io::Write;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fing_stubs::Type;

use crate::base::events::{guarded, tell};
use crate::base::os::exit_now;
use crate::calls::failure::{Cause, Decision, Failure, FailurePolicy};
use crate::calls::goroutine::Calls;
use crate::calls::queue::{Block, CallKind, Route, Slot};
use crate::calls::shape::Shape;

/// Go's exit status after a panic that nothing has recovered, and after a fatal error.
const EXIT_STATUS: i32 = 2;

/// The hook that is told of each failure.
pub(crate) type FailureHook = dyn Fn(&Failure) + Send + Sync;

/// Returns the type of the object at an address, if it is known.
type TypeOf = dyn Fn(u64) -> Option<Type> + Send + Sync;

/// Who decides what is done about failures, where the registration does not say.
pub(crate) enum Policy {
    Fixed(FailurePolicy),
    Hook(Box<dyn Fn(&Failure) -> Decision + Send + Sync>),
}

/// A runtime's failures.
pub(crate) struct Failures {
    policy: Policy,
    on_failure: Box<FailureHook>,
    type_of: OnceLock<Box<TypeOf>>,
    /// By kind.
    failed: [AtomicU64; 2],
    requeued: AtomicU64,
    /// Whether a function is in quarantine.
    quarantine: AtomicBool,
}

impl Failures {
    pub(super) fn new(policy: Policy, on_failure: Box<FailureHook>) -> Failures {
        Failures {
            policy,
            on_failure,
            type_of: OnceLock::new(),
            failed: Default::default(),
            requeued: AtomicU64::new(0),
            quarantine: AtomicBool::new(false),
        }
    }

    /// The hook of a runtime that was given none.
    pub(super) fn default_hook() -> Box<FailureHook> {
        Box::new(|failure| tell(|| tracing::error!(%failure, "a call failed")))
    }

    /// Sets how the types of objects are found out.
    pub(crate) fn set_type_of(
        &self,
        type_of: impl Fn(u64) -> Option<Type> + Send + Sync + 'static,
    ) {
        // A runtime sets it once, when it is built.
        let _ = self.type_of.set(Box::new(type_of));
    }

    /// How many calls of this kind have failed.
    pub(crate) fn failed_of(&self, kind: CallKind) -> u64 {
        self.failed[kind as usize].load(Ordering::Relaxed)
    }

    /// How many calls have failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed_of(CallKind::Finalizer) + self.failed_of(CallKind::Cleanup)
    }

    pub(crate) fn requeued(&self) -> u64 {
        self.requeued.load(Ordering::Relaxed)
    }

    /// Whether calls of this shape are not to be made.
    #[inline]
    pub(super) fn are_refused(&self, shape: &Shape) -> bool {
        self.quarantine.load(Ordering::Relaxed) && shape.is_quarantined()
    }

    fn decide(&self, shape: &Shape, failure: &Failure) -> Decision {
        let decision = match (shape.handling().failure, &self.policy) {
            (Some(policy), _) | (None, &Policy::Fixed(policy)) => {
                policy.decide(failure.requeued, failure.failures)
            }
            (None, Policy::Hook(hook)) => {
                let mut decision = Decision::GoOn;
                guarded("the hook that decides about failures", || {
                    decision = hook(failure);
                });
                decision
            }
        };
        match failure.cause {
            Cause::Quarantined => Decision::GoOn,
            Cause::Stuck(_) if decision == Decision::Requeue => Decision::GoOn,
            _ => decision,
        }
    }
}

impl Calls {
    /// Reports that the calls of these records of a block have failed, which were made as one, and
    /// does what the policy says. They are roots until this returns.
    pub(super) fn fail(&self, shape: &Shape, block: &Block, failed: Range<usize>, cause: Cause) {
        let failure = self.describe(shape, &block.slots()[failed.clone()], cause);
        self.answer(shape, failure, |calls| calls.requeue(shape, block, failed));
    }

    /// Counts a failure of these records, of which there is at least one, and returns the report,
    /// in which nothing is decided. Runs no code of the user's.
    pub(super) fn describe(&self, shape: &Shape, failed: &[Slot], cause: Cause) -> Failure {
        let record = failed[0].record();
        let failures = &self.failures;
        failures.failed[shape.kind() as usize].fetch_add(1, Ordering::Relaxed);
        shape.count_report();
        let function = shape.function();
        let mut failure = Failure {
            kind: shape.kind(),
            object_type: None,
            signature: function.signature().clone(),
            code: record.code,
            words: record.words,
            context: record.context,
            calls: failed.len(),
            site: shape.handling().site,
            requeued: shape.handling().requeued,
            failures: match cause {
                Cause::Quarantined => shape.failures(),
                _ => shape.count_failure(),
            },
            cause,
            decision: Decision::GoOn,
        };
        if let (CallKind::Finalizer, Some(type_of)) = (failure.kind, failures.type_of.get()) {
            failure.object_type = type_of(shape.object_of(&record));
        }
        failure
    }

    /// Decides what is done about a failure, tells the hook, and does it.
    pub(super) fn answer(&self, shape: &Shape, mut failure: Failure, requeue: impl FnOnce(&Calls)) {
        let failures = &self.failures;
        failure.decision = failures.decide(shape, &failure);
        guarded("the hook for failures", || (failures.on_failure)(&failure));
        match failure.decision {
            Decision::GoOn => {}
            Decision::Requeue => requeue(self),
            Decision::Quarantine => {
                if shape.quarantine() {
                    failures.quarantine.store(true, Ordering::Relaxed);
                }
            }
            Decision::Abort => abort(&failure),
        }
    }

    /// Queues calls again.
    fn requeue(&self, shape: &Shape, block: &Block, failed: Range<usize>) {
        // Keeps a sweep from removing the shape until a queued record holds its index.
        let function = shape.function().clone();
        let tag = block.tags()[failed.start];
        let route = Route {
            lane: shape.lane(),
            tag: tag.with_shape(self.shapes.requeued(tag.shape())),
        };
        let count = failed.len() as u64;
        self.queue.requeue(block, failed, route);
        drop(function);
        // The goroutine may be parked: this thread may be one that was relieved.
        self.posts.wake(&self.queue);
        self.pressure.tell(&self.queue);
        self.failures.requeued.fetch_add(count, Ordering::Relaxed);
    }
}

/// Ends the process as Go's runtime does.
fn abort(failure: &Failure) -> ! {
    let headline = match &failure.cause {
        Cause::Panic(message) => format!("panic: {message}"),
        cause => format!("fatal error: {cause}"),
    };
    let text = format!("{headline}\n\ngoroutine 1 [running]:\n{failure}\n");
    // Where nobody can be told, the status is what is left.
    let _ = std::io::stderr().write_all(text.as_bytes());
    exit_now(EXIT_STATUS)
}
