//! Debugging aids: registrations that keep their own object alive are found, and dead objects are
//! poisoned before their cleanups run.

#[path = "support/vm.rs"]
#[expect(dead_code, reason = "the finalizers here send nothing")]
mod vm;

use fing::check::{Reason, Registration, Suspect};
use fing::{
    Abi, CleanupFn, CleanupOptions, Executor, HeapOptions, HeldValue, Mutator, Obj, Runtime,
};
use vm::{Vm, sent};

/// What is compared of a suspect: how it is kept, and types and offsets on the way.
type Found = (Registration, Reason, Vec<(String, usize)>);

fn found(suspects: &[Suspect]) -> Vec<Found> {
    let path = |suspect: &Suspect| {
        let links = suspect.path.iter();
        links.map(|link| (link.ty.clone(), link.offset)).collect()
    };
    suspects
        .iter()
        .map(|suspect| (suspect.registration, suspect.reason, path(suspect)))
        .collect()
}

fn link(ty: &str, offset: usize) -> (String, usize) {
    (ty.to_owned(), offset)
}

extern "C" fn never(_argument: u64, _context: usize) {}

/// As Go's TestDetectFinalizerAndCleanupLeaks, with every way in which a registration can keep its
/// object.
#[test]
fn what_keeps_its_own_object_is_found() {
    let vm = Vm::new();
    let types = vm.runtime.types();
    types
        .define("main.Pair", "struct { A unsafe.Pointer; B unsafe.Pointer }")
        .unwrap();
    let pair = types.id("main.Pair").unwrap();
    let finalizer = vm.function("func(any)", |_| ());
    let (cleanup, calls) = vm.cleanup_sender("func(any)");
    let check = || found(&vm.runtime.check_finalizers().unwrap());
    let pair_of = |a: Option<Obj<'_>>, b: Option<Obj<'_>>, m: &Mutator| {
        let object = m.alloc(pair).unwrap();
        m.store_addr(object, 0, a.map_or(0, Obj::addr)).unwrap();
        m.store_addr(object, 8, b.map_or(0, Obj::addr)).unwrap();
        object.addr()
    };
    // Nothing wrong: a self-reference, a chain, an argument that is another object.
    vm.doomed(0, |m, t| {
        m.store_ref(t, 8, Some(t)).unwrap();
        let outer = m.adopt(pair_of(Some(t), None, m)).unwrap();
        for object in [t, outer] {
            m.set_finalizer(object, &finalizer).unwrap();
        }
        m.add_cleanup(outer, &cleanup, t).unwrap();
    });
    assert_eq!(check(), []);
    for _ in 0..4 {
        vm.collect();
    }
    assert_eq!(vm.runtime.stats().heap.objects, 0);
    // A cycle with a finalizer, seen by its finalizer only.
    let kept = vm.rooted();
    vm.enter(|m| {
        let t = m.get(&kept).unwrap();
        let back = m.adopt(pair_of(None, Some(t), m)).unwrap();
        m.store_ref(t, 8, Some(back)).unwrap();
        m.set_finalizer(t, &finalizer).unwrap();
    });
    let cycle = vec![link("main.T", 8), link("main.Pair", 8)];
    assert_eq!(
        check(),
        [(Registration::Finalizer, Reason::Contents, cycle)]
    );
    vm.enter(|m| m.clear_finalizer(m.get(&kept).unwrap()))
        .unwrap();
    assert_eq!(check(), []);
    // The argument is the object, inside an interface; or leads to it.
    let added = vm.enter(|m| {
        let t = m.get(&kept).unwrap();
        let around = m.adopt(pair_of(Some(t), None, m)).unwrap();
        let far = m.adopt(pair_of(None, Some(around), m)).unwrap();
        let add = |argument: Obj<'_>| m.add_cleanup(t.addr() + 8, &cleanup, argument);
        [add(t).unwrap(), add(far).unwrap()]
    });
    let far = vec![link("main.Pair", 8), link("main.Pair", 0)];
    let direct = (Registration::Cleanup, Reason::Argument, Vec::new());
    assert_eq!(
        check(),
        [direct, (Registration::Cleanup, Reason::Argument, far)]
    );
    assert!(added.iter().all(|added| added.stop().is_cancelled()));
    assert_eq!(check(), []);
    // The closure leads to the object through a box, as a variable captured by reference does.
    let signature = types.parse_signature("func(int)").unwrap();
    let builder = CleanupFn::builder(signature, Abi::host_native().unwrap())
        .context_object(types.parse("*main.Pair").unwrap());
    // SAFETY: I8: a System V function of a word and its closure.
    let closes_over = unsafe { builder.at(never as *const ()) };
    vm.enter(|m| {
        let boxed = m.adopt(pair_of(m.get(&kept).ok(), None, m)).unwrap();
        let closure = m.adopt(pair_of(None, Some(boxed), m)).unwrap();
        let options = CleanupOptions::new().context(HeldValue::Object(closure));
        m.add_cleanup_with(kept.addr(), &closes_over, 1u64, options)
            .unwrap();
    });
    let suspects = vm.runtime.check_finalizers().unwrap();
    let boxed = vec![link("main.Pair", 8), link("main.Pair", 0)];
    assert_eq!(
        found(&suspects),
        [(Registration::Cleanup, Reason::Context, boxed)]
    );
    let text = suspects[0].to_string();
    let (object, path) = (kept.addr(), &suspects[0].path);
    assert_eq!(
        text,
        format!(
            "cleanup func(int) of main.T {object:#x} may never run: its context leads to the \
             object: main.Pair {:#x}+8 -> main.Pair {:#x}+0",
            path[0].object, path[1].object
        )
    );
    assert_eq!(vm.runtime.stats().executed, 3, "looking runs nothing");
    assert_eq!(sent(&calls).len(), 1);
}

#[test]
fn at_most_fifty_are_reported() {
    let vm = Vm::new();
    let cleanup = vm.cleanup("func(any)", |_| ());
    for _ in 0..60 {
        vm.doomed(0, |m, t| m.add_cleanup(t, &cleanup, t).unwrap());
    }
    assert_eq!(vm.runtime.check_finalizers().unwrap().len(), 50);
}

/// With `poison`, a cleanup that looks at its dead object finds it overwritten.
#[test]
fn dead_objects_are_poisoned_before_their_cleanups_run() {
    let heap = HeapOptions::default().poison(true);
    // A thread could begin with the call while the collection still sweeps.
    let vm = Vm::with(Runtime::builder().heap(heap).executor(Executor::Inline));
    // The addresses as numbers, which keep nothing.
    let (sender, words) = std::sync::mpsc::channel();
    let cleanup = vm.cleanup("func(uintptr)", move |[address, _]| {
        // SAFETY: I12: the heap's memory stays mapped.
        sender
            .send(unsafe { *(address as *const [u64; 2]) })
            .unwrap();
    });
    vm.doomed(42, |m, t| {
        m.add_cleanup(t, &cleanup, t.addr() as u64).unwrap();
    });
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.run_finalizers(), Ok(1));
    let poison = u64::from_ne_bytes([HeapOptions::POISON; 8]);
    assert_eq!(words.try_recv(), Ok([poison; 2]));
}
