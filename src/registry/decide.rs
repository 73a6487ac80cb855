//! What becomes of unreachable objects: the answers to the heap's three questions, by Go's rules.
//!
//! * *What is alive besides handles?* Records that are queued or running, and the arguments of cleanups.
//! * *What must the dying keep?* Everything an unreachable object with a finalizer points to, itself excepted. So of
//!   two such objects of which one refers to the other, the referring one is finalized first.
//! * *What is dead?* Weak pointers to unreachable objects are nil from now on. An unreachable object with finalizers is
//!   revived, and its finalizers are queued. One without is dead: its cleanups are queued.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use fing_stubs::Record;

use super::{Registry, Special, shape_of};
use crate::collect::{Collection, Weakness};
use crate::heap::{Bit, Cycle};
use crate::queue::Tag;

impl Weakness for Registry {
    fn extra_roots(&self, cycle: &mut Cycle<'_>) {
        for special in self.specials.lock().objects.values().flatten() {
            if let Special::Cleanup { argument, .. } = special {
                argument.references().for_each(|addr| cycle.mark(addr));
            }
        }
        self.queue
            .visit_references(&mut |word| cycle.mark(word as usize));
    }

    fn retain(&self, cycle: &mut Cycle<'_>) {
        cycle.for_each_dying(|cycle, start, _| cycle.mark_children(start));
        let specials = self.specials.lock();
        let finalized = |start: usize| {
            let of = specials.objects.get(&start);
            of.into_iter()
                .flatten()
                .any(|special| matches!(special, Special::Finalizer { .. }))
        };
        cycle.for_each_unmarked(Bit::Special, |cycle, start| {
            if finalized(start) {
                cycle.mark_children(start);
            }
        });
    }

    /// All decisions first, then all revivals: an object that is revived has kept what it points to since `retain`,
    /// so no decision depends on another.
    fn decide(&self, cycle: &mut Cycle<'_>) {
        let mut revived: Vec<(usize, u64, u32)> = Vec::new();
        cycle.for_each_dying(|_, start, id| revived.push((start, start as u64, shape_of(id))));
        let mut specials = self.specials.lock();
        cycle.for_each_unmarked(Bit::Special, |_, start| {
            let Some(of) = specials.objects.get_mut(&start) else {
                return;
            };
            of.retain(|special| match special {
                Special::Finalizer { addr, shape } => {
                    revived.push((start, *addr as u64, *shape));
                    false
                }
                Special::Cleanup { .. } | Special::Weak(_) => true,
            });
        });
        for &(start, _, _) in &revived {
            specials.clear_weak(start);
            cycle.take_prepared(start);
            cycle.mark(start);
        }
        self.finalizers
            .fetch_sub(revived.len() as u64, Ordering::Relaxed);
        let mut due: Vec<(Record, Tag)> = revived
            .iter()
            .map(|&(_, word, shape)| self.record(shape, [word, 0]))
            .collect();
        let before = due.len();
        cycle.for_each_unmarked(Bit::Special, |_, start| {
            specials.clear_weak(start);
            for special in specials.objects.remove(&start).into_iter().flatten() {
                if let Special::Cleanup {
                    shape, argument, ..
                } = special
                {
                    due.push(self.record(shape, argument.words));
                }
            }
        });
        self.cleanups
            .fetch_sub((due.len() - before) as u64, Ordering::Relaxed);
        drop(specials);
        self.queue.push(due);
    }

    fn resumed(&self, _: &Collection) {
        self.queue.wake();
    }
}
