//! What a failed call is reported as, and what can be done about it: types only.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use fing_stubs::{Signature, Type};

use crate::calls::queue::CallKind;

/// What happened to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It panicked with this message, or `(not a text)` if the payload was no string. The panic was
    /// caught.
    Panic(String),
    /// The function [returns a status](crate::function::FunctionBuilder::status), and it was this
    /// number instead of 0.
    Status(i64),
    /// The function [returns a status](crate::function::FunctionBuilder::status), and it was an
    /// interface of these words instead of nil.
    Error([u64; 2]),
    /// It has been running for at least this long, which is more than the deadline of the
    /// [`Watchdog`](crate::failure::Watchdog). It is still running.
    Stuck(Duration),
    /// The thread that ran it has ended without unwinding, as a raw `exit` system call does.
    ThreadEnded,
    /// It was not run, because its function is in quarantine.
    Quarantined,
    /// An embedder that [made the call itself](crate::executor::Due) says so.
    Told(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Panic(message) => write!(f, "panic: {message}"),
            Cause::Status(status) => write!(f, "returned status {status}, wanted 0"),
            Cause::Error([first, second]) => {
                write!(f, "returned an error ({first:#x}, {second:#x}), wanted nil")
            }
            Cause::Stuck(time) => write!(f, "still running after {time:?}"),
            Cause::ThreadEnded => f.write_str("its thread ended without returning from it"),
            Cause::Quarantined => f.write_str("not run, as the function is in quarantine"),
            Cause::Told(message) => write!(f, "failed: {message}"),
        }
    }
}

/// What is done after a call has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// The next call is made.
    GoOn,
    /// The call is queued again, behind what is queued now. (Not for a call that is
    /// [still running](Cause::Stuck) or was [not run](Cause::Quarantined): then as `GoOn`.)
    Requeue,
    /// No call of the function is made any more in this runtime. They are reported and counted when
    /// it is their turn.
    Quarantine,
    /// The process ends at once, as Go's does: a text that begins with `panic:` or `fatal error:`
    /// on standard error, exit status 2. Nothing else of the process runs.
    Abort,
}

/// What is done about failed calls: of a runtime
/// ([`RuntimeBuilder::failure_policy`](crate::RuntimeBuilder::failure_policy)), or of one
/// registration ([`FinalizerOptions::failure`](crate::FinalizerOptions::failure)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Goes on with the next call.
    #[default]
    Report,
    /// Queues the call again, at most this many times; then as `Report`.
    Requeue(u8),
    /// Has the function quarantined when this many of its calls have failed in this runtime; as
    /// `Report` before. 0 is as 1.
    Quarantine(u32),
    /// Ends the process; see [`Decision::Abort`].
    Abort,
}

impl FailurePolicy {
    /// What is done when a call fails after `requeued` attempts that failed too, as number
    /// `failures` of the failed calls of its function.
    pub(super) fn decide(self, requeued: u8, failures: u64) -> Decision {
        match self {
            FailurePolicy::Requeue(limit) if requeued < limit => Decision::Requeue,
            FailurePolicy::Quarantine(limit) if failures >= u64::from(limit) => {
                Decision::Quarantine
            }
            FailurePolicy::Abort => Decision::Abort,
            FailurePolicy::Report | FailurePolicy::Requeue(_) | FailurePolicy::Quarantine(_) => {
                Decision::GoOn
            }
        }
    }
}

/// A report about a call that has failed, is stuck, or was not made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What happened.
    pub cause: Cause,
    /// Whether a finalizer or a cleanup failed.
    pub kind: CallKind,
    /// The type of a finalizer's object. `None` for a cleanup, whose object is gone, and for
    /// objects of a foreign collector, which have no types.
    pub object_type: Option<Type>,
    /// Signature of the function.
    pub signature: Signature,
    /// Address of the function.
    pub code: usize,
    /// The words it was called with: an object's address, or an interface, or a cleanup's argument.
    /// For a bulk finalizer, those of the first object. What they refer to is alive during a hook,
    /// unless the call is [stuck](Cause::Stuck) and returns meanwhile.
    pub words: [u64; 2],
    /// The context that it was called with, 0 if it takes none.
    pub context: usize,
    /// How many queued calls this is about: 1, but for a bulk finalizer the number of objects.
    pub calls: usize,
    /// Where the registration was made, if that was
    /// [recorded](crate::FinalizerOptions::record_site).
    pub site: Option<&'static Location<'static>>,
    /// How many times the call had been queued again before.
    pub requeued: u8,
    /// How many calls of the function have failed in this runtime, this one included.
    pub failures: u64,
    /// What is done now. `GoOn` while [a hook decides](crate::RuntimeBuilder::decide_failures).
    pub decision: Decision,
}

impl Failure {
    /// The word by which a finalizer was given its object: an address, or a foreign collector's
    /// reference. `None` for a cleanup.
    pub fn object(&self) -> Option<u64> {
        let is_interface = matches!(
            self.signature.arguments().next().map(Type::underlying),
            Some(fing_stubs::Kind::Interface(_))
        );
        let word = self.words[usize::from(is_interface)];
        (self.kind == CallKind::Finalizer).then_some(word)
    }
}

/// One line: what failed, of which object, registered where, and why.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            CallKind::Finalizer => "finalizer",
            CallKind::Cleanup => "cleanup",
        };
        write!(f, "{kind} {} at {:#x}", self.signature, self.code)?;
        match (&self.object_type, self.object()) {
            (Some(ty), Some(object)) => write!(f, " of the {ty} at {object:#x}")?,
            (None, Some(object)) => write!(f, " of {object:#x}")?,
            (_, None) => write!(f, " with ({:#x}, {:#x})", self.words[0], self.words[1])?,
        }
        if self.calls > 1 {
            write!(f, " and {} more", self.calls - 1)?;
        }
        if let Some(site) = self.site {
            write!(f, ", registered at {site}")?;
        }
        write!(f, ": {}", self.cause)
    }
}
