//! What a collection does with calls that are due: it keeps their objects, contexts and arguments,
//! or, in topological order, takes a call back.
//!
//! In topological order a collection finds an object due together with those that it leads to. A
//! finalizer may revive some of these. The next full collection that finds them reachable, from
//! roots, registrations, or the contexts and arguments of queued calls, takes their calls back, and
//! they are registered as before: so they wait, as in Go's order, where they would not have been
//! queued yet. For that a step of its own keeps the objects of queued finalizers, after the one
//! that traces all the rest.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::entries::{Walk, Walked};
use super::entry::Kind;
use super::table::{Registration, Stage, Table};
use crate::calls::goroutine::Calls;
use crate::calls::lookup::Lookup;
use crate::calls::options::HeldValue;
use crate::calls::queue::{CallKind, References, Tag, Withdrawn};
use crate::order::{Fault, Order, Reference, Scope, Tracer};

impl<R: Reference> Table<R> {
    /// Traces what this step keeps of the calls that are queued; with `early`, before the first
    /// step.
    pub(super) fn trace_queue<T: Tracer<Ref = R>>(
        &mut self,
        calls: &Calls,
        tracer: &mut T,
        early: bool,
    ) {
        let traced_early = self.queue_traced;
        self.queue_traced |= early;
        let traced = match (self.stage, self.order) {
            (Stage::Retain(_), _) if traced_early => return,
            (Stage::Retain(_), Order::Go) => References::All,
            (Stage::Retain(_), Order::Topological) => References::Held,
            (Stage::TakeBack(scope), _) => {
                if scope == Scope::Full && !self.faults.has(Fault::NotTakenBack) {
                    self.take_back(calls, tracer);
                }
                References::Objects
            }
            _ => return,
        };
        if !self.faults.has(Fault::QueueNotTraced) {
            let mut trace = |word| tracer.trace(R::from_word(word)).to_word();
            calls.queue.trace(traced, &mut trace);
        }
    }

    /// Keeps the objects of the finalizers that are due and not handed over yet.
    pub(super) fn keep_due_objects<T: Tracer<Ref = R>>(&mut self, tracer: &mut T) {
        let mut walk = Walk::over(Walked::Due);
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at_mut(at);
            if entry.kind() == Some(Kind::Finalizer) && !self.faults.has(Fault::DueNotTraced) {
                entry.object = tracer.trace(R::from_word(entry.object)).to_word();
            }
        }
    }

    /// Registers the finalizers anew that are queued and have not begun though their objects have
    /// been reached. (In a minor collection old objects count as reached, so that it can't tell.)
    ///
    /// A call that has been queued again after a failure stays: it has begun before. So does that
    /// of an object that has been given another finalizer meanwhile, unless it is a watcher's.
    fn take_back<T: Tracer<Ref = R>>(&mut self, calls: &Calls, tracer: &mut T) {
        let mut lookup = Lookup::between_sweeps(&calls.shapes);
        let mut reachable = HashSet::new();
        calls.queue.for_each_record(|record, tag, begun| {
            // A cleanup's word is no reference.
            let can_wait = !begun
                && tag.kind() == CallKind::Finalizer
                && !lookup.get(tag.shape()).shape.is_requeued();
            if !can_wait {
                return;
            }
            let word = tag.object_of(record);
            let object = R::from_word(word);
            if (tracer.is_reached(object) || self.faults.has(Fault::AllTakenBack))
                && (tag.has(Tag::WATCHER) || self.find(Kind::Finalizer, object).is_none())
            {
                reachable.insert((word, tag));
            }
        });
        if reachable.is_empty() {
            return;
        }
        // From here on the tracer is not called, whose panic would lose what was taken back.
        let taken_back = calls
            .queue
            .withdraw(|object, tag| reachable.contains(&(object, tag)));
        for taken in taken_back {
            let Withdrawn { tag, record, .. } = taken;
            let found = lookup.get(tag.shape());
            // The context was traced by the step before, the object is where it was.
            let context = record.context as u64;
            let held = match (found.template.has_own_context(), tag.has(Tag::CONTEXT)) {
                (false, _) => None,
                (true, true) => Some(HeldValue::Object(R::from_word(context))),
                (true, false) => Some(HeldValue::Word(context)),
            };
            let lost = self.faults.has(Fault::TakenBackBare);
            let added = self.add(Registration {
                kind: Kind::Finalizer,
                watches: tag.has(Tag::WATCHER),
                object: R::from_word(tag.object_of(&record)),
                shape: tag.shape(),
                held: held.filter(|_| !lost),
                policy: found.shape.cycle(),
            });
            debug_assert!(added.is_some(), "looked for before");
            let named = tag.has(Tag::WATCHER) && !self.faults.has(Fault::WatcherRenamed);
            if let Some(id) = added.filter(|_| named) {
                self.watchers.note_moved(taken.number, id);
            }
        }
    }
}
