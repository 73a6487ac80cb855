//! fing's conformance suite on an arena. gc-arena moves nothing and has no generations, so the
//! suite is told of no features.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use fing::Order;
use fing::conformance::{Collector, Foreign, Suite};
use fing::foreign::{Finalizers, Scope};
use fing_gc_arena::{Object, Objects, finish_marking};
use gc_arena::collect::{DynCollect, Trace};
use gc_arena::lock::RefLock;
use gc_arena::{Arena, Collect, Gc, Rootable};

type Pointer<'gc> = Gc<'gc, RefLock<Node<'gc>>>;

#[derive(Collect)]
#[collect(no_drop)]
struct Node<'gc> {
    fields: Vec<Option<Pointer<'gc>>>,
    #[collect(require_static)]
    entry: Entry,
}

struct Nodes;

// SAFETY: a node refers to nodes only.
unsafe impl Objects for Nodes {
    unsafe fn trace<'gc>(object: Gc<'gc, ()>, visitor: &mut dyn Trace<'gc>) {
        // SAFETY: the object is a node.
        let node = unsafe { Gc::cast::<RefLock<Node<'gc>>>(object) };
        node.as_ref().dyn_trace(visitor);
    }
}

/// A tempting mistake: this traces the pointer, which visits the node itself.
struct Itself;

// SAFETY: what fing is not shown is not freed early, as gc-arena marks what is resurrected itself.
unsafe impl Objects for Itself {
    unsafe fn trace<'gc>(object: Gc<'gc, ()>, visitor: &mut dyn Trace<'gc>) {
        object.dyn_trace(visitor);
    }
}

/// Another one: an object with finalizers has no references.
struct Leaves;

// SAFETY: as above.
unsafe impl Objects for Leaves {
    unsafe fn trace<'gc>(_: Gc<'gc, ()>, _: &mut dyn Trace<'gc>) {}
}

/// The root of the arena.
type Roots = Rootable![Vec<Option<Pointer<'_>>>];

/// All nodes that exist, by their numbers.
type Existing = Rc<RefCell<BTreeMap<u64, Object>>>;

/// Which of them a node is: when it is freed, it is taken out.
struct Entry {
    id: u64,
    existing: Existing,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.existing.borrow_mut().remove(&self.id);
    }
}

/// The heap, as the suite sees it. Between two of its operations the suite's roots are addresses,
/// which become the arena's root for a collection.
struct Heap<O> {
    arena: Arena<Roots>,
    roots: Box<[Option<Object>]>,
    existing: Existing,
    objects: PhantomData<O>,
}

impl<O> Heap<O> {
    /// Calls `work` with a node that exists.
    fn with<T>(&self, object: Object, work: impl for<'gc> FnOnce(Pointer<'gc>) -> T) -> T {
        // SAFETY: the suite's programs name nodes that exist; nothing is freed meanwhile.
        self.arena
            .mutate(|mc, _| work(unsafe { object.pointer(mc) }))
    }
}

impl<O: Objects> Collector for Heap<O> {
    type Ref = Object;

    fn new(roots: usize) -> Self {
        Heap {
            arena: Arena::new(|_| Vec::new()),
            roots: vec![None; roots].into_boxed_slice(),
            existing: Existing::default(),
            objects: PhantomData,
        }
    }

    fn roots(&mut self) -> &mut [Option<Object>] {
        &mut self.roots
    }

    fn alloc(&mut self, id: u64, fields: usize) -> Object {
        let entry = Entry {
            id,
            existing: self.existing.clone(),
        };
        let object = self.arena.mutate(|mc, _| {
            let fields = vec![None; fields];
            Object::of(Gc::new(mc, RefLock::new(Node { fields, entry })))
        });
        let before = self.existing.borrow_mut().insert(id, object);
        assert_eq!(before, None, "numbers are not used again");
        object
    }

    fn id(&self, object: Object) -> u64 {
        self.with(object, |node| node.borrow().entry.id)
    }

    fn load(&self, object: Object, field: usize) -> Option<Object> {
        self.with(object, |node| node.borrow().fields[field].map(Object::of))
    }

    fn store(&mut self, object: Object, field: usize, value: Option<Object>) {
        self.arena.mutate(|mc, _| {
            // SAFETY: as in `with`, for both.
            let (node, value): (Pointer<'_>, _) =
                unsafe { (object.pointer(mc), value.map(|value| value.pointer(mc))) };
            node.borrow_mut(mc).fields[field] = value;
        });
    }

    fn collect(&mut self, finalizers: &Finalizers<Object>, scope: Scope, early: bool) {
        assert_eq!((scope, early), (Scope::Full, false), "no such feature");
        let roots = &self.roots;
        self.arena.mutate_root(|mc, root| {
            // SAFETY: as in `with`.
            let pointer = |object: Object| unsafe { object.pointer(mc) };
            *root = roots.iter().map(|root| root.map(pointer)).collect();
        });
        // SAFETY: the only arena and finalizers that know each other; all sweeps are here.
        let marked = unsafe { finish_marking::<_, O>(&mut self.arena, finalizers) };
        let marked = marked.expect("no other collection");
        marked.expect("nothing is being swept").start_sweeping();
        self.arena.finish_cycle();
    }

    fn objects(&self) -> Vec<Object> {
        self.existing.borrow().values().copied().collect()
    }
}

#[test]
fn conforms() {
    for order in [Order::Go, Order::Topological] {
        match Suite::new(order).run::<Foreign<Heap<Nodes>>>() {
            Ok(summary) => println!("{order:?} order: {summary}"),
            Err(failure) => panic!("{order:?} order: {failure}"),
        }
    }
}

#[test]
fn mistakes_are_found() {
    for order in [Order::Go, Order::Topological] {
        let found = Suite::new(order).run::<Foreign<Heap<Itself>>>();
        println!("{}", found.unwrap_err());
        let found = Suite::new(order).run::<Foreign<Heap<Leaves>>>();
        println!("{}", found.unwrap_err());
    }
}
