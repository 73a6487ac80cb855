//! The lanes of calls, as registrations name them: where calls are made, if not where the runtime's
//! executor says.
#![forbid(unsafe_code)]

use std::num::NonZeroUsize;

use crate::calls::function::Function;
use crate::calls::queue::LaneId;
use crate::calls::thread::ThreadOptions;

/// Identifies a [`Mailbox`](crate::executor::Mailbox), also when that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MailboxId {
    /// The runtime's identity.
    pub(super) of: u64,
    pub(super) lane: LaneId,
}

/// Where the calls of a registration are made:
/// [`FinalizerOptions::lane`](crate::FinalizerOptions::lane). Each lane is
/// drained by itself: a call that takes long delays those in its own lane only.
///
/// A registration that names none is made in the mailbox of its function
/// ([`FunctionBuilder::mailbox`](crate::function::FunctionBuilder::mailbox)); or in the pool, if
/// there is one and the function is
/// [free-threaded](crate::function::FunctionBuilder::free_threaded); or else by the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lane {
    /// By the runtime's [`Executor`](crate::Executor), one call after another.
    Executor,
    /// On a thread of the runtime's pool, in no order, several at a time. Only for functions that
    /// are [free-threaded](crate::function::FunctionBuilder::free_threaded).
    Pool,
    /// By the thread that empties this mailbox, one call after another. Only for functions that are
    /// free-threaded, or were made [for this mailbox](crate::function::FunctionBuilder::mailbox).
    Mailbox(MailboxId),
}

/// Why the calls of a registration can't be made where it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// The runtime has no pool.
    #[error("lane: found the pool, wanted a runtime that was built with one")]
    NoPool,
    /// The mailbox is one of another runtime.
    #[error("lane: found a mailbox of another runtime, wanted one of this runtime")]
    OtherRuntime,
    /// The function was not declared to bear calls there.
    #[error(
        "lane: found {found:?} for a function that is not free-threaded, wanted the executor or \
         the mailbox that the function was made for"
    )]
    NotFreeThreaded {
        /// Where its calls were to be made.
        found: Lane,
    },
    /// The function was made for a mailbox.
    #[error("lane: found {found:?} for a function that was made for {wanted:?}, wanted that")]
    MadeForMailbox {
        /// Where its calls were to be made.
        found: Lane,
        /// Its mailbox.
        wanted: MailboxId,
    },
}

/// The threads of a runtime's pool.
///
/// ```
/// use fing::executor::{Pool, ThreadOptions};
/// let four = std::num::NonZeroUsize::new(4).unwrap();
/// let pool = Pool::new(four).thread(ThreadOptions::new().name("cleanups"));
/// # let _ = pool;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing by themselves"]
pub struct Pool {
    pub(super) threads: NonZeroUsize,
    pub(super) options: ThreadOptions,
}

impl Pool {
    /// A pool of so many threads, which are started with the first registration, of whatever kind.
    pub fn new(threads: NonZeroUsize) -> Pool {
        Pool {
            threads,
            options: ThreadOptions::new().name("fing pool"),
        }
    }

    /// Sets the name, the stack and the start of each thread.
    pub fn thread(self, options: ThreadOptions) -> Pool {
        Pool { options, ..self }
    }
}

/// Which lanes a runtime has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// The runtime's identity.
    pub(crate) identity: u64,
    pub(crate) has_pool: bool,
}

impl Lanes {
    /// A lane as registrations name it.
    pub(super) fn named(&self, lane: LaneId) -> Lane {
        match lane {
            LaneId::EXECUTOR => Lane::Executor,
            LaneId::POOL => Lane::Pool,
            lane => Lane::Mailbox(MailboxId {
                of: self.identity,
                lane,
            }),
        }
    }

    /// Returns the lane of the calls of this function, for a registration that asks for `wanted`.
    pub(super) fn lane(
        &self,
        function: &Function,
        wanted: Option<Lane>,
    ) -> Result<LaneId, LaneError> {
        let own = function.mailbox();
        let free = function.is_free_threaded();
        let lane = match (wanted, own) {
            (Some(lane), _) => lane,
            (None, Some(mailbox)) => Lane::Mailbox(mailbox),
            (None, None) if free && self.has_pool => Lane::Pool,
            (None, None) => Lane::Executor,
        };
        match lane {
            Lane::Pool if !self.has_pool => return Err(LaneError::NoPool),
            Lane::Mailbox(mailbox) if mailbox.of != self.identity => {
                return Err(LaneError::OtherRuntime);
            }
            Lane::Executor | Lane::Pool | Lane::Mailbox(_) => {}
        }
        if let Some(wanted) = own.filter(|&own| lane != Lane::Mailbox(own)) {
            return Err(LaneError::MadeForMailbox {
                found: lane,
                wanted,
            });
        }
        match lane {
            Lane::Executor => Ok(LaneId::EXECUTOR),
            Lane::Pool if free => Ok(LaneId::POOL),
            Lane::Mailbox(mailbox) if free || own.is_some() => Ok(mailbox.lane),
            found @ (Lane::Pool | Lane::Mailbox(_)) => Err(LaneError::NotFreeThreaded { found }),
        }
    }
}
