//! Parts of a step's work, each on a range of chunks of registrations. Parts share no
//! registrations, so they can be run on different threads.
#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::entries::{Chunk, LINES};
use super::entry::{FINALIZERS, Flag};
use super::set::Set;
use crate::order::{Fault, Faults, Reference, Tracer};

/// What is done with the registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Trace contexts and arguments; with `contents` also what unreached finalizable objects refer
    /// to. With `early`, mark the entries as traced before the first step.
    Retain { contents: bool, early: bool },
    /// Find the dead registrations of these kinds, and update the addresses in the others.
    Ask(u8),
}

/// What the parts of a step have found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether an object has moved.
    pub(super) moved: AtomicBool,
    /// Whether an object is dead.
    pub(super) dead: AtomicBool,
    /// How many parts have been run to their end.
    pub(super) ran: AtomicUsize,
}

/// One part of a step's work; see
/// [`Collection::step_in_parts`](crate::foreign::Collection::step_in_parts). Each has to be run,
/// with a tracer of the thread it is run on.
#[derive(Debug)]
pub struct Part<'t, R> {
    // Boxed in the table.
    pub(super) chunks: &'t mut [Box<Chunk>],
    /// If set: only young entries are looked at, and these are the chunks that have any.
    pub(super) young: Option<&'t Set>,
    pub(super) task: Task,
    pub(super) found: &'t Found,
    pub(super) faults: Faults,
    pub(super) reference: PhantomData<fn(R) -> R>,
}

/// The numbers of the bits that are set.
pub(super) fn members(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let n = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (n < 64).then_some(n)
    })
}

impl<R: Reference> Part<'_, R> {
    /// Does the part's work, with the tracer of the thread it is called on.
    pub fn run<T: Tracer<Ref = R>>(self, tracer: &mut T) {
        let found = self.found;
        let asking = Asking {
            task: self.task,
            found,
            faults: self.faults,
        };
        match self.young {
            None => {
                for chunk in self.chunks {
                    (0..LINES).for_each(|line| asking.line(chunk, line, u64::MAX, tracer));
                }
            }
            Some(young) => {
                let mut from = 0;
                while let Some(at) = young.next(from) {
                    let chunk = &mut self.chunks[at];
                    for line in 0..LINES {
                        let young = chunk.young[line];
                        asking.line(chunk, line, young, tracer);
                    }
                    from = at + 1;
                }
            }
        }
        found.ran.fetch_add(1, Ordering::Relaxed);
    }
}

struct Asking<'t> {
    task: Task,
    found: &'t Found,
    faults: Faults,
}

impl Asking<'_> {
    /// Does the work for the entries of a line of 64 that are in `scope`, a bit for each.
    fn line<T: Tracer>(&self, chunk: &mut Chunk, line: usize, scope: u64, tracer: &mut T) {
        let all = chunk.registered(line) & scope;
        if all == 0 {
            return;
        }
        match self.task {
            Task::Retain { contents, early } => {
                let finalizers = self.retain(chunk, line, all, early, tracer);
                if contents {
                    self.keep(chunk, line, finalizers, tracer);
                }
            }
            Task::Ask(kinds) => self.decide(chunk, line, all & !chunk.dead[line], kinds, tracer),
        }
    }

    /// Traces the entries' own words. Returns which entries are finalizers whose objects' contents
    /// may have to be kept.
    fn retain<T: Tracer>(
        &self,
        chunk: &mut Chunk,
        line: usize,
        all: u64,
        early: bool,
        tracer: &mut T,
    ) -> u64 {
        let entries = &chunk.entries[line * 64..][..64];
        // Nearly all entries need nothing more, so this only finds those that do.
        let (mut finalizers, mut special) = (0, 0);
        for (bit, entry) in entries.iter().enumerate() {
            finalizers |= u64::from(entry.is_one_of(FINALIZERS)) << bit;
            special |= u64::from(entry.has_any(Flag::Early as u32 | Flag::Reference as u32)) << bit;
        }
        if early {
            special = u64::MAX;
        }
        for bit in members(special & all) {
            let n = line * 64 + bit;
            let entry = &mut chunk.entries[n];
            if entry.has(Flag::Early) {
                finalizers &= !(1 << bit);
                continue;
            }
            entry.set(Flag::Early, early);
            if entry.has(Flag::Reference) && !self.faults.has(Fault::ContextNotTraced) {
                chunk.trace_word(n, tracer);
            }
        }
        finalizers & all
    }

    /// Keeps the contents of those objects that have not been reached, and notes which have been.
    fn keep<T: Tracer>(&self, chunk: &mut Chunk, line: usize, asked: u64, tracer: &mut T) {
        let reached = are_reached(chunk, line, asked, tracer);
        chunk.reached[line] |= reached;
        for bit in members(asked & !reached) {
            let object = object::<T>(chunk, line, bit);
            // An object whose contents were kept just now may have reached this one.
            if !tracer.is_reached(object) {
                keep_contents(object, self.faults, tracer);
            }
        }
    }

    /// Finds the dead entries. Objects that are known to be reached are not looked at again.
    fn decide<T: Tracer>(
        &self,
        chunk: &mut Chunk,
        line: usize,
        all: u64,
        kinds: u8,
        tracer: &mut T,
    ) {
        let moves = tracer.moves();
        let looked_at = if moves {
            all
        } else {
            all & !chunk.reached[line]
        };
        let of_kinds = members(looked_at)
            .filter(|bit| chunk.entries[line * 64 + bit].is_one_of(kinds))
            .fold(0, |bits, bit| bits | 1 << bit);
        let asked = of_kinds & !chunk.reached[line];
        let reached = are_reached(chunk, line, asked, tracer);
        let dead = asked & !reached;
        if dead != 0 {
            chunk.dead[line] |= dead;
            self.found.dead.store(true, Ordering::Relaxed);
        }
        if moves {
            for bit in members(of_kinds & !dead) {
                let before = object::<T>(chunk, line, bit);
                let now = tracer.trace(before);
                if now != before {
                    chunk.entries[line * 64 + bit].object = now.to_word();
                    self.found.moved.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

fn object<T: Tracer>(chunk: &Chunk, line: usize, bit: usize) -> T::Ref {
    T::Ref::from_word(chunk.entries[line * 64 + bit].object)
}

/// Which of the objects of a line have been reached.
fn are_reached<T: Tracer>(chunk: &Chunk, line: usize, asked: u64, tracer: &mut T) -> u64 {
    if asked == 0 {
        return 0;
    }
    let first = object::<T>(chunk, line, asked.trailing_zeros() as usize);
    let (mut objects, mut answers) = ([first; 64], [false; 64]);
    if asked == u64::MAX {
        for (bit, place) in objects.iter_mut().enumerate() {
            *place = object::<T>(chunk, line, bit);
        }
        tracer.are_reached(&objects, &mut answers);
        let answers = answers.iter().enumerate();
        return answers.fold(0, |bits, (bit, reached)| bits | u64::from(*reached) << bit);
    }
    let count = asked.count_ones() as usize;
    for (place, bit) in objects.iter_mut().zip(members(asked)) {
        *place = object::<T>(chunk, line, bit);
    }
    tracer.are_reached(&objects[..count], &mut answers[..count]);
    let answers = members(asked).zip(answers);
    answers.fold(0, |bits, (bit, reached)| bits | u64::from(reached) << bit)
}

/// Traces everything that an unreached object refers to, except the object itself.
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
