//! The path of references that keeps an object, in the embedded heap and through a `Tracer`,
//! against a search of the test's own.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;

use fing::check::{Keeper, WhyError};
use fing::foreign::{CollectionError, Finalizers, Scope, Tracer};
use fing::{Abi, Executor, FinalizerFn, Handle, Order, Runtime};
use proptest::prelude::*;

#[path = "support/vm.rs"]
mod vm;

use vm::{Vm, sent};

/// Number of objects of a random graph.
const OBJECTS: usize = 12;

/// A graph of objects with two references each, and which of them have roots and finalizers.
#[derive(Clone, Debug)]
struct Graph {
    references: Vec<[Option<usize>; 2]>,
    roots: Vec<bool>,
    finalizers: Vec<bool>,
    topological: bool,
}

fn graphs() -> impl Strategy<Value = Graph> {
    let reference = proptest::option::weighted(0.6, 0..OBJECTS);
    let references = proptest::collection::vec([reference.clone(), reference], OBJECTS);
    let some = |share| proptest::collection::vec(proptest::bool::weighted(share), OBJECTS);
    (references, some(0.15), some(0.2), any::<bool>()).prop_map(
        |(references, roots, finalizers, topological)| Graph {
            references,
            roots,
            finalizers,
            topological,
        },
    )
}

/// The fewest references from one of `starts`, each so many away, to every object.
fn distances(graph: &Graph, starts: &[(usize, usize)]) -> Vec<Option<usize>> {
    let mut far = vec![None; OBJECTS];
    for limit in 0..=OBJECTS + 1 {
        for &(object, at) in starts.iter().filter(|(_, at)| *at == limit) {
            far[object] = far[object].or(Some(at));
        }
        for object in 0..OBJECTS {
            if far[object] == Some(limit) {
                for child in graph.references[object].into_iter().flatten() {
                    far[child] = far[child].or(Some(limit + 1));
                }
            }
        }
    }
    far
}

/// What the search should find for every object: from roots (true) or for finalizers, and by how
/// many references.
fn expected(graph: &Graph) -> Vec<Option<(bool, usize)>> {
    let with = |of: &[bool]| (0..OBJECTS).filter(|n| of[*n]).collect::<Vec<_>>();
    let roots: Vec<_> = with(&graph.roots).into_iter().map(|n| (n, 0)).collect();
    let strong = distances(graph, &roots);
    let contents = with(&graph.finalizers).into_iter().flat_map(|n| {
        let children = graph.references[n].into_iter().flatten();
        children.filter(move |child| *child != n).map(|n| (n, 1))
    });
    let contents: Vec<_> = contents.filter(|_| !graph.topological).collect();
    let weak = distances(graph, &contents);
    let both = strong.into_iter().zip(weak);
    both.map(|(strong, weak)| match (strong, weak) {
        (Some(far), _) => Some((true, far)),
        (None, weak) => weak.map(|far| (false, far)),
    })
    .collect()
}

fn order(graph: &Graph) -> Order {
    match graph.topological {
        true => Order::Topological,
        false => Order::Go,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(12), ..ProptestConfig::default() })]

    #[test]
    fn the_heap_is_searched(graph in graphs()) {
        let builder = Runtime::builder().executor(Executor::Inline).order(order(&graph));
        let vm = Vm::with(builder);
        let node = vm.runtime.types().define("main.Node", "struct { A, B *main.Node }").unwrap();
        let finalizer = vm.function("func(*main.Node)", |_| ());
        let (addresses, handles) = vm.enter(|m| {
            let all: Vec<_> = (0..OBJECTS).map(|_| m.alloc(node).unwrap()).collect();
            for n in 0..OBJECTS {
                for (slot, to) in graph.references[n].into_iter().enumerate() {
                    m.store_ref(all[n], 8 * slot, to.map(|to| all[to])).unwrap();
                }
                if graph.finalizers[n] {
                    m.set_finalizer(all[n], &finalizer).unwrap();
                }
            }
            let roots = (0..OBJECTS).filter(|n| graph.roots[*n]);
            let handles: Vec<Handle> = roots.map(|n| m.root(all[n]).unwrap()).collect();
            (all.iter().map(|object| object.addr()).collect::<Vec<_>>(), handles)
        });
        for (n, expected) in expected(&graph).into_iter().enumerate() {
            let found = vm.runtime.why_alive(addresses[n]).unwrap();
            let Some(found) = found else {
                prop_assert_eq!(expected, None);
                continue;
            };
            let from_root = found.keeper == Keeper::Root;
            prop_assert_eq!(expected, Some((from_root, found.path.len())));
            // Each link is a reference that is there, to the next one.
            let number = |address| addresses.iter().position(|at| *at == address).unwrap();
            let objects: Vec<usize> = found.path.iter().map(|link| number(link.object)).collect();
            for (i, link) in found.path.iter().enumerate() {
                let next = objects.get(i + 1).copied().unwrap_or(n);
                prop_assert_eq!(graph.references[objects[i]][link.slot / 8], Some(next));
                prop_assert_eq!(&link.ty, "main.Node");
            }
            let first = objects.first().copied().unwrap_or(n);
            match found.keeper {
                Keeper::Root => prop_assert!(graph.roots[first]),
                Keeper::Finalizable(object) => {
                    prop_assert!(number(object) == first && graph.finalizers[first]);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        // What nothing keeps is freed, unless it has a finalizer itself.
        let freed = expected(&graph).into_iter().zip(&graph.finalizers);
        let freed = freed.filter(|(kept, finalizer)| kept.is_none() && !**finalizer).count();
        if !graph.topological {
            prop_assert_eq!(vm.runtime.gc().unwrap().freed_objects, freed);
        }
        drop(handles);
    }

    #[test]
    fn a_foreign_collector_is_searched(graph in graphs()) {
        let order = order(&graph);
        let finalizers = Finalizers::<u64>::builder().order(order).build().unwrap();
        let function = nothing();
        for n in (0..OBJECTS).filter(|n| graph.finalizers[*n]) {
            // SAFETY: I16: objects are numbers, which nobody follows.
            unsafe { finalizers.set_finalizer(n as u64, &function) }.unwrap();
        }
        let roots = (0..).zip(&graph.roots).filter(|(_, is_root)| **is_root);
        let roots: Vec<u64> = roots.map(|(n, _)| n).collect();
        let mut tracer = Numbers(graph.clone());
        for (n, expected) in expected(&graph).into_iter().enumerate() {
            // SAFETY: I16: as above.
            let found = unsafe { finalizers.why_alive(&mut tracer, roots.clone(), n as u64) };
            let found = found.unwrap().map(|found| {
                (found.keeper == Keeper::Root, found.path.len())
            });
            prop_assert_eq!(found, expected);
        }
        // SAFETY: I16: as above.
        let collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
        // SAFETY: I16: as above.
        let refused = unsafe { finalizers.why_alive(&mut tracer, roots, 0) };
        prop_assert_eq!(refused, Err(CollectionError::UnderWay));
        drop(collection);
    }
}

/// Entries of weak maps: map, key and value.
type Entries = Vec<[usize; 3]>;

fn weak_graphs() -> impl Strategy<Value = (Graph, Entries)> {
    let entry = [0..OBJECTS, 0..OBJECTS, 0..OBJECTS];
    (graphs(), proptest::collection::vec(entry, 1..ENTRIES))
}

/// Most entries of a graph.
const ENTRIES: usize = 6;

/// What is reachable from these objects: also by entries, if their maps and keys are.
fn reachable(
    graph: &Graph,
    entries: &Entries,
    held: &[bool],
    from: BTreeSet<usize>,
) -> BTreeSet<usize> {
    let mut reached = from;
    loop {
        let mut more = reached.clone();
        for &object in &reached {
            more.extend(graph.references[object].into_iter().flatten());
        }
        for [map, key, value] in entries {
            if (held[*map] || reached.contains(map)) && reached.contains(key) {
                more.insert(*value);
            }
        }
        if more.len() == reached.len() {
            return reached;
        }
        reached = more;
    }
}

/// A path: what keeps it, and objects, each with the name of the entry of which it is the key.
type Path = (Keeper<u64>, Vec<(usize, Option<u64>)>);

/// Compares the paths that were found to all objects with what is reachable from roots, and what is
/// kept in all. `name` is the name of the entry in a place.
fn paths_are_right(
    graph: &Graph,
    entries: &Entries,
    found: Vec<Option<Path>>,
    name: impl Fn(usize) -> u64,
) {
    let with = |of: &[bool]| (0..OBJECTS).filter(|n| of[*n]).collect::<BTreeSet<_>>();
    // In Go's order the contents of what has a finalizer are kept, its entries among them.
    let held = match graph.topological {
        true => vec![false; OBJECTS],
        false => graph.finalizers.clone(),
    };
    let roots = with(&graph.roots);
    let strong = reachable(graph, entries, &[false; OBJECTS], roots.clone());
    let mut contents = roots;
    for object in with(&held) {
        let children = graph.references[object].into_iter().flatten();
        contents.extend(children.filter(|child| *child != object));
    }
    let all = reachable(graph, entries, &held, contents);
    for (n, found) in found.into_iter().enumerate() {
        assert_eq!(found.is_some(), all.contains(&n), "object {n}");
        let Some((keeper, path)) = found else {
            continue;
        };
        let first = path.first().map_or(n, |(object, _)| *object);
        match keeper {
            Keeper::Root => assert!(graph.roots[first]),
            Keeper::Finalizable(object) => {
                assert!(!strong.contains(&n) && object as usize == first && held[first]);
            }
            other => panic!("{other:?}"),
        }
        let next = path.iter().skip(1).map(|(object, _)| *object);
        for (&(object, entry), next) in path.iter().zip(next.chain([n])) {
            match entry {
                None => assert!(graph.references[object].contains(&Some(next))),
                Some(entry) => {
                    let mut named = (0..entries.len()).filter(|place| name(*place) == entry);
                    let leads = |place| {
                        let [map, key, value] = entries[place];
                        let is_held = held[map] || all.contains(&map);
                        is_held && [key, value] == [object, next]
                    };
                    assert!(named.any(leads), "{object} to {next} by {entry:#x}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(13), ..ProptestConfig::default() })]

    #[test]
    fn paths_lead_through_ephemerons((graph, entries) in weak_graphs()) {
        let builder = Runtime::builder().executor(Executor::Inline).order(order(&graph));
        let vm = Vm::with(builder);
        let ty = format!("struct {{ A, B *main.Node; E [{ENTRIES}]unsafe.Pointer }}");
        let node = vm.runtime.types().define("main.Node", &ty).unwrap();
        let finalizer = vm.function("func(*main.Node)", |_| ());
        let (addresses, ephemerons, _handles) = vm.enter(|m| {
            let all: Vec<_> = (0..OBJECTS).map(|_| m.alloc(node).unwrap()).collect();
            for n in 0..OBJECTS {
                for (slot, to) in graph.references[n].into_iter().enumerate() {
                    m.store_ref(all[n], 8 * slot, to.map(|to| all[to])).unwrap();
                }
                if graph.finalizers[n] {
                    m.set_finalizer(all[n], &finalizer).unwrap();
                }
            }
            let add = |(n, [map, key, value]): (usize, &[usize; 3])| {
                let entry = m.ephemeron(all[*key], all[*value]).unwrap();
                m.store_ref(all[*map], 16 + 8 * n, Some(entry)).unwrap();
                entry.addr() as u64
            };
            let ephemerons: Vec<u64> = entries.iter().enumerate().map(add).collect();
            let roots = (0..OBJECTS).filter(|n| graph.roots[*n]);
            let handles: Vec<Handle> = roots.map(|n| m.root(all[n]).unwrap()).collect();
            let addresses: Vec<usize> = all.iter().map(|object| object.addr()).collect();
            (addresses, ephemerons, handles)
        });
        let number = |address| addresses.iter().position(|at| *at == address).unwrap() as u64;
        let found = addresses.iter().map(|address| {
            let found = vm.runtime.why_alive(*address).unwrap()?;
            let text = found.to_string();
            for link in &found.path {
                let named = |entry| format!("main.Node {:#x}[key of the entry in {entry:#x}]",
                    link.object);
                assert!(link.entry.is_none_or(|entry| text.contains(&named(entry))), "{text}");
            }
            let keeper = match found.keeper {
                Keeper::Finalizable(object) => Keeper::Finalizable(number(object)),
                other => {
                    assert_eq!(other, Keeper::Root);
                    Keeper::Root
                }
            };
            let links = found.path.iter();
            let links = links.map(|link| {
                (number(link.object) as usize, link.entry.map(|entry| entry as u64))
            });
            Some((keeper, links.collect()))
        });
        paths_are_right(&graph, &entries, found.collect(), |place| ephemerons[place]);
    }

    #[test]
    fn paths_lead_through_the_entries_of_foreign_maps((graph, entries) in weak_graphs()) {
        let order = order(&graph);
        let finalizers = Finalizers::<u64>::builder().order(order).build().unwrap();
        let function = nothing();
        // SAFETY: I16: objects are numbers, which nobody follows.
        unsafe {
            for n in (0..OBJECTS).filter(|n| graph.finalizers[*n]) {
                finalizers.set_finalizer(n as u64, &function).unwrap();
            }
            for words in &entries {
                let [map, key, value] = words.map(|n| n as u64);
                finalizers.ephemeron(map, key, value);
            }
        }
        let roots = (0..).zip(&graph.roots).filter(|(_, is_root)| **is_root);
        let roots: Vec<u64> = roots.map(|(n, _)| n).collect();
        let mut tracer = Numbers(graph.clone());
        let found = (0..OBJECTS as u64).map(|n| {
            // SAFETY: I16: as above.
            let found = unsafe { finalizers.why_alive(&mut tracer, roots.clone(), n) };
            let found = found.unwrap()?;
            let links = found.path.iter().map(|link| (link.object as usize, link.entry));
            Some((found.keeper, links.collect()))
        });
        let found = found.collect();
        paths_are_right(&graph, &entries, found, |place| entries[place][0] as u64);
    }
}

fn nothing() -> FinalizerFn {
    extern "C" fn nothing(_: usize) {}
    let signature = "func(uintptr)".parse().unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap());
    // SAFETY: it looks at no argument.
    unsafe { builder.at(nothing as *const ()) }
}

/// Objects are numbers, and none has been reached.
struct Numbers(Graph);

// SAFETY: nobody follows the references.
unsafe impl Tracer for Numbers {
    type Ref = u64;

    fn is_reached(&mut self, _: u64) -> bool {
        false
    }

    fn trace(&mut self, object: u64) -> u64 {
        object
    }

    fn children(&mut self, object: u64, visit: &mut dyn FnMut(&mut Self, u64)) {
        for child in self.0.references[object as usize].into_iter().flatten() {
            visit(self, child as u64);
        }
    }
}

#[test]
fn arguments_and_queued_calls_keep() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let (cleanup, cleaned) = vm.cleanup_sender("func(*main.T)");
    let (finalizer, finalized) = vm.sender("func(*main.T)");
    let held = vm.rooted();
    let argument = vm.doomed(1, |m, object| {
        let holder = m.get(&held).unwrap();
        m.add_cleanup(holder, &cleanup, object).unwrap();
        object.addr()
    });
    let found = vm.runtime.why_alive(argument).unwrap().unwrap();
    assert_eq!(found.keeper, Keeper::Registration(held.addr()));
    let text = format!("kept by a registration of {:#x}", held.addr());
    assert_eq!((found.path.len(), found.to_string()), (0, text));
    let lost = vm.doomed(2, |m, object| {
        m.set_finalizer(object, &finalizer).unwrap();
        object.addr()
    });
    assert_eq!(vm.runtime.why_alive(lost).unwrap(), None);
    vm.runtime.gc().unwrap();
    let found = vm.runtime.why_alive(lost).unwrap().unwrap();
    assert_eq!((found.keeper, found.path.len()), (Keeper::Call, 0));
    drop(held);
    vm.collect();
    assert_eq!(
        (sent(&cleaned), sent(&finalized)),
        (vec![[argument, 0]], vec![[lost, 0]])
    );
    let found = vm.runtime.why_alive(argument).unwrap();
    assert_eq!(found, None, "its call has returned");
}

#[test]
fn what_is_no_object_is_refused() {
    let vm = Vm::new();
    let other = Vm::new().rooted();
    for address in [
        0,
        1,
        usize::MAX,
        other.addr(),
        std::ptr::from_ref(&vm).addr(),
    ] {
        let error = vm.runtime.why_alive(address).unwrap_err();
        assert_eq!(error, WhyError::NotInHeap { address });
        assert!(error.to_string().contains(&format!("{address:#x}")));
    }
    let error = vm.enter(|_| vm.runtime.why_alive(0).unwrap_err());
    assert!(matches!(error, WhyError::World(_)), "{error}");
}
