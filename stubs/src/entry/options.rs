//! How callbacks and their home are set up.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use super::report::{Observer, OnFailure, Report};
use crate::DEFAULT_FRAME_LIMIT;
use crate::code::DEFAULT_ARENA_CAPACITY;

/// How [`Entries`](super::Entries) are set up.
#[derive(Clone)]
#[non_exhaustive]
pub struct EntryOptions {
    /// Bytes of address space that are reserved at a time for code. When they are used up, as many
    /// are reserved again.
    pub arena_capacity: usize,
    /// Most bytes of stack that the arguments and results of a callback may take.
    pub frame_limit: u64,
    /// A freed address is not used again before so many others have been freed after it. Until
    /// then a late call is told from a call.
    pub quarantine: usize,
    /// Is told of each call that has no result, beside a `tracing` error. It runs below foreign
    /// code, on the thread of the call; its panics are ignored.
    pub observer: Option<Observer>,
}

impl Default for EntryOptions {
    fn default() -> Self {
        EntryOptions {
            arena_capacity: DEFAULT_ARENA_CAPACITY,
            frame_limit: DEFAULT_FRAME_LIMIT,
            quarantine: 128,
            observer: None,
        }
    }
}

impl EntryOptions {
    /// The options with another size of the code's address space.
    #[must_use]
    pub fn arena_capacity(self, arena_capacity: usize) -> EntryOptions {
        EntryOptions {
            arena_capacity,
            ..self
        }
    }

    /// The options with another limit on arguments and results.
    #[must_use]
    pub fn frame_limit(self, frame_limit: u64) -> EntryOptions {
        EntryOptions {
            frame_limit,
            ..self
        }
    }

    /// The options with another number of freed addresses that are kept unused.
    #[must_use]
    pub fn quarantine(self, quarantine: usize) -> EntryOptions {
        EntryOptions { quarantine, ..self }
    }

    /// The options with an observer of calls that have no result.
    #[must_use]
    pub fn observer(self, observer: impl Fn(&Report) + Send + Sync + 'static) -> EntryOptions {
        EntryOptions {
            observer: Some(Arc::new(observer)),
            ..self
        }
    }
}

impl fmt::Debug for EntryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryOptions")
            .field("arena_capacity", &self.arena_capacity)
            .field("frame_limit", &self.frame_limit)
            .field("quarantine", &self.quarantine)
            .field("observer", &self.observer.is_some())
            .finish()
    }
}

/// How a callback behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CallbackOptions {
    /// Whose it is, for reports.
    pub owner: Option<Arc<str>>,
    /// What happens after the report when the closure or function panics. A panic never unwinds
    /// into the foreign caller. Default: abort, as Go does.
    pub on_panic: OnFailure,
    /// What happens after the report when it is called after it was freed, or by another thread
    /// than its own, or refuses the call. Default: the call returns zeroes.
    pub on_late: OnFailure,
}

impl Default for CallbackOptions {
    fn default() -> Self {
        CallbackOptions {
            owner: None,
            on_panic: OnFailure::Abort,
            on_late: OnFailure::ReturnZeroes,
        }
    }
}

impl CallbackOptions {
    /// The options with a name for reports.
    #[must_use]
    pub fn owner(self, owner: impl Into<Arc<str>>) -> CallbackOptions {
        CallbackOptions {
            owner: Some(owner.into()),
            ..self
        }
    }

    /// The options with another policy for panics.
    #[must_use]
    pub fn on_panic(self, on_panic: OnFailure) -> CallbackOptions {
        CallbackOptions { on_panic, ..self }
    }

    /// The options with another policy for calls that are late, by another thread, or refused.
    #[must_use]
    pub fn on_late(self, on_late: OnFailure) -> CallbackOptions {
        CallbackOptions { on_late, ..self }
    }
}
