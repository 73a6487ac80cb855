//! Finalizers for a collector of an embedder's own: order, cycles, threads, allocations, errors.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use fing::{
    Abi, CyclePolicy, Executor, FinalizerFn, FinalizerOptions, Finalizers, ForeignArgument, Order,
    RegisterError, Runtime, Scope, Tracer,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LOG: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Counting;

// SAFETY: the system's allocator, which does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Objects are numbers; nothing is ever freed, so a test sees what became of each.
struct Heap {
    fields: Vec<Vec<u32>>,
    marks: Vec<AtomicBool>,
}

/// One thread's part of a collection.
struct Marker<'h> {
    heap: &'h Heap,
    line: Vec<u32>,
}

impl Heap {
    fn new(objects: u32) -> Heap {
        Heap {
            fields: vec![Vec::new(); objects as usize],
            marks: (0..objects).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// A chain: each object refers to the next one.
    fn chain(objects: u32) -> Heap {
        let mut heap = Heap::new(objects);
        for n in 1..objects {
            heap.fields[n as usize - 1].push(n);
        }
        heap
    }

    fn marker(&self) -> Marker<'_> {
        Marker {
            heap: self,
            line: Vec::with_capacity(self.fields.len()),
        }
    }

    /// A collection without a root. Returns what it reported.
    fn collect(&self, finalizers: &Finalizers<u32>) -> Vec<Vec<u32>> {
        self.marks
            .iter()
            .for_each(|mark| mark.store(false, Ordering::Relaxed));
        finalizers.collect(Scope::Full, &mut self.marker(), Marker::follow);
        finalizers.finish().cycles
    }

    fn marked(&self) -> BTreeSet<u32> {
        let marked = |object: &u32| self.marks[*object as usize].load(Ordering::Relaxed);
        (0..self.marks.len() as u32).filter(marked).collect()
    }
}

impl Marker<'_> {
    fn follow(&mut self) {
        let heap = self.heap;
        while let Some(object) = self.line.pop() {
            for &field in &heap.fields[object as usize] {
                self.trace(field);
            }
        }
    }
}

// SAFETY: objects are numbers, which nobody follows.
unsafe impl Tracer for Marker<'_> {
    type Ref = u32;

    fn is_reached(&mut self, object: u32) -> bool {
        self.heap.marks[object as usize].load(Ordering::Relaxed)
    }

    fn trace(&mut self, object: u32) -> u32 {
        if !self.heap.marks[object as usize].swap(true, Ordering::Relaxed) {
            self.line.push(object);
        }
        object
    }

    fn children(&mut self, object: u32, visit: &mut dyn FnMut(&mut Self, u32)) {
        let heap = self.heap;
        for &field in &heap.fields[object as usize] {
            visit(self, field);
        }
    }
}

extern "C" fn note(object: u64) {
    LOG.with_borrow_mut(|log| log.push(object));
}

fn function(signature: &str, code: *const ()) -> FinalizerFn {
    // SAFETY: a System V function of the signature.
    unsafe { FinalizerFn::builder(signature.parse().unwrap(), Abi::system_v()).at(code) }
}

fn noting() -> FinalizerFn {
    function("func(uint32)", note as *const ())
}

fn set(finalizers: &Finalizers<u32>, object: u32, cycle: CyclePolicy) {
    let options = FinalizerOptions {
        cycle,
        ..FinalizerOptions::default()
    };
    // SAFETY: `note` follows nothing.
    unsafe { finalizers.set_finalizer(object, &noting(), options) }.unwrap();
}

/// With the same finalizer on all objects.
fn all(order: Order, objects: u32) -> Finalizers<u32> {
    let finalizers = Finalizers::builder().order(order).build().unwrap();
    let function = noting();
    for object in 0..objects {
        // SAFETY: `note` follows nothing.
        unsafe { finalizers.set_finalizer(object, &function, FinalizerOptions::default()) }
            .unwrap();
    }
    finalizers
}

fn run(finalizers: &Finalizers<u32>) -> Vec<u64> {
    finalizers.run_finalizers().unwrap();
    LOG.take()
}

const CHAIN: u32 = 10_000;

/// In Go's order the whole rest of a chain is marked for each of its links. Such chains are shorter unless more is asked for.
fn go_chain(short: u32) -> u32 {
    let asked = std::env::var_os("FING_CASES").is_some();
    if asked { CHAIN } else { short }
}

#[test]
fn a_chain_takes_a_collection_for_each_link_in_go_order() {
    let chain = go_chain(2000);
    let (heap, finalizers) = (Heap::chain(chain), all(Order::Go, chain));
    for n in 0..u64::from(chain) {
        heap.collect(&finalizers);
        assert_eq!(run(&finalizers), [n]);
    }
    assert_eq!(finalizers.stats().finalizers, 0);
}

#[test]
fn a_chain_takes_one_collection_in_topological_order() {
    let (heap, finalizers) = (Heap::chain(CHAIN), all(Order::Topological, CHAIN));
    heap.collect(&finalizers);
    assert_eq!(run(&finalizers), (0..u64::from(CHAIN)).collect::<Vec<_>>());
    assert_eq!(finalizers.stats().finalizers, 0);
}

#[test]
fn a_long_cycle_needs_no_stack() {
    const LONG: u32 = 300_000;
    let finalizers = Finalizers::builder()
        .order(Order::Topological)
        .build()
        .unwrap();
    let mut heap = Heap::chain(LONG);
    heap.fields[LONG as usize - 1].push(0);
    set(&finalizers, 7, CyclePolicy::Report);
    let cycles = heap.collect(&finalizers);
    assert_eq!(cycles, [(7..LONG).chain(0..7).collect::<Vec<_>>()]);
    assert_eq!(heap.marked().len(), LONG as usize, "it is kept");
    assert!(heap.collect(&finalizers).is_empty(), "it is reported once");
}

#[test]
fn cycles_go_by_their_policies() {
    use CyclePolicy::{Break, Leave, Report, Unordered};
    // 0 -> 1 -> 2 -> 0 is the cycle, 3 refers to it, and it refers to 4.
    let heap = || {
        let mut heap = Heap::new(5);
        heap.fields = vec![vec![0, 1], vec![2], vec![0, 4], vec![0], vec![4]];
        heap
    };
    let outcome = |policies: [CyclePolicy; 3]| {
        let finalizers = Finalizers::builder()
            .order(Order::Topological)
            .build()
            .unwrap();
        for (object, policy) in (0..).zip(policies.into_iter().chain([Leave, Leave])) {
            set(&finalizers, object, policy);
        }
        let cycles = heap().collect(&finalizers);
        (run(&finalizers), cycles)
    };
    let none = Vec::<Vec<u32>>::new;
    assert_eq!(outcome([Leave; 3]), (vec![3], none()));
    assert_eq!(outcome([Unordered; 3]), (vec![3, 0, 1, 2, 4], none()));
    assert_eq!(outcome([Unordered, Leave, Unordered]), (vec![3], none()));
    assert_eq!(
        outcome([Leave, Break, Leave]),
        (vec![3, 1, 2, 4, 0], none())
    );
    assert_eq!(
        outcome([Leave, Report, Unordered]),
        (vec![3], vec![vec![1, 2, 0]])
    );
    assert_eq!(
        outcome([Break, Report, Unordered]),
        (vec![3, 0, 1, 2, 4], none())
    );
}

#[test]
fn a_collection_in_gos_order_allocates_nothing() {
    const MANY: u32 = 2000;
    let (heap, finalizers) = (Heap::new(MANY), all(Order::Go, MANY));
    for object in 0..MANY {
        let argument = ForeignArgument::Word(0);
        // SAFETY: `note` follows nothing.
        unsafe { finalizers.add_cleanup(object, &noting(), argument) }.unwrap();
        finalizers.weak(object);
    }
    for _ in 0..3 {
        let mut marker = heap.marker();
        heap.marks
            .iter()
            .for_each(|mark| mark.store(false, Ordering::Relaxed));
        let before = ALLOCATIONS.get();
        finalizers.collect(Scope::Full, &mut marker, Marker::follow);
        assert_eq!(ALLOCATIONS.get(), before);
        finalizers.finish();
        run(&finalizers);
    }
    let stats = finalizers.stats();
    assert_eq!((stats.finalizers, stats.cleanups, stats.weak), (0, 0, 0));
    assert_eq!(
        (stats.queued, stats.executed),
        (2 * u64::from(MANY), 2 * u64::from(MANY))
    );
}

#[test]
fn a_step_can_be_cut_in_parts() {
    const MANY: u32 = 4000;
    // Object n refers to n + 1 unless that is a multiple of 8.
    let mut heap = Heap::chain(MANY);
    for n in (7..MANY as usize).step_by(8) {
        heap.fields[n].clear();
    }
    for order in [Order::Go, Order::Topological] {
        let (one, many) = (all(order, MANY), all(order, MANY));
        heap.collect(&one);
        let mut marker = heap.marker();
        heap.marks
            .iter()
            .for_each(|mark| mark.store(false, Ordering::Relaxed));
        many.begin(Scope::Full);
        loop {
            let lines = std::sync::Mutex::new(Vec::new());
            let again = many.step_in_parts(&mut marker, 4, |parts| {
                assert_eq!(parts.len(), 4);
                std::thread::scope(|scope| {
                    for part in parts {
                        scope.spawn(|| {
                            let mut marker = heap.marker();
                            part.run(&mut marker);
                            lines.lock().unwrap().append(&mut marker.line);
                        });
                    }
                });
            });
            marker.line.append(&mut lines.into_inner().unwrap());
            marker.follow();
            if !again {
                break;
            }
        }
        assert_eq!(many.finish().queued, one.stats().queued as usize);
        assert_eq!(run(&many), run(&one));
    }
}

#[test]
fn a_thread_of_its_own_runs_them() {
    static SEEN: AtomicBool = AtomicBool::new(false);
    extern "C" fn seen(_: u64) {
        SEEN.store(true, Ordering::Release);
    }
    let finalizers = Finalizers::builder()
        .executor(Executor::Thread)
        .build()
        .unwrap();
    let function = function("func(uint32)", seen as *const ());
    // SAFETY: `seen` follows nothing.
    unsafe { finalizers.set_finalizer(0, &function, FinalizerOptions::default()) }.unwrap();
    Heap::new(1).collect(&finalizers);
    let timeout = std::time::Duration::from_secs(20);
    finalizers
        .block_until_finalizer_queue_empty(timeout)
        .unwrap();
    assert!(SEEN.load(Ordering::Acquire));
}

#[test]
fn what_cannot_be_registered_is_said() {
    let finalizers = Finalizers::<u32>::new().unwrap();
    let try_set = |signature: &str, code: *const (), context: Option<u32>| {
        let options = FinalizerOptions {
            context,
            ..FinalizerOptions::default()
        };
        // SAFETY: nothing is called.
        unsafe { finalizers.set_finalizer(1, &function(signature, code), options) }
    };
    let code = note as *const ();
    let text = |result: Result<(), RegisterError>| result.unwrap_err().to_string();
    assert_eq!(
        text(try_set("func(uint32, uint32)", code, None)),
        "registering func(uint32, uint32): found 2 parameters, wanted exactly one, not variadic"
    );
    assert_eq!(
        text(try_set("func(float64)", code, None)),
        "registering func(float64): wanted a parameter that is a pointer, an integer or an interface"
    );
    assert_eq!(
        text(try_set("func(interface {})", code, None)),
        "registering func(interface{}): the parameter is an interface, wanted a function with an interface_word"
    );
    assert_eq!(
        text(try_set("func(uint32)", std::ptr::null(), None)),
        "registering func(uint32): found address 0, wanted a function"
    );
    assert_eq!(
        text(try_set("func(uint32)", code, Some(2))),
        "registering func(uint32) with a context: found a function that takes none, wanted one made with a context"
    );
    try_set("func(uint32)", code, None).unwrap();
    assert_eq!(
        text(try_set("func(uint32)", code, None)),
        "set_finalizer: object 0x1 has a finalizer, wanted one without"
    );
    // SAFETY: nothing is called.
    let same = unsafe { finalizers.add_cleanup(1, &noting(), ForeignArgument::Object(1)) };
    assert_eq!(
        same.unwrap_err().to_string(),
        "add_cleanup: the argument is the object 0x1, so the cleanup would never run"
    );
    assert!(finalizers.clear_finalizer(1) && !finalizers.clear_finalizer(1));
}

/// The embedded heap, with the same two chains and a cycle.
#[test]
fn the_embedded_heap_has_both_orders() {
    extern "C" fn note_node(node: *const [u64; 2]) {
        // SAFETY: a finalizer's object is whole until it returns.
        note(unsafe { (*node)[1] });
    }
    for (order, chain) in [(Order::Go, go_chain(500)), (Order::Topological, CHAIN)] {
        let cycles = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = cycles.clone();
        let runtime = Runtime::builder()
            .order(order)
            .executor(Executor::Inline)
            .on_cycle(move |cycle| told.lock().unwrap().push(cycle.to_string()))
            .build()
            .unwrap();
        let node = runtime
            .types()
            .define("main.Node", "struct { Next *main.Node; N uint64 }")
            .unwrap();
        let signature = runtime.types().parse_signature("func(*main.Node)").unwrap();
        // SAFETY: a System V function of one pointer to a node.
        let note =
            unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(note_node as *const ()) };
        let mutator = runtime.attach().unwrap();
        let mut next = None;
        for n in (0..u64::from(chain)).rev() {
            let object = mutator.alloc(node).unwrap();
            mutator.store_word(object, 8, n).unwrap();
            mutator.store_ref(object, 0, next).unwrap();
            runtime
                .set_finalizer(&mutator, object.into(), Some(&note))
                .unwrap();
            next = Some(object);
        }
        let (a, b) = (mutator.alloc(node).unwrap(), mutator.alloc(node).unwrap());
        mutator.store_ref(a, 0, Some(b)).unwrap();
        mutator.store_ref(b, 0, Some(a)).unwrap();
        runtime
            .set_finalizer_on_cycle(&mutator, a.into(), Some(&note), CyclePolicy::Report)
            .unwrap();
        let path = format!(
            "main.Node {0:#x} -> main.Node {1:#x} -> main.Node {0:#x}",
            a.addr(),
            b.addr()
        );
        drop(mutator);
        let mut collections = 0;
        let mut log: Vec<u64> = Vec::new();
        while log.len() < chain as usize {
            runtime.gc().unwrap();
            collections += 1;
            runtime.run_finalizers().unwrap();
            log.append(&mut LOG.take());
        }
        assert_eq!(log, (0..u64::from(chain)).collect::<Vec<_>>());
        let reported = std::mem::take(&mut *cycles.lock().unwrap());
        match order {
            Order::Go => assert_eq!((collections, reported), (chain, vec![])),
            Order::Topological => assert_eq!((collections, reported), (1, vec![path])),
        }
    }
}
