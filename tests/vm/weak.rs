//! Weak cells and ephemerons in collected memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fing::ends::ExitPolicy;
use fing::error::DowngradeError;
use fing::{Executor, FinalizerFn, Handle, HeapOptions, Mutator, Order, Runtime, TypeId};

fn runtime() -> (Runtime, TypeId) {
    in_order(Order::Go)
}

fn in_order(order: Order) -> (Runtime, TypeId) {
    let heap = HeapOptions::default().poison(true);
    let builder = Runtime::builder().executor(Executor::Inline).heap(heap);
    let runtime = builder.order(order).build().unwrap();
    let ty = "struct { A, B unsafe.Pointer; Number uint64 }";
    let ty = runtime.types().define("main.T", ty).unwrap();
    (runtime, ty)
}

/// The words of an object that a handle keeps.
fn words(mutator: &Mutator, object: &Handle) -> [usize; 2] {
    let object = mutator.get(object).unwrap();
    [0, 8].map(|at| mutator.load_word(object, at).unwrap() as usize)
}

#[test]
fn a_cell_is_cleared_with_its_object() {
    let (runtime, ty) = runtime();
    let mut mutator = runtime.attach().unwrap();
    let object = mutator.alloc(ty).unwrap();
    let inside = object.addr() + 9;
    let cells = [object.addr(), inside].map(|at| mutator.weak_cell(at).unwrap());
    assert_ne!(cells[0], cells[1]);
    assert_eq!(mutator.weak_cell(object).unwrap(), cells[0]);
    assert_eq!(mutator.weak_cell(inside).unwrap(), cells[1]);
    let cells = cells.map(|cell| mutator.root(cell).unwrap());
    let object = mutator.root(object).unwrap();
    let addresses = [object.addr(), inside];
    for _ in 0..3 {
        assert_eq!(mutator.gc().unwrap().live_objects, 3);
        assert_eq!(
            cells.each_ref().map(|cell| words(&mutator, cell)[0]),
            addresses
        );
    }
    drop(object);
    assert_eq!(mutator.gc().unwrap().live_objects, 2);
    assert_eq!(
        cells.each_ref().map(|cell| words(&mutator, cell)),
        [[0; 2]; 2]
    );
    // The next object there has a cell of its own.
    let again = mutator.alloc(ty).unwrap();
    let cell = mutator.weak_cell(again).unwrap();
    assert!(cells.iter().all(|old| old.addr() != cell.addr()));
    drop(cells);
    assert_eq!(mutator.gc().unwrap().live_objects, 0);
}

#[test]
fn cells_that_no_one_refers_to_are_freed() {
    let (runtime, ty) = runtime();
    let mut mutator = runtime.attach().unwrap();
    let object = mutator.root(mutator.alloc(ty).unwrap()).unwrap();
    for _ in 0..3 {
        let cell = mutator.weak_cell(object.addr()).unwrap();
        assert_eq!(mutator.load_word(cell, 0).unwrap() as usize, object.addr());
        assert_eq!(mutator.gc().unwrap().live_objects, 1);
    }
    mutator.native(|| runtime.verify_heap()).unwrap();
}

#[test]
fn weak_objects_are_cleared_before_the_finalizer_runs() {
    for order in [Order::Go, Order::Topological] {
        let (runtime, ty) = in_order(order);
        let signature = runtime.types().parse_signature("func(*main.T)").unwrap();
        let finalizer = FinalizerFn::from_rust(signature, |mutator, object| {
            let object = object.get(mutator).unwrap();
            let weak = [0, 8].map(|at| mutator.load_ref(object, at).unwrap().unwrap());
            let found = weak.map(|weak| mutator.load_word(weak, 0).unwrap());
            mutator.store_word(object, 16, found[0] | found[1]).unwrap();
            // One that is brought back has new ones.
            let cell = mutator.weak_cell(object).unwrap();
            assert_eq!(mutator.load_word(cell, 0).unwrap() as usize, object.addr());
        });
        let mut mutator = runtime.attach().unwrap();
        let (object, value) = (mutator.alloc(ty).unwrap(), mutator.alloc(ty).unwrap());
        mutator.store_word(object, 16, 1).unwrap();
        let cell = mutator.weak_cell(object).unwrap();
        let entry = mutator.ephemeron(object, value).unwrap();
        mutator.store_ref(object, 0, Some(cell)).unwrap();
        mutator.store_ref(object, 8, Some(entry)).unwrap();
        mutator.set_finalizer(object, &finalizer).unwrap();
        let weak = mutator.downgrade(object).unwrap();
        let address = object.addr();
        mutator.gc().unwrap();
        assert_eq!(mutator.upgrade(&weak).unwrap(), None);
        mutator.native(|| runtime.run_finalizers()).unwrap();
        assert_eq!(runtime.stats().failed, 0);
        let object = mutator.adopt(address).unwrap();
        assert_eq!(mutator.load_word(object, 16).unwrap(), 0, "{order:?}");
        mutator.gc().unwrap();
        assert_eq!(mutator.gc().unwrap().live_objects, 0);
    }
}

/// In topological order an object that is due may refer to another one: what is weak there is
/// cleared all the same, and does not keep the value.
#[test]
fn weak_objects_of_what_another_finalizer_keeps_are_cleared() {
    let (runtime, ty) = in_order(Order::Topological);
    let signature = runtime.types().parse_signature("func(*main.T)").unwrap();
    let finalizer = FinalizerFn::from_rust(signature, |_, _| ());
    let mut mutator = runtime.attach().unwrap();
    let [first, second, value, plain, other] = [0; 5].map(|_| mutator.alloc(ty).unwrap());
    mutator.store_ref(first, 0, Some(second)).unwrap();
    mutator.store_ref(first, 8, Some(plain)).unwrap();
    for object in [first, second] {
        mutator.set_finalizer(object, &finalizer).unwrap();
    }
    let weak = [
        mutator.weak_cell(second).unwrap(),
        mutator.weak_cell(second.addr() + 8).unwrap(),
        mutator.ephemeron(second, value).unwrap(),
        // Its key is kept for the finalizer that is to run, and so is its value.
        mutator.ephemeron(plain, other).unwrap(),
    ];
    let kept = [plain.addr(), other.addr()];
    let weak = weak.map(|weak| mutator.root(weak).unwrap());
    assert_eq!(mutator.gc().unwrap().live_objects, 4 + 4);
    let found = weak.each_ref().map(|weak| words(&mutator, weak));
    assert_eq!(found, [[0; 2], [0; 2], [0; 2], kept]);
    assert_eq!(mutator.native(|| runtime.run_finalizers()).unwrap(), 2);
    assert_eq!(mutator.gc().unwrap().live_objects, 4);
    assert_eq!(words(&mutator, &weak[3]), [0; 2]);
}

/// The value of an ephemeron is finalized after its key, and after what leads to its key; it is
/// left with a key that is left.
#[test]
fn values_are_finalized_after_keys() {
    let (runtime, ty) = in_order(Order::Topological);
    let (log, made) = std::sync::mpsc::channel();
    let signature = runtime.types().parse_signature("func(*main.T)").unwrap();
    let finalizer = FinalizerFn::from_rust(signature, move |mutator, object| {
        let object = object.get(mutator).unwrap();
        log.send(mutator.load_word(object, 16).unwrap()).unwrap();
    });
    let mut mutator = runtime.attach().unwrap();
    let objects = [0; 9].map(|_| mutator.alloc(ty).unwrap());
    let [value, key, leads, ring, back, left, a, b, plain] = objects;
    // The one that leads back to its key waits for nothing.
    for (from, to) in [(leads, plain), (ring, back), (back, ring), (b, a)] {
        mutator.store_ref(from, 0, Some(to)).unwrap();
    }
    for (n, object) in (0..).zip(&objects[..8]) {
        mutator.store_word(*object, 16, n).unwrap();
        mutator.set_finalizer(*object, &finalizer).unwrap();
    }
    let pairs = [(key, value), (plain, key), (ring, left), (a, b)];
    let wanted = [0, key.addr(), left.addr(), 0];
    let entries = pairs.map(|(key, value)| mutator.ephemeron(key, value).unwrap());
    let entries = entries.map(|entry| mutator.root(entry).unwrap());
    mutator.gc().unwrap();
    mutator.native(|| runtime.run_finalizers()).unwrap();
    let made: Vec<u64> = made.try_iter().collect();
    let place = |n: u64| made.iter().position(|of| *of == n).unwrap();
    assert_eq!(made.len(), 5, "{made:?}");
    assert!(place(2) < place(1) && place(1) < place(0), "{made:?}");
    assert!(place(7) < place(6), "{made:?}");
    let found = entries.each_ref().map(|entry| words(&mutator, entry)[1]);
    assert_eq!(found, wanted);
}

/// An exit finalizes keys before values, whatever is alive, and clears what refers to either.
#[test]
fn an_exit_clears_what_it_finalizes() {
    let (runtime, ty) = in_order(Order::Topological);
    let (log, made) = std::sync::mpsc::channel();
    let signature = runtime.types().parse_signature("func(*main.T)").unwrap();
    let finalizer = FinalizerFn::from_rust(signature, move |mutator, object| {
        let object = object.get(mutator).unwrap();
        let entry = mutator.load_ref(object, 0).unwrap().unwrap();
        let key = mutator.load_word(entry, 0).unwrap();
        log.send((mutator.load_word(object, 16).unwrap(), key))
            .unwrap();
    });
    let mut roots = Vec::new();
    let mutator = runtime.attach().unwrap();
    for (number, key_first) in [(0, true), (2, false)] {
        let [first, second] = [0; 2].map(|_| mutator.alloc(ty).unwrap());
        let (key, value) = if key_first {
            (first, second)
        } else {
            (second, first)
        };
        let entry = mutator.ephemeron(key, value).unwrap();
        for (number, object) in [(number, key), (number + 1, value)] {
            mutator.store_ref(object, 0, Some(entry)).unwrap();
            mutator.store_word(object, 16, number).unwrap();
        }
        for object in [first, second] {
            mutator.set_finalizer(object, &finalizer).unwrap();
            roots.push(mutator.root(object).unwrap());
        }
    }
    drop(mutator);
    runtime
        .exit(ExitPolicy::Topological, Duration::MAX)
        .unwrap();
    let made: Vec<(u64, u64)> = made.try_iter().collect();
    assert_eq!(made.len(), 4);
    assert!(made.iter().all(|(_, key)| *key == 0), "{made:?}");
    let place = |number| made.iter().position(|(of, _)| *of == number).unwrap();
    assert!(place(0) < place(1) && place(2) < place(3), "{made:?}");
}

#[test]
fn values_do_not_keep_their_own_key() {
    let (runtime, ty) = runtime();
    let mut mutator = runtime.attach().unwrap();
    // Two entries whose values lead to each other's keys.
    let [a, b, to_b, to_a] = [0; 4].map(|_| mutator.alloc(ty).unwrap());
    mutator.store_ref(to_b, 0, Some(b)).unwrap();
    mutator.store_ref(to_a, 0, Some(a)).unwrap();
    let entries = [mutator.ephemeron(a, to_b), mutator.ephemeron(b, to_a)];
    let entries = entries.map(|entry| mutator.root(entry.unwrap()).unwrap());
    let b = mutator.root(b).unwrap();
    assert_eq!(mutator.gc().unwrap().live_objects, 6);
    drop(b);
    assert_eq!(mutator.gc().unwrap().live_objects, 2);
    assert!(entries.iter().all(|entry| words(&mutator, entry) == [0, 0]));
}

#[test]
fn a_value_can_be_replaced_and_an_entry_dropped() {
    let (runtime, ty) = runtime();
    let mut mutator = runtime.attach().unwrap();
    let [key, first, second] = [0; 3].map(|_| mutator.alloc(ty).unwrap());
    let second = second.addr() + 5;
    let entry = mutator.ephemeron(key, first).unwrap();
    mutator.store_word(entry, 8, second as u64).unwrap();
    let (key, entry) = (mutator.root(key).unwrap(), mutator.root(entry).unwrap());
    assert_eq!(mutator.gc().unwrap().live_objects, 3);
    assert_eq!(words(&mutator, &entry), [key.addr(), second]);
    drop(entry);
    assert_eq!(mutator.gc().unwrap().live_objects, 1);
    mutator.native(|| runtime.verify_heap()).unwrap();
}

#[test]
fn keys_that_never_die_keep_their_values() {
    let (runtime, ty) = runtime();
    static GLOBAL: [u64; 2] = [0; 2];
    let global = GLOBAL.as_ptr().addr();
    runtime.add_global(global..global + 16);
    let mut mutator = runtime.attach().unwrap();
    let nothing = mutator
        .alloc(runtime.types().id("struct{}").unwrap())
        .unwrap();
    let (nothing, mut entries) = (nothing.addr(), Vec::new());
    for key in [nothing, global] {
        let entry = mutator.ephemeron(key, mutator.alloc(ty).unwrap()).unwrap();
        let cell = mutator.weak_cell(key).unwrap();
        entries.extend([entry, cell].map(|weak| mutator.root(weak).unwrap()));
    }
    for _ in 0..2 {
        assert_eq!(mutator.gc().unwrap().live_objects, 6);
        assert_eq!(words(&mutator, &entries[3])[0], global);
    }
}

#[test]
fn what_is_no_object_is_refused() {
    let (runtime, ty) = runtime();
    let other = in_order(Order::Go);
    let foreign = other.0.enter(|m| m.alloc(other.1).unwrap().addr()).unwrap();
    let mutator = runtime.attach().unwrap();
    let value = mutator.alloc(ty).unwrap();
    for addr in [0, 8, foreign, value.addr() + 24] {
        let error = mutator.weak_cell(addr).unwrap_err();
        assert_eq!(error, DowngradeError::NotInHeap { addr });
        assert_eq!(mutator.ephemeron(addr, value).unwrap_err(), error);
    }
}

/// Each value is the next key. In both orders, so that a search for keys that were marked would
/// take a time that grows with the square.
#[test]
fn a_chain_of_100_000_ephemerons_takes_linear_time() {
    const LENGTH: usize = 100_000;
    let (runtime, ty) = runtime();
    for backward in [false, true] {
        let mut mutator = runtime.attach().unwrap();
        let table = runtime.types().id("[100000]unsafe.Pointer").unwrap();
        let table = mutator.alloc(table).unwrap();
        let keys: Vec<_> = (0..=LENGTH).map(|_| mutator.alloc(ty).unwrap()).collect();
        for n in 0..LENGTH {
            let at = if backward { LENGTH - 1 - n } else { n };
            let entry = mutator.ephemeron(keys[at], keys[at + 1]).unwrap();
            mutator.store_ref(table, 8 * n, Some(entry)).unwrap();
        }
        let (table, first) = (mutator.root(table).unwrap(), mutator.root(keys[0]).unwrap());
        let all = 1 + LENGTH + LENGTH + 1;
        assert_eq!(mutator.gc().unwrap().live_objects, all);
        drop(first);
        assert_eq!(mutator.gc().unwrap().live_objects, 1 + LENGTH);
        drop(table);
        assert_eq!(mutator.gc().unwrap().live_objects, 0);
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// The objects, their references, and the ephemerons among them, by numbers.
#[derive(Default)]
struct Model {
    references: BTreeMap<usize, [Option<usize>; 2]>,
    ephemerons: BTreeMap<usize, (usize, usize)>,
    roots: BTreeSet<usize>,
}

impl Model {
    /// What is alive, by the definition: a set that grows until nothing changes.
    fn alive(&self) -> BTreeSet<usize> {
        let mut alive = self.roots.clone();
        loop {
            let mut more = alive.clone();
            for (object, references) in &self.references {
                if alive.contains(object) {
                    more.extend(references.iter().flatten());
                }
            }
            for (ephemeron, (key, value)) in &self.ephemerons {
                if alive.contains(ephemeron) && alive.contains(key) {
                    more.insert(*value);
                }
            }
            if more.len() == alive.len() {
                return alive;
            }
            alive = more;
        }
    }

    /// Forgets what is dead.
    fn collect(&mut self) {
        let alive = self.alive();
        self.references.retain(|object, _| alive.contains(object));
        let is_whole = |ephemeron: &usize, of: &mut (usize, usize)| {
            alive.contains(ephemeron) && alive.contains(&of.0)
        };
        self.ephemerons.retain(is_whole);
    }
}

/// A random program on a heap and on the model, compared after each collection.
fn compare(seed: u64) {
    let (runtime, ty) = runtime();
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut model, mut roots) = (Model::default(), BTreeMap::<usize, Handle>::new());
    let mut addresses = BTreeMap::<usize, usize>::new();
    let mut mutator = runtime.attach().unwrap();
    let mut next = 0;
    for _ in 0..4 {
        for _ in 0..4 + rng.below(40) {
            let known: Vec<usize> = addresses.keys().copied().collect();
            let pick = |rng: &mut Rng| known[rng.below(known.len())];
            match rng.below(10) {
                0..=3 => {
                    let object = mutator.alloc(ty).unwrap();
                    addresses.insert(next, object.addr());
                    model.references.insert(next, [None; 2]);
                    if rng.below(3) == 0 {
                        model.roots.insert(next);
                        roots.insert(next, mutator.root(object).unwrap());
                    }
                    next += 1;
                }
                _ if known.is_empty() => {}
                4..=6 => {
                    let (of, to, slot) = (pick(&mut rng), pick(&mut rng), rng.below(2));
                    if let Some(references) = model.references.get_mut(&of) {
                        references[slot] = Some(to);
                        let object = mutator.adopt(addresses[&of]).unwrap();
                        mutator
                            .store_addr(object, 8 * slot, addresses[&to])
                            .unwrap();
                    }
                }
                7..=8 => {
                    let (key, value) = (pick(&mut rng), pick(&mut rng));
                    let entry = mutator
                        .ephemeron(addresses[&key], addresses[&value])
                        .unwrap();
                    addresses.insert(next, entry.addr());
                    model.ephemerons.insert(next, (key, value));
                    if rng.below(2) == 0 {
                        model.roots.insert(next);
                        roots.insert(next, mutator.root(entry).unwrap());
                    }
                    next += 1;
                }
                _ => {
                    let object = pick(&mut rng);
                    model.roots.remove(&object);
                    roots.remove(&object);
                }
            }
        }
        let alive = model.alive();
        model.collect();
        addresses.retain(|object, _| alive.contains(object));
        let found = mutator.gc().unwrap().live_objects;
        assert_eq!(found, alive.len(), "seed {seed}");
        for (object, address) in &addresses {
            let address = mutator.adopt(*address).unwrap();
            let words = [0, 8].map(|at| mutator.load_word(address, at).unwrap() as usize);
            let at = |object: &usize| addresses[object];
            let wanted = match model.references.get(object) {
                Some(references) => references.each_ref().map(|to| to.as_ref().map_or(0, at)),
                None => match model.ephemerons.get(object) {
                    Some((key, value)) => [at(key), at(value)],
                    None => [0, 0],
                },
            };
            assert_eq!(words, wanted, "seed {seed}, object {object}");
        }
    }
}

#[test]
fn the_heap_does_what_the_model_does() {
    (1..=fing_oracles::cases(200)).for_each(compare);
}
