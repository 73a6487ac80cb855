//! Waiting for the calls that one collection has queued.
#![forbid(unsafe_code)]

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::deadline::Deadline;
use crate::calls::executor::{ExecutorError, Goroutine};
use crate::calls::lane::Lane;
use crate::calls::queue::{Outstanding, Queue};

/// The calls that one collection has queued, to be waited for. Calls that other collections queue,
/// or that queued calls bring about later, are not waited for.
///
/// A ticket keeps neither the runtime nor its goroutine alive, and may be sent to another thread.
///
/// ```
/// # use std::time::Duration;
/// # use fing::Runtime;
/// let runtime = Runtime::new()?;
/// let collected = runtime.gc()?;
/// collected.wait(Duration::from_secs(10))?;
/// assert!(collected.outstanding().is_nothing());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Ticket {
    collection: u64,
    queue: Arc<Queue>,
    goroutine: Weak<Goroutine>,
}

impl Ticket {
    pub(crate) fn new(collection: u64, queue: &Arc<Queue>, goroutine: &Arc<Goroutine>) -> Ticket {
        Ticket {
            collection,
            queue: queue.clone(),
            goroutine: Arc::downgrade(goroutine),
        }
    }

    /// What is left of the calls now.
    pub fn outstanding(&self) -> Outstanding {
        self.queue.outstanding(self.collection)
    }

    /// What is left of the calls now, by the [lanes](crate::executor::Lane) in which they are to be
    /// made, for lanes with any. Calls that were dropped are in no lane.
    pub fn outstanding_by_lane(&self) -> Vec<(Lane, Outstanding)> {
        let Some(goroutine) = self.goroutine.upgrade() else {
            return Vec::new();
        };
        let left = self.queue.outstanding_by_lane(self.collection).into_iter();
        left.map(|(lane, left)| (goroutine.lane(lane), left))
            .collect()
    }

    /// Waits until each of the calls is done or was cancelled. With
    /// [`Executor::Inline`](crate::Executor::Inline), on the thread that runs finalizers, runs what
    /// is queued; and on the thread that has drained a [`Mailbox`](crate::executor::Mailbox) last,
    /// what is queued there.
    ///
    /// # Errors
    /// `timeout` passes first ([`ExecutorError::Timeout`] says how many calls are outstanding);
    /// some of the calls were dropped, at a shutdown or with their mailbox; a finalizer has called
    /// this on the thread that runs finalizers; the thread runs with a mutator; or this process is
    /// a fork.
    pub fn wait(&self, timeout: Duration) -> Result<(), ExecutorError> {
        let deadline = Deadline::after(timeout);
        if let Some(goroutine) = self.goroutine.upgrade() {
            goroutine.prepare_to_wait(deadline)?;
        }
        let left = self.queue.wait_for_collection(self.collection, deadline);
        match (left.queued + left.running, left.discarded) {
            (0, 0) => Ok(()),
            (0, calls) => Err(ExecutorError::Discarded { calls }),
            (due, _) => Err(ExecutorError::Timeout { due, timeout }),
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("collection", &self.collection)
            .field("outstanding", &self.outstanding())
            .finish()
    }
}
