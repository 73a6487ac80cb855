//! Counts of a queue's calls, those of finalizers and those of cleanups apart, and how long the
//! oldest has waited.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::record::{CallId, Tag};

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    Finalizer,
    Cleanup,
}

/// A number for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByKind([u64; 2]);

impl ByKind {
    pub(crate) fn get(&self, kind: CallKind) -> u64 {
        self.0[kind as usize]
    }

    pub(super) fn add(&mut self, tag: Tag, count: usize) {
        self.0[tag.kind() as usize] += count as u64;
    }

    pub(super) fn subtract(&mut self, other: ByKind) {
        for (sum, less) in self.0.iter_mut().zip(other.0) {
            *sum -= less;
        }
    }

    pub(super) fn add_call(&mut self, call: CallId) {
        let kind = match call {
            CallId::Finalizer(_) => CallKind::Finalizer,
            CallId::Cleanup(_) => CallKind::Cleanup,
        };
        self.0[kind as usize] += 1;
    }

    pub(super) fn add_all(&mut self, other: ByKind) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// The records with these tags.
    pub(super) fn of(tags: &[Tag]) -> ByKind {
        let cleanups = tags.iter().filter(|tag| tag.kind() == CallKind::Cleanup);
        let cleanups = cleanups.count();
        ByKind([(tags.len() - cleanups) as u64, cleanups as u64])
    }
}

/// The calls that were queued, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) waiting: ByKind,
    pub(crate) running: ByKind,
    pub(crate) executed: ByKind,
    pub(crate) cancelled: ByKind,
    pub(crate) discarded: ByKind,
}

/// The calls that are queued and have not begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// How many there are.
    pub calls: u64,
    /// How long ago the first of those that the goroutine has not done was queued; calls that it
    /// took together count from the first of them. Zero if none is queued or running.
    pub age: Duration,
    /// Memory of the queue in which they wait, in bytes.
    pub bytes: usize,
}

/// Counts of the calls of finalizers, or of those of cleanups. At any moment `queued` is the sum of
/// `waiting`, `running`, `executed`, `cancelled` and `discarded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStats {
    /// Registrations that are neither cleared nor queued.
    pub registered: u64,
    /// Calls that were queued since the runtime was made.
    pub queued: u64,
    /// Calls that have not begun.
    pub waiting: u64,
    /// Calls under way, 0 or 1. The call of a bulk finalizer counts for its first object; the
    /// others are waiting.
    pub running: u64,
    /// Calls that have ended, whether they returned or failed.
    pub executed: u64,
    /// Calls that panicked, of those that have ended. A bulk finalizer's call counts once.
    pub failed: u64,
    /// Calls that were cancelled before they had begun.
    pub cancelled: u64,
    /// Calls that were queued and were dropped at a shutdown.
    pub discarded: u64,
}

impl Fates {
    /// The counts of one kind, with what the queue does not know.
    pub(crate) fn stats(&self, kind: CallKind, registered: u64, failed: u64) -> CallStats {
        let [waiting, running, executed, cancelled, discarded] = [
            self.waiting,
            self.running,
            self.executed,
            self.cancelled,
            self.discarded,
        ]
        .map(|of| of.get(kind));
        CallStats {
            registered,
            queued: waiting + running + executed + cancelled + discarded,
            waiting,
            running,
            executed,
            failed,
            cancelled,
            discarded,
        }
    }
}
