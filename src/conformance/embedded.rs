//! Runs the suite on a runtime with the embedded heap.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::foreign::{Panics, code};
use super::{Call, Features, Setup, Subject};
use crate::calls::executor::Executor;
use crate::calls::function::FinalizerFn;
use crate::calls::options::{FinalizerOptions, HeldValue};
use crate::calls::queue::CallStage;
use crate::conformance::probe::{cleanup, finalizer, listen, watcher};
use crate::heap::HeapOptions;
use crate::order::{CyclePolicy, Scope};
use crate::runtime::Runtime;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::runtime::registry::{AfterError, Cleanup, CleanupArgument, FinalizerState, Watcher};
use crate::runtime::weak::Weak;
use crate::types::TypeId;
use crate::world::handle::Handle;

/// Where an object has the list of its entries, and where its fields begin.
const ENTRIES: usize = 8;
const FIELDS: usize = 16;

/// A [`Subject`] made of a [`Runtime`], with dead objects poisoned.
pub struct Embedded {
    runtime: Runtime,
    /// The types of objects: a number, the entries of the object as a weak map, and as many
    /// pointers as the type's position says.
    types: Vec<TypeId>,
    /// The type of a list of entries: the next one, and an ephemeron.
    node: TypeId,
    /// The finalizer functions: without a context, and with one.
    finalizers: [FinalizerFn; 2],
    roots: Rc<RefCell<Vec<Option<Handle>>>>,
    /// Where each object was allocated.
    addrs: HashMap<u64, usize>,
    watcher: FinalizerFn,
    cleanups: HashMap<u64, Cleanup>,
    watchers: HashMap<u64, Watcher>,
    weak: HashMap<u64, Weak>,
    ephemerons: HashMap<u64, Weak>,
    cycles: Arc<Mutex<Vec<Vec<usize>>>>,
    panics: Panics,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

/// Unwraps a result that can't be an error, as the suite uses the runtime correctly.
fn sure<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn id(mutator: &Mutator, addr: usize) -> u64 {
    sure(mutator.load_word(sure(mutator.adopt(addr)), 0))
}

impl Embedded {
    /// Runs `body` with a mutator and the objects of some roots.
    fn with<T, const N: usize>(
        &self,
        roots: [Option<usize>; N],
        body: impl FnOnce(&Mutator, [Option<Obj<'_>>; N]) -> T,
    ) -> T {
        let mutator = sure(self.runtime.attach());
        let held = self.roots.borrow();
        let object = |root: Option<usize>| {
            let handle = held[root?].as_ref()?;
            Some(sure(mutator.get(handle)))
        };
        body(&mutator, roots.map(object))
    }

    /// Does `body` with an ephemeron that has not been cleared.
    fn with_ephemeron<T>(
        &self,
        number: u64,
        body: impl FnOnce(&Mutator, Obj<'_>) -> T,
    ) -> Option<T> {
        let mutator = sure(self.runtime.attach());
        let ephemeron = sure(mutator.upgrade(self.ephemerons.get(&number)?))?;
        let cleared = sure(mutator.load_word(ephemeron, 0)) == 0;
        (!cleared).then(|| body(&mutator, ephemeron))
    }

    fn set_root(&self, root: usize, handle: Option<Handle>) {
        self.roots.borrow_mut()[root] = handle;
    }
}

/// Returns the object of a root that an operation names.
fn held<T>(object: Option<T>) -> T {
    object.unwrap_or_else(|| unreachable!("operations name roots that are not empty"))
}

impl Subject for Embedded {
    fn make(setup: &Setup) -> Self {
        let (panics, cycles) = (Panics::default(), Arc::new(Mutex::new(Vec::new())));
        let (kept, reported) = (panics.clone(), cycles.clone());
        let runtime = Runtime::builder()
            .order(setup.order)
            .executor(Executor::Inline)
            .code(code())
            .heap(HeapOptions {
                limit: 1 << 20,
                poison: true,
                ..HeapOptions::default()
            })
            .on_failure(move |failure| kept.keep(&failure.cause.to_string()))
            .on_cycle(move |cycle| {
                let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
                reported.push(cycle.path.clone());
            })
            .build();
        let runtime = sure(runtime);
        let node = "struct { Next *conformance.Node; Entry unsafe.Pointer }";
        let node = sure(runtime.types().define("conformance.Node", node));
        let define = |fields: usize| {
            let text =
                format!("struct {{ N uint64; E *conformance.Node; P [{fields}]unsafe.Pointer }}");
            sure(
                runtime
                    .types()
                    .define(&format!("conformance.T{fields}"), &text),
            )
        };
        Embedded {
            types: (0..4).map(define).collect(),
            node,
            finalizers: [finalizer(false), finalizer(true)],
            runtime,
            roots: Rc::new(RefCell::new(vec![None; setup.roots])),
            addrs: HashMap::new(),
            watcher: watcher(),
            cleanups: HashMap::new(),
            watchers: HashMap::new(),
            weak: HashMap::new(),
            ephemerons: HashMap::new(),
            cycles,
            panics,
        }
    }

    fn features() -> Features {
        Features {
            weak: true,
            ephemerons: true,
            ..Features::default()
        }
    }

    fn alloc(&mut self, root: usize, id: u64, fields: usize) {
        let (handle, addr) = self.with([], |mutator, []| {
            let object = sure(mutator.alloc(self.types[fields]));
            sure(mutator.store_word(object, 0, id));
            (sure(mutator.root(object)), object.addr())
        });
        self.set_root(root, Some(handle));
        self.addrs.insert(id, addr);
    }

    fn copy(&mut self, to: usize, from: Option<usize>) {
        let handle = from.and_then(|from| self.roots.borrow()[from].clone());
        self.set_root(to, handle);
    }

    fn load(&mut self, to: usize, from: usize, field: usize) {
        let handle = self.with([Some(from)], |mutator, [object]| {
            let found = sure(mutator.load_ref(held(object), FIELDS + 8 * field));
            found.map(|found| sure(mutator.root(found)))
        });
        self.set_root(to, handle);
    }

    fn store(&mut self, object: usize, field: usize, value: Option<usize>) {
        self.with([Some(object), value], |mutator, [object, value]| {
            sure(mutator.store_ref(held(object), FIELDS + 8 * field, value));
        });
    }

    fn set_finalizer(&mut self, object: usize, context: Option<usize>, cycle: CyclePolicy) -> bool {
        self.with([Some(object), context], |mutator, [object, context]| {
            let function = &self.finalizers[usize::from(context.is_some())];
            let mut options = FinalizerOptions::new().cycle(cycle);
            if let Some(context) = context {
                options = options.context(HeldValue::Object(context));
            }
            let set = mutator.set_finalizer_with(held(object), function, options);
            set.is_ok()
        })
    }

    fn clear_finalizer(&mut self, object: usize) -> CallStage {
        self.with([Some(object)], |mutator, [object]| {
            match sure(mutator.clear_finalizer(held(object))) {
                FinalizerState::Cleared(stage) => stage,
                state => panic!("clear_finalizer: {state:?}"),
            }
        })
    }

    fn add_cleanup(&mut self, object: usize, number: u64, argument: Option<usize>) {
        let added = self.with([Some(object), argument], |mutator, [object, argument]| {
            let function = cleanup(number, argument.is_some());
            let argument = argument.map_or(CleanupArgument::Word(0), CleanupArgument::Object);
            sure(mutator.add_cleanup(held(object), &function, argument))
        });
        self.cleanups.insert(number, added);
    }

    fn stop_cleanup(&mut self, number: u64) -> CallStage {
        let cleanup = self.cleanups.get(&number);
        cleanup.map_or(CallStage::Done, Cleanup::stop)
    }

    fn add_watcher(&mut self, object: usize, number: u64, cycle: CyclePolicy) {
        let added = self.with([Some(object)], |mutator, [object]| {
            let context = HeldValue::Word(number);
            let options = FinalizerOptions::new().cycle(cycle).context(context);
            sure(mutator.add_watcher(held(object), &self.watcher, options))
        });
        self.watchers.insert(number, added);
    }

    fn stop_watcher(&mut self, number: u64) -> CallStage {
        let watcher = self.watchers.get(&number);
        watcher.map_or(CallStage::Done, Watcher::stop)
    }

    fn finalize_after(&mut self, object: usize, parent: usize) -> bool {
        self.with([Some(object), Some(parent)], |mutator, [object, parent]| {
            let declared = mutator.finalize_after(held(object), held(parent));
            match declared {
                Ok(()) => true,
                Err(AfterError::Cycle { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        })
    }

    fn make_weak(&mut self, object: usize, id: u64) {
        let weak = self.with([Some(object)], |mutator, [object]| {
            sure(mutator.downgrade(held(object)))
        });
        self.weak.insert(id, weak);
    }

    fn upgrade(&mut self, number: u64) -> Option<u64> {
        let mutator = sure(self.runtime.attach());
        let object = sure(mutator.upgrade(self.weak.get(&number)?))?;
        Some(id(&mutator, object.addr()))
    }

    fn add_ephemeron(&mut self, number: u64, map: usize, key: usize, value: usize) {
        let weak = self.with([map, key, value].map(Some), |mutator, objects| {
            let [map, key, value] = objects.map(held);
            let ephemeron = sure(mutator.ephemeron(key, value));
            let node = sure(mutator.alloc(self.node));
            sure(mutator.store_ref(node, 0, sure(mutator.load_ref(map, ENTRIES))));
            sure(mutator.store_ref(node, 8, Some(ephemeron)));
            sure(mutator.store_ref(map, ENTRIES, Some(node)));
            sure(mutator.downgrade(ephemeron))
        });
        self.ephemerons.insert(number, weak);
    }

    fn ephemeron(&mut self, number: u64) -> Option<(u64, u64)> {
        self.with_ephemeron(number, |mutator, ephemeron| {
            let words = [0, 8].map(|at| sure(mutator.load_word(ephemeron, at)) as usize);
            let [key, value] = words.map(|addr| id(mutator, addr));
            (key, value)
        })
    }

    fn set_ephemeron_value(&mut self, number: u64, value: usize) -> bool {
        let held = self.roots.borrow()[value].clone();
        let set = self.with_ephemeron(number, |mutator, ephemeron| {
            let value = sure(mutator.get(&held?));
            sure(mutator.store_word(ephemeron, 8, value.addr() as u64));
            Some(())
        });
        set.flatten().is_some()
    }

    fn remove_ephemeron(&mut self, number: u64) -> bool {
        let emptied = self.with_ephemeron(number, |mutator, ephemeron| {
            sure(mutator.store_word(ephemeron, 8, 0));
        });
        self.ephemerons.remove(&number);
        emptied.is_some()
    }

    fn collect(&mut self, _: Scope, _: bool) {
        sure(self.runtime.gc());
    }

    fn run(&mut self, revive: Option<usize>, collect: Option<Scope>) -> Vec<Call> {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let (runtime, made, roots) = (self.runtime.clone(), calls.clone(), self.roots.clone());
        let listener = Rc::new(move |raw| {
            let tell = |mutator: &mut Mutator| {
                let id = |word: u64| id(mutator, word as usize);
                made.borrow_mut().push(Call::of(raw, id));
                if let (Some(root), Some(object)) = (revive, raw.object()) {
                    let object = sure(mutator.adopt(object as usize));
                    roots.borrow_mut()[root] = Some(sure(mutator.root(object)));
                }
            };
            sure(runtime.enter(tell));
            if collect.is_some() {
                sure(runtime.gc());
            }
        });
        let ran = listen(listener, || self.runtime.run_finalizers());
        self.panics.raise();
        sure(ran);
        calls.take()
    }

    fn objects(&mut self) -> Vec<u64> {
        let mutator = sure(self.runtime.attach());
        // Its address may be another object's by now.
        self.addrs.retain(|&id, &mut addr| {
            let there = mutator.adopt(addr);
            there.is_ok_and(|there| mutator.load_word(there, 0) == Ok(id))
        });
        self.addrs.keys().copied().collect()
    }

    fn take_cycles(&mut self) -> Vec<Vec<u64>> {
        let reported =
            std::mem::take(&mut *self.cycles.lock().unwrap_or_else(PoisonError::into_inner));
        let mutator = sure(self.runtime.attach());
        let named = |path: Vec<usize>| path.into_iter().map(|addr| id(&mutator, addr)).collect();
        reported.into_iter().map(named).collect()
    }
}
