//! Ephemerons of a foreign collector's objects: time, handles, parts, the end. What they keep is
//! tested by the conformance suite.

use std::time::Duration;

use fing::ends::ExitPolicy;
use fing::foreign::{Ephemeron, Finalizers, Scope, Tracer};
use fing::{CyclePolicy, Order};

use super::{Heap, Marker, run, set};

/// A tracer that counts its calls.
struct Counted<'h> {
    marker: Marker<'h>,
    calls: u64,
}

// SAFETY: I16: objects are numbers, which nobody follows.
unsafe impl Tracer for Counted<'_> {
    type Ref = u32;

    fn is_reached(&mut self, object: u32) -> bool {
        self.calls += 1;
        self.marker.is_reached(object)
    }

    fn trace(&mut self, object: u32) -> u32 {
        self.calls += 1;
        self.marker.trace(object)
    }

    fn children(&mut self, object: u32, visit: &mut dyn FnMut(&mut Self, u32)) {
        self.calls += 1;
        let heap = self.marker.heap;
        for &field in &heap.fields[object as usize] {
            visit(self, field);
        }
    }
}

fn add(finalizers: &Finalizers<u32>, [map, key, value]: [u32; 3]) -> Ephemeron {
    // SAFETY: I16: objects are numbers, and nothing follows them.
    unsafe { finalizers.ephemeron(map, key, value) }
}

fn declare(finalizers: &Finalizers<u32>, object: u32, parent: u32) {
    // SAFETY: I16: as above.
    unsafe { finalizers.finalize_after(object, parent) }.unwrap();
}

/// What leads from one object of a chain to the next one. Object 0 is a root besides.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// It is the key of an entry.
    Key,
    /// It is the weak map of an entry whose key is alive.
    Map,
    /// By turns: it is the key of an entry, refers to the next one, has a declared order.
    Turns,
}

/// Collects a chain of `length` objects from its beginning. Returns the number of the tracer's
/// calls and of steps; everything must be reached, and all dead when the beginning is.
fn collect_chain(link: Link, length: u32, backward: bool, order: Order) -> (u64, u32) {
    let mut heap = Heap::new(length + 1);
    let finalizers = Finalizers::builder().order(order).build().unwrap();
    for n in 1..length {
        let at = if backward { length - n } else { n };
        match (link, at % 3) {
            (Link::Map, _) => _ = add(&finalizers, [at, 0, at + 1]),
            (Link::Turns, 1) => heap.fields[at as usize].push(at + 1),
            (Link::Turns, 2) => declare(&finalizers, at + 1, at),
            (Link::Key | Link::Turns, _) => _ = add(&finalizers, [0, at, at + 1]),
        }
    }
    let added = finalizers.stats().ephemerons;
    let marker = heap.mark(&[0, 1]);
    let mut tracer = Counted { marker, calls: 0 };
    // SAFETY: I16: objects are numbers, and the heap's own.
    let mut collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
    let mut steps = 1;
    while collection.step(&mut tracer) {
        tracer.marker.follow();
        steps += 1;
    }
    let calls = tracer.calls;
    assert_eq!(heap.marked().len(), length as usize + 1);
    assert_eq!(finalizers.stats().ephemerons, added);
    heap.collect_from(&[0], &finalizers);
    assert_eq!(heap.marked().len(), 1);
    assert_eq!(finalizers.stats().ephemerons, 0);
    (calls, steps)
}

#[test]
fn a_chain_of_100_000_ephemerons_takes_linear_time() {
    const LENGTH: u32 = 100_000;
    for backward in [false, true] {
        let long = collect_chain(Link::Key, LENGTH, backward, Order::Go);
        let short = collect_chain(Link::Key, LENGTH / 2, backward, Order::Go);
        println!("{LENGTH} ephemerons: {} calls of the tracer", long.0);
        assert_eq!(long.1, short.1, "steps");
        assert!(long.0 <= 2 * short.0 + 32 && long.0 <= 13 * u64::from(LENGTH));
    }
}

#[test]
fn chains_of_every_kind_take_linear_time() {
    const LENGTH: u32 = 3000;
    for link in [Link::Key, Link::Map, Link::Turns] {
        for (order, most) in [(Order::Go, 3), (Order::Topological, 5)] {
            for backward in [false, true] {
                let [long, short] =
                    [LENGTH, LENGTH / 2].map(|length| collect_chain(link, length, backward, order));
                assert_eq!([long.1, short.1], [most; 2], "{link:?}");
                assert!(long.0 <= 2 * short.0 + 32, "{link:?}: {long:?} {short:?}");
            }
        }
    }
}

#[test]
fn handles_name_their_own_entries() {
    let finalizers = Finalizers::<u32>::new().unwrap();
    let other = Finalizers::<u32>::new().unwrap();
    let (heap, first) = (Heap::new(8), add(&finalizers, [0, 1, 2]));
    let foreign = add(&other, [0, 1, 2]);
    assert_ne!(first, foreign);
    // SAFETY: I16: objects are numbers, and nothing follows them.
    let set = |of, value| unsafe { finalizers.set_ephemeron_value(of, value) };
    assert_eq!(finalizers.ephemeron_entry(foreign), None);
    assert!(!set(foreign, 7) && !finalizers.remove_ephemeron(foreign));
    assert_eq!(other.ephemeron_entry(foreign), Some((1, 2)));
    // An object may be a key in any number of maps, and of entries.
    let second = add(&finalizers, [0, 1, 3]);
    assert!(set(first, 5));
    assert_eq!(finalizers.ephemeron_entry(first), Some((1, 5)));
    heap.collect_from(&[0, 1], &finalizers);
    let marked = heap.marked().into_iter();
    assert_eq!(marked.collect::<Vec<_>>(), [0, 1, 3, 5]);
    assert!(finalizers.remove_ephemeron(first));
    assert!(!finalizers.remove_ephemeron(first) && !set(first, 6));
    heap.collect_from(&[0, 1], &finalizers);
    assert_eq!(heap.marked().len(), 3);
    // The next one may take its place, and is another one.
    let third = add(&finalizers, [0, 4, 6]);
    assert_eq!(finalizers.ephemeron_entry(first), None);
    assert_eq!(finalizers.ephemeron_entry(third), Some((4, 6)));
    assert_eq!(finalizers.stats().ephemerons, 2);
    heap.collect_from(&[0, 4], &finalizers);
    assert_eq!(finalizers.ephemeron_entry(second), None);
    assert_eq!(finalizers.ephemeron_entry(third), Some((4, 6)));
    // Both die with the map.
    heap.collect_from(&[4, 6], &finalizers);
    assert_eq!(finalizers.ephemeron_entry(third), None);
    assert_eq!(finalizers.stats().ephemerons, 0);
}

/// As in the embedded heap, an entry ends before the finalizer of its key runs; and when finalizers
/// have been shut down, nothing changes for entries.
#[test]
fn entries_end_before_their_keys_are_finalized() {
    for order in [Order::Go, Order::Topological] {
        let finalizers = Finalizers::builder().order(order).build().unwrap();
        let mut heap = Heap::new(8);
        // 1 refers to 2, and both have finalizers; 3 has one and refers to the key 4.
        heap.fields[1] = vec![2];
        heap.fields[3] = vec![4];
        for object in [1, 2, 3] {
            set(&finalizers, object, CyclePolicy::Leave);
        }
        let of_key = add(&finalizers, [0, 2, 5]);
        let of_contents = add(&finalizers, [0, 4, 6]);
        let mut done = Vec::new();
        while !done.contains(&2) {
            assert_eq!(heap.collect_roots(&[0], &finalizers).len(), 0);
            if order == Order::Topological || done.contains(&1) {
                assert_eq!(finalizers.ephemeron_entry(of_key), None, "{order:?}");
                assert!(!heap.marked().contains(&5), "{order:?}");
            }
            // A finalizer that is still to run can look it up.
            if !done.contains(&3) {
                assert_eq!(finalizers.ephemeron_entry(of_contents), Some((4, 6)));
                assert!(heap.marked().contains(&6));
            }
            done.extend(run(&finalizers));
        }
        heap.collect_roots(&[0], &finalizers);
        assert_eq!(finalizers.ephemeron_entry(of_contents), None);
        let last = add(&finalizers, [0, 1, 2]);
        finalizers.shutdown(true, Duration::MAX).unwrap();
        heap.collect_roots(&[0, 1], &finalizers);
        assert!(heap.marked().contains(&2));
        heap.collect_roots(&[0], &finalizers);
        assert_eq!(finalizers.ephemeron_entry(last), None);
    }
}

/// What an exit finalizes is no key any more; it is finalized before the value.
#[test]
fn an_exit_ends_the_entries_of_what_it_finalizes() {
    let builder = Finalizers::builder().order(Order::Topological);
    let finalizers = builder.build().unwrap();
    let heap = Heap::new(8);
    for object in [3, 2, 1] {
        set(&finalizers, object, CyclePolicy::Leave);
    }
    let ended = [[0, 1, 2], [0, 2, 3]].map(|words| add(&finalizers, words));
    let kept = add(&finalizers, [0, 4, 3]);
    let mut tracer = heap.mark(&[]);
    // SAFETY: I16: objects are numbers, and the heap's own.
    let exit = unsafe { finalizers.begin_exit(ExitPolicy::Topological, &mut tracer) }.unwrap();
    assert_eq!(ended.map(|of| finalizers.ephemeron_entry(of)), [None; 2]);
    assert_eq!(finalizers.ephemeron_entry(kept), Some((4, 3)));
    exit.run(Duration::MAX);
    assert_eq!(super::LOG.take(), [1, 2, 3]);
}

/// In parts, as in one piece.
#[test]
fn parts_keep_what_a_whole_step_keeps() {
    const MANY: u32 = 2000;
    let mut heap = Heap::chain(MANY);
    for n in (7..MANY as usize).step_by(8) {
        heap.fields[n].clear();
    }
    for order in [Order::Go, Order::Topological] {
        let found = [1, 4].map(|parts| {
            let finalizers = super::all(order, MANY);
            // A chain through every eighth group of objects, and entries that end.
            let entry = |n: u32| {
                let key = if n.is_multiple_of(3) { n + 1 } else { 0 };
                add(&finalizers, [n, key, (8 * n + 64) % MANY])
            };
            let entries: Vec<Ephemeron> = (0..MANY).step_by(5).map(entry).collect();
            let mut marker = heap.mark(&[0]);
            // SAFETY: I16: objects are numbers, and the heap's own.
            let mut collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
            loop {
                let mut line = Vec::new();
                let again = collection.step_in_parts(&mut marker, parts, |parts| {
                    for part in parts {
                        let mut marker = heap.marker();
                        part.run(&mut marker);
                        line.append(&mut marker.line);
                    }
                });
                marker.line.append(&mut line);
                marker.follow();
                if !again {
                    break;
                }
            }
            collection.finish();
            let left: Vec<_> = entries
                .iter()
                .map(|of| finalizers.ephemeron_entry(*of))
                .collect();
            assert!(left.contains(&None) && left.iter().any(Option::is_some));
            (left, heap.marked(), run(&finalizers))
        });
        assert_eq!(found[0], found[1]);
    }
}
