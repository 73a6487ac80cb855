//! Topological order on the embedded heap: all dead finalizable objects at once, referrers first.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::collect::Due;
use super::{Registry, Special, Specials, shape_of};
use crate::base::events::{guarded, tell};
use crate::calls::lookup::Lookup;
use crate::heap::{Bit, Heap, Marking};
use crate::order::{Candidate, CyclePolicy, Faults, Order, Tracer, plan};

/// A cycle of objects that keeps a finalizer from running, whose policy is [`CyclePolicy::Report`].
///
/// ```text
/// main.Node 0x7f0010 -> main.Edge 0x7f0050 -> main.Node 0x7f0010
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CycleReport {
    /// The addresses of its objects: each refers to the next one, and the last to the first, whose
    /// finalizer has the policy.
    pub path: Vec<usize>,
    /// Their types.
    pub types: Vec<String>,
}

impl fmt::Display for CycleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = self.types.iter().zip(&self.path);
        for (ty, addr) in objects.clone() {
            write!(f, "{ty} {addr:#x} -> ")?;
        }
        objects
            .take(1)
            .try_for_each(|(ty, addr)| write!(f, "{ty} {addr:#x}"))
    }
}

/// A function that is called with each cycle that is to be reported.
type CycleHook = dyn Fn(&CycleReport) + Send + Sync;

/// A runtime's order of finalization, and its hook for cycles.
pub(crate) struct Ordering {
    pub(crate) order: Order,
    pub(crate) on_cycle: Box<CycleHook>,
}

impl Default for Ordering {
    fn default() -> Ordering {
        Ordering {
            order: Order::default(),
            on_cycle: Box::new(|cycle| {
                tell(|| tracing::warn!(%cycle, "finalizable objects on a cycle"));
            }),
        }
    }
}

impl fmt::Debug for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.order.fmt(f)
    }
}

impl Ordering {
    pub(crate) fn is_topological(&self) -> bool {
        self.order == Order::Topological
    }
}

/// What is kept between the steps of a collection, and from one to the next.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The finalizers to be queued, those first that run last.
    planned: Vec<Due>,
    reports: Vec<CycleReport>,
    /// Objects whose cycles were reported.
    reported: HashSet<usize>,
}

/// A dead object and its finalizers.
pub(super) struct Dying {
    pub(super) policy: CyclePolicy,
    finalizers: Vec<Due>,
}

impl Specials {
    /// Takes the finalizers that were planned, and removes those that are in lists from these.
    pub(super) fn take_planned(&mut self, heap: &Heap) -> Vec<Due> {
        let planned = std::mem::take(&mut self.topological.planned);
        if self.listed > 0 {
            for object in planned.iter().filter_map(|due| heap.place(due.start)) {
                let taken = |_, _| self.listed -= 1;
                self.lists.take_if(object, Special::is_finalizer, taken);
            }
        }
        planned
    }

    /// Forgets that a cycle of the object was reported, as its finalizer is cleared.
    pub(super) fn forget_cycle(&mut self, start: usize) {
        self.topological.reported.remove(&start);
    }

    /// Whether the object at `start` has a watcher, or a pointer into it a finalizer.
    pub(super) fn has_listed(&self, heap: &Heap, start: usize) -> bool {
        let object = heap.place(start).filter(|_| self.listed > 0);
        object.is_some_and(|object| self.lists.of(object).any(Special::is_finalizer))
    }
}

impl Registry {
    /// Plans the order of all dead finalizable objects. Marks what those that are due refer to, but
    /// not the objects themselves; those on cycles that are left are marked.
    pub(super) fn plan(&self, marking: &mut Marking<'_>) {
        let mut specials = self.specials.lock();
        let mut state = std::mem::take(&mut specials.topological);
        state
            .reported
            .retain(|&start| marking.has_id(start) || specials.has_listed(marking.heap(), start));
        let (starts, dying) = self.dying(&specials, marking);
        let candidates: Vec<Candidate<usize>> = starts
            .iter()
            .zip(&dying)
            .map(|(&object, dying)| Candidate {
                object,
                policy: dying.policy,
                reported: state.reported.contains(&object),
            })
            .collect();
        let ephemerons = specials.weak.edges(marking);
        let children = |object: usize, visit: &mut dyn FnMut(usize)| {
            Tracer::children(marking, object, &mut |marking, child| {
                if !marking.is_marked(child) {
                    visit(child);
                }
            });
            let hidden = specials.hidden(object);
            hidden
                .filter(|after| !marking.is_marked(*after))
                .for_each(visit);
        };
        let plan = plan(&candidates, children, ephemerons, Faults::default());
        for &n in &plan.left {
            marking.mark(starts[n as usize]);
        }
        for &n in &plan.due {
            marking.mark_children(starts[n as usize]);
            for hidden in specials.hidden(starts[n as usize]) {
                marking.mark(hidden);
            }
        }
        for &n in plan.due.iter().rev() {
            let start = starts[n as usize];
            state.reported.remove(&start);
            state.planned.extend(&dying[n as usize].finalizers);
        }
        let due: HashSet<usize> = plan.due.iter().map(|&n| starts[n as usize]).collect();
        specials
            .weak
            .clear_due(marking.heap(), |start| due.contains(&start));
        let asked = plan.reported.iter().map(|&n| starts[n as usize]);
        state.reported.extend(asked);
        for path in plan.reports {
            let types = path.iter().map(|&addr| marking.type_name(addr)).collect();
            state.reports.push(CycleReport { path, types });
        }
        if specials.is_followed() {
            self.follow(&specials, marking);
        }
        specials.topological = state;
    }

    /// Returns the starts of all dead objects with finalizers, and the finalizers of each.
    pub(super) fn dying(
        &self,
        specials: &Specials,
        marking: &mut Marking<'_>,
    ) -> (Vec<usize>, Vec<Dying>) {
        let (mut starts, mut dying) = (Vec::new(), Vec::<Dying>::new());
        let mut numbers = HashMap::new();
        let mut lookup = Lookup::between_sweeps(&self.shapes);
        let mut add = |due: Due| {
            let policy = lookup.get(due.shape).shape.cycle();
            let number = *numbers.entry(due.start).or_insert_with(|| {
                starts.push(due.start);
                dying.push(Dying {
                    policy,
                    finalizers: Vec::new(),
                });
                dying.len() - 1
            });
            let found = &mut dying[number];
            found.policy = found.policy.more_cautious(policy);
            found.finalizers.push(due);
        };
        marking.for_each_with_id(|_, start, id, context| {
            add(Due {
                start,
                addr: start,
                shape: shape_of(id),
                context,
                watcher: None,
            });
        });
        if specials.listed > 0 {
            marking.for_each_unmarked(Bit::Special, |marking, start| {
                let of = marking.heap().place(start).into_iter();
                for (number, special) in of.flat_map(|object| specials.lists.of_with_ids(object)) {
                    special.due(start, number).into_iter().for_each(&mut add);
                }
            });
        }
        (starts, dying)
    }

    /// Calls the hook with each cycle that the last collection found.
    pub(super) fn report_cycles(&self) {
        if self.order.is_topological() {
            let reports = std::mem::take(&mut self.specials.lock().topological.reports);
            for report in &reports {
                guarded("the hook for cycles", || (self.order.on_cycle)(report));
            }
        }
    }
}
