//! Watchers of a foreign collector's objects: finalizers beside an object's own. They are entries
//! that are in no index, and have ids.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::entries::{Walk, Walked};
use super::entry::Kind;
use super::table::{Id, Table};
use crate::order::{Fault, Reference, Scope};

/// What a table knows of its watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// How many are registered.
    pub(super) count: usize,
    /// Where those are whose calls were taken back, by their first number.
    moved: HashMap<u64, Id>,
    /// The first number of those, by entry.
    first: HashMap<u32, u64>,
}

impl Watchers {
    /// Whether any is registered.
    pub(super) fn any(&self) -> bool {
        self.count > 0
    }

    /// The number by which the call of the registration with this id is known.
    pub(super) fn number(&self, id: Id) -> u64 {
        let first = self.first.get(&id.entry).copied();
        first.unwrap_or_else(|| id.number())
    }

    /// A watcher whose call had this number was taken back, and has a new entry.
    pub(super) fn note_moved(&mut self, number: u64, to: Id) {
        self.moved.insert(number, to);
        self.first.insert(to.entry, number);
    }

    /// An entry is about to be freed.
    #[inline]
    pub(super) fn forget(&mut self, at: u32) {
        if !self.first.is_empty()
            && let Some(number) = self.first.remove(&at)
        {
            self.moved.remove(&number);
        }
    }

    pub(super) fn forget_all(&mut self) {
        (self.moved, self.first) = Default::default();
    }
}

impl<R: Reference> Table<R> {
    /// The objects that have watchers.
    pub(super) fn watched(&self) -> HashSet<u64> {
        let mut watched = HashSet::new();
        let mut walk = Walk::over(Walked::Scope(Scope::Full));
        let known = !self.faults.has(Fault::WatchedNotRetained);
        while (self.watchers.any() && known)
            && let Some(at) = walk.next(&self.entries)
        {
            let entry = self.entries.at(at);
            if entry.is_watcher() && entry.is_registered() {
                watched.insert(entry.object);
            }
        }
        watched
    }

    /// Whether an object has a finalizer, or is one of those that have watchers.
    pub(super) fn is_finalizable(&self, object: R, watched: &HashSet<u64>) -> bool {
        watched.contains(&object.to_word()) || self.find(Kind::Finalizer, object).is_some()
    }

    /// Where the watcher is that was added with this id.
    fn watcher(&self, id: Id) -> Id {
        let moved = self.watchers.moved.get(&id.number()).copied();
        moved.unwrap_or(id)
    }

    /// Removes a watcher. Returns whether it was registered.
    pub(super) fn stop_watcher(&mut self, id: Id) -> bool {
        let id = self.watcher(id);
        let found = self.registered(id, Kind::Finalizer);
        let registered = found.is_some_and(|entry| entry.is_watcher());
        if registered {
            self.remove(id.entry);
        }
        registered
    }

    /// Cancels the call of a watcher that is due and not handed over yet. Returns whether there is
    /// such a call.
    pub(super) fn cancel_due_watcher(&mut self, id: Id) -> bool {
        self.cancel_due_id(self.watcher(id))
    }
}
