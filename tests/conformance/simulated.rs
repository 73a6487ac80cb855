//! Simulated collectors: memory is a map, and addresses are never used again, so whatever is stale
//! panics.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;

use fing::conformance::{Collector, Features};
use fing::foreign::{Collection, Finalizers, Scope, Tracer};

/// What kind of collector it is.
pub(crate) trait Plan: 'static {
    /// Objects are copied: the young ones if there are generations, or else all.
    const MOVES: bool = false;
    const GENERATIONS: bool = false;
    /// Survivors of one minor collection stay young.
    const AGES: bool = false;
    const EARLY: bool = false;
    /// When all are marked, all objects move.
    const COMPACTS: bool = false;
}

/// Marks and sweeps.
pub(crate) struct MarkSweep;
impl Plan for MarkSweep {}

/// Copies everything.
pub(crate) struct SemiSpace;
impl Plan for SemiSpace {
    const MOVES: bool = true;
}

/// Copies the young, marks the old.
pub(crate) struct Generational;
impl Plan for Generational {
    const MOVES: bool = true;
    const GENERATIONS: bool = true;
}

/// As `Generational`, and objects become old when they have survived twice.
pub(crate) struct Ageing;
impl Plan for Ageing {
    const MOVES: bool = true;
    const GENERATIONS: bool = true;
    const AGES: bool = true;
}

/// Marks what is registered first, as a collector does that marks while mutators run.
pub(crate) struct EarlyRoots;
impl Plan for EarlyRoots {
    const EARLY: bool = true;
}

/// The same, with generations.
pub(crate) struct EarlyGenerational;
impl Plan for EarlyGenerational {
    const MOVES: bool = true;
    const GENERATIONS: bool = true;
    const EARLY: bool = true;
}

/// Marks and compacts.
pub(crate) struct Compacting;
impl Plan for Compacting {
    const COMPACTS: bool = true;
}

#[derive(Clone)]
struct Object {
    id: u64,
    fields: Vec<Option<usize>>,
    marked: bool,
    old: bool,
    age: u8,
    /// A copy made by the collection under way.
    fresh: bool,
    forward: Option<usize>,
}

pub(crate) struct Heap<P> {
    memory: HashMap<usize, Object>,
    next: usize,
    roots: Vec<Option<usize>>,
    /// Old objects that may refer to young ones.
    remembered: HashSet<usize>,
    plan: PhantomData<P>,
}

impl<P: Plan> Heap<P> {
    fn at(&self, object: usize) -> &Object {
        let found = self.memory.get(&object);
        found.unwrap_or_else(|| panic!("there is no object at {object:#x}"))
    }

    fn at_mut(&mut self, object: usize) -> &mut Object {
        let found = self.memory.get_mut(&object);
        found.unwrap_or_else(|| panic!("there is no object at {object:#x}"))
    }

    fn place(&mut self, object: Object) -> usize {
        self.next += 16;
        self.memory.insert(self.next, object);
        self.next
    }

    fn compact(&mut self, collection: &mut Collection<usize>) {
        let mut new = HashMap::new();
        for (old, object) in std::mem::take(&mut self.memory) {
            let to = self.place(object);
            new.insert(old, to);
        }
        let fields = self
            .memory
            .values_mut()
            .flat_map(|object| &mut object.fields);
        for held in fields.chain(&mut self.roots).flatten() {
            *held = new[held];
        }
        collection.forward(|object| new[&object]);
    }

    fn sweep(&mut self, scope: Scope) {
        self.memory.retain(|_, object| {
            let marked = std::mem::take(&mut object.marked);
            let fresh = std::mem::take(&mut object.fresh);
            match (P::MOVES, object.old) {
                (false, _) => marked,
                (true, true) => marked || scope == Scope::Minor,
                (true, false) => fresh,
            }
        });
        for object in self.memory.values() {
            for &field in object.fields.iter().flatten() {
                assert!(
                    self.memory.contains_key(&field),
                    "a field of {} is stale",
                    object.id
                );
            }
        }
        let young = |field: &usize| !self.at(*field).old;
        let refers = |object: &Object| object.old && object.fields.iter().flatten().any(young);
        self.remembered = self
            .memory
            .iter()
            .filter(|(_, object)| refers(object))
            .map(|(at, _)| *at)
            .collect();
    }
}

impl<P: Plan> Collector for Heap<P> {
    type Ref = usize;

    fn new(roots: usize) -> Self {
        Heap {
            memory: HashMap::new(),
            next: 0,
            roots: vec![None; roots],
            remembered: HashSet::new(),
            plan: PhantomData,
        }
    }

    fn features() -> Features {
        Features {
            minor: P::GENERATIONS,
            early: P::EARLY,
            ages: P::AGES,
            ..Features::default()
        }
    }

    fn roots(&mut self) -> &mut [Option<usize>] {
        &mut self.roots
    }

    fn alloc(&mut self, id: u64, fields: usize) -> usize {
        self.place(Object {
            id,
            fields: vec![None; fields],
            marked: false,
            old: false,
            age: 0,
            fresh: false,
            forward: None,
        })
    }

    fn id(&self, object: usize) -> u64 {
        self.at(object).id
    }

    fn load(&self, object: usize, field: usize) -> Option<usize> {
        self.at(object).fields[field]
    }

    fn store(&mut self, object: usize, field: usize, value: Option<usize>) {
        let into = self.at_mut(object);
        into.fields[field] = value;
        if into.old {
            self.remembered.insert(object);
        }
    }

    fn collect(&mut self, finalizers: &Finalizers<usize>, scope: Scope, early: bool) {
        let remembered = std::mem::take(&mut self.remembered);
        let mut cycle = Cycle {
            heap: self,
            scope,
            line: Vec::new(),
        };
        // SAFETY: I16: the heap whose objects are registered, which is looked at by this thread
        // alone; objects are where it says.
        let mut collection = unsafe { finalizers.begin(scope) }.unwrap();
        if early {
            collection.early_roots(&mut cycle).unwrap();
            cycle.follow();
        }
        for n in 0..cycle.heap.roots.len() {
            let root = cycle.heap.roots[n];
            cycle.heap.roots[n] = root.map(|object| cycle.trace(object));
        }
        if scope == Scope::Minor {
            cycle.line.extend(remembered);
        }
        cycle.follow();
        while collection.step(&mut cycle) {
            cycle.follow();
        }
        cycle.follow();
        self.sweep(scope);
        if P::COMPACTS {
            self.compact(&mut collection);
        }
    }

    fn objects(&self) -> Vec<usize> {
        self.memory.keys().copied().collect()
    }

    fn is_young(&self, object: usize) -> bool {
        P::GENERATIONS && !self.at(object).old
    }
}

struct Cycle<'h, P> {
    heap: &'h mut Heap<P>,
    scope: Scope,
    /// Reached, and not yet followed.
    line: Vec<usize>,
}

impl<P: Plan> Cycle<'_, P> {
    fn follow(&mut self) {
        while let Some(object) = self.line.pop() {
            for n in 0..self.heap.at(object).fields.len() {
                if let Some(field) = self.heap.at(object).fields[n] {
                    let now = self.trace(field);
                    self.heap.at_mut(object).fields[n] = Some(now);
                }
            }
        }
    }

    fn is_copied(object: &Object) -> bool {
        P::MOVES && !object.old
    }
}

// SAFETY: I16: addresses are keys of a map, which nobody follows as pointers.
unsafe impl<P: Plan> Tracer for Cycle<'_, P> {
    type Ref = usize;

    fn is_reached(&mut self, object: usize) -> bool {
        let scope = self.scope;
        let object = self.heap.at(object);
        assert!(!object.fresh, "asked about a copy");
        if Self::is_copied(object) {
            object.forward.is_some()
        } else {
            object.marked || scope == Scope::Minor
        }
    }

    fn trace(&mut self, at: usize) -> usize {
        let scope = self.scope;
        let object = self.heap.at_mut(at);
        assert!(!object.fresh, "a copy is traced");
        if !Self::is_copied(object) {
            if scope == Scope::Full && !std::mem::replace(&mut object.marked, true) {
                self.line.push(at);
            }
            return at;
        }
        if let Some(forward) = object.forward {
            return forward;
        }
        let mut copy = object.clone();
        copy.age += 1;
        copy.old = P::GENERATIONS && copy.age > u8::from(P::AGES);
        (copy.fresh, copy.marked) = (!copy.old, copy.old);
        let to = self.heap.place(copy);
        self.heap.at_mut(at).forward = Some(to);
        self.line.push(to);
        to
    }

    fn children(&mut self, object: usize, visit: &mut dyn FnMut(&mut Self, usize)) {
        assert!(
            !self.is_reached(object),
            "the contents of a reached object are looked at"
        );
        for field in self.heap.at(object).fields.clone().into_iter().flatten() {
            visit(self, field);
        }
    }

    fn is_young(&mut self, object: usize) -> bool {
        self.heap.is_young(object)
    }

    fn moves(&self) -> bool {
        P::MOVES
    }
}
