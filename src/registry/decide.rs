//! What becomes of unreachable objects: the answers to the heap's three questions, by Go's rules.
//!
//! * *What is alive besides handles?* Records that are queued or running, the contexts of functions that are registered
//!   or queued, and the arguments of cleanups.
//! * *What must the dying keep?* In Go's order (`topological` has the other one) everything an unreachable object with a
//!   finalizer points to, itself excepted. So of two such objects of which one refers to the other, the referring one
//!   is finalized first.
//! * *What is dead?* Weak pointers to unreachable objects are nil from now on. An unreachable object with finalizers is
//!   revived, and its finalizers are queued. One without is dead: its cleanups are queued.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::argument::referred;
use super::calls::Calls;
use super::{Registry, Special, Specials, shape_of};
use crate::collect::{Collection, Weakness};
use crate::heap::{Bit, Cycle};
use crate::queue::Filling;
use crate::shapes::Template;

impl Weakness for Registry {
    fn extra_roots(&self, cycle: &mut Cycle<'_>) {
        self.call_in();
        self.specials.lock().lists.for_each_referring(|special| {
            if let Special::Cleanup {
                references, words, ..
            } = *special
            {
                referred(words, references).for_each(|addr| cycle.mark(addr));
            }
        });
        self.shapes.for_each_context(|context| cycle.mark(context));
        self.queue
            .visit_references(&mut |word| cycle.mark(word as usize));
    }

    fn retain(&self, cycle: &mut Cycle<'_>) {
        if self.order.is_topological() {
            return self.plan(cycle);
        }
        cycle.mark_children_of_dying();
        let specials = self.specials.lock();
        if specials.interior > 0 {
            cycle.for_each_unmarked(Bit::Special, |cycle, start| {
                if specials.has_interior(cycle.heap(), start) {
                    cycle.mark_children(start);
                }
            });
        }
    }

    /// All decisions first, then all revivals: an object that is revived has kept what it points to since `retain`,
    /// so no decision depends on another.
    fn decide(&self, cycle: &mut Cycle<'_>) {
        let mut specials = self.specials.lock();
        let heap = cycle.heap();
        let (planned, interior) = if self.order.is_topological() {
            (specials.take_planned(heap), Vec::new())
        } else {
            (Vec::new(), take_interior(&mut specials, cycle))
        };
        for &(start, _, _) in &planned {
            cycle.take_prepared(start);
        }
        self.queue.fill(|due| {
            if !self.order.is_topological() {
                self.revive(&mut specials, cycle, due);
            }
            let mut calls = Calls::new(&self.shapes);
            for (start, word, shape) in planned.into_iter().chain(interior) {
                specials.clear_weak(heap, start);
                cycle.mark(start);
                let (record, tag) = calls.finalizer(shape, word);
                due.push(&record, tag);
            }
            self.shapes.unregister_all(calls.counts());
            self.bury(&mut specials, cycle, due);
        });
        specials.lists.settle();
        drop(specials);
        self.condemn(cycle);
    }

    fn resumed(&self, _: &Collection) {
        self.queue.wake();
        // In a statement of its own, so that the lock is given back before: the last use of a function drops what its
        // maker keeps alive for it, which is user code.
        let gone = std::mem::take(&mut *self.condemned.lock());
        drop(gone);
        self.report_cycles();
    }
}

/// Takes the finalizers of interior pointers of all unmarked objects: object, pointer, shape.
fn take_interior(specials: &mut Specials, cycle: &mut Cycle<'_>) -> Vec<(usize, u64, u32)> {
    let mut taken = Vec::new();
    if specials.interior > 0 {
        cycle.for_each_unmarked(Bit::Special, |cycle, start| {
            let Some(object) = cycle.heap().place(start) else {
                return;
            };
            let take = |special| {
                if let Special::Finalizer { addr, shape } = special {
                    taken.push((start, addr as u64, shape));
                }
            };
            specials.lists.take_if(object, Special::is_finalizer, take);
        });
        specials.interior -= taken.len() as u64;
    }
    taken
}

impl Registry {
    /// Revives the unmarked objects that the heap has a number for, in Go's order, and queues their finalizers.
    fn revive(&self, specials: &mut Specials, cycle: &mut Cycle<'_>, due: &mut Filling<'_>) {
        let mut templates: Vec<Option<(Template, u64)>> = Vec::new();
        let heap = cycle.heap();
        cycle.revive_dying(|dying| {
            dying
                .specials()
                .for_each(|start| specials.clear_weak(heap, start));
            let shape = shape_of(dying.id);
            let (template, many) = match templates.get_mut(shape as usize) {
                Some(Some(found)) => found,
                _ => self.template(&mut templates, shape),
            };
            for start in dying.starts() {
                *many += 1;
                let (record, tag) = template.record(start);
                due.push(&record, tag);
            }
        });
        let many = (0..).zip(&templates);
        let many = many.filter_map(|(shape, found)| Some((shape, found.as_ref()?.1)));
        self.shapes.unregister_all(many);
    }

    #[cold]
    fn template<'t>(
        &self,
        templates: &'t mut Vec<Option<(Template, u64)>>,
        shape: u32,
    ) -> &'t mut (Template, u64) {
        let at = shape as usize;
        if templates.len() <= at {
            templates.resize(at + 1, None);
        }
        templates[at].get_or_insert_with(|| (self.shapes.template(shape), 0))
    }

    /// Calls in the uses that mutators have in advance.
    fn call_in(&self) {
        let left = self.lending.lock().call_in();
        let withdraw = |(shape, uses)| self.shapes.withdraw_all(shape, uses);
        let gone: Vec<_> = left.into_iter().filter_map(withdraw).collect();
        self.condemned.lock().extend(gone);
    }

    /// Uncounted shapes that nobody can register any more go when no object and no record names them.
    fn condemn(&self, cycle: &Cycle<'_>) {
        if !self.shapes.has_idle() {
            return;
        }
        let mut named = HashSet::new();
        cycle.for_each_id(|id| _ = named.insert(shape_of(id)));
        self.queue.for_each_shape(|shape| _ = named.insert(shape));
        let gone = self.shapes.take_unnamed(&named);
        self.condemned.lock().extend(gone);
    }
}
