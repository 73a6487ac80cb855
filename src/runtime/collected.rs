//! What a collection returns to the thread that asked for it.
#![forbid(unsafe_code)]

use std::ops::Deref;
use std::time::Duration;

use crate::calls::executor::ExecutorError;
use crate::calls::queue::Outstanding;
use crate::calls::ticket::Ticket;
use crate::runtime::collect::Collection;

/// A collection that was run: its statistics, which it dereferences to, and the ticket of the calls
/// that it has queued.
#[derive(Clone, Debug)]
pub struct Collected {
    pub(super) collection: Collection,
    pub(super) ticket: Ticket,
}

impl Collected {
    /// The ticket of the calls that the collection has queued.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Waits for these calls, as [`Ticket::wait`] does.
    ///
    /// # Errors
    /// Those of [`Ticket::wait`].
    pub fn wait(&self, timeout: Duration) -> Result<(), ExecutorError> {
        self.ticket.wait(timeout)
    }

    /// What is left of these calls now.
    pub fn outstanding(&self) -> Outstanding {
        self.ticket.outstanding()
    }
}

impl Deref for Collected {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.collection
    }
}
