//! What is told of calls that don't reach their callback, or leave it by a panic; and what their
//! caller gets.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::lock::none_held;
use crate::quote::short;
use crate::{Abi, Signature};

/// What a foreign caller gets when its call has no result: it can't be told, since its convention
/// has no errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFailure {
    /// After the report, the process is aborted.
    Abort,
    /// After the report, the call returns: all results are zero.
    ReturnZeroes,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The callback was freed or closed before the call.
    Late,
    /// The callback belongs to another thread.
    OtherThread,
    /// The closure refused it ([`Call::refuse`](super::Call::refuse)); why.
    Refused(String),
    /// The closure or function panicked; its message.
    Panicked(String),
    /// The closure's destructor panicked, at the end of a call after which the callback was freed;
    /// its message.
    DropPanicked(String),
}

/// Where a callback was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freed {
    /// By `close`, called here.
    Closed(&'static Location<'static>),
    /// Its handle was dropped.
    Dropped,
    /// By [`SharedCallback::release`](super::SharedCallback::release), which said when.
    Released(&'static str),
}

/// A call that has no result. Sent to [`EntryOptions::observer`](super::EntryOptions), and as a
/// `tracing` error.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What happened.
    pub failure: Failure,
    /// What the caller gets.
    pub outcome: OnFailure,
    /// Address of the entry that was called.
    pub entry: usize,
    /// The callback's signature, and the convention of its callers. `None` if another callback has
    /// taken the address while the call was on its way.
    pub callback: Option<Described>,
}

/// A callback, as a report names it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Described {
    /// Its signature.
    pub signature: Signature,
    /// The convention of its callers.
    pub abi: Abi,
    /// What [`CallbackOptions::owner`](super::CallbackOptions) says.
    pub owner: Option<Arc<str>>,
    /// Where it was made.
    pub created: &'static Location<'static>,
    /// Where it was freed, if it was.
    pub freed: Option<Freed>,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Freed::Closed(at) => write!(f, "closed at {at}"),
            Freed::Dropped => f.write_str("freed when its handle was dropped"),
            Freed::Released(when) => write!(f, "freed {when}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "callback at {:#x}: ", self.entry)?;
        f.write_str(match self.failure {
            Failure::Late => "called after it was freed",
            Failure::OtherThread => "called by another thread than the one it belongs to",
            Failure::Refused(_) => "refused the call",
            Failure::Panicked(_) => "panicked",
            Failure::DropPanicked(_) => "panicked when its closure was dropped",
        })?;
        match &self.failure {
            Failure::Panicked(message) | Failure::DropPanicked(message) => {
                write!(f, ": {}", short(message))?;
            }
            Failure::Refused(why) => write!(f, ": {why}")?,
            Failure::Late | Failure::OtherThread => {}
        }
        match &self.callback {
            None => f.write_str("; another callback has its address now")?,
            Some(callback) => {
                write!(f, "; {} by {}", short(&callback.signature), callback.abi)?;
                if let Some(owner) = &callback.owner {
                    write!(f, ", of {owner}")?;
                }
                write!(f, ", made at {}", callback.created)?;
                if let Some(freed) = &callback.freed {
                    write!(f, ", {freed}")?;
                }
            }
        }
        f.write_str(match self.outcome {
            OnFailure::Abort => "; the process is aborted",
            OnFailure::ReturnZeroes => "; the call returns zeroes",
        })
    }
}

/// Code of the user's that is told of calls that have no result.
pub type Observer = Arc<dyn Fn(&Report) + Send + Sync>;

/// Tells, and aborts if that is the outcome. A panic of the observer or of a subscriber is ignored:
/// there is a foreign caller below.
pub(super) fn tell(report: &Report, observer: Option<&Observer>) {
    let told = std::panic::AssertUnwindSafe(|| {
        if let Some(observer) = observer {
            none_held();
            observer(report);
        }
        none_held();
        tracing::error!(%report, "a callback has no result");
    });
    let told = std::panic::catch_unwind(told);
    if report.outcome == OnFailure::Abort {
        // Whoever reads the output of an aborted process should know, whatever is subscribed.
        eprintln!("{report}");
        std::process::abort();
    }
    if let Err(payload) = told {
        forget(payload);
    }
}

/// A panic's payload, whose destructor could panic again.
pub(super) fn forget(payload: Box<dyn std::any::Any + Send>) {
    std::mem::forget(payload);
}

/// What a panic says.
pub(super) fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned())
}
