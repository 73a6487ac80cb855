//! One step's questions about a stretch of registrations. Parts of a step do not touch each other's registrations, so
//! they can be run on different threads.
#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use super::table::{Entry, Flag, Kind};
use super::{Fault, Faults, Reference, Tracer};

/// How many objects are asked about at once.
const BATCH: usize = 64;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Trace contexts and arguments; with `contents` also what unreached finalizable objects refer to.
    Retain { contents: bool, early: bool },
    /// Who is dead, of these kinds? The others get their new addresses.
    Ask(u8),
}

/// What parts have come across.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// An object has another address now.
    pub(super) moved: AtomicBool,
    /// An object is dead.
    pub(super) dead: AtomicBool,
}

/// One part of a step's work; see [`Finalizers::step_in_parts`](crate::Finalizers::step_in_parts). Each has to be run,
/// once, with a tracer of the thread it is run on.
#[derive(Debug)]
pub struct Part<'t, R> {
    pub(super) entries: &'t mut [Entry],
    /// Which entries, if not all.
    pub(super) picks: Option<&'t [u32]>,
    pub(super) task: Task,
    pub(super) found: &'t Found,
    pub(super) faults: Faults,
    pub(super) reference: PhantomData<fn(R) -> R>,
}

impl<R: Reference> Part<'_, R> {
    /// Does the work.
    pub fn run<T: Tracer<Ref = R>>(self, tracer: &mut T) {
        let count = self.picks.map_or(self.entries.len(), <[u32]>::len);
        let mut batch = [0; BATCH];
        let mut filled = 0;
        for n in 0..count {
            let at = self.picks.map_or(n, |picks| picks[n] as usize);
            let entry = &mut self.entries[at];
            let asked = match self.task {
                Task::Retain { contents, early } => {
                    Self::retain(entry, early, self.faults, tracer) && contents
                }
                Task::Ask(kinds) => entry.is_to_be_asked(kinds),
            };
            if asked {
                batch[filled] = at;
                filled += 1;
            }
            if filled == BATCH || filled > 0 && n + 1 == count {
                Self::ask(
                    self.entries,
                    &batch[..filled],
                    self.task,
                    self.found,
                    self.faults,
                    tracer,
                );
                filled = 0;
            }
        }
    }

    /// Traces the entry's own word. Answers whether its object's contents may have to be kept.
    fn retain<T: Tracer<Ref = R>>(
        entry: &mut Entry,
        early: bool,
        faults: Faults,
        tracer: &mut T,
    ) -> bool {
        if !entry.is_registered() || entry.has(Flag::Early) {
            return false;
        }
        entry.set(Flag::Early, early);
        if entry.has(Flag::Reference) && !faults.has(Fault::ContextNotTraced) {
            entry.word = tracer.trace(R::from_word(entry.word)).to_word();
        }
        entry.kind() == Some(Kind::Finalizer)
    }

    fn ask<T: Tracer<Ref = R>>(
        entries: &mut [Entry],
        batch: &[usize],
        task: Task,
        found: &Found,
        faults: Faults,
        tracer: &mut T,
    ) {
        let Some(&first) = batch.first() else { return };
        let mut objects = [R::from_word(entries[first].object); BATCH];
        for (object, &at) in objects.iter_mut().zip(batch) {
            *object = R::from_word(entries[at].object);
        }
        let mut answers = [false; BATCH];
        let answers = &mut answers[..batch.len()];
        tracer.are_reached(&objects[..batch.len()], answers);
        for ((&at, &object), &reached) in batch.iter().zip(&objects).zip(&*answers) {
            let entry = &mut entries[at];
            match task {
                // One of the batch may have been reached since.
                Task::Retain { .. } => {
                    if !reached && !tracer.is_reached(object) {
                        keep_contents(object, faults, tracer);
                    }
                }
                Task::Ask(_) if reached => {
                    let now = tracer.trace(object).to_word();
                    if now != entry.object {
                        entry.object = now;
                        found.moved.store(true, Ordering::Relaxed);
                    }
                }
                Task::Ask(_) => {
                    entry.set(Flag::Dead, true);
                    found.dead.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Reaches all that an unreached object refers to, but not the object.
pub(super) fn keep_contents<T: Tracer>(object: T::Ref, faults: Faults, tracer: &mut T) {
    if faults.has(Fault::NoRetain) {
        return;
    }
    tracer.children(object, &mut |tracer, child| {
        if child != object || faults.has(Fault::SelfCounts) {
            tracer.trace(child);
        }
    });
}
