//! Counts of a queue's calls, those of finalizers and those of cleanups apart, and how long the
//! oldest has waited.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::record::Tag;

/// Whether a call is that of a finalizer or of a cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// A finalizer: it is called with the object.
    Finalizer,
    /// A cleanup: it is called with an argument, when the object is gone.
    Cleanup,
}

/// A number for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByKind([u64; 2]);

impl ByKind {
    pub(crate) fn get(&self, kind: CallKind) -> u64 {
        self.0[kind as usize]
    }

    pub(crate) fn add(&mut self, kind: CallKind, count: usize) {
        self.0[kind as usize] += count as u64;
    }

    pub(crate) fn add_all(&mut self, other: ByKind) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// Subtracts records that are among these.
    pub(super) fn take(&mut self, some: ByKind) {
        for (sum, less) in self.0.iter_mut().zip(some.0) {
            *sum -= less;
        }
    }

    /// Those of both kinds.
    pub(crate) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The records with these tags.
    pub(crate) fn of(tags: &[Tag]) -> ByKind {
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
    /// Not run, as their function is in quarantine.
    pub(crate) quarantined: ByKind,
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
    /// Bytes outside the heap that the objects of these calls, and of those that run, own: what was
    /// [stated](crate::Mutator::set_external_bytes) for them. An object with several cleanups
    /// counts for one of them.
    pub external_bytes: usize,
}

/// Counts of the calls of finalizers, or of those of cleanups. At any moment `queued` is the sum of
/// `waiting`, `running`, `executed`, `cancelled`, `quarantined` and `discarded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStats {
    /// Registrations that are neither cleared nor queued.
    pub registered: u64,
    /// Calls that were queued since the runtime was made, or would have been after its shutdown.
    pub queued: u64,
    /// Calls that have not begun.
    pub waiting: u64,
    /// Calls under way: at most one for each thread that makes calls, and those that another thread
    /// has taken over from. The call of a bulk finalizer counts for its first object; the others
    /// are waiting, until it is taken over from.
    pub running: u64,
    /// Calls that have ended, whether they returned or failed.
    pub executed: u64,
    /// Reports of calls that failed, are stuck, or were not made: see
    /// [`Failure`](crate::failure::Failure). A bulk finalizer's call counts once.
    pub failed: u64,
    /// Calls that were cancelled after they had been queued, or, in topological order, registered
    /// again as their objects were revived.
    pub cancelled: u64,
    /// Calls that were not made, as their function is in quarantine.
    pub quarantined: u64,
    /// Calls that were dropped at the end of the runtime, or because they would have been due after
    /// it.
    pub discarded: u64,
}

impl std::ops::AddAssign for CallStats {
    fn add_assign(&mut self, more: CallStats) {
        self.registered += more.registered;
        self.queued += more.queued;
        self.waiting += more.waiting;
        self.running += more.running;
        self.executed += more.executed;
        self.failed += more.failed;
        self.cancelled += more.cancelled;
        self.quarantined += more.quarantined;
        self.discarded += more.discarded;
    }
}

impl Fates {
    /// The counts of one kind, with what the queue does not know.
    pub(crate) fn stats(&self, kind: CallKind, registered: u64, failed: u64) -> CallStats {
        let [
            waiting,
            running,
            executed,
            cancelled,
            quarantined,
            discarded,
        ] = [
            self.waiting,
            self.running,
            self.executed,
            self.cancelled,
            self.quarantined,
            self.discarded,
        ]
        .map(|of| of.get(kind));
        CallStats {
            registered,
            queued: waiting + running + executed + cancelled + quarantined + discarded,
            waiting,
            running,
            executed,
            failed,
            cancelled,
            quarantined,
            discarded,
        }
    }
}
