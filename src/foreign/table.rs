//! The registrations of a foreign collector's objects, and which step a collection over them is at.
//!
//! An entry is 16 bytes, and 8 more where it has a word of its own; what goes with it, the index
//! included, brings that to less than 24, or 32. All that a collection in Go's order needs is
//! allocated when an entry is added; topological order allocates while it plans, with the global
//! allocator and in proportion to what is dead.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::candidates::Candidates;
use super::entries::{CHUNK, Entries, Walk, Walked};
use super::entry::{Entry, Flag, Kind};
use super::ephemerons::Ephemerons;
use super::index::{Index, Key, Place};
use super::part::Part;
use super::watch::Watchers;
use crate::calls::options::HeldValue;
use crate::calls::queue::{ByKind, CallKind};
use crate::order::{CyclePolicy, Declared, Fault, Faults, Order, Plan, Reference, Scope};

const NONE: u32 = u32::MAX;

/// Identifies a registration. No other one gets the same id, even in the same entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(super) entry: u32,
    pub(super) stamp: u32,
}

impl Id {
    /// The number by which the call of a cleanup or a watcher with this id is found in the queue.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.stamp) << 32 | u64::from(self.entry)
    }
}

/// The call of an entry that has one.
fn call_kind(entry: &Entry) -> ByKind {
    let mut one = ByKind::default();
    match entry.kind() {
        Some(Kind::Finalizer) => one.add(CallKind::Finalizer, 1),
        Some(Kind::Cleanup) => one.add(CallKind::Cleanup, 1),
        Some(Kind::Weak) | None => {}
    }
    one
}

/// A registration as its caller describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration<R> {
    pub(crate) kind: Kind,
    /// Whether it is a watcher, if it is a finalizer.
    pub(crate) watches: bool,
    pub(crate) object: R,
    pub(crate) shape: u32,
    /// A finalizer's context, or a cleanup's argument.
    pub(crate) held: Option<HeldValue<R>>,
    pub(crate) policy: CyclePolicy,
}

/// A call that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// Or else a cleanup.
    pub(crate) is_finalizer: bool,
    pub(crate) is_watcher: bool,
    pub(crate) object: u64,
    pub(crate) word: u64,
    pub(crate) shape: u32,
    /// The number by which a queued cleanup or watcher is found.
    pub(crate) number: u64,
    /// Bytes outside the heap that the object owns.
    pub(crate) external: u64,
}

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Idle,
    Retain(Scope),
    /// In topological order: what is queued is kept, or taken back.
    TakeBack(Scope),
    Plan(Scope),
    Decide(Scope),
}

#[derive(Debug)]
pub(crate) struct Table<R> {
    pub(super) entries: Entries,
    pub(super) live: [u64; 4],
    pub(super) index: Index,
    pub(super) stage: Stage,
    pub(super) order: Order,
    /// The plan of the collection under way.
    pub(super) plan: Plan<R>,
    pub(super) candidates: Candidates,
    /// In topological order, the entries that are due, in the order in which that was decided.
    pub(super) sequence: Vec<u32>,
    /// External bytes of the objects of entries that are due, for those with any.
    pub(super) external: HashMap<u32, u64>,
    /// Whether an entry in scope has been found dead.
    pub(super) any_dead: bool,
    /// Whether the index is rebuilt at the end of this step, and not updated until then.
    pub(super) refill: bool,
    /// Whether queued calls were traced early.
    pub(super) queue_traced: bool,
    pub(super) reports: Vec<Vec<R>>,
    /// Which objects are finalized after which others.
    pub(super) declared: Declared<u64>,
    pub(super) ephemerons: Ephemerons,
    /// In topological order, the objects that the plan of the collection under way finalizes.
    pub(super) due_objects: HashSet<u64>,
    numbers: Option<Numbers>,
    pub(super) watchers: Watchers,
    /// How many times what is due was handed over.
    pub(crate) handed_over: u64,
    /// Calls that were cancelled between the collection that found them due and the hand-over.
    pub(crate) cancelled: ByKind,
    pub(crate) faults: Faults,
}

/// The numbers of registrations, in the order in which they were made.
#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    /// That of each entry.
    of: Vec<u64>,
}

impl Numbers {
    fn note(&mut self, at: u32) {
        let at = at as usize;
        if at >= self.of.len() {
            self.of.resize(at + 1, 0);
        }
        self.last += 1;
        self.of[at] = self.last;
    }
}

/// Into how many parts a step is to be split, and the function that runs them.
pub(crate) type Split<'a, R> = (usize, &'a mut dyn FnMut(Vec<Part<'_, R>>));

impl<R: Reference> Table<R> {
    pub(crate) fn new(order: Order) -> Table<R> {
        Table {
            entries: Entries::default(),
            live: [0; 4],
            index: Index::new(),
            stage: Stage::Idle,
            order,
            plan: Plan::default(),
            candidates: Candidates::default(),
            watchers: Watchers::default(),
            sequence: Vec::new(),
            external: HashMap::new(),
            any_dead: false,
            refill: false,
            queue_traced: false,
            reports: Vec::new(),
            declared: Declared::default(),
            ephemerons: Ephemerons::default(),
            due_objects: HashSet::new(),
            numbers: None,
            handed_over: 0,
            cancelled: ByKind::default(),
            faults: Faults::default(),
        }
    }

    /// Adds a registration. Returns `None` if it is of a kind of which an object can have only one,
    /// and the object has one.
    #[inline]
    pub(crate) fn add(&mut self, new: Registration<R>) -> Option<Id> {
        let (kind, object) = (new.kind, new.object.to_word());
        let young = !self.faults.has(Fault::NoYoungList);
        let at = if kind == Kind::Cleanup || new.watches {
            self.entries.take(young)
        } else {
            self.take_indexed((kind, object), young)?
        };
        let (chunk, n) = self.entries.chunk(at);
        let entry = &mut chunk.entries[n];
        let (word, reference) = match new.held {
            None => (0, false),
            Some(HeldValue::Word(word)) => (word, false),
            Some(HeldValue::Object(held)) => (held.to_word(), true),
        };
        let flag = |on, flag: Flag| if on { flag as u32 } else { 0 };
        let flags = flag(reference, Flag::Reference) | flag(new.watches, Flag::Watcher);
        entry.fill(kind, object, new.shape, new.policy, flags);
        let id = Id {
            entry: at,
            stamp: entry.stamp(),
        };
        if reference || word != 0 {
            self.entries.add_word(at, word);
        } else {
            chunk.set_word(n, 0);
        }
        self.live[kind as usize] += 1;
        self.watchers.count += usize::from(new.watches);
        if let Some(numbers) = &mut self.numbers {
            numbers.note(at);
        }
        Some(id)
    }

    /// From now on, registrations are numbered in the order in which they are made.
    pub(super) fn number_registrations(&mut self) {
        self.numbers.get_or_insert_default();
    }

    pub(super) fn numbers_registrations(&self) -> bool {
        self.numbers.is_some()
    }

    /// The number of a registration; that of its entry if they are not numbered.
    pub(super) fn number_of(&self, at: u32) -> u64 {
        let numbers = self.numbers.as_ref();
        numbers.map_or(at.into(), |numbers| numbers.of[at as usize])
    }

    /// Loads the index's lines for objects that are about to be registered or removed, so that
    /// their cache misses overlap.
    #[inline]
    pub(crate) fn expect(&self, kind: Kind, objects: &[R]) {
        let keys = objects.iter().map(|object| (kind, object.to_word()));
        self.index.touch(keys);
    }

    /// Takes a free entry and adds it to the index. Returns `None` if the index has an entry with
    /// this key.
    #[inline]
    fn take_indexed(&mut self, key: Key, young: bool) -> Option<u32> {
        if !self.index.has_room(key.1, self.entries.len() + 1) {
            self.make_room(key.1);
        }
        let entries = &self.entries;
        let vacant = self
            .index
            .seek(key, |at| entries.at(at).key() == Some(key))
            .err()??;
        let at = self.entries.take(young);
        self.index.fill(vacant, at);
        Some(at)
    }

    #[cold]
    fn make_room(&mut self, object: u64) {
        // One more entry may take one more chunk.
        let most = self.entries.len() + CHUNK;
        self.index.make_room(object, most, self.entries.keys());
    }

    /// Removes a registration and frees its entry.
    #[inline]
    pub(super) fn remove(&mut self, at: u32) {
        let entry = *self.entries.at(at);
        self.strike_out(at, &entry);
        self.watchers.forget(at);
        self.entries.release(at);
    }

    /// Removes a registration from the index and the counts, but does not free its entry.
    #[inline]
    pub(super) fn strike_out(&mut self, at: u32, entry: &Entry) {
        if let Some(key) = entry.key().filter(|_| !self.refill) {
            self.index.remove(key, at);
        }
        if let Some(kind) = entry.kind() {
            self.live[kind as usize] -= 1;
        }
        self.watchers.count -= usize::from(entry.is_watcher());
    }

    #[inline]
    fn locate(&self, kind: Kind, object: R) -> Option<Place> {
        let key = (kind, object.to_word());
        self.index
            .locate(key, |at| self.entries.at(at).key() == Some(key))
    }

    pub(super) fn find(&self, kind: Kind, object: R) -> Option<u32> {
        self.locate(kind, object).map(|place| place.entry)
    }

    /// Removes the finalizer that was located at this place in the index.
    #[inline]
    fn clear(&mut self, place: Place) {
        self.index.cut(place);
        self.live[Kind::Finalizer as usize] -= 1;
        self.entries.release(place.entry);
    }

    pub(super) fn registered(&self, id: Id, kind: Kind) -> Option<&Entry> {
        let entry = self.entries.get(id.entry)?;
        let is_it = entry.stamp() == id.stamp && entry.kind() == Some(kind);
        (is_it && entry.is_registered()).then_some(entry)
    }

    /// Removes the finalizer of an object. Returns whether there was one.
    pub(crate) fn clear_finalizer(&mut self, object: R) -> bool {
        let place = self.locate(Kind::Finalizer, object);
        place.map(|place| self.clear(place)).is_some()
    }

    /// Removes the finalizer of an object if it is of this shape. Returns whether it was.
    #[inline]
    pub(crate) fn clear_if(&mut self, object: R, shape: u32) -> bool {
        let found = self.locate(Kind::Finalizer, object);
        let own = found.filter(|place| self.entries.at(place.entry).shape == shape);
        own.map(|place| self.clear(place)).is_some()
    }

    /// Cancels the call of a finalizer that is due and not handed over yet. Returns whether there
    /// is such a call, of a shape that is allowed.
    pub(crate) fn cancel_due_finalizer(
        &mut self,
        object: R,
        allowed: impl Fn(u32) -> bool,
    ) -> bool {
        let word = object.to_word();
        let mut walk = Walk::over(Walked::Due);
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at(at);
            let is_own = entry.kind() == Some(Kind::Finalizer) && !entry.is_watcher();
            if is_own && entry.object == word && allowed(entry.shape) {
                self.cancel_due(at);
                return true;
            }
        }
        false
    }

    /// As [`Table::cancel_due_finalizer`], for the cleanup or the watcher with this id, whose entry
    /// is known.
    pub(super) fn cancel_due_id(&mut self, id: Id) -> bool {
        let found = self.entries.get(id.entry);
        let is_due = found.is_some_and(|entry| {
            entry.stamp() == id.stamp && entry.kind().is_some() && entry.has(Flag::Due)
        });
        if is_due {
            self.cancel_due(id.entry);
        }
        is_due
    }

    fn cancel_due(&mut self, at: u32) {
        self.cancelled.add_all(call_kind(self.entries.at(at)));
        self.sequence.retain(|due| *due != at);
        self.external.remove(&at);
        self.watchers.forget(at);
        self.entries.release(at);
    }

    /// Drops all finalizers and cleanups, those that are due as well, as nothing is finalized any
    /// more. Returns how many. Weak handles stay.
    pub(crate) fn drop_calls(&mut self) -> ByKind {
        let mut dropped = ByKind::default();
        let mut walk = Walk::over(Walked::Scope(Scope::Full));
        while let Some(at) = walk.next(&self.entries) {
            let entry = *self.entries.at(at);
            if !matches!(entry.kind(), Some(Kind::Finalizer | Kind::Cleanup)) {
                continue;
            }
            dropped.add_all(call_kind(&entry));
            match entry.is_registered() {
                true => self.remove(at),
                false => self.entries.release(at),
            }
        }
        self.sequence.clear();
        self.external.clear();
        self.watchers.forget_all();
        dropped
    }

    /// Removes a cleanup. Returns whether it was registered.
    pub(crate) fn stop_cleanup(&mut self, id: Id) -> bool {
        let registered = self.registered(id, Kind::Cleanup).is_some();
        if registered {
            self.remove(id.entry);
        }
        registered
    }

    /// Returns the weak handle of an object, after making it if there is none.
    pub(crate) fn weak(&mut self, object: R) -> Id {
        let found = self.find(Kind::Weak, object).map(|at| self.id_of(at));
        let made = || {
            self.add(Registration {
                kind: Kind::Weak,
                watches: false,
                object,
                shape: NONE,
                held: None,
                policy: CyclePolicy::Leave,
            })
        };
        let none = Id {
            entry: NONE,
            stamp: 0,
        };
        found.or_else(made).unwrap_or(none)
    }

    /// Returns the object of a weak handle, if the handle is in force.
    pub(crate) fn upgrade(&self, id: Id) -> Option<R> {
        let entry = self.registered(id, Kind::Weak)?;
        Some(R::from_word(entry.object))
    }

    /// Returns how many registrations of this kind there are.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.live[kind as usize]
    }

    /// The number of the next hand-over of calls to the queue.
    pub(super) fn next_hand_over(&mut self) -> u64 {
        self.handed_over += 1;
        self.handed_over
    }

    /// Passes all calls that are due to `take`, and frees their entries. The order is the one in
    /// which they are to be put in a queue that is last in, first out.
    pub(crate) fn take_due(&mut self, mut take: impl FnMut(Due)) {
        let sequence = std::mem::take(&mut self.sequence);
        for &at in sequence.iter().rev() {
            self.take_one(at, &mut take);
        }
        if self.order == Order::Go {
            let mut walk = Walk::over(Walked::Due);
            while let Some(at) = walk.next(&self.entries) {
                self.take_one(at, &mut take);
            }
        }
        self.entries.none_due();
        self.external.clear();
    }

    /// The id of the registration in an entry.
    pub(super) fn id_of(&self, at: u32) -> Id {
        Id {
            entry: at,
            stamp: self.entries.at(at).stamp(),
        }
    }

    /// The call of an entry.
    pub(super) fn due_of(&self, at: u32) -> Due {
        let entry = self.entries.at(at);
        Due {
            is_finalizer: entry.kind() == Some(Kind::Finalizer),
            is_watcher: entry.is_watcher(),
            object: entry.object,
            word: self.entries.word(at),
            shape: entry.shape,
            number: self.watchers.number(self.id_of(at)),
            external: self.external.get(&at).copied().unwrap_or_default(),
        }
    }

    fn take_one(&mut self, at: u32, take: &mut impl FnMut(Due)) {
        if self.entries.at(at).kind().is_some() {
            take(self.due_of(at));
        }
        self.watchers.forget(at);
        self.entries.release(at);
    }

    /// Calls `visit` with the shape of each registration and of each call that is due, of
    /// finalizers and cleanups.
    pub(crate) fn for_each_shape(&self, mut visit: impl FnMut(u32)) {
        let mut walk = Walk::over(Walked::Scope(Scope::Full));
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at(at);
            if matches!(entry.kind(), Some(Kind::Finalizer | Kind::Cleanup)) {
                visit(entry.shape);
            }
        }
    }

    /// Takes the cycles that are to be reported.
    pub(crate) fn take_reports(&mut self) -> Vec<Vec<R>> {
        std::mem::take(&mut self.reports)
    }
}
