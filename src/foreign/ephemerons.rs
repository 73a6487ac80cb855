//! Ephemerons of a foreign collector's objects: entries of weak maps, each of a holder (the map), a
//! key and a value. An entry counts as an object of its own to which only its holder refers: in
//! Go's order it is kept with the contents of a holder that has a finalizer. While it and its key
//! are kept, so is its value.
//!
//! What an entry keeps is traced between the steps of a collection, in [`Table::follow_hidden`].
//! Which entries end is decided before any object is revived. Nothing is changed before the last
//! call of the tracer, whose panic would give the collection up.
#![forbid(unsafe_code)]

use std::cell::LazyCell;
use std::collections::HashSet;

use super::table::{Id, Table};
use crate::order::{Fault, Order, Reference, Scope, Tracer, Waiting, WeakEdges, WeakEntry};

/// The words of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ephemeron {
    pub(super) holder: u64,
    pub(super) key: u64,
    pub(super) value: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    ephemeron: Ephemeron,
    /// Changes whenever the slot is used again, so that old ids are recognized.
    stamp: u32,
    used: bool,
    /// Its number is among the young ones.
    young: bool,
}

const _: () = assert!(size_of::<Slot>() == 32);

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Ephemerons {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The slots that minor collections look at, and perhaps some that are free.
    young: Vec<u32>,
    /// How many there are.
    pub(super) count: u64,
}

impl Ephemerons {
    fn add(&mut self, ephemeron: Ephemeron, young: bool) -> Id {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[at as usize];
        (slot.ephemeron, slot.used) = (ephemeron, true);
        let stamp = slot.stamp;
        self.count += 1;
        if young {
            self.set_young(at);
        }
        Id { entry: at, stamp }
    }

    fn set_young(&mut self, at: u32) {
        if !std::mem::replace(&mut self.slots[at as usize].young, true) {
            self.young.push(at);
        }
    }

    fn get(&mut self, id: Id) -> Option<&mut Ephemeron> {
        let slot = self.slots.get_mut(id.entry as usize)?;
        (slot.used && slot.stamp == id.stamp).then_some(&mut slot.ephemeron)
    }

    fn remove(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        slot.used = false;
        self.count -= 1;
        // One that has no more stamps is not used again.
        if let Some(stamp) = slot.stamp.checked_add(1) {
            slot.stamp = stamp;
            self.free.push(at);
        }
    }

    /// The entries that a collection of this scope looks at, by number.
    fn of(&self, scope: Scope) -> impl Iterator<Item = (u32, Ephemeron)> {
        let all = 0..match scope {
            Scope::Full => self.slots.len() as u32,
            Scope::Minor => 0,
        };
        let young = match scope {
            Scope::Full => &[][..],
            Scope::Minor => &self.young,
        };
        all.chain(young.iter().copied()).filter_map(|at| {
            let slot = self.slots[at as usize];
            slot.used.then_some((at, slot.ephemeron))
        })
    }

    /// Removes those for which `is_kept` returns false.
    pub(super) fn retain(&mut self, is_kept: impl Fn(Ephemeron) -> bool) {
        for at in 0..self.slots.len() as u32 {
            let slot = &self.slots[at as usize];
            if slot.used && !is_kept(slot.ephemeron) {
                self.remove(at);
            }
        }
    }

    /// Replaces every word by what `new` returns for it.
    pub(super) fn forward(&mut self, mut new: impl FnMut(u64) -> u64) {
        for slot in self.slots.iter_mut().filter(|slot| slot.used) {
            let Ephemeron { holder, key, value } = slot.ephemeron;
            slot.ephemeron = Ephemeron {
                holder: new(holder),
                key: new(key),
                value: new(value),
            };
        }
    }

    /// Ends a collection.
    fn settle(&mut self, decided: Decided) {
        for at in decided.ended {
            self.remove(at);
        }
        for at in std::mem::take(&mut self.young) {
            self.slots[at as usize].young = false;
        }
        for (at, ephemeron, is_young) in decided.kept {
            self.slots[at as usize].ephemeron = ephemeron;
            if is_young {
                self.set_young(at);
            }
        }
    }
}

/// What a collection has decided about the entries in its scope.
#[derive(Debug, Default)]
pub(super) struct Decided {
    ended: Vec<u32>,
    /// With where their objects are now, and whether a minor collection may move one of these.
    kept: Vec<(u32, Ephemeron, bool)>,
}

/// The values of entries that may yet be kept.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Waiting,
    values: Vec<u64>,
}

impl Waiters {
    /// Notes that an object is kept. Returns the values that are kept with it.
    pub(super) fn keep(&mut self, object: u64) -> impl Iterator<Item = u64> {
        let released = self.waiting.keep(object).into_iter();
        released.map(|number| self.values[number as usize])
    }
}

impl<R: Reference> Table<R> {
    pub(super) fn add_ephemeron(&mut self, holder: R, key: R, value: R) -> Id {
        let young = !self.faults.has(Fault::NoYoungList);
        let ephemeron = Ephemeron {
            holder: holder.to_word(),
            key: key.to_word(),
            value: value.to_word(),
        };
        self.ephemerons.add(ephemeron, young)
    }

    /// Returns the key and the value of an entry that has not ended.
    pub(super) fn ephemeron(&mut self, id: Id) -> Option<(R, R)> {
        let found = self.ephemerons.get(id)?;
        Some((R::from_word(found.key), R::from_word(found.value)))
    }

    /// Replaces the value of an entry. Returns false if it has ended.
    pub(super) fn set_ephemeron_value(&mut self, id: Id, value: R) -> bool {
        let Some(found) = self.ephemerons.get(id) else {
            return false;
        };
        found.value = value.to_word();
        if !self.faults.has(Fault::NoYoungList) {
            self.ephemerons.set_young(id.entry);
        }
        true
    }

    /// Removes an entry. Returns false if it has ended.
    pub(super) fn remove_ephemeron(&mut self, id: Id) -> bool {
        let found = self.ephemerons.get(id).is_some();
        if found {
            self.ephemerons.remove(id.entry);
        }
        found
    }

    /// Whether what a holder refers to is kept. `watched`: the objects that have watchers.
    fn is_held<T: Tracer<Ref = R>>(
        &self,
        holder: R,
        watched: &HashSet<u64>,
        tracer: &mut T,
    ) -> bool {
        let retains = || match self.order {
            Order::Go => self.is_finalizable(holder, watched),
            Order::Topological => self.due_objects.contains(&holder.to_word()),
        };
        tracer.is_reached(holder) || !self.faults.has(Fault::EphemeronNotRetained) && retains()
    }

    /// Whether an object keeps the values of which it is the key. One that is about to be finalized
    /// does not, though another one may keep it.
    fn is_key<T: Tracer<Ref = R>>(&self, key: R, tracer: &mut T) -> bool {
        tracer.is_reached(key) && !self.due_objects.contains(&key.to_word())
    }

    /// Adds the values to `kept` that are not reached, and whose entries and keys are kept. Returns
    /// those that wait for something.
    pub(super) fn waiters<T: Tracer<Ref = R>>(
        &self,
        scope: Scope,
        tracer: &mut T,
        kept: &mut Vec<R>,
    ) -> Waiters {
        let mut waiters = Waiters::default();
        if self.faults.has(Fault::EphemeronIgnored) {
            return waiters;
        }
        let watched = LazyCell::new(|| self.watched());
        for (_, ephemeron) in self.ephemerons.of(scope) {
            let Ephemeron { holder, key, value } = ephemeron;
            let [of_holder, of_key, of_value] = [holder, key, value].map(R::from_word);
            if tracer.is_reached(of_value) {
                continue;
            }
            let for_holder = (!self.is_held(of_holder, &watched, tracer)).then_some(holder);
            let for_key = (!self.is_key(of_key, tracer)).then_some(key);
            if for_holder.or(for_key).is_none() || self.faults.has(Fault::EphemeronStrong) {
                kept.push(of_value);
            } else if !self.due_objects.contains(&key) {
                waiters.waiting.add([for_holder, for_key]);
                waiters.values.push(value);
            }
        }
        waiters
    }

    /// The entries that may keep an unreached value, as the plan of the order looks at them.
    pub(super) fn weak_edges<T: Tracer<Ref = R>>(
        &self,
        scope: Scope,
        tracer: &mut T,
    ) -> WeakEdges<R> {
        let mut edges = WeakEdges::default();
        let mut unreached = |word: u64| {
            let object = R::from_word(word);
            (!tracer.is_reached(object)).then_some(object)
        };
        for (_, Ephemeron { holder, key, value }) in self.ephemerons.of(scope) {
            if let Some(value) = unreached(value) {
                let (holder, key) = (unreached(holder), unreached(key));
                if holder.or(key).is_some() {
                    edges.add(holder, key, value);
                }
            }
        }
        edges
    }

    /// All entries, as the plan of an exit looks at them, which does not know what is alive.
    pub(super) fn all_weak_edges(&self) -> WeakEdges<R> {
        let mut edges = WeakEdges::default();
        for (_, Ephemeron { holder, key, value }) in self.ephemerons.of(Scope::Full) {
            let [holder, key, value] = [holder, key, value].map(R::from_word);
            edges.add_each(holder, key, value);
        }
        edges
    }

    /// Decides which entries end. To be called before objects are revived.
    pub(super) fn decide_ephemerons<T: Tracer<Ref = R>>(
        &self,
        scope: Scope,
        tracer: &mut T,
    ) -> Decided {
        let faulty = |ephemeron: Ephemeron, tracer: &mut T| {
            let values = [Fault::EphemeronIgnored, Fault::EphemeronOnce];
            let [key, value] = [ephemeron.key, ephemeron.value].map(R::from_word);
            values.iter().any(|fault| self.faults.has(*fault)) && !tracer.is_reached(value)
                || self.faults.has(Fault::EphemeronOldCleared) && scope == Scope::Minor && {
                    let key = tracer.trace(key);
                    !tracer.is_young(key)
                }
        };
        let mut decided = Decided::default();
        let watched = LazyCell::new(|| self.watched());
        for (at, ephemeron) in self.ephemerons.of(scope) {
            let [holder, key] = [ephemeron.holder, ephemeron.key].map(R::from_word);
            let kept = self.is_held(holder, &watched, tracer) && self.is_key(key, tracer);
            if kept && !faulty(ephemeron, tracer) {
                decided.kept.push((at, ephemeron, false));
            } else {
                decided.ended.push(at);
            }
        }
        decided
    }

    /// Finds where the objects of the entries are that are kept, now that all is decided.
    pub(super) fn locate_ephemerons<T: Tracer<Ref = R>>(
        &self,
        decided: &mut Decided,
        tracer: &mut T,
    ) {
        for (_, ephemeron, young) in &mut decided.kept {
            let Ephemeron { holder, key, value } = ephemeron;
            for word in [holder, key, value] {
                if tracer.moves() && !self.faults.has(Fault::EphemeronNotForwarded) {
                    *word = tracer.trace(R::from_word(*word)).to_word();
                }
                *young |= tracer.is_young(R::from_word(*word));
            }
        }
    }

    /// Does to the entries what was decided.
    pub(super) fn settle_ephemerons(&mut self, decided: Decided) {
        self.ephemerons.settle(decided);
    }

    /// All entries, for the search for what keeps an object. The contents of a holder that has a
    /// finalizer are kept in Go's order in any case.
    pub(super) fn weak_entries(&self) -> Vec<WeakEntry> {
        let watched = self.watched();
        let entries = self.ephemerons.of(Scope::Full).map(|(_, ephemeron)| {
            let Ephemeron { holder, key, value } = ephemeron;
            let finalizable = self.is_finalizable(R::from_word(holder), &watched);
            WeakEntry {
                name: holder,
                holder: Some(holder).filter(|_| self.order != Order::Go || !finalizable),
                key,
                value,
            }
        });
        entries.collect()
    }
}
