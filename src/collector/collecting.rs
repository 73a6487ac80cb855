//! The steps by which a collection decides over what is registered.
#![forbid(unsafe_code)]

use std::marker::PhantomData;

use super::entries::{Chunk, Walk, Walked};
use super::entry::{CLEANUPS, FINALIZERS, Flag, Kind, WEAK};
use super::part::{Found, Part, Task, keep_contents};
use super::table::{Split, Stage, Table};
use super::{Candidate, Fault, Order, Reference, Scope, Tracer, plan};

impl<R: Reference> Table<R> {
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
        let mut walk = Walk::over(Walked::Due);
        while let Some(at) = walk.next(&self.entries) {
            let (chunk, n) = self.entries.chunk(at);
            let entry = &mut chunk.entries[n];
            if entry.has(Flag::Early) || self.faults.has(Fault::DueNotTraced) {
                continue;
            }
            entry.set(Flag::Early, early);
            if entry.kind() == Some(Kind::Finalizer) {
                entry.object = tracer.trace(R::from_word(entry.object)).to_word();
            }
            if entry.has(Flag::Reference) {
                chunk.trace_word(n, tracer);
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
        let part = |chunks, young| Part {
            chunks,
            young,
            task,
            found: &found,
            faults,
            reference: PhantomData,
        };
        let entries = &mut self.entries;
        match (scope, split) {
            (Scope::Minor, _) => part(&mut entries.chunks, Some(&entries.young)).run(tracer),
            (Scope::Full, Some((parts, run))) if !entries.chunks.is_empty() => {
                let each = entries.chunks.len().div_ceil(parts.max(1));
                let chunks = entries.chunks.chunks_mut(each);
                run(chunks.map(|chunks| part(chunks, None)).collect());
            }
            (Scope::Full, _) => part(&mut entries.chunks, None).run(tracer),
        }
        found
    }

    /// Puts `new` of every reference in its place.
    pub(crate) fn forward(&mut self, mut new: impl FnMut(R) -> R) {
        let mut forward = |word: u64| new(R::from_word(word)).to_word();
        let mut walk = Walk::over(Walked::Scope(Scope::Full));
        while let Some(at) = walk.next(&self.entries) {
            let (chunk, n) = self.entries.chunk(at);
            let entry = &mut chunk.entries[n];
            // A cleanup that is due has no object any more.
            if entry.is_registered() || entry.kind() == Some(Kind::Finalizer) {
                entry.object = forward(entry.object);
            }
            if entry.has(Flag::Reference) {
                let word = forward(chunk.word(n));
                chunk.set_word(n, word);
            }
        }
        for object in self.reports.iter_mut().flatten() {
            *object = new(*object);
        }
        self.refill = true;
        self.reindex(false);
    }

    fn make_plan<T: Tracer<Ref = R>>(&mut self, scope: Scope, tracer: &mut T) {
        self.candidates.clear();
        let mut candidates = Vec::new();
        let mut walk = Walk::over(Walked::Scope(scope));
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at(at);
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
            self.entries.set_dead(at);
            if let Some(weak) = self.find(Kind::Weak, object(n)) {
                self.entries.set_dead(weak);
                self.any_dead = true;
            }
        }
        for &n in &made.reported {
            let entry = self.entries.at_mut(self.candidates[n as usize]);
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
        // Young entries are taken out of the index and put in again: their objects may move.
        let young = scope == Scope::Minor && tracer.moves();
        if young {
            let mut walk = Walk::over(Walked::Scope(scope));
            while let Some(at) = walk.next(&self.entries) {
                if let Some(key) = self.entries.at(at).key() {
                    self.index.remove(key, at);
                }
            }
        }
        if self.faults.has(Fault::CleanupsFirst) {
            self.ask(scope, CLEANUPS, tracer, None);
        }
        let first = if late { FINALIZERS } else { FINALIZERS | WEAK };
        let moved = self.ask(scope, first, tracer, lend(&mut split));
        // To remove many costs more than to put in those that are left.
        let many = || self.entries.dead() * 4 > self.index.used();
        self.refill =
            scope == Scope::Full && !self.faults.has(Fault::NoRehash) && (moved || many());
        for n in 0..self.plan.due.len() {
            self.make_due(self.candidates[self.plan.due[n] as usize], tracer);
        }
        self.for_each_dead(scope, first, tracer);
        if late {
            self.refill |= self.ask(scope, WEAK, tracer, None) && scope == Scope::Full;
            self.for_each_dead(scope, WEAK, tracer);
        }
        self.ask(scope, CLEANUPS, tracer, split);
        self.for_each_dead(scope, CLEANUPS, tracer);
        self.any_dead = false;
        self.reindex(young);
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

    /// A dead entry's call is due: it is registered no longer, and the object of a finalizer is revived.
    fn make_due<T: Tracer<Ref = R>>(&mut self, at: u32, tracer: &mut T) {
        let entry = *self.entries.at(at);
        self.strike_out(at, &entry);
        self.entries.set_due(at);
        if self.order == Order::Topological {
            self.sequence.push(at);
        }
        let revived = entry.kind() == Some(Kind::Finalizer) && !self.faults.has(Fault::NotRevived);
        let entry = self.entries.at_mut(at);
        entry.set(Flag::Due, true);
        if revived {
            entry.object = tracer.trace(R::from_word(entry.object)).to_word();
        }
    }

    /// Does with all dead entries of these kinds what is to be done: weak handles go, calls are due.
    fn for_each_dead<T: Tracer<Ref = R>>(&mut self, scope: Scope, kinds: u8, tracer: &mut T) {
        if !self.any_dead {
            return;
        }
        let mut walk = Walk::over(Walked::Dead(scope));
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at(at);
            match entry.kind() {
                _ if !entry.is_one_of(kinds) => {}
                Some(Kind::Weak) => drop(self.remove(at)),
                _ => self.make_due(at, tracer),
            }
        }
    }

    /// Puts the index in order after objects have moved; `young` ones were taken out of it. Needs no more room than there
    /// is.
    fn reindex(&mut self, young: bool) {
        let whole = std::mem::take(&mut self.refill) || self.index.is_worn();
        if self.faults.has(Fault::NoRehash) {
            return;
        }
        if whole {
            return self.index.fill_with(self.entries.keys());
        }
        if young {
            let mut walk = Walk::over(Walked::Scope(Scope::Minor));
            while let Some(at) = walk.next(&self.entries) {
                if let Some(key) = self.entries.at(at).key() {
                    self.index.insert(key, at);
                }
            }
        }
    }

    /// Entries without anything young are young no longer.
    fn age<T: Tracer<Ref = R>>(&mut self, scope: Scope, tracer: &mut T) {
        for walked in [Walked::Scope(scope), Walked::Due] {
            let mut walk = Walk::over(walked);
            while self.queue_traced
                && let Some(at) = walk.next(&self.entries)
            {
                self.entries.at_mut(at).set(Flag::Early, false);
            }
        }
        self.entries.age(scope, |chunk: &Chunk, n| {
            let entry = &chunk.entries[n];
            let mut is_young = |word: u64| tracer.is_young(R::from_word(word));
            entry.is_registered()
                && (is_young(entry.object) || entry.has(Flag::Reference) && is_young(chunk.word(n)))
        });
    }
}

/// The same way to run parts, for a time.
fn lend<'b, R>(split: &'b mut Option<Split<'_, R>>) -> Option<Split<'b, R>> {
    match split {
        Some((parts, run)) => Some((*parts, &mut **run)),
        None => None,
    }
}
