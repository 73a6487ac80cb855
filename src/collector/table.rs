//! The registrations of a foreign collector's objects, and the steps by which a collection decides over them.
//!
//! An entry is 24 bytes. Beside it there are 4 bytes for the list of what is due, 4 while its object is young, and 5 to
//! 12 of hash table. All that a collection in Go's order needs is allocated when an entry is added; topological order
//! allocates while it plans, with the global allocator and in proportion to what is dead.
#![forbid(unsafe_code)]

use std::marker::PhantomData;

use super::index::{Index, hash};
use super::part::{Found, Part, Task, keep_contents};
use super::{Candidate, CyclePolicy, Fault, Faults, Order, Plan, Reference, Scope, Tracer, plan};

const NONE: u32 = u32::MAX;

/// What is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Weak = 1,
    Finalizer = 2,
    Cleanup = 3,
}

/// Sets of kinds.
const WEAK: u8 = 1 << Kind::Weak as u8;
const FINALIZERS: u8 = 1 << Kind::Finalizer as u8;
const CLEANUPS: u8 = 1 << Kind::Cleanup as u8;

/// Bits of an entry's `meta`. Bits 0 and 1 are the kind (0: free), 2 and 3 the policy.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Flag {
    /// The entry's word is a reference, and traced.
    Reference = 1 << 4,
    /// In the list of young entries. Stays when the entry is freed, until the list is next looked at.
    Young = 1 << 5,
    /// Its roots were traced at the start of this collection.
    Early = 1 << 6,
    /// Found dead in this step.
    Dead = 1 << 7,
    /// Decided: waits to be queued, and is a root.
    Due = 1 << 8,
    /// Its cycle was reported.
    Reported = 1 << 9,
}

/// The number of an entry's owner, so that old names of a reused entry are known.
const STAMP: u32 = 10;
const LAST_STAMP: u32 = u32::MAX >> STAMP;

/// One registration.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// The object. Free: the next free entry.
    pub(super) object: u64,
    /// A finalizer's context, a cleanup's argument.
    pub(super) word: u64,
    shape: u32,
    meta: u32,
}

const _: () = assert!(size_of::<Entry>() == 24);

impl Entry {
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.meta & 3 {
            1 => Some(Kind::Weak),
            2 => Some(Kind::Finalizer),
            3 => Some(Kind::Cleanup),
            _ => None,
        }
    }

    fn policy(&self) -> CyclePolicy {
        match self.meta >> 2 & 3 {
            0 => CyclePolicy::Leave,
            1 => CyclePolicy::Unordered,
            2 => CyclePolicy::Break,
            _ => CyclePolicy::Report,
        }
    }

    pub(super) fn has(&self, flag: Flag) -> bool {
        self.meta & flag as u32 != 0
    }

    pub(super) fn set(&mut self, flag: Flag, on: bool) {
        self.meta = self.meta & !(flag as u32) | if on { flag as u32 } else { 0 };
    }

    fn stamp(&self) -> u32 {
        self.meta >> STAMP
    }

    /// Neither free nor due.
    pub(super) fn is_registered(&self) -> bool {
        self.kind().is_some() && !self.has(Flag::Due)
    }

    pub(super) fn is_to_be_asked(&self, kinds: u8) -> bool {
        self.is_registered() && !self.has(Flag::Dead) && self.is_one_of(kinds)
    }

    /// Whether its kind is in a set of kinds.
    fn is_one_of(&self, kinds: u8) -> bool {
        kinds >> (self.meta & 3) & 1 != 0
    }

    /// Its hash in the index, if it has a place there.
    fn indexed(&self) -> Option<u64> {
        let kind = self.kind().filter(|kind| *kind != Kind::Cleanup)?;
        self.is_registered().then(|| hash_of(kind, self.object))
    }
}

fn hash_of(kind: Kind, object: u64) -> u64 {
    hash(object ^ (kind as u64) << 60)
}

/// Names a registration, also when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    entry: u32,
    stamp: u32,
}

/// What is registered, as whoever registers says it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration<R> {
    pub(crate) kind: Kind,
    pub(crate) object: R,
    pub(crate) shape: u32,
    pub(crate) word: u64,
    /// The word is a reference.
    pub(crate) reference: bool,
    pub(crate) policy: CyclePolicy,
}

/// A call that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) kind: Kind,
    pub(crate) object: u64,
    pub(crate) word: u64,
    pub(crate) shape: u32,
}

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Retain(Scope),
    Plan(Scope),
    Decide(Scope),
}

#[derive(Debug)]
pub(crate) struct Table<R> {
    entries: Vec<Entry>,
    free: u32,
    live: [u64; 4],
    index: Index,
    young: Vec<u32>,
    /// Decided and not yet queued. Has room for every entry.
    due: Vec<u32>,
    stage: Stage,
    order: Order,
    /// Of the collection under way, with the entries that the candidates are of.
    plan: Plan<R>,
    candidates: Vec<u32>,
    /// An entry in scope has the flag.
    any_dead: bool,
    /// Queued calls were traced early.
    queue_traced: bool,
    reports: Vec<Vec<R>>,
    pub(crate) faults: Faults,
}

/// How the parts of a step are run, if not one after the other with the step's own tracer.
pub(crate) type Split<'a, R> = (usize, &'a mut dyn FnMut(Vec<Part<'_, R>>));

impl<R: Reference> Table<R> {
    pub(crate) fn new(order: Order) -> Table<R> {
        Table {
            entries: Vec::new(),
            free: NONE,
            live: [0; 4],
            index: Index::default(),
            young: Vec::new(),
            due: Vec::new(),
            stage: Stage::Idle,
            order,
            plan: Plan::default(),
            candidates: Vec::new(),
            any_dead: false,
            queue_traced: false,
            reports: Vec::new(),
            faults: Faults::default(),
        }
    }

    // ------------------------------------------------------------------------------------------ registering

    /// Adds a registration. `None`: the object has one of this kind, of which there can only be one.
    pub(crate) fn add(&mut self, new: Registration<R>) -> Option<Id> {
        let object = new.object.to_word();
        if new.kind != Kind::Cleanup && self.find(new.kind, new.object).is_some() {
            return None;
        }
        let at = self.take_entry();
        let policy = match new.policy {
            CyclePolicy::Leave => 0,
            CyclePolicy::Unordered => 1,
            CyclePolicy::Break => 2,
            CyclePolicy::Report => 3,
        };
        let entry = &mut self.entries[at as usize];
        // The stamp and the place in the young list outlive owners.
        let kept = entry.meta & (LAST_STAMP << STAMP | Flag::Young as u32);
        *entry = Entry {
            object,
            word: new.word,
            shape: new.shape,
            meta: kept | policy << 2 | new.kind as u32,
        };
        entry.set(Flag::Reference, new.reference);
        let id = Id {
            entry: at,
            stamp: entry.stamp(),
        };
        if !entry.has(Flag::Young) && !self.faults.has(Fault::NoYoungList) {
            entry.set(Flag::Young, true);
            self.young.push(at);
        }
        self.live[new.kind as usize] += 1;
        if new.kind != Kind::Cleanup {
            let entries = &self.entries;
            self.index
                .reserve(|entry| entries[entry as usize].indexed().unwrap_or(0));
            self.index.insert(hash_of(new.kind, object), at);
        }
        Some(id)
    }

    fn take_entry(&mut self) -> u32 {
        let room = self.entries.len() + 1 - self.due.len();
        if self.due.capacity() < self.entries.len() + 1 {
            self.due.reserve(room.max(self.entries.len()));
        }
        match self.entries.get(self.free as usize) {
            Some(entry) => std::mem::replace(&mut self.free, entry.object as u32),
            None => {
                self.entries.push(Entry::default());
                self.entries.len() as u32 - 1
            }
        }
    }

    /// Frees an entry that is in no index.
    fn release(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        let stamp = entry.stamp();
        entry.meta &= Flag::Young as u32;
        // An entry whose numbers are used up is not used again.
        if stamp < LAST_STAMP {
            entry.meta |= (stamp + 1) << STAMP;
            entry.object = u64::from(self.free);
            self.free = at;
        }
    }

    /// Removes a registration that is in force. Answers its shape.
    fn remove(&mut self, at: u32) -> u32 {
        let entry = self.entries[at as usize];
        if let Some(hash) = entry.indexed() {
            self.index.remove(hash, at);
        }
        if let Some(kind) = entry.kind() {
            self.live[kind as usize] -= 1;
        }
        self.release(at);
        entry.shape
    }

    fn find(&self, kind: Kind, object: R) -> Option<u32> {
        let object = object.to_word();
        self.index.find(hash_of(kind, object), |at| {
            let entry = &self.entries[at as usize];
            entry.object == object && entry.kind() == Some(kind)
        })
    }

    fn registered(&self, id: Id, kind: Kind) -> Option<&Entry> {
        let entry = self.entries.get(id.entry as usize)?;
        let is_it = entry.stamp() == id.stamp && entry.kind() == Some(kind);
        (is_it && entry.is_registered()).then_some(entry)
    }

    /// Takes the finalizer of an object away. Answers its shape.
    pub(crate) fn clear_finalizer(&mut self, object: R) -> Option<u32> {
        let at = self.find(Kind::Finalizer, object)?;
        Some(self.remove(at))
    }

    /// Takes a cleanup away. Answers its shape.
    pub(crate) fn stop_cleanup(&mut self, id: Id) -> Option<u32> {
        self.registered(id, Kind::Cleanup)?;
        Some(self.remove(id.entry))
    }

    /// The weak handle of an object, made if need be.
    pub(crate) fn weak(&mut self, object: R) -> Id {
        let found = self.find(Kind::Weak, object).map(|at| Id {
            entry: at,
            stamp: self.entries[at as usize].stamp(),
        });
        let made = || {
            self.add(Registration {
                kind: Kind::Weak,
                object,
                shape: NONE,
                word: 0,
                reference: false,
                policy: CyclePolicy::Leave,
            })
        };
        let none = Id {
            entry: NONE,
            stamp: 0,
        };
        found.or_else(made).unwrap_or(none)
    }

    /// The object of a weak handle, if it is alive.
    pub(crate) fn upgrade(&self, id: Id) -> Option<R> {
        let entry = self.registered(id, Kind::Weak)?;
        Some(R::from_word(entry.object))
    }

    /// How many there are.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.live[kind as usize]
    }

    /// Takes what is due, in the order in which it is to be put in a queue that is last in, first out.
    pub(crate) fn take_due(&mut self, mut take: impl FnMut(Due)) {
        for n in 0..self.due.len() {
            let at = match self.order {
                Order::Go => self.due[n],
                Order::Topological => self.due[self.due.len() - 1 - n],
            };
            let entry = self.entries[at as usize];
            if let Some(kind) = entry.kind() {
                take(Due {
                    kind,
                    object: entry.object,
                    word: entry.word,
                    shape: entry.shape,
                });
            }
            self.release(at);
        }
        self.due.clear();
    }

    /// Takes the cycles to be reported.
    pub(crate) fn take_reports(&mut self) -> Vec<Vec<R>> {
        std::mem::take(&mut self.reports)
    }

    // ------------------------------------------------------------------------------------------ collecting

    /// Begins a collection. False: one is under way.
    pub(crate) fn begin(&mut self, scope: Scope) -> bool {
        let idle = self.stage == Stage::Idle;
        if idle {
            self.stage = Stage::Retain(scope);
            self.queue_traced = false;
        }
        idle
    }

    /// What the collection under way looks at, if its next step is the first.
    pub(crate) fn at_start(&self) -> Option<Scope> {
        match self.stage {
            Stage::Retain(scope) => Some(scope),
            _ => None,
        }
    }

    /// Whether queued calls have to be traced now: once in a collection, early or in the first step.
    pub(crate) fn is_queue_due(&mut self, early: bool) -> bool {
        let due = self.at_start().is_some() && !self.queue_traced;
        self.queue_traced |= early;
        due && !self.faults.has(Fault::QueueNotTraced)
    }

    /// Makes roots of what is registered and due now, at the start of a collection.
    pub(crate) fn early_roots<T: Tracer<Ref = R>>(&mut self, scope: Scope, tracer: &mut T) {
        self.retain(scope, true, tracer, None);
    }

    /// One step. True: what was traced must be followed, and the next step taken.
    pub(crate) fn step<T: Tracer<Ref = R>>(
        &mut self,
        tracer: &mut T,
        split: Option<Split<'_, R>>,
    ) -> bool {
        let (next, again) = match (self.stage, self.order) {
            (Stage::Idle, _) => (Stage::Idle, false),
            (Stage::Retain(scope), Order::Go) => {
                self.retain(scope, false, tracer, split);
                if self.faults.has(Fault::NoDrain) {
                    self.decide(scope, tracer, None);
                    (Stage::Idle, false)
                } else {
                    (Stage::Decide(scope), true)
                }
            }
            (Stage::Retain(scope), Order::Topological) => {
                self.retain(scope, false, tracer, split);
                (Stage::Plan(scope), true)
            }
            (Stage::Plan(scope), _) => {
                self.make_plan(scope, tracer);
                (Stage::Decide(scope), true)
            }
            (Stage::Decide(scope), _) => {
                self.decide(scope, tracer, split);
                (Stage::Idle, false)
            }
        };
        self.stage = next;
        again
    }

    fn retain<T: Tracer<Ref = R>>(
        &mut self,
        scope: Scope,
        early: bool,
        tracer: &mut T,
        split: Option<Split<'_, R>>,
    ) {
        for &at in &self.due {
            let entry = &mut self.entries[at as usize];
            if entry.has(Flag::Early) || self.faults.has(Fault::DueNotTraced) {
                continue;
            }
            entry.set(Flag::Early, early);
            if entry.kind() == Some(Kind::Finalizer) {
                entry.object = tracer.trace(R::from_word(entry.object)).to_word();
            }
            if entry.has(Flag::Reference) {
                entry.word = tracer.trace(R::from_word(entry.word)).to_word();
            }
        }
        let contents = self.order == Order::Go;
        self.each_part(scope, Task::Retain { contents, early }, tracer, split);
    }

    /// Runs a task on all entries in scope.
    fn each_part<T: Tracer<Ref = R>>(
        &mut self,
        scope: Scope,
        task: Task,
        tracer: &mut T,
        split: Option<Split<'_, R>>,
    ) -> Found {
        let found = Found::default();
        let faults = self.faults;
        let part = |entries, picks| Part {
            entries,
            picks,
            task,
            found: &found,
            faults,
            reference: PhantomData,
        };
        match (scope, split) {
            (Scope::Minor, _) => part(&mut self.entries, Some(&self.young)).run(tracer),
            (Scope::Full, Some((parts, run))) if !self.entries.is_empty() => {
                let each = self.entries.len().div_ceil(parts.max(1));
                let chunks = self.entries.chunks_mut(each);
                run(chunks.map(|chunk| part(chunk, None)).collect());
            }
            (Scope::Full, _) => part(&mut self.entries, None).run(tracer),
        }
        found
    }

    /// The entries a collection looks at.
    fn in_scope(&self, scope: Scope) -> usize {
        match scope {
            Scope::Full => self.entries.len(),
            Scope::Minor => self.young.len(),
        }
    }

    fn scoped(&self, scope: Scope, n: usize) -> u32 {
        match scope {
            Scope::Full => n as u32,
            Scope::Minor => self.young[n],
        }
    }

    /// Puts `new` of every reference in its place.
    pub(crate) fn forward(&mut self, mut new: impl FnMut(R) -> R) {
        let mut forward = |word: u64| new(R::from_word(word)).to_word();
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.kind().is_some())
        {
            // A cleanup that is due has no object any more.
            if entry.is_registered() || entry.kind() == Some(Kind::Finalizer) {
                entry.object = forward(entry.object);
            }
            if entry.has(Flag::Reference) {
                entry.word = forward(entry.word);
            }
        }
        for object in self.reports.iter_mut().flatten() {
            *object = new(*object);
        }
        self.reindex(Scope::Full, true);
    }

    fn make_plan<T: Tracer<Ref = R>>(&mut self, scope: Scope, tracer: &mut T) {
        self.candidates.clear();
        let mut candidates = Vec::new();
        for n in 0..self.in_scope(scope) {
            let at = self.scoped(scope, n);
            let entry = &self.entries[at as usize];
            if entry.kind() != Some(Kind::Finalizer) || !entry.is_registered() {
                continue;
            }
            let object = R::from_word(entry.object);
            if !tracer.is_reached(object) {
                self.candidates.push(at);
                candidates.push(Candidate {
                    object,
                    policy: entry.policy(),
                    reported: entry.has(Flag::Reported),
                });
            }
        }
        let made = plan(&candidates, tracer, self.faults);
        let object = |n: u32| candidates[n as usize].object;
        for &n in &made.left {
            tracer.trace(object(n));
        }
        for &n in &made.due {
            // The contents of another one may have reached it.
            if !tracer.is_reached(object(n)) {
                keep_contents(object(n), self.faults, tracer);
            }
            let at = self.candidates[n as usize];
            self.entries[at as usize].set(Flag::Dead, true);
            if let Some(weak) = self.find(Kind::Weak, object(n)) {
                self.entries[weak as usize].set(Flag::Dead, true);
                self.any_dead = true;
            }
        }
        for &n in &made.reported {
            let entry = &mut self.entries[self.candidates[n as usize] as usize];
            entry.set(Flag::Reported, !self.faults.has(Fault::ReportedAgain));
        }
        self.plan = made;
    }

    fn decide<T: Tracer<Ref = R>>(
        &mut self,
        scope: Scope,
        tracer: &mut T,
        mut split: Option<Split<'_, R>>,
    ) {
        let late = self.faults.has(Fault::WeakLast);
        // Entries of the young list are taken out of the index and put in again: their objects may move.
        for n in 0..if scope == Scope::Minor {
            self.young.len()
        } else {
            0
        } {
            let at = self.young[n];
            if let Some(hash) = self.entries[at as usize].indexed() {
                self.index.remove(hash, at);
            }
        }
        if self.faults.has(Fault::CleanupsFirst) {
            self.ask(scope, CLEANUPS, tracer, None);
        }
        let first = if late { FINALIZERS } else { FINALIZERS | WEAK };
        let mut moved = self.ask(scope, first, tracer, again(&mut split));
        let before = self.due.len();
        for n in 0..self.plan.due.len() {
            self.make_due(self.candidates[self.plan.due[n] as usize]);
        }
        self.for_each_dead(scope, first);
        for &at in &self.due[before..] {
            let entry = &mut self.entries[at as usize];
            if !self.faults.has(Fault::NotRevived) {
                entry.object = tracer.trace(R::from_word(entry.object)).to_word();
            }
        }
        if late {
            moved |= self.ask(scope, WEAK, tracer, None);
            self.for_each_dead(scope, WEAK);
        }
        self.ask(scope, CLEANUPS, tracer, split);
        self.for_each_dead(scope, CLEANUPS);
        self.any_dead = false;
        self.reindex(scope, moved);
        self.age(scope, tracer);
        // Reports nobody has fetched stay good while the cycle lives.
        self.reports.retain_mut(|path| {
            let lives = path.iter().all(|&object| tracer.is_reached(object));
            if lives {
                path.iter_mut()
                    .for_each(|object| *object = tracer.trace(*object));
            }
            lives
        });
        for mut path in std::mem::take(&mut self.plan).reports {
            for object in &mut path {
                *object = tracer.trace(*object);
            }
            self.reports.push(path);
        }
    }

    /// Asks who of these kinds is dead. Answers whether an object has moved.
    fn ask<T: Tracer<Ref = R>>(
        &mut self,
        scope: Scope,
        kinds: u8,
        tracer: &mut T,
        split: Option<Split<'_, R>>,
    ) -> bool {
        let any = [Kind::Weak, Kind::Finalizer, Kind::Cleanup]
            .into_iter()
            .any(|kind| kinds >> kind as u8 & 1 != 0 && self.count(kind) > 0);
        if !any {
            return false;
        }
        let found = self.each_part(scope, Task::Ask(kinds), tracer, split);
        self.any_dead |= found.dead.into_inner();
        found.moved.into_inner()
    }

    /// A dead entry's call is due: it is registered no longer.
    fn make_due(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        if let Some(hash) = entry.indexed() {
            self.index.remove(hash, at);
        }
        if let Some(kind) = entry.kind() {
            self.live[kind as usize] -= 1;
        }
        entry.set(Flag::Dead, false);
        entry.set(Flag::Due, true);
        self.due.push(at);
    }

    /// Does with all dead entries of these kinds what is to be done: weak handles go, calls are due.
    fn for_each_dead(&mut self, scope: Scope, kinds: u8) {
        let count = if self.any_dead {
            self.in_scope(scope)
        } else {
            0
        };
        for n in 0..count {
            let at = self.scoped(scope, n);
            let entry = &self.entries[at as usize];
            if entry.has(Flag::Dead) && entry.is_one_of(kinds) {
                match entry.kind() {
                    Some(Kind::Weak) => drop(self.remove(at)),
                    _ => self.make_due(at),
                }
            }
        }
    }

    /// Puts the index in order after objects have moved. Needs no more room than there is.
    fn reindex(&mut self, scope: Scope, moved: bool) {
        if self.faults.has(Fault::NoRehash) {
            return;
        }
        let whole = self.index.is_worn() || moved && scope == Scope::Full;
        if whole {
            self.index.clear();
        }
        let count = if whole {
            self.entries.len()
        } else if scope == Scope::Minor {
            self.young.len()
        } else {
            0
        };
        for n in 0..count {
            let at = if whole { n as u32 } else { self.young[n] };
            if let Some(hash) = self.entries[at as usize].indexed() {
                self.index.insert(hash, at);
            }
        }
    }

    /// Entries without anything young leave the young list.
    fn age<T: Tracer<Ref = R>>(&mut self, scope: Scope, tracer: &mut T) {
        let early = if self.queue_traced {
            self.in_scope(scope)
        } else {
            0
        };
        for n in 0..early {
            let at = self.scoped(scope, n) as usize;
            self.entries[at].set(Flag::Early, false);
        }
        for &at in &self.due {
            self.entries[at as usize].set(Flag::Early, false);
        }
        let entries = &mut self.entries;
        self.young.retain(|&at| {
            let entry = &mut entries[at as usize];
            let mut is_young = |word: u64| tracer.is_young(R::from_word(word));
            let young = entry.is_registered()
                && (is_young(entry.object) || entry.has(Flag::Reference) && is_young(entry.word));
            entry.set(Flag::Young, young);
            young
        });
    }
}

/// The same way to run parts, for a time.
fn again<'b, R>(split: &'b mut Option<Split<'_, R>>) -> Option<Split<'b, R>> {
    match split {
        Some((parts, run)) => Some((*parts, &mut **run)),
        None => None,
    }
}
