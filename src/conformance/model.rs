//! The reference model: sets and transitive closures, as simple as possible. It knows no steps,
//! addresses or tables.
#![forbid(unsafe_code)]

mod topological;

use std::collections::{BTreeMap, BTreeSet};

use super::Call;
use crate::calls::queue::CallStage;
use crate::order::{CyclePolicy, Order, Scope};

pub(super) type Set = BTreeSet<u64>;

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) fields: Vec<Option<u64>>,
    pub(super) young: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Finalizer {
    pub(super) context: Option<u64>,
    pub(super) cycle: CyclePolicy,
    pub(super) reported: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher {
    pub(super) object: u64,
    pub(super) cycle: CyclePolicy,
}

/// A call that is due.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) call: Call,
    collection: u64,
    /// Objects whose finalizers, queued by the same collection, have to run before this one.
    before: Set,
    /// What it was registered with, if it is a finalizer's or a watcher's.
    cycle: CyclePolicy,
    begun: bool,
}

/// A cycle that has to be reported: any path on it will do that starts at an object that asks.
#[derive(Clone, Debug)]
pub(super) struct Report {
    references: BTreeMap<u64, Set>,
    asking: Set,
}

/// An entry of a weak map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) map: u64,
    pub(super) key: u64,
    pub(super) value: u64,
}

/// Entries are in sets of objects too, as objects to which only their maps refer.
const ENTRY: u64 = 1 << 63;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) order: Order,
    pub(super) objects: BTreeMap<u64, Object>,
    pub(super) roots: Vec<Option<u64>>,
    pub(super) finalizers: BTreeMap<u64, Finalizer>,
    /// By number.
    pub(super) watchers: BTreeMap<u64, Watcher>,
    /// Object and argument.
    pub(super) cleanups: BTreeMap<u64, (u64, Option<u64>)>,
    pub(super) weak: Set,
    /// The objects that are finalized after each object, by declaration.
    pub(super) after: BTreeMap<u64, Set>,
    /// The entries of weak maps, by number.
    pub(super) entries: BTreeMap<u64, Entry>,
    pub(super) queue: Vec<Queued>,
    pub(super) reports: Vec<Report>,
    pub(super) collections: u64,
    /// How many calls became registrations again.
    pub(super) taken_back: u64,
}

impl Report {
    /// Whether a path is on the cycle.
    pub(super) fn admits(&self, path: &[u64]) -> bool {
        let next = path.iter().cycle().skip(1);
        let refers = |(from, to): (&u64, &u64)| {
            let references = self.references.get(from);
            references.is_some_and(|references| references.contains(to))
        };
        path.len() > 1
            && path.iter().collect::<BTreeSet<_>>().len() == path.len()
            && path
                .first()
                .is_some_and(|first| self.asking.contains(first))
            && path.iter().zip(next).all(refers)
    }
}

impl Model {
    /// What an object refers to, by fields and declarations; a weak map refers to its entries,
    /// which refer to nothing.
    fn references(&self, object: u64) -> impl Iterator<Item = u64> {
        let declared = self.after.get(&object).into_iter().flatten();
        let found = self.objects.get(&object);
        let fields = found.into_iter().flat_map(|found| &found.fields).flatten();
        let entries = self.entries.iter();
        let entries = entries.filter(move |(_, entry)| entry.map == object);
        let entries = entries.map(|(number, _)| ENTRY | number);
        fields.chain(declared).copied().chain(entries)
    }

    /// Declares that an object is finalized after another one. Returns false if there would be a
    /// cycle of declarations.
    pub(super) fn declare(&mut self, object: u64, parent: u64) -> bool {
        let (mut line, mut reached) = (vec![object], Set::new());
        while let Some(at) = line.pop() {
            if reached.insert(at) {
                line.extend(self.after.get(&at).into_iter().flatten());
            }
        }
        let allowed = !reached.contains(&parent);
        if allowed {
            self.after.entry(parent).or_default().insert(object);
        }
        allowed
    }

    /// What an object refers to, besides itself.
    fn contents(&self, object: u64) -> impl Iterator<Item = u64> {
        self.references(object).filter(move |&to| to != object)
    }

    /// Everything that is reachable from these objects: by references, and by entries of which the
    /// key is reachable too.
    fn closure(&self, from: impl IntoIterator<Item = u64>) -> Set {
        let mut line: Vec<u64> = from.into_iter().collect();
        let mut reached = Set::new();
        loop {
            while let Some(object) = line.pop() {
                if reached.insert(object) {
                    line.extend(self.references(object));
                }
            }
            let keeps = |(number, entry): &(&u64, &Entry)| {
                reached.contains(&(ENTRY | **number)) && reached.contains(&entry.key)
            };
            let kept = self.entries.iter().filter(keeps);
            line.extend(kept.map(|(_, entry)| entry.value));
            line.retain(|value| !reached.contains(value));
            if line.is_empty() {
                return reached;
            }
        }
    }

    /// Everything that is alive regardless of finalizers, and of the objects of queued ones.
    fn strong(&self, scope: Scope) -> Vec<u64> {
        let mut roots: Vec<u64> = self.roots.iter().flatten().copied().collect();
        for queued in &self.queue {
            match queued.call {
                Call::Finalizer { context, .. } => roots.extend(context),
                Call::Watcher { .. } => {}
                Call::Cleanup { argument, .. } => roots.extend(argument),
            }
        }
        roots.extend(
            self.finalizers
                .values()
                .filter_map(|finalizer| finalizer.context),
        );
        roots.extend(self.cleanups.values().filter_map(|(_, argument)| *argument));
        if scope == Scope::Minor {
            let old = self.objects.iter().filter(|(_, object)| !object.young);
            roots.extend(old.map(|(id, _)| *id));
        }
        roots
    }

    /// All objects that have a finalizer or a watcher.
    fn finalizable(&self) -> Set {
        let watched = self.watchers.values().map(|watcher| watcher.object);
        self.finalizers.keys().copied().chain(watched).collect()
    }

    /// The most cautious of the policies with which an object is registered.
    fn policy(&self, object: u64) -> Option<CyclePolicy> {
        use CyclePolicy::{Break, Leave, Report, Unordered};
        let watchers = self.watchers.values();
        let watchers = watchers.filter(|watcher| watcher.object == object);
        let own = self.finalizers.get(&object);
        let own = own.map(|finalizer| finalizer.cycle);
        let all: Vec<CyclePolicy> = own.into_iter().chain(watchers.map(|of| of.cycle)).collect();
        [Leave, Report, Break, Unordered]
            .into_iter()
            .find(|policy| all.contains(policy))
    }

    /// In topological order: registers the finalizers anew whose calls have not begun though their
    /// objects are reachable, as a finalizer has revived them.
    fn take_back(&mut self) {
        let reachable = self.closure(self.strong(Scope::Full));
        let (finalizers, watchers) = (&mut self.finalizers, &mut self.watchers);
        let before = self.queue.len();
        self.queue.retain(|queued| match queued.call {
            Call::Finalizer { object, context } => {
                let waits = !queued.begun
                    && reachable.contains(&object)
                    && !finalizers.contains_key(&object);
                if waits {
                    let finalizer = Finalizer {
                        context,
                        cycle: queued.cycle,
                        reported: false,
                    };
                    finalizers.insert(object, finalizer);
                }
                !waits
            }
            Call::Watcher { number, object } => {
                let waits = !queued.begun && reachable.contains(&object);
                if waits {
                    let cycle = queued.cycle;
                    watchers.insert(number, Watcher { object, cycle });
                }
                !waits
            }
            Call::Cleanup { .. } => true,
        });
        self.taken_back += (before - self.queue.len()) as u64;
    }

    pub(super) fn collect(&mut self, scope: Scope) {
        self.collections += 1;
        if (self.order, scope) == (Order::Topological, Scope::Full) {
            self.take_back();
        }
        let queued = self.queue.iter().filter_map(|queued| queued.call.object());
        let strong = self.closure(self.strong(scope).into_iter().chain(queued));
        let (queued, alive) = match self.order {
            Order::Go => self.decide_go(&strong),
            Order::Topological => self.decide_topological(&strong),
        };
        let revived = queued.iter().map(|(object, _)| *object);
        let is_revived = |object: u64| revived.clone().any(|of| of == object);
        self.entries.retain(|_, entry| !is_revived(entry.key));
        let alive = self.closure(alive.into_iter().chain(revived.clone()));
        self.entries.retain(|number, entry| {
            alive.contains(&(ENTRY | number)) && alive.contains(&entry.key)
        });
        self.weak.retain(|object| alive.contains(object));
        for object in revived {
            self.weak.remove(&object);
        }
        for (object, before) in queued {
            if let Some(finalizer) = self.finalizers.remove(&object) {
                let call = Call::Finalizer {
                    object,
                    context: finalizer.context,
                };
                self.push(call, before.clone(), finalizer.cycle);
            }
            let watchers = self
                .watchers
                .extract_if(.., |_, watcher| watcher.object == object);
            for (number, watcher) in watchers.collect::<Vec<_>>() {
                let call = Call::Watcher { number, object };
                self.push(call, before.clone(), watcher.cycle);
            }
        }
        let gone: Vec<u64> = self
            .cleanups
            .iter()
            .filter(|(_, (object, _))| !alive.contains(object))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            if let Some((_, argument)) = self.cleanups.remove(&number) {
                let call = Call::Cleanup { number, argument };
                self.push(call, Set::new(), CyclePolicy::default());
            }
        }
        self.objects.retain(|id, _| alive.contains(id));
        self.after.retain(|id, _| alive.contains(id));
        for after in self.after.values_mut() {
            after.retain(|id| alive.contains(id));
        }
        for object in self.objects.values_mut() {
            object.young = false;
        }
    }

    fn push(&mut self, call: Call, before: Set, cycle: CyclePolicy) {
        self.queue.push(Queued {
            call,
            collection: self.collections,
            before,
            cycle,
            begun: false,
        });
    }

    /// Go's order: what any finalizable object refers to is alive. Finalizable objects that are not
    /// alive then are finalized.
    fn decide_go(&self, strong: &Set) -> (Vec<(u64, Set)>, Set) {
        let finalizable = self.finalizable();
        let contents = finalizable.iter().flat_map(|&object| self.contents(object));
        let alive = self.closure(strong.iter().copied().chain(contents));
        let dead = finalizable.iter().filter(|object| !alive.contains(object));
        (dead.map(|&object| (object, Set::new())).collect(), alive)
    }

    /// Cancels a call that was `registered`, or else is queued.
    pub(super) fn cancelled(
        &mut self,
        registered: bool,
        is_it: impl Fn(&Call) -> bool,
    ) -> CallStage {
        let before = self.queue.len();
        if registered {
            return CallStage::Registered;
        }
        self.queue.retain(|queued| !is_it(&queued.call));
        match before == self.queue.len() {
            true => CallStage::Done,
            false => CallStage::Queued,
        }
    }

    /// Notes that a call begins: it must be due, and all calls before it must be done.
    pub(super) fn begin(&mut self, call: &Call) -> Result<(), String> {
        let at = self.queue.iter().position(|queued| queued.call == *call);
        let at = at
            .ok_or_else(|| format!("{call:?} was made, which is not due; due: {:?}", self.due()))?;
        let queued = &self.queue[at];
        let early = self.queue.iter().find(|other| {
            let object = other.call.object();
            other.collection == queued.collection
                && object.is_some_and(|object| queued.before.contains(&object))
        });
        match early {
            Some(other) => Err(format!("{call:?} was made before {:?}", other.call)),
            None => {
                self.queue[at].begun = true;
                Ok(())
            }
        }
    }

    /// Notes that the call that has begun is done.
    pub(super) fn end(&mut self) {
        self.queue.retain(|queued| !queued.begun);
    }

    pub(super) fn due(&self) -> Vec<&Call> {
        self.queue.iter().map(|queued| &queued.call).collect()
    }
}
