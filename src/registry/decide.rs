//! What becomes of unreachable objects: the answers to the heap's three questions, by Go's rules.
//!
//! * *What is alive besides handles?* Records that are queued or running, the contexts of functions that are registered
//!   or queued, and the arguments of cleanups.
//! * *What must the dying keep?* In Go's order (`topological` has the other one) everything an unreachable object with a finalizer points to, itself excepted. So of
//!   two such objects of which one refers to the other, the referring one is finalized first.
//! * *What is dead?* Weak pointers to unreachable objects are nil from now on. An unreachable object with finalizers is
//!   revived, and its finalizers are queued. One without is dead: its cleanups are queued.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use fing_stubs::Record;

use super::{Registry, Special, Specials, shape_of};
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
        self.shapes.for_each_context(|context| cycle.mark(context));
        self.queue
            .visit_references(&mut |word| cycle.mark(word as usize));
    }

    fn retain(&self, cycle: &mut Cycle<'_>) {
        if self.order.is_topological() {
            return self.plan(cycle);
        }
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
        let mut specials = self.specials.lock();
        let revived = if self.order.is_topological() {
            specials.take_planned()
        } else {
            take_unmarked(&mut specials, cycle)
        };
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
        self.report_cycles();
    }
}

/// Takes the finalizers of all unmarked objects: object, pointer, shape. (The heap still has its number for each.)
fn take_unmarked(specials: &mut Specials, cycle: &mut Cycle<'_>) -> Vec<(usize, u64, u32)> {
    let mut taken = Vec::new();
    cycle.for_each_dying(|_, start, id| taken.push((start, start as u64, shape_of(id))));
    cycle.for_each_unmarked(Bit::Special, |_, start| {
        let Some(of) = specials.objects.get_mut(&start) else {
            return;
        };
        of.retain(|special| match special {
            Special::Finalizer { addr, shape } => {
                taken.push((start, *addr as u64, *shape));
                false
            }
            Special::Cleanup { .. } | Special::Weak(_) => true,
        });
    });
    taken
}
