//! Blocks of tiny values: what shares a block shares its life.

#[path = "support/vm.rs"]
mod vm;

use std::collections::HashSet;

use fing::check::Reason;
use fing::error::{AccessErrorKind, AddCleanupError, SetFinalizerError};
use fing::{CallStage, FinalizerState, HeapOptions, Order, Pointer, Runtime, Weak};
use vm::{Vm, sent};

fn tiny() -> Vm {
    tiny_in(Order::Go)
}

fn tiny_in(order: Order) -> Vm {
    let heap = HeapOptions::default().tiny(true).poison(true);
    Vm::with(Runtime::builder().heap(heap).order(order))
}

#[test]
fn small_values_without_pointers_share_blocks() {
    let vm = tiny();
    let types = vm.runtime.types();
    let ids = [
        "uint8",
        "int16",
        "float32",
        "uint64",
        "[15]uint8",
        "struct{ A int32; B [8]bool }",
    ]
    .map(|text| types.id(text).unwrap());
    let [byte, pointer, sixteen] = ["uint8", "*int", "[2]int"].map(|text| types.id(text).unwrap());
    vm.enter(|m| {
        let mut blocks = HashSet::new();
        let mut values = Vec::new();
        for n in 0..600usize {
            let ty = ids[n * n % 7 % 6];
            let desc = types.desc(ty).unwrap();
            let value = m.alloc(ty).unwrap();
            assert!(value.addr().is_multiple_of(desc.align()), "{}", desc.ty());
            assert!(value.addr() % 16 + desc.size() <= 16, "{}", desc.ty());
            let bytes = vec![n as u8; desc.size()];
            m.store_bytes(value, 0, &bytes).unwrap();
            blocks.insert(value.addr() / 16);
            values.push((value, bytes));
        }
        for (value, bytes) in values {
            let mut found = vec![0; bytes.len()];
            m.load_bytes(value, 0, &mut found).unwrap();
            assert_eq!(found, bytes, "no two values overlap");
            assert_eq!(m.adopt(value.addr()), Ok(value));
        }
        assert!(blocks.len() < 450, "{} blocks", blocks.len());
        let bytes: HashSet<usize> = (0..64)
            .map(|_| m.alloc(byte).unwrap().addr() / 16)
            .collect();
        assert!(bytes.len() <= 5, "16 bytes to a block");
        // What has pointers, or 16 bytes, is an object by itself.
        for ty in [pointer, sixteen] {
            let object = m.alloc(ty).unwrap();
            assert_eq!(m.type_of(object).unwrap().id(), ty);
        }
        let last = m.alloc(byte).unwrap();
        assert!(matches!(
            m.load_bytes(last, 0, &mut [0; 17]).unwrap_err().kind(),
            AccessErrorKind::OutOfBounds { .. }
        ));
    });
}

#[test]
fn finalizers_wait_for_the_whole_block() {
    let vm = tiny();
    let types = vm.runtime.types();
    let (int32, pointer) = (types.id("int32").unwrap(), types.id("*int32").unwrap());
    let (finalizer, calls) = vm.sender("func(*int32)");
    let (cleanup, cleaned) = vm.cleanup_sender("func(*int32)");
    let kept = vm.enter(|m| {
        let values: [_; 4] = std::array::from_fn(|_| m.alloc(int32).unwrap());
        assert!(
            values
                .iter()
                .all(|value| value.addr() / 16 == values[0].addr() / 16)
        );
        for value in values {
            let value = Pointer::typed(pointer, value.addr());
            let state = m.set_finalizer(value, &finalizer);
            assert_eq!(state.unwrap(), FinalizerState::Set);
            let twice = m.set_finalizer(value, &finalizer);
            assert!(
                matches!(twice, Err(SetFinalizerError::AlreadySet { .. })),
                "each value has one of its own: {twice:?}"
            );
        }
        // A value of the same block is another object, as far as Go looks; it keeps the block all
        // the same.
        let other = m.add_cleanup(values[3], &cleanup, values[1]).unwrap();
        assert!(other.stop().is_cancelled());
        let own = m.add_cleanup(values[3], &cleanup, values[3]);
        assert!(
            matches!(own, Err(AddCleanupError::ArgumentIsObject { .. })),
            "{own:?}"
        );
        m.root(values[2]).unwrap()
    });
    let reasons: Vec<_> = vm.runtime.check_finalizers().unwrap();
    assert_eq!(reasons.len(), 4);
    assert!(
        reasons
            .iter()
            .all(|suspect| suspect.reason == Reason::TinyBlock)
    );
    vm.collect();
    assert_eq!(sent(&calls).len(), 0, "one of them is reachable");
    let addr = kept.addr() & !15;
    drop(kept);
    vm.collect();
    let mut all: Vec<usize> = sent(&calls).iter().map(|call| call[0]).collect();
    all.sort_unstable();
    assert_eq!(all, [addr, addr + 4, addr + 8, addr + 12]);
    vm.collect();
    assert_eq!(
        (sent(&cleaned).len(), vm.runtime.stats().heap.objects),
        (0, 0)
    );
}

/// Finalizers, cleanups and weak pointers of one block, in both orders of finalization: the weak
/// pointers are nil when the finalizers run, the cleanups run when the block is gone.
#[test]
fn all_that_a_block_can_have() {
    for order in [Order::Go, Order::Topological] {
        let vm = tiny_in(order);
        let types = vm.runtime.types();
        let (int32, pointer) = (types.id("int32").unwrap(), types.id("*int32").unwrap());
        let (finalizer, calls) = vm.sender("func(*int32)");
        let (cleanup, cleaned) = vm.cleanup_sender("func(int)");
        let (addrs, kept, weaks) = vm.enter(|m| {
            let values: [_; 4] = std::array::from_fn(|_| m.alloc(int32).unwrap());
            let addrs = values.map(|value| value.addr());
            let weaks = addrs.map(|addr| m.downgrade(addr).unwrap());
            for (n, addr) in addrs.into_iter().enumerate().skip(1) {
                m.add_cleanup(addr, &cleanup, n as u64).unwrap();
                let value = Pointer::typed(pointer, addr);
                let set = || m.set_finalizer(value, &finalizer).unwrap();
                let clear = || m.clear_finalizer(value).unwrap();
                assert_eq!(set(), FinalizerState::Set);
                assert_eq!(clear(), FinalizerState::Cleared(CallStage::Registered));
                assert_eq!(clear(), FinalizerState::Cleared(CallStage::Done));
                assert_eq!(set(), FinalizerState::Set);
            }
            (addrs, m.root(values[2]).unwrap(), weaks)
        });
        let alive = || {
            let alive = |weak: &&Weak| vm.enter(|m| m.upgrade_addr(weak).unwrap().is_some());
            weaks.iter().filter(alive).count()
        };
        vm.collect();
        let stats = vm.runtime.stats();
        assert_eq!((stats.finalizers, stats.cleanups, alive()), (3, 3, 4));
        drop(kept);
        vm.collect();
        let mut all: Vec<usize> = sent(&calls).iter().map(|call| call[0]).collect();
        all.sort_unstable();
        assert_eq!(
            (&all[..], alive(), sent(&cleaned)),
            (&addrs[1..], 0, vec![])
        );
        let stats = vm.runtime.stats();
        assert_eq!((stats.finalizers, stats.cleanups), (0, 3));
        vm.collect();
        let cleaned: Vec<usize> = sent(&cleaned).iter().map(|call| call[0]).collect();
        assert_eq!((cleaned, sent(&calls).len()), (vec![3, 2, 1], 0));
        // The functions are held by this test still, and given back by a collection after that.
        let stats = || {
            let stats = vm.runtime.stats();
            (stats.cleanups, stats.shapes, stats.heap.objects)
        };
        assert_eq!(stats(), (0, 2, 0));
        drop((finalizer, cleanup));
        vm.collect();
        assert_eq!(stats(), (0, 0, 0));
    }
}

/// Defined types are as small as what they are made of.
#[test]
fn values_of_defined_types_have_finalizers_of_their_own() {
    let vm = tiny();
    let types = vm.runtime.types();
    let small = types.define("main.Small", "struct { A int32 }").unwrap();
    let pointer = types.pointer_to(small).unwrap();
    let (finalizer, calls) = vm.sender("func(*main.Small)");
    let set = |m: &fing::Mutator, addr| m.set_finalizer(Pointer::typed(pointer, addr), &finalizer);
    let addrs = vm.enter(|m| {
        let values: [_; 4] = std::array::from_fn(|_| m.alloc(small).unwrap());
        values.map(|value| {
            assert_eq!(set(m, value.addr()).unwrap(), FinalizerState::Set);
            value.addr()
        })
    });
    vm.collect();
    let mut all: Vec<usize> = sent(&calls).iter().map(|call| call[0]).collect();
    all.sort_unstable();
    assert_eq!(all, addrs);
}

/// Go's TestPointerTiny, with the allocator that it is about.
#[test]
fn weak_pointers_to_tiny_values() {
    let vm = tiny();
    let int = vm.runtime.types().id("int").unwrap();
    let one = vm.rooted();
    let weaks: Vec<_> = (0..1000)
        .map(|_| vm.enter(|m| m.downgrade(m.alloc(int).unwrap()).unwrap()))
        .collect();
    assert_eq!(weaks.iter().collect::<HashSet<_>>().len(), 1000);
    let alive = || {
        let alive = |weak: &&Weak| vm.enter(|m| m.upgrade_addr(weak).unwrap().is_some());
        weaks.iter().filter(alive).count()
    };
    assert_eq!(alive(), 1000);
    let never = vm.function("func(*int)", |_| ());
    let refused = vm.enter(|m| m.set_finalizer(m.get(&one).unwrap(), &never).unwrap_err());
    assert!(
        matches!(refused, SetFinalizerError::NotAssignable { .. }),
        "{refused}"
    );
    vm.collect();
    assert_eq!(alive(), 0);
}

#[test]
fn without_the_option_every_value_is_an_object() {
    let vm = Vm::new();
    let byte = vm.runtime.types().id("uint8").unwrap();
    vm.enter(|m| {
        let values: HashSet<usize> = (0..100)
            .map(|_| m.alloc(byte).unwrap().addr() / 16)
            .collect();
        assert_eq!(values.len(), 100);
    });
    assert_eq!(vm.runtime.gc().unwrap().freed_objects, 100);
}

/// Where a value of a type would not be aligned, there is none.
#[test]
fn a_pointer_into_a_block_is_aligned_as_its_type_is() {
    let vm = tiny();
    let (finalizer, _finalized) = vm.sender("func(*uint32)");
    let (cleanup, _cleaned) = vm.cleanup_sender("func(*uint32)");
    vm.enter(|m| {
        let bytes = m.alloc(m.types().id("[15]uint8").unwrap()).unwrap();
        let other = m.alloc(m.types().id("[2]int").unwrap()).unwrap();
        let pointer = m.types().id("*uint32").unwrap();
        for offset in 0..12 {
            let addr = bytes.addr() + offset;
            let aligned = addr.is_multiple_of(4);
            let set = m.set_finalizer(Pointer::typed(pointer, addr), &finalizer);
            let mismatch = matches!(set, Err(SetFinalizerError::Mismatch { .. }));
            assert_eq!((set.is_ok(), mismatch), (aligned, !aligned), "{offset}");
            let added = m.add_cleanup(other, &cleanup, addr as u64);
            let wrong = matches!(added, Err(AddCleanupError::Value { .. }));
            assert_eq!((added.is_ok(), wrong), (aligned, !aligned), "{offset}");
        }
    });
}
