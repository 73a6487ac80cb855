//! Declared order and exits with a foreign collector, which is simulated: objects are numbers.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::ends::{ExitPolicy, NotRun};
use fing::error::{Closed, ExecutorError};
use fing::executor::Builder;
use fing::failure::CallKind;
use fing::foreign::{ExitError, Finalizers, RegisterError, Scope, Tracer};
use fing::stubs::fuzzing::Rng;
use fing::{
    Abi, CallStage, CleanupFn, CyclePolicy, Executor, FinalizerFn, FinalizerOptions, HeldValue,
    Order,
};

use super::vm::LONG;

type Notes = Mutex<Vec<u64>>;

extern "C-unwind" fn note(word: usize, notes: &Notes) {
    notes.lock().unwrap().push(word as u64);
}

/// The heap: what each object refers to, which are reached, and how often the tracer was called.
struct Heap {
    references: Vec<Vec<u32>>,
    reached: Vec<bool>,
    open: Vec<u32>,
    calls: u64,
}

// SAFETY: I16: objects are numbers, which nobody follows.
unsafe impl Tracer for Heap {
    type Ref = u32;

    fn is_reached(&mut self, object: u32) -> bool {
        self.calls += 1;
        self.reached[object as usize]
    }

    fn trace(&mut self, object: u32) -> u32 {
        self.calls += 1;
        if !std::mem::replace(&mut self.reached[object as usize], true) {
            self.open.push(object);
        }
        object
    }

    fn children(&mut self, object: u32, visit: &mut dyn FnMut(&mut Self, u32)) {
        self.calls += 1;
        let references = std::mem::take(&mut self.references[object as usize]);
        for &to in &references {
            self.calls += 1;
            visit(self, to);
        }
        self.references[object as usize] = references;
    }

    fn moves(&self) -> bool {
        false
    }
}

impl Heap {
    fn new(objects: usize) -> Heap {
        Heap {
            references: vec![Vec::new(); objects],
            reached: vec![false; objects],
            open: Vec::new(),
            calls: 0,
        }
    }

    fn follow(&mut self) {
        while let Some(object) = self.open.pop() {
            for n in 0..self.references[object as usize].len() {
                let to = self.references[object as usize][n];
                self.trace(to);
            }
        }
    }

    /// Collects with these roots, and runs what is due.
    fn collect(&mut self, world: &World, roots: &[u32]) -> Vec<u64> {
        self.reached.fill(false);
        for &root in roots {
            self.trace(root);
        }
        self.follow();
        let finalizers = &world.finalizers;
        // SAFETY: I16: this is the collector, and nobody touches its objects.
        unsafe { finalizers.collect(Scope::Full, self, Heap::follow) }.unwrap();
        finalizers.finish();
        finalizers.block_until_finalizer_queue_empty(LONG).unwrap();
        world.ran()
    }
}

/// Finalizers that note their object, and cleanups that note their argument.
struct World {
    finalizers: Finalizers<u32>,
    function: FinalizerFn,
    cleanup: CleanupFn,
    notes: Arc<Notes>,
}

impl World {
    fn new(builder: Builder<Finalizers<u32>>) -> World {
        let notes: Arc<Notes> = Arc::default();
        let (signature, abi) = ("func(uintptr)".parse(), Abi::host_native());
        let (signature, abi): (fing::Signature, _) = (signature.unwrap(), abi.unwrap());
        let context = std::ptr::from_ref::<Notes>(&notes).addr();
        let function = FinalizerFn::builder(signature.clone(), abi)
            .context(context)
            .keep_alive(notes.clone());
        let cleanup = CleanupFn::builder(signature, abi)
            .context(context)
            .keep_alive(notes.clone());
        // SAFETY: I8: a C function of a word and the notes, which the function keeps.
        let (function, cleanup) = unsafe {
            (
                function.at(note as *const ()),
                cleanup.at(note as *const ()),
            )
        };
        World {
            finalizers: builder.build().unwrap(),
            function,
            cleanup,
            notes,
        }
    }

    fn set(&self, object: u32) {
        // SAFETY: I16: no function follows an object.
        unsafe { self.finalizers.set_finalizer(object, &self.function) }.unwrap();
    }

    fn clean(&self, object: u32, argument: u64) {
        let argument = HeldValue::Word(argument);
        // SAFETY: I16: as above.
        let added = unsafe { self.finalizers.add_cleanup(object, &self.cleanup, argument) };
        added.unwrap();
    }

    fn after(&self, object: u32, parent: u32) -> Result<(), RegisterError> {
        // SAFETY: I16: as above.
        unsafe { self.finalizers.finalize_after(object, parent) }
    }

    fn ran(&self) -> Vec<u64> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }

    fn exit(
        &self,
        heap: &mut Heap,
        policy: ExitPolicy,
        timeout: Duration,
    ) -> Result<fing::ends::ExitReport<u32>, ExitError> {
        heap.reached.fill(false);
        // SAFETY: I16: this is the collector, and nobody touches its objects.
        let exit = unsafe { self.finalizers.begin_exit(policy, heap) }?;
        Ok(exit.run(timeout))
    }
}

fn builder(order: Order) -> Builder<Finalizers<u32>> {
    Finalizers::builder().order(order)
}

#[test]
fn declared_order_is_kept_by_a_foreign_collector() {
    for order in [Order::Go, Order::Topological] {
        let world = World::new(builder(order));
        let mut heap = Heap::new(8);
        // 5 before 3, which leads to 2 by way of 7, before 0; 1 is alone.
        [5, 3, 2, 0, 1]
            .into_iter()
            .for_each(|object| world.set(object));
        heap.references[3].push(7);
        for (object, parent) in [(3, 5), (2, 7), (0, 2)] {
            world.after(object, parent).unwrap();
            world.after(object, parent).unwrap();
        }
        assert_eq!(heap.collect(&world, &[5, 1]), [0; 0], "{order:?}");
        let ran = heap.collect(&world, &[1]);
        let ran = match order {
            Order::Topological => ran,
            Order::Go => {
                assert_eq!(ran, [5]);
                let more = (0..3).flat_map(|_| heap.collect(&world, &[1]));
                ran.into_iter().chain(more.collect::<Vec<_>>()).collect()
            }
        };
        assert_eq!(ran, [5, 3, 2, 0], "{order:?}");
        assert_eq!(heap.collect(&world, &[]), [1]);
        // Nothing is left of the declarations: the other way round is no cycle.
        world.after(5, 3).unwrap();
    }
}

#[test]
fn a_declared_cycle_of_foreign_objects_is_named() {
    let world = World::new(builder(Order::Topological));
    world.after(0x11, 0x10).unwrap();
    world.after(0x12, 0x11).unwrap();
    let error = world.after(0x10, 0x12).unwrap_err();
    assert_eq!(
        error.to_string(),
        "finalize_after: found a cycle of declared orders: 0x10 before 0x11 before 0x12 before \
         0x10"
    );
    let own = world.after(0x13, 0x13).unwrap_err();
    assert!(matches!(own, RegisterError::DeclaredCycle { path } if path == [0x13]));
    world.finalizers.shutdown(false, LONG).unwrap();
    let closed = world.after(1, 2).unwrap_err();
    assert!(matches!(closed, RegisterError::Closed(Closed::ShutDown)));
}

/// 0 is queued, 1 due and not handed over; 2 to 5 are registered, in this order, 3 with a cleanup,
/// and 4 is to be finalized before 2.
fn filled(world: &World) -> Heap {
    let mut heap = Heap::new(6);
    for object in [0, 1] {
        world.set(object);
        heap.reached.fill(false);
        // SAFETY: I16: this is the collector, and nobody touches its objects.
        unsafe {
            let finalizers = &world.finalizers;
            finalizers
                .collect(Scope::Full, &mut heap, Heap::follow)
                .unwrap();
        }
        if object == 0 {
            assert_eq!(world.finalizers.finish().queued, 1);
        }
    }
    (2..6).for_each(|object| world.set(object));
    world.clean(3, 33);
    world.after(2, 4).unwrap();
    heap
}

#[test]
fn each_policy_of_a_foreign_exit_runs_what_it_says() {
    for (policy, wanted) in [
        (ExitPolicy::Nothing, &[][..]),
        (ExitPolicy::Queued, &[]),
        (ExitPolicy::LastRegisteredFirst, &[5, 4, 3, 2, 33]),
        (ExitPolicy::Topological, &[5, 4, 3, 2, 33]),
    ] {
        for executor in [Executor::Inline, Executor::Manual] {
            let world = World::new(
                builder(Order::Topological)
                    .executor(executor)
                    .number_registrations(true),
            );
            let mut heap = filled(&world);
            // SAFETY: I16: the object is registered.
            let weak = unsafe { world.finalizers.downgrade(4) };
            let report = world.exit(&mut heap, policy, LONG).unwrap();
            let ran = world.ran();
            let (new, old) = ran.split_at(wanted.len());
            // 2 is behind 4, and the rest last first or in any order.
            let mut sorted = new.to_vec();
            sorted.sort_unstable();
            let mut all = wanted.to_vec();
            all.sort_unstable();
            assert_eq!(sorted, all, "{policy:?}");
            if policy == ExitPolicy::LastRegisteredFirst {
                assert_eq!(new, wanted);
            }
            if policy == ExitPolicy::Topological {
                let at = |number| new.iter().position(|of| *of == number);
                assert!(at(4) < at(2) && at(33) == Some(4), "{new:?}");
            }
            let queued = usize::from(policy != ExitPolicy::Nothing) * 2;
            let mut old = old.to_vec();
            old.sort_unstable();
            assert_eq!(old, [0, 1][..queued]);
            assert_eq!(report.executed as usize, wanted.len() + queued);
            assert_eq!(report.not_run.len(), 7 - wanted.len() - queued);
            let of_kind = |kind| {
                let all = report.not_run.iter().filter(|left| left.kind == kind);
                all.map(|left| (left.object, left.stage, &*left.function))
                    .collect::<Vec<_>>()
            };
            if wanted.is_empty() {
                let left = Some(3);
                let stage = CallStage::Registered;
                assert_eq!(of_kind(CallKind::Cleanup), [(left, stage, "func(uintptr)")]);
                let queued = of_kind(CallKind::Finalizer);
                let queued = queued.iter().filter(|left| left.1 == CallStage::Queued);
                assert_eq!(
                    queued.count(),
                    2 * usize::from(policy == ExitPolicy::Nothing)
                );
            }
            let alive = wanted.is_empty().then_some(4);
            assert_eq!(world.finalizers.upgrade(weak), alive);
            // What is left is never finalized.
            assert_eq!(heap.collect(&world, &[]), [0; 0]);
            assert_eq!(world.finalizers.stats().finalizers, 0);
        }
    }
}

#[test]
fn a_cycle_is_left_at_a_foreign_exit() {
    let world = World::new(builder(Order::Topological));
    let mut heap = Heap::new(6);
    (0..6).for_each(|object| {
        let policy = match object {
            0 | 1 => CyclePolicy::Leave,
            _ => CyclePolicy::Unordered,
        };
        let options = FinalizerOptions::new().cycle(policy);
        // SAFETY: I16: no function follows an object.
        let set = unsafe {
            let finalizers = &world.finalizers;
            finalizers.set_finalizer_with(object, &world.function, options)
        };
        set.unwrap();
    });
    // 0 and 1 are a cycle that is left, with 2 behind it; 3 and 4 one that is run, behind 5.
    for (from, to) in [(0, 1), (1, 0), (1, 2), (3, 4), (4, 3), (5, 3)] {
        heap.references[from].push(to);
    }
    let report = world
        .exit(&mut heap, ExitPolicy::Topological, LONG)
        .unwrap();
    let ran = world.ran();
    assert_eq!((ran[0], ran.len()), (5, 3), "{ran:?}");
    let left = |left: &NotRun<u32>| (left.object.unwrap(), left.stage);
    let mut left: Vec<_> = report.not_run.iter().map(left).collect();
    left.sort_by_key(|left| left.0);
    let stage = CallStage::Registered;
    assert_eq!(left, [(0, stage), (1, stage), (2, stage)]);
}

/// Finalizers on a thread of their own, of which the second blocks.
#[test]
fn a_foreign_exit_has_a_deadline() {
    type Gate = (Sender<()>, Mutex<Receiver<()>>);
    extern "C-unwind" fn block(word: usize, gate: &Gate) {
        if word == 8 {
            gate.0.send(()).unwrap();
            gate.1.lock().unwrap().recv().unwrap();
        }
    }
    let (tell, running) = channel();
    let (go_on, wait) = channel();
    let gate: Arc<Gate> = Arc::new((tell, Mutex::new(wait)));
    let function = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    let function = function
        .context(std::ptr::from_ref::<Gate>(&gate).addr())
        .keep_alive(gate.clone());
    // SAFETY: I8: a C function of a word and the gate, which the function keeps.
    let function = unsafe { function.at(block as *const ()) };
    let builder = builder(Order::Go).executor(Executor::Thread);
    let world = World::new(builder.number_registrations(true));
    for object in 0..10 {
        // SAFETY: I16: no function follows an object.
        unsafe { world.finalizers.set_finalizer(object, &function) }.unwrap();
    }
    let mut heap = Heap::new(10);
    // Long enough for one call on a busy machine, which is not what is tried here.
    let short = Duration::from_secs(2);
    let report = std::thread::scope(|scope| {
        let exit = scope.spawn(|| world.exit(&mut heap, ExitPolicy::LastRegisteredFirst, short));
        running.recv_timeout(LONG).unwrap();
        exit.join().unwrap().unwrap()
    });
    go_on.send(()).unwrap();
    let left = |left: &NotRun<u32>| (left.object.unwrap(), left.stage);
    let left: Vec<_> = report.not_run.iter().map(left).collect();
    let queued = (0..8).rev().map(|object| (object, CallStage::Queued));
    let wanted: Vec<_> = [(8, CallStage::Running)]
        .into_iter()
        .chain(queued)
        .collect();
    assert_eq!(left, wanted);
}

#[test]
fn a_foreign_exit_that_cannot_be_is_refused() {
    let world = World::new(builder(Order::Go));
    world.set(1);
    let mut heap = Heap::new(2);
    let last = ExitPolicy::LastRegisteredFirst;
    assert_eq!(
        world.exit(&mut heap, last, LONG).unwrap_err(),
        ExitError::NotNumbered
    );
    // SAFETY: I16: this is the collector.
    let collection = unsafe { world.finalizers.begin(Scope::Full) }.unwrap();
    let refused = world.exit(&mut heap, ExitPolicy::Queued, LONG).unwrap_err();
    assert_eq!(refused, ExitError::UnderWay);
    drop(collection);
    // Nothing has ended. A finalizer may not end finalization.
    type Given = (Finalizers<u32>, Mutex<Option<ExitError>>);
    extern "C-unwind" fn exits(_: usize, given: &Given) {
        // SAFETY: I16: the policy asks no tracer.
        let refused = unsafe { given.0.begin_exit(ExitPolicy::Queued, &mut Heap::new(0)) };
        *given.1.lock().unwrap() = refused.err();
    }
    let given: Arc<Given> = Arc::new((world.finalizers.clone(), Mutex::new(None)));
    let function = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    let function = function.context(Arc::as_ptr(&given).addr());
    // SAFETY: I8: a C function of a word and what is given, which outlives the call.
    let function = unsafe { function.at(exits as *const ()) };
    // SAFETY: I16: no function follows an object.
    unsafe { world.finalizers.set_finalizer(0, &function) }.unwrap();
    assert_eq!(heap.collect(&world, &[]), [1]);
    let refused = given.1.lock().unwrap().take().unwrap();
    assert_eq!(refused, ExitError::Executor(ExecutorError::OnGoroutine));
    // One that is begun and not run drops what is queued.
    world.set(1);
    // SAFETY: I16: this is the collector.
    drop(
        unsafe {
            world
                .finalizers
                .begin_exit(ExitPolicy::Topological, &mut heap)
        }
        .unwrap(),
    );
    assert_eq!(world.finalizers.stats().discarded, 1);
    assert_eq!(world.ran(), [0; 0]);
}

/// A tracer that panics at an exit has ended nothing.
#[test]
fn a_tracer_that_panics_ends_nothing() {
    struct Panics;
    // SAFETY: I16: objects are numbers, which nobody follows.
    unsafe impl Tracer for Panics {
        type Ref = u32;
        fn is_reached(&mut self, _: u32) -> bool {
            false
        }
        fn trace(&mut self, object: u32) -> u32 {
            object
        }
        fn children(&mut self, _: u32, _: &mut dyn FnMut(&mut Self, u32)) {
            std::panic::resume_unwind(Box::new("the tracer panics"));
        }
    }
    let world = World::new(builder(Order::Topological));
    world.set(1);
    let exit = std::panic::AssertUnwindSafe(|| {
        // SAFETY: I16: this is the collector.
        let exit = unsafe {
            world
                .finalizers
                .begin_exit(ExitPolicy::Topological, &mut Panics)
        };
        exit.is_ok()
    });
    assert!(std::panic::catch_unwind(exit).is_err());
    world.set(0);
    let mut ran = Heap::new(2).collect(&world, &[]);
    ran.sort_unstable();
    assert_eq!(ran, [0, 1]);
}

/// Random graphs without cycles whose edges are declared, or are references, through objects
/// without finalizers too: all in one collection, or at an exit, each once and none violated, in
/// steps that are linear in the objects. `FING_ORDER_OBJECTS` sets how many objects.
#[test]
fn foreign_graphs_are_finalized_in_linear_steps() {
    let objects: usize = std::env::var("FING_ORDER_OBJECTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000);
    for exit in [false, true] {
        let steps = [objects / 4, objects].map(|objects| finalize_graph(objects, exit));
        println!(
            "exit: {exit}, calls of the tracer for {} and {objects}: {steps:?}",
            objects / 4
        );
        // Four times the objects: five times the steps would be more than noise.
        assert!(steps[1] < 5 * steps[0], "{steps:?}");
        assert!(steps[1] < 40 * objects as u64, "{steps:?}");
    }
}

/// Returns how often the tracer was called.
fn finalize_graph(objects: usize, exit: bool) -> u64 {
    let world = World::new(builder(Order::Topological));
    let mut heap = Heap::new(objects);
    let mut rng = Rng::new(objects as u64);
    let mut edges: Vec<[u32; 2]> = Vec::new();
    let finalized = |object: usize| object % 5 != 4;
    for object in (0..objects).filter(|object| finalized(*object)) {
        world.set(object as u32);
    }
    for n in 1..objects {
        for _ in 0..rng.below(3) {
            let from = rng.below(n);
            world.after(n as u32, from as u32).unwrap();
            edges.push([from as u32, n as u32]);
        }
        if rng.below(3) == 0 {
            let from = rng.below(n);
            heap.references[from].push(n as u32);
            edges.push([from as u32, n as u32]);
        }
    }
    // All are alive while those are that no edge leads to.
    let mut roots = vec![true; objects];
    edges
        .iter()
        .for_each(|edge| roots[edge[1] as usize] = false);
    let roots: Vec<u32> = (0..)
        .zip(roots)
        .filter_map(|(n, root)| root.then_some(n))
        .collect();
    assert_eq!(heap.collect(&world, &roots).len(), 0);
    let ran = match exit {
        false => heap.collect(&world, &[]),
        true => {
            let report = world
                .exit(&mut heap, ExitPolicy::Topological, 20 * LONG)
                .unwrap();
            assert_eq!(report.not_run, []);
            world.ran()
        }
    };
    assert_eq!(
        ran.len(),
        (0..objects).filter(|object| finalized(*object)).count()
    );
    let mut when = vec![u32::MAX; objects];
    for (at, object) in (0..).zip(ran) {
        assert_eq!(std::mem::replace(&mut when[object as usize], at), u32::MAX);
    }
    let violated = |[from, to]: &&[u32; 2]| {
        let [from, to] = [when[*from as usize], when[*to as usize]];
        from != u32::MAX && to != u32::MAX && from > to
    };
    assert_eq!(edges.iter().filter(violated).count(), 0);
    heap.calls
}
