//! What a call waits for, so that a wake-up that comes only when the call has returned comes never.
#![forbid(unsafe_code)]

use super::Arc;
use crate::base::lock::{Condvar, Lock, Rank};

/// A place where threads meet: each of `parties` waits until all have come.
pub(super) struct Meeting {
    come: Lock<u32>,
    changed: Condvar,
    parties: u32,
}

impl Meeting {
    pub(super) fn of(parties: u32) -> Arc<Meeting> {
        Arc::new(Meeting {
            come: Lock::new(Rank::Queue, 0),
            changed: Condvar::new(),
            parties,
        })
    }

    pub(super) fn come(&self) {
        let mut come = self.come.lock();
        *come += 1;
        self.changed.notify_all();
        while *come < self.parties {
            come = come.wait(&self.changed);
        }
    }
}
