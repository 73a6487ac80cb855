//! From the second registration of a function on, most checks are left out, as they were made
//! before. The outcome must be the same, and functions must be given back when nothing names them
//! any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use fing::error::SetFinalizerError;
use fing::stubs::fuzzing::Rng;
use fing::{Abi, CallStage, Executor, FinalizerFn, FinalizerState, Handle, Runtime, TypeId};

extern "C" fn count(_object: usize, calls: &AtomicUsize) {
    calls.fetch_add(1, Ordering::Relaxed);
}

struct World {
    runtime: Runtime,
    ty: TypeId,
    calls: Box<AtomicUsize>,
}

/// A function, and what lives as long as somebody has it.
struct Function {
    function: FinalizerFn,
    alive: Arc<()>,
}

impl World {
    fn new() -> World {
        let runtime = Runtime::builder().executor(Executor::Inline).build();
        let runtime = runtime.unwrap();
        let ty = runtime.types().define("main.T", "struct { N uint64 }");
        World {
            ty: ty.unwrap(),
            runtime,
            calls: Box::default(),
        }
    }

    fn function(&self) -> Function {
        let types = self.runtime.types();
        let signature = types.parse_signature("func(*main.T)").unwrap();
        let alive = Arc::new(());
        let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
            .context(&raw const *self.calls as usize)
            .keep_alive(alive.clone());
        // SAFETY: I8: a System V function of a pointer, and a counter that outlives the runtime's
        // calls.
        let function = unsafe { builder.at(count as *const ()) };
        Function { function, alive }
    }

    fn registered(&self) -> u64 {
        self.runtime.stats().finalizers
    }
}

/// What clearing returns: whether there was a finalizer.
fn cleared(there: bool) -> FinalizerState {
    FinalizerState::Cleared(match there {
        true => CallStage::Registered,
        false => CallStage::Done,
    })
}

#[test]
fn a_function_is_given_back_when_its_objects_are_finalized() {
    let world = World::new();
    let Function { function, alive } = world.function();
    let mut mutator = world.runtime.attach().unwrap();
    for _ in 0..1000 {
        let object = mutator.alloc(world.ty).unwrap();
        let set = mutator.set_finalizer(object, &function);
        assert_eq!(set.unwrap(), FinalizerState::Set);
    }
    drop(function);
    assert_eq!((world.registered(), Arc::strong_count(&alive)), (1000, 2));
    mutator.gc().unwrap();
    assert_eq!(Arc::strong_count(&alive), 2, "queued");
    mutator.native(|| world.runtime.run_finalizers()).unwrap();
    assert_eq!(world.calls.load(Ordering::Relaxed), 1000);
    mutator.gc().unwrap();
    assert_eq!((world.registered(), Arc::strong_count(&alive)), (0, 1));
    assert_eq!(world.runtime.stats().shapes, 0);
}

#[test]
fn a_function_that_no_object_has_any_more_is_given_back_by_a_collection() {
    for leave in [false, true] {
        let world = World::new();
        let Function { function, alive } = world.function();
        let mut mutator = world.runtime.attach().unwrap();
        for set_twice in [true, false, true, false] {
            let objects: Vec<_> = (0..100).map(|_| mutator.alloc(world.ty).unwrap()).collect();
            let set = |object| mutator.set_finalizer(object, &function);
            let clear = |object| mutator.clear_finalizer(object).unwrap();
            for &object in &objects {
                assert_eq!(set(object).unwrap(), FinalizerState::Set);
                assert_eq!(
                    clear(object),
                    FinalizerState::Cleared(CallStage::Registered)
                );
                assert_eq!(clear(object), FinalizerState::Cleared(CallStage::Done));
                if set_twice {
                    set(object).unwrap();
                    assert!(matches!(
                        set(object),
                        Err(SetFinalizerError::AlreadySet { .. })
                    ));
                }
            }
            for object in objects {
                assert_eq!(clear(object), cleared(set_twice));
            }
        }
        drop(function);
        assert_eq!(world.registered(), 0);
        if leave {
            drop(mutator);
            world.runtime.gc().unwrap();
        } else {
            mutator.gc().unwrap();
        }
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(world.calls.load(Ordering::Relaxed), 0);
    }
}

/// More functions than a mutator knows at a time, set and cleared in any order, with collections
/// between.
#[test]
fn any_order_of_functions_is_counted_right() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let world = World::new();
        let mut functions: Vec<Option<Function>> = (0..12).map(|_| None).collect();
        let mut alive = Vec::new();
        let mut mutator = world.runtime.attach().unwrap();
        let mut objects: Vec<Handle> = Vec::new();
        // By object: whose finalizer it has.
        let mut model: BTreeMap<usize, usize> = BTreeMap::new();
        let mut due = 0;
        for _ in 0..400 {
            let at = rng.below(functions.len());
            match rng.below(12) {
                0 => {
                    // The object becomes garbage, with its finalizer if it has one.
                    if !objects.is_empty() {
                        let last = objects.len() - 1;
                        drop(objects.remove(last));
                        due += usize::from(model.remove(&last).is_some());
                    }
                }
                1 if rng.one_in(4) => {
                    mutator.gc().unwrap();
                }
                2 if rng.one_in(4) => {
                    functions[at] = None;
                }
                3..=5 => {
                    if !objects.is_empty() {
                        let which = rng.below(objects.len());
                        let object = mutator.get(&objects[which]).unwrap();
                        let state = mutator.clear_finalizer(object);
                        let had = model.remove(&which).is_some();
                        assert_eq!(state.unwrap(), cleared(had));
                    }
                }
                _ => {
                    let function = functions[at].get_or_insert_with(|| {
                        let made = world.function();
                        alive.push(made.alive.clone());
                        made
                    });
                    for _ in 0..1 + rng.below(6) {
                        let object = mutator.alloc(world.ty).unwrap();
                        let set = mutator.set_finalizer(object, &function.function);
                        assert_eq!(set.unwrap(), FinalizerState::Set);
                        model.insert(objects.len(), at);
                        objects.push(mutator.root(object).unwrap());
                    }
                }
            }
        }
        mutator.gc().unwrap();
        assert_eq!(world.registered(), model.len() as u64, "seed {seed}");
        due += model.len();
        drop((objects, functions));
        mutator.gc().unwrap();
        let run = mutator.native(|| world.runtime.run_finalizers());
        run.unwrap();
        assert_eq!(world.calls.load(Ordering::Relaxed), due, "seed {seed}");
        mutator.gc().unwrap();
        // The test has one of each, and nobody else.
        assert!(
            alive.iter().all(|alive| Arc::strong_count(alive) == 1),
            "seed {seed}"
        );
    }
}

/// Two threads set a finalizer of the same objects: for each object one of them succeeds, and the
/// other one is told.
#[test]
fn of_two_threads_one_sets_the_finalizer() {
    const OBJECTS: usize = 20_000;
    let world = World::new();
    let function = world.function().function;
    let handles: Vec<Handle> = world
        .runtime
        .enter(|m| {
            (0..OBJECTS)
                .map(|_| m.root(m.alloc(world.ty).unwrap()).unwrap())
                .collect()
        })
        .unwrap();
    let start = Barrier::new(2);
    let set = || {
        let mutator = world.runtime.attach().unwrap();
        start.wait();
        let mut set = 0;
        for handle in &handles {
            let object = mutator.get(handle).unwrap();
            match mutator.set_finalizer(object, &function) {
                Ok(state) => set += usize::from(state == FinalizerState::Set),
                Err(error) => assert!(matches!(error, SetFinalizerError::AlreadySet { .. })),
            }
        }
        set
    };
    let [one, other] = thread::scope(|scope| {
        let threads = [scope.spawn(set), scope.spawn(set)];
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(one + other, OBJECTS);
    assert_eq!(world.registered(), OBJECTS as u64);
    drop(handles);
    world.runtime.gc().unwrap();
    assert_eq!(world.runtime.run_finalizers().unwrap(), OBJECTS as u64);
}
