//! The steps by which a collection decides which registrations are due.
#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use super::candidates::Candidates;
use super::entries::{Chunk, Walk, Walked};
use super::entry::{CLEANUPS, FINALIZERS, Flag, Kind, WEAK};
use super::part::{Found, Part, Task, keep_contents};
use super::table::{Split, Stage, Table};
use crate::order::{CyclePolicy, Fault, Order, Plan, Reference, Scope, Tracer, plan};

impl<R: Reference> Table<R> {
    /// Gives up the collection under way. Calls that it has found due remain due; everything else
    /// is registered as before, for the next collection to decide.
    pub(crate) fn abandon(&mut self) {
        self.entries.forget_collection();
        let mut walk = Walk::over(Walked::Scope(Scope::Full));
        while let Some(at) = walk.next(&self.entries) {
            self.entries.at_mut(at).set(Flag::Early, false);
        }
        self.plan = Plan::default();
        self.candidates = Candidates::default();
        self.due_objects.clear();
        (self.any_dead, self.queue_traced) = (false, false);
        self.stage = Stage::Idle;
        // Young entries may have been removed from the index for the duration of a step.
        self.refill = true;
        self.reindex(false);
    }

    /// Begins a collection. Returns false if one is under way.
    pub(crate) fn begin(&mut self, scope: Scope) -> bool {
        let idle = self.stage == Stage::Idle;
        if idle {
            self.stage = Stage::Retain(scope);
            self.queue_traced = false;
        }
        idle
    }

    /// Whether a collection has begun and has steps to make.
    pub(crate) fn is_under_way(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// Returns the scope of the collection under way.
    pub(super) fn scope(&self) -> Option<Scope> {
        match self.stage {
            Stage::Idle => None,
            Stage::Retain(scope)
            | Stage::TakeBack(scope)
            | Stage::Plan(scope)
            | Stage::Decide(scope) => Some(scope),
        }
    }

    /// Returns the scope of the collection under way, if it has made no step.
    pub(crate) fn at_start(&self) -> Option<Scope> {
        match self.stage {
            Stage::Retain(scope) => Some(scope),
            _ => None,
        }
    }

    /// Traces at the start of a collection what its first step would trace.
    pub(crate) fn early_roots<T: Tracer<Ref = R>>(&mut self, scope: Scope, tracer: &mut T) {
        self.retain(scope, true, tracer, None);
    }

    /// Makes one step. Returns true if the caller must follow what was traced and make another
    /// step.
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
                (Stage::TakeBack(scope), true)
            }
            (Stage::TakeBack(scope), _) => {
                self.keep_due_objects(tracer);
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
            if entry.kind() == Some(Kind::Finalizer) && self.order == Order::Go {
                entry.object = tracer.trace(R::from_word(entry.object)).to_word();
            }
            if entry.has(Flag::Reference) {
                chunk.trace_word(n, tracer);
            }
        }
        let contents = self.order == Order::Go;
        self.each_part(scope, Task::Retain { contents, early }, tracer, split);
        if contents {
            self.keep_after_finalizable(tracer);
        }
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
                let count = chunks.len();
                run(chunks.map(|chunks| part(chunks, None)).collect());
                // A registration that was not looked at may be of a dead object, whose memory will
                // be used again.
                assert_eq!(
                    found.ran.load(Ordering::Relaxed),
                    count,
                    "step_in_parts: found parts that were not run, wanted each of them run once"
                );
            }
            (Scope::Full, _) => part(&mut entries.chunks, None).run(tracer),
        }
        found
    }

    /// Replaces every reference by what `new` returns for it.
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
        let named = self.declared.objects();
        let named = named.map(|word| (word, new(R::from_word(word)).to_word()));
        let named = named.collect();
        self.rename_declared(named);
        self.ephemerons
            .forward(|word| new(R::from_word(word)).to_word());
        self.refill = true;
        self.reindex(false);
    }

    fn make_plan<T: Tracer<Ref = R>>(&mut self, scope: Scope, tracer: &mut T) {
        let mut walk = Walk::over(Walked::Scope(scope));
        let dead = std::iter::from_fn(|| {
            loop {
                let at = walk.next(&self.entries)?;
                let entry = self.entries.at(at);
                let is_registered = entry.kind() == Some(Kind::Finalizer) && entry.is_registered();
                if is_registered && !tracer.is_reached(R::from_word(entry.object)) {
                    return Some(at);
                }
            }
        });
        let candidates;
        (self.candidates, candidates) = self.candidates_of(dead);
        let ephemerons = self.weak_edges(scope, tracer);
        let declared = &self.declared;
        let children = |object: R, visit: &mut dyn FnMut(R)| {
            tracer.children(object, &mut |tracer, child| {
                if !tracer.is_reached(child) {
                    visit(child);
                }
            });
            for &after in declared.after(object.to_word()) {
                let after = R::from_word(after);
                if !tracer.is_reached(after) {
                    visit(after);
                }
            }
        };
        let made = plan(&candidates, children, ephemerons, self.faults);
        let object = |n: u32| candidates[n as usize].object;
        for &n in &made.left {
            tracer.trace(object(n));
        }
        let due = made.due.iter().map(|&n| object(n).to_word());
        self.due_objects = due.collect();
        for &n in &made.due {
            // The contents of another object may have reached it.
            if !tracer.is_reached(object(n)) {
                keep_contents(object(n), self.faults, tracer);
                self.keep_after(object(n), tracer);
            }
            for at in self.candidates.entries(n) {
                self.entries.set_dead(at);
            }
            if let Some(weak) = self.find(Kind::Weak, object(n)) {
                self.entries.set_dead(weak);
                self.any_dead = true;
            }
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
        let mut ephemerons = self.decide_ephemerons(scope, tracer);
        // Young entries are removed from the index and added again later: their objects may move.
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
        // Removing many costs more than adding all that are left to an empty index.
        let many = || self.entries.dead() * 4 > self.index.used();
        self.refill =
            scope == Scope::Full && !self.faults.has(Fault::NoRehash) && (moved || many());
        let candidates = std::mem::take(&mut self.candidates);
        for n in 0..self.plan.due.len() {
            // One that was cleared since, and may be another object's now, is not dead.
            for at in candidates.entries(self.plan.due[n]) {
                if self.entries.is_dead(at) {
                    self.make_due(at, tracer);
                }
            }
        }
        self.for_each_dead(scope, first, tracer);
        if self.faults.has(Fault::EphemeronsLast) {
            ephemerons = self.decide_ephemerons(scope, tracer);
        }
        if late {
            self.refill |= self.ask(scope, WEAK, tracer, None) && scope == Scope::Full;
            self.for_each_dead(scope, WEAK, tracer);
        }
        self.ask(scope, CLEANUPS, tracer, split);
        self.for_each_dead(scope, CLEANUPS, tracer);
        self.any_dead = false;
        self.reindex(young);
        self.age(scope, tracer);
        // Reports that were not taken yet stay while their cycle is alive.
        self.reports.retain_mut(|path| {
            let lives = path.iter().all(|&object| tracer.is_reached(object));
            if lives {
                path.iter_mut()
                    .for_each(|object| *object = tracer.trace(*object));
            }
            lives
        });
        let mut made = std::mem::take(&mut self.plan);
        for object in made.reports.iter_mut().flatten() {
            *object = tracer.trace(*object);
        }
        let named = self.named_after(tracer);
        self.locate_ephemerons(&mut ephemerons, tracer);
        // Only after the last call of the tracer, whose panic would give the collection up.
        self.rename_declared(named);
        self.settle_ephemerons(ephemerons);
        self.due_objects.clear();
        self.reports.append(&mut made.reports);
        for &n in &made.reported {
            for entry in candidates.entries(n) {
                let entry = self.entries.at_mut(entry);
                let reported = entry.policy() == CyclePolicy::Report;
                let remembered = reported && !self.faults.has(Fault::ReportedAgain);
                entry.set(Flag::Reported, remembered);
            }
        }
    }

    /// Finds the dead entries of these kinds. Returns whether an object has moved.
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

    /// Makes a dead entry's call due: removes the registration, and revives the object of a
    /// finalizer.
    fn make_due<T: Tracer<Ref = R>>(&mut self, at: u32, tracer: &mut T) {
        let entry = *self.entries.at(at);
        self.strike_out(at, &entry);
        self.entries.set_due(at);
        if self.order == Order::Topological {
            self.sequence.push(at);
        }
        let external = tracer.external_bytes(R::from_word(entry.object));
        if external > 0 {
            self.external.insert(at, external as u64);
        }
        let revived = entry.kind() == Some(Kind::Finalizer) && !self.faults.has(Fault::NotRevived);
        let entry = self.entries.at_mut(at);
        entry.set(Flag::Due, true);
        if revived {
            entry.object = tracer.trace(R::from_word(entry.object)).to_word();
        }
    }

    /// Handles all dead entries of these kinds: removes weak handles, and makes the calls of the
    /// others due.
    fn for_each_dead<T: Tracer<Ref = R>>(&mut self, scope: Scope, kinds: u8, tracer: &mut T) {
        if !self.any_dead {
            return;
        }
        let mut walk = Walk::over(Walked::Dead(scope));
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at(at);
            match entry.kind() {
                _ if !entry.is_one_of(kinds) => {}
                Some(Kind::Weak) => self.remove(at),
                _ => self.make_due(at, tracer),
            }
        }
    }

    /// Updates the index after objects have moved. `young`: the young entries were removed from it
    /// and are added again. Allocates nothing.
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

    /// Makes those entries old that refer to nothing young.
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

/// Reborrows the way to run parts.
fn lend<'b, R>(split: &'b mut Option<Split<'_, R>>) -> Option<Split<'b, R>> {
    match split {
        Some((parts, run)) => Some((*parts, &mut **run)),
        None => None,
    }
}
