//! In topological order a collection queues an object together with those that it leads to. A
//! finalizer may revive some of these. A later collection that finds them reachable takes their
//! calls back, and they are registered as before: so they wait, as in Go's order, where they would
//! not have been queued yet.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::{Registry, Special, Specials, shape_id};
use crate::calls::lookup::Lookup;
use crate::calls::queue::{CallKind, Tag, Withdrawn};
use crate::heap::{Heap, Marking, TypedId};

impl Registry {
    /// Registers the finalizers anew whose calls have not begun though their objects are reachable.
    /// To be called when everything is marked that is reachable from roots, from registrations, and
    /// from the contexts and arguments of queued calls; and nothing that is kept only as the object
    /// of a queued finalizer.
    ///
    /// A call that has been queued again after a failure stays: it has begun before. So does that
    /// of an object that has been given another finalizer meanwhile, unless it is a watcher's.
    pub(super) fn take_back(&self, specials: &mut Specials, marking: &Marking<'_>) {
        let heap = marking.heap();
        let mut lookup = Lookup::between_sweeps(&self.shapes);
        let mut reachable = HashSet::new();
        self.queue.for_each_record(|record, tag, begun| {
            let addr = tag.object_of(record) as usize;
            if !begun
                && tag.kind() == CallKind::Finalizer
                && !lookup.get(tag.shape()).shape.is_requeued()
                && let Some((start, _)) = heap.find(addr)
                && marking.is_marked(start)
                && (tag.has(Tag::WATCHER) || !specials.has_finalizer(heap, start, addr))
            {
                reachable.insert((addr as u64, tag));
            }
        });
        if reachable.is_empty() {
            return;
        }
        let taken_back = self
            .queue
            .withdraw(|object, tag| reachable.contains(&(object, tag)));
        for taken in taken_back {
            let Withdrawn { tag, record, .. } = taken;
            let addr = tag.object_of(&record) as usize;
            let Some((start, desc)) = heap.find(addr) else {
                continue;
            };
            let own_context = lookup.get(tag.shape()).template.has_own_context();
            let context = own_context.then_some(record.context as u64);
            let traced = tag.has(Tag::CONTEXT);
            let watches = tag.has(Tag::WATCHER);
            if addr == start && !watches {
                let id = TypedId::new(desc, shape_id(tag.shape()), traced);
                heap.set_id(start, &id, context);
            } else if let Some(object) = heap.place(start) {
                let special = Special::Finalizer {
                    addr,
                    shape: tag.shape(),
                    context: context.unwrap_or_default(),
                    watches,
                };
                match watches {
                    true => specials.put_back_watcher(heap, object, special, taken.number, traced),
                    false => _ = specials.add_finalizer(heap, object, special, traced),
                }
            }
        }
    }
}

impl Specials {
    /// Whether a finalizer is registered that is called with this address, of the object at
    /// `start`.
    fn has_finalizer(&self, heap: &Heap, start: usize, addr: usize) -> bool {
        if addr == start {
            return heap.id(start).is_some();
        }
        let is_it = |special: &Special| special.is_finalizer_of(addr);
        let object = heap.place(start);
        object.is_some_and(|object| self.lists.of(object).any(is_it))
    }
}
