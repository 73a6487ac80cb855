//! At an exit: everything that is registered is queued, or listed.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use fing_stubs::Record;

use super::{Registry, Special, Specials, shape_of};
use crate::calls::exit::{ExitOrder, NotRun};
use crate::calls::lookup::Lookup;
use crate::calls::queue::{CallKind, CallStage, Dropped, Owned};
use crate::heap::{Bit, Marking};
use crate::order::{Candidate, Faults, Tracer, plan};

/// A registration, as a record of the queue.
struct Entry {
    kind: CallKind,
    /// The object's start.
    start: usize,
    /// What it is called with, if it is a finalizer.
    addr: usize,
    shape: u32,
    record: Record,
    /// Its number: of those registered later it is greater.
    number: u64,
    watches: bool,
}

impl Registry {
    /// Queues everything that is registered, in this order; what is not queued, because it is on a
    /// cycle that is left or there is no order, is listed and stays registered. With the world
    /// stopped, and nothing marked.
    pub(crate) fn exit(&self, marking: &mut Marking<'_>, order: Option<ExitOrder>) -> Vec<NotRun> {
        let mut specials = self.specials.lock();
        // A collection since the end of another exit, or since a shutdown, has kept no contexts.
        let order = order.filter(|_| !specials.dropping);
        let mut lookup = Lookup::between_sweeps(&self.shapes);
        let mut entries = self.registrations(&specials, marking, &mut lookup);
        // Those registered last come first; of those set for all objects of a type, later objects.
        // Cleanups come after the finalizers, as those of an object always do.
        entries.sort_by_key(|entry| {
            let is_cleanup = entry.kind == CallKind::Cleanup;
            (is_cleanup, Reverse((entry.number, entry.start)))
        });
        let listed = match order {
            None => std::mem::take(&mut entries),
            Some(ExitOrder::LastRegisteredFirst) => Vec::new(),
            Some(ExitOrder::Topological) => self.sort(&specials, marking, &mut entries),
        };
        let finalizers = entries
            .iter()
            .filter(|entry| entry.kind == CallKind::Finalizer);
        let due: HashSet<usize> = finalizers.map(|entry| entry.start).collect();
        specials
            .weak
            .clear_due(marking.heap(), |start| due.contains(&start));
        for entry in &entries {
            specials.unregister(marking, entry);
        }
        let mut counted = HashSet::new();
        self.queue
            .fill_in_order(marking.heap().epoch() + 1, |queue| {
                for entry in entries.iter().rev() {
                    let route = lookup.get(entry.shape).template.route();
                    let route = match entry.watches {
                        true => route.of_watcher(),
                        false => route,
                    };
                    let counts = entry.kind == CallKind::Finalizer && counted.insert(entry.start);
                    let external = match counts {
                        true => specials.owned_by(marking.heap(), entry.start).external,
                        false => 0,
                    };
                    let number = entry.number;
                    queue.push(&entry.record, route, Owned { number, external });
                }
            });
        let listed = listed.iter().map(|entry| NotRun {
            kind: entry.kind,
            stage: CallStage::Registered,
            object: Some(entry.addr),
            function: self.function(entry.shape),
        });
        listed.collect()
    }

    fn function(&self, shape: u32) -> String {
        self.shapes.get(shape).function().signature().to_string()
    }

    /// What was queued, and was dropped.
    pub(crate) fn not_run(&self, dropped: &Dropped) -> NotRun {
        let is_cleanup = dropped.tag.kind() == CallKind::Cleanup;
        NotRun {
            kind: dropped.tag.kind(),
            stage: dropped.stage,
            object: (!is_cleanup).then(|| dropped.tag.object_of(&dropped.record) as usize),
            function: self.function(dropped.tag.shape()),
        }
    }

    /// Everything that is registered.
    fn registrations(
        &self,
        specials: &Specials,
        marking: &mut Marking<'_>,
        lookup: &mut Lookup<'_>,
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        let heap = marking.heap();
        marking.for_each_with_id(|_, start, id, context| {
            let shape = shape_of(id);
            let record = lookup.get(shape).template.finalizer(start as u64, context);
            entries.push(Entry {
                kind: CallKind::Finalizer,
                start,
                addr: start,
                shape,
                record,
                number: heap.id_number(start),
                watches: false,
            });
        });
        marking.for_each_unmarked(Bit::Special, |marking, start| {
            let object = marking.heap().place(start);
            let all = object
                .into_iter()
                .flat_map(|object| specials.lists.of_with_ids(object));
            for (number, special) in all {
                let (kind, addr, shape, record) = match special {
                    Special::Finalizer {
                        addr,
                        shape,
                        context,
                        ..
                    } => {
                        let template = &lookup.get(*shape).template;
                        let record = template.finalizer(*addr as u64, *context);
                        (CallKind::Finalizer, *addr, *shape, record)
                    }
                    Special::Cleanup { shape, words, .. } => {
                        let record = lookup.get(*shape).template.cleanup(*words);
                        (CallKind::Cleanup, start, *shape, record)
                    }
                    Special::Closure(closure) => {
                        let template = &lookup.get(closure.shape).template;
                        let record = Record {
                            context: closure.context as usize,
                            ..template.cleanup(closure.words)
                        };
                        (CallKind::Cleanup, start, closure.shape, record)
                    }
                    Special::Weak(_) | Special::External(_) => continue,
                };
                entries.push(Entry {
                    kind,
                    start,
                    addr,
                    shape,
                    record,
                    number,
                    watches: special.watches(),
                });
            }
        });
        entries
    }

    /// Sorts by the topological order of the objects; cleanups come last. Takes those out, and
    /// returns them, that are on a cycle that is left, or reachable from one.
    fn sort(
        &self,
        specials: &Specials,
        marking: &mut Marking<'_>,
        entries: &mut Vec<Entry>,
    ) -> Vec<Entry> {
        let (starts, dying) = self.dying(specials, marking);
        let candidates = starts.iter().zip(&dying).map(|(&object, dying)| Candidate {
            object,
            policy: dying.policy,
            reported: true,
        });
        let candidates: Vec<Candidate<usize>> = candidates.collect();
        // Nothing is marked.
        let ephemerons = specials.weak.all_edges(marking.heap());
        let children = |object: usize, visit: &mut dyn FnMut(usize)| {
            Tracer::children(marking, object, &mut |_, child| visit(child));
            specials.hidden(object).for_each(visit);
        };
        let plan = plan(&candidates, children, ephemerons, Faults::default());
        let due = plan.due.iter().map(|n| starts[*n as usize]);
        let places: HashMap<usize, usize> = due.zip(0..).collect();
        let is_left =
            |entry: &Entry| entry.kind == CallKind::Finalizer && !places.contains_key(&entry.start);
        let (left, mut sorted): (Vec<_>, Vec<_>) =
            std::mem::take(entries).into_iter().partition(is_left);
        // Stable: those of one object, and cleanups, stay as they are.
        sorted.sort_by_key(|entry| match entry.kind {
            CallKind::Finalizer => places[&entry.start],
            CallKind::Cleanup => usize::MAX,
        });
        *entries = sorted;
        left
    }
}

impl Specials {
    /// Removes a registration whose call is queued. Weak pointers to the object of a finalizer are
    /// nil from now on.
    fn unregister(&mut self, marking: &mut Marking<'_>, entry: &Entry) {
        let heap = marking.heap();
        let of = heap.place(entry.start);
        match entry.kind {
            CallKind::Finalizer => {
                self.clear_weak(heap, entry.start);
                let is_own = entry.addr == entry.start && !entry.watches;
                if is_own && marking.take_id(entry.start).is_some() {
                    return;
                }
                self.listed -= 1;
            }
            CallKind::Cleanup => self.cleanups -= 1,
        }
        if let Some(object) = of {
            self.lists.remove_id(object, entry.number);
        }
    }
}
