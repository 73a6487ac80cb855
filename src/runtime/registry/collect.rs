//! What happens to unreachable objects, by Go's rules. The methods of [`Weakness`]:
//!
//! * `roots` marks the contexts of registrations and the arguments of cleanups.
//! * `queued` marks the objects, contexts and arguments of calls that are queued. In topological
//!   order it first takes calls back whose objects became reachable (`take_back`).
//! * `retain`, in Go's order (`topological` has the other one), marks everything that an
//!   unreachable object with a finalizer points to, except for itself. So of two such objects of
//!   which one refers to the other, the referring one is finalized first.
//! * `decide` makes weak pointers to unreachable objects nil. It revives unreachable objects with
//!   finalizers and queues these; other unreachable objects are dead, and it queues their cleanups.
#![forbid(unsafe_code)]

use super::argument::referred;
use super::attached::release;
use super::external::external_of;
use super::{Registry, Special, Specials, shape_of};
use crate::base::events::{drop_guarded, tell};
use crate::calls::lookup::Lookup;
use crate::calls::queue::{ByKind, CallKind, Filling, Owned, References};
use crate::calls::shapes::Named;
use crate::heap::{Bit, Marking};
use crate::runtime::collect::{Collection, Weakness};
use crate::types::TypeId;
use std::collections::HashSet;
use std::sync::atomic::Ordering::Acquire;

/// A finalizer that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Where the object starts.
    pub(super) start: usize,
    /// The address that the finalizer is called with: the start, or a place inside.
    pub(super) addr: usize,
    pub(super) shape: u32,
    pub(super) context: u64,
    /// The number of a watcher.
    pub(super) watcher: Option<u64>,
}

impl Due {
    /// Queues its call. `external`: bytes outside the heap that the object owns.
    pub(super) fn queue(&self, lookup: &mut Lookup<'_>, queue: &mut Filling<'_>, external: u64) {
        let template = &lookup.get(self.shape).template;
        let record = template.finalizer(self.addr as u64, self.context);
        let (route, number) = match self.watcher {
            None => (template.route(), 0),
            Some(number) => (template.route().of_watcher(), number),
        };
        queue.push(&record, route, Owned { number, external });
    }
}

impl Weakness for Registry {
    fn forget_types(&self, gone: &HashSet<TypeId>) {
        self.shapes.forget_types(gone);
    }

    fn roots(&self, marking: &mut Marking<'_>) {
        let mut specials = self.specials.lock();
        // Once and for all: contexts that were not kept once may be gone.
        specials.dropping |= !self.gate.is_open() && !self.exit_begun.load(Acquire);
        if specials.dropping {
            if specials.is_followed() {
                self.follow(&specials, marking);
            }
            return;
        }
        marking.mark_words_of_ids();
        specials.lists.for_each_referring(|special| match special {
            Special::Cleanup {
                references, words, ..
            } => referred(*words, *references).for_each(|addr| marking.mark(addr)),
            Special::Closure(closure) => {
                let arguments = referred(closure.words, closure.references);
                arguments.for_each(|addr| marking.mark(addr));
                if closure.traced {
                    marking.mark(closure.context as usize);
                }
            }
            // It is among those that refer only if its context is an object.
            Special::Finalizer { context, .. } => marking.mark(*context as usize),
            Special::Weak(_) | Special::External(_) => {}
        });
        if specials.is_followed() {
            self.follow(&specials, marking);
        }
    }

    fn queued(&self, marking: &mut Marking<'_>) {
        let mut specials = self.specials.lock();
        specials.live_external = specials.live_external(marking);
        if self.order.is_topological() && !specials.dropping {
            self.queue
                .visit(References::Held, &mut |word| marking.mark(word as usize));
            self.follow(&specials, marking);
            self.take_back(&mut specials, marking);
        }
        self.queue
            .visit_references(&mut |word| marking.mark(word as usize));
        if specials.is_followed() {
            self.follow(&specials, marking);
        }
    }

    fn retain(&self, marking: &mut Marking<'_>) {
        if self.specials.lock().dropping {
            return;
        }
        if self.order.is_topological() {
            return self.plan(marking);
        }
        marking.mark_children_of_dying();
        let specials = self.specials.lock();
        if specials.listed > 0 {
            marking.for_each_unmarked(Bit::Special, |marking, start| {
                if specials.has_listed(marking.heap(), start) {
                    marking.mark_children(start);
                }
            });
        }
        if specials.has_hidden() {
            self.follow(&specials, marking);
            marking.for_each_unmarked(Bit::Special, |marking, start| {
                let heap = marking.heap();
                if marking.has_id(start) || specials.has_listed(heap, start) {
                    for hidden in specials.hidden(start) {
                        marking.mark(hidden);
                    }
                }
            });
        }
        if specials.is_followed() {
            self.follow(&specials, marking);
        }
    }

    /// All decisions first, then all revivals: an object that is revived has kept what it points to
    /// since `retain`, so no decision depends on another.
    fn decide(&self, marking: &mut Marking<'_>) {
        let mut specials = self.specials.lock();
        specials.weak.clear(marking);
        if specials.dropping {
            return self.drop_dead(&mut specials, marking);
        }
        let heap = marking.heap();
        let due = match self.order.is_topological() {
            true => specials.take_planned(heap),
            false => take_listed(&mut specials, marking),
        };
        let external = specials.external_of_each(marking, &due, !self.order.is_topological());
        if self.order.is_topological() {
            due.iter().for_each(|due| _ = marking.take_id(due.start));
        }
        let mut lookup = Lookup::between_sweeps(&self.shapes);
        let number = marking.heap().epoch() + 1;
        self.queue.fill(number, |queue| {
            if !self.order.is_topological() {
                revive(&mut specials, marking, &mut lookup, queue);
            }
            for (due, external) in due.iter().zip(external) {
                specials.clear_weak(heap, due.start);
                marking.mark(due.start);
                due.queue(&mut lookup, queue, external);
            }
            specials.bury(marking, &mut lookup, queue);
        });
        drop(lookup);
        if specials.has_hidden() {
            self.follow(&specials, marking);
            self.forget_dead(&mut specials, marking);
        }
        specials.note_external(marking);
        specials.lists.settle();
        self.sweep_shapes(&mut specials, marking);
    }

    fn resumed(&self, _: &Collection) {
        let queue = &self.queue;
        tell(|| {
            tracing::debug!(waiting = queue.counts().backlog.calls, "queue");
        });
        self.posts.wake(&self.queue);
        self.pressure.look(&self.queue);
        // In a separate statement, so that the lock is released before.
        let removed = std::mem::take(&mut *self.removed.lock());
        for shape in removed {
            drop_guarded("the owner of a function", shape);
        }
        let orphaned = std::mem::take(&mut *self.orphaned.lock());
        release(orphaned, "with its object");
        self.report_cycles();
    }
}

/// Takes the watchers of all unmarked objects, and the finalizers of interior pointers.
fn take_listed(specials: &mut Specials, marking: &mut Marking<'_>) -> Vec<Due> {
    let mut taken = Vec::new();
    if specials.listed > 0 {
        marking.for_each_unmarked(Bit::Special, |marking, start| {
            let Some(object) = marking.heap().place(start) else {
                return;
            };
            specials
                .lists
                .take_if(object, Special::is_finalizer, |number, special| {
                    taken.extend(special.due(start, number));
                });
        });
        specials.listed -= taken.len() as u64;
    }
    taken
}

/// Revives the unmarked objects that have an id, in Go's order, and queues their finalizers.
fn revive(
    specials: &mut Specials,
    marking: &mut Marking<'_>,
    lookup: &mut Lookup<'_>,
    queue: &mut Filling<'_>,
) {
    let heap = marking.heap();
    marking.revive_dying(|dying| {
        dying
            .specials()
            .for_each(|start| specials.clear_weak(heap, start));
        let template = &lookup.get(shape_of(dying.id)).template;
        let route = template.route();
        let mut push = |start, context| {
            let owned = specials.owned_by(heap, start);
            queue.push(&template.finalizer(start as u64, context), route, owned);
        };
        if template.has_own_context() {
            for (start, context) in dying.starts_with_words() {
                push(start, context);
            }
        } else {
            for start in dying.starts() {
                push(start, 0);
            }
        }
    });
}

impl Special {
    /// Its call, if it is a finalizer: that of the object at `start`, with this number in its list.
    pub(super) fn due(&self, start: usize, number: u64) -> Option<Due> {
        match *self {
            Special::Finalizer {
                addr,
                shape,
                context,
                watches,
            } => Some(Due {
                start,
                addr,
                shape,
                context,
                watcher: watches.then_some(number),
            }),
            _ => None,
        }
    }

    /// The index of its shape, if it has one.
    pub(super) fn shape(&self) -> Option<u32> {
        match self {
            Special::Finalizer { shape, .. } | Special::Cleanup { shape, .. } => Some(*shape),
            Special::Closure(closure) => Some(closure.shape),
            Special::Weak(_) | Special::External(_) => None,
        }
    }
}

impl Specials {
    /// Queues the cleanups of objects that are not marked, and makes weak pointers to them nil.
    fn bury(&mut self, marking: &Marking<'_>, lookup: &mut Lookup<'_>, queue: &mut Filling<'_>) {
        let Specials {
            lists,
            cleanups,
            external,
            ..
        } = self;
        marking.for_each_dead(Bit::Special, |object| {
            // The first cleanup has the object's bytes, for all of them.
            let mut bytes = match *external {
                0 => 0,
                _ => external_of(lists, object),
            };
            lists.take_all(object, |number, special| match special {
                Special::Cleanup { shape, words, .. } => {
                    let template = &lookup.get(shape).template;
                    let external = std::mem::take(&mut bytes);
                    let owned = Owned { number, external };
                    queue.push(&template.cleanup(words), template.route(), owned);
                    *cleanups -= 1;
                }
                Special::Closure(closure) => {
                    let template = &lookup.get(closure.shape).template;
                    let record = fing_stubs::Record {
                        context: closure.context as usize,
                        ..template.cleanup(closure.words)
                    };
                    let external = std::mem::take(&mut bytes);
                    queue.push(&record, template.route(), Owned { number, external });
                    *cleanups -= 1;
                }
                Special::Weak(cell) => cell.clear(),
                Special::External(bytes) => *external -= u128::from(bytes),
                // An object with one is marked by now.
                Special::Finalizer { .. } => {}
            });
        });
    }
}

impl Registry {
    /// When nothing is finalized any more: what is dead stays so, with all that it refers to. Its
    /// finalizers and cleanups are counted as dropped.
    fn drop_dead(&self, specials: &mut Specials, marking: &mut Marking<'_>) {
        let mut dropped = ByKind::default();
        marking.for_each_with_id(|marking, start, _, _| {
            marking.take_id(start);
            dropped.add(CallKind::Finalizer, 1);
        });
        let Specials {
            lists,
            cleanups,
            listed,
            external,
            ..
        } = &mut *specials;
        marking.for_each_dead(Bit::Special, |object| {
            lists.take_all(object, |_, special| match special {
                Special::Cleanup { .. } | Special::Closure(_) => {
                    *cleanups -= 1;
                    dropped.add(CallKind::Cleanup, 1);
                }
                Special::Finalizer { .. } => {
                    *listed -= 1;
                    dropped.add(CallKind::Finalizer, 1);
                }
                Special::Weak(cell) => cell.clear(),
                Special::External(bytes) => *external -= u128::from(bytes),
            });
        });
        self.queue
            .fill(marking.heap().epoch() + 1, |queue| queue.discard(dropped));
        self.forget_dead(specials, marking);
        specials.note_external(marking);
        specials.lists.settle();
        self.sweep_shapes(specials, marking);
    }

    /// Forgets the hidden references of dead objects. What was attached to them is ended when the
    /// world goes on.
    fn forget_dead(&self, specials: &mut Specials, marking: &Marking<'_>) {
        let orphaned = specials.forget_dead(|object| marking.is_marked(object));
        if !orphaned.is_empty() {
            self.orphaned.lock().extend(orphaned);
        }
    }

    /// Removes the shapes that can no longer be registered and that no object, list or queued
    /// record refers to.
    fn sweep_shapes(&self, specials: &mut Specials, marking: &Marking<'_>) {
        let name = |named: &mut Named| {
            marking.for_each_id(|id| named.add(shape_of(id)));
            specials.lists.for_each(|special| {
                special
                    .shape()
                    .into_iter()
                    .for_each(|shape| named.add(shape))
            });
            self.queue.for_each_shape(|shape| named.add(shape));
        };
        let forget = |shapes: &[u32]| self.queue.forget_shapes(shapes);
        let removed = self.shapes.sweep(name, forget);
        if !removed.is_empty() {
            specials.known_cleanups.clear();
            self.removed.lock().extend(removed);
        }
    }
}
