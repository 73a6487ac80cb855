//! Objects that generated code takes without a call.

use std::cell::RefCell;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use fing::error::{AllocError, SetFinalizerError};
use fing::vm::{Callers, Frames, RegisteredCode, Window};
use fing::{Executor, FinalizerFn, HeapOptions, Mutator, Order, Pointer, Runtime, TypeId};

use crate::jit::{Code, Jit};

const NEXT: i32 = 0;
const VALUE: i32 = 8;

/// The context of generated code.
#[repr(C)]
struct Context {
    stack_word: usize,
    window_words: usize,
    flag: usize,
    mutator: *mut Mutator,
    window: Window,
    /// Calls of the slow path.
    slow: u64,
}

/// The slow path of an allocation.
extern "C" fn refill(context: &mut Context) -> usize {
    context.slow += 1;
    // SAFETY: I13: the mutator of this thread, which its owner does not use meanwhile.
    let mutator = unsafe { &mut *context.mutator };
    if mutator.is_collection_due() {
        mutator.gc().unwrap();
    }
    mutator.alloc_in(&context.window).unwrap().addr()
}

/// What a safepoint calls when the flag is set.
extern "C" fn safepoint(context: &mut Context) -> u64 {
    // SAFETY: I13: as above.
    unsafe { &mut *context.mutator }
        .collect_at_safepoint()
        .into()
}

/// Takes an object from the window in the context.
fn alloc(code: &mut Code<'_, '_>, stride: usize) -> cranelift_codegen::ir::Value {
    let context = code.params[0];
    let window_words = std::mem::offset_of!(Context, window_words) as i32;
    let window = code.load(context, window_words);
    let (slow, fast) = (code.b.create_block(), code.b.create_block());
    let made = code.b.create_block();
    let object = code.b.append_block_param(made, I64);
    code.b.set_cold_block(slow);
    let first = code.load(window, 0);
    let next = code.b.ins().iadd_imm_s(first, stride as i64);
    let end = code.load(window, 8);
    let over = code.b.ins().icmp(IntCC::UnsignedGreaterThan, next, end);
    code.b.ins().brif(over, slow, &[], fast, &[]);
    code.b.switch_to_block(slow);
    let refilled = code.call("refill", &[context]);
    code.b.ins().jump(made, &[refilled.into()]);
    code.b.switch_to_block(fast);
    code.store(next, window, 0);
    code.b.ins().jump(made, &[first.into()]);
    code.b.switch_to_block(made);
    object
}

/// * `build(n)`: a list of n, n - 1, ... 1, the last one first.
/// * `sum(n)`: of two such lists, one of which was built before the other; with a safepoint in each
///   turn of the loops.
fn compile(stride: usize) -> Jit {
    let mut jit = Jit::new(&[
        ("refill", refill as *const (), 1),
        ("safepoint", safepoint as *const (), 1),
    ]);
    jit.define("build", 2, Callers::Registered, |code| {
        let (count, zero) = (code.params[1], code.b.ins().iconst(I64, 0));
        let (head, body) = (code.b.create_block(), code.b.create_block());
        let done = code.b.create_block();
        let left = code.b.append_block_param(head, I64);
        let list = code.b.append_block_param(head, I64);
        code.b.declare_value_needs_stack_map(list);
        code.b.ins().jump(head, &[count.into(), zero.into()]);
        code.b.switch_to_block(head);
        code.b.ins().brif(left, body, &[], done, &[]);
        code.b.switch_to_block(body);
        let object = alloc(code, stride);
        code.store(list, object, NEXT);
        code.store(left, object, VALUE);
        let less = code.b.ins().iadd_imm_s(left, -1);
        code.b.ins().jump(head, &[less.into(), object.into()]);
        code.b.switch_to_block(done);
        list
    });
    jit.define("add", 2, Callers::Registered, |code| {
        let (list, zero) = (code.params[1], code.b.ins().iconst(I64, 0));
        let (head, body) = (code.b.create_block(), code.b.create_block());
        let (stop, on) = (code.b.create_block(), code.b.create_block());
        let done = code.b.create_block();
        let at = code.b.append_block_param(head, I64);
        let sum = code.b.append_block_param(head, I64);
        code.b.declare_value_needs_stack_map(at);
        code.b.ins().jump(head, &[list.into(), zero.into()]);
        code.b.switch_to_block(head);
        code.b.ins().brif(at, body, &[], done, &[]);
        code.b.switch_to_block(body);
        let flag = code.load(code.params[0], std::mem::offset_of!(Context, flag) as i32);
        let flags = cranelift_codegen::ir::MemFlagsData::trusted();
        let set = code
            .b
            .ins()
            .load(cranelift_codegen::ir::types::I32, flags, flag, 0);
        code.b.ins().brif(set, stop, &[], on, &[]);
        code.b.switch_to_block(stop);
        code.call("safepoint", &[code.params[0]]);
        code.b.ins().jump(on, &[]);
        code.b.switch_to_block(on);
        let value = code.load(at, VALUE);
        let more = code.b.ins().iadd(sum, value);
        let next = code.load(at, NEXT);
        code.b.ins().jump(head, &[next.into(), more.into()]);
        code.b.switch_to_block(done);
        sum
    });
    jit.define("sum", 2, Callers::Any, |code| {
        let (context, n) = (code.params[0], code.params[1]);
        let first = code.call_ref("build", &[context, n]);
        let second = code.call_ref("build", &[context, n]);
        let sum = code.call("add", &[context, first]);
        let more = code.call("add", &[context, second]);
        // A use of the first one keeps it.
        let value = code.load(first, VALUE);
        let all = code.b.ins().iadd(sum, more);
        code.b.ins().iadd(all, value)
    });
    jit.finish();
    jit
}

struct Machine {
    runtime: Runtime,
    node: TypeId,
    jit: Jit,
    frames: Frames,
    _code: Vec<RegisteredCode>,
    finalized: Arc<AtomicU64>,
}

impl Machine {
    fn new(heap: HeapOptions, finalizable: bool) -> Machine {
        // A list is finalized in one collection.
        let builder = Runtime::builder().order(Order::Topological).heap(heap);
        let runtime = builder.executor(Executor::Manual).build().unwrap();
        let node = "struct { Next *main.Node; Value uint64 }";
        let node = runtime.types().define("main.Node", node).unwrap();
        let finalized = Arc::new(AtomicU64::new(0));
        if finalizable {
            let signature = runtime.types().parse_signature("func(*main.Node)").unwrap();
            let count = finalized.clone();
            let finalizer = FinalizerFn::from_rust(signature, move |mutator, object| {
                let value = mutator.load_word(object.get(mutator).unwrap(), 8).unwrap();
                assert_ne!(value, 0, "an object that was never taken");
                count.fetch_add(1, SeqCst);
            });
            let prepared = runtime.prepare_finalizer(node, &finalizer).unwrap();
            prepared.set_for_all().unwrap();
        }
        // Asked for by every thread, the strides are the same.
        let stride = runtime.enter(|m| m.window(node).unwrap().stride()).unwrap();
        let (jit, frames) = (compile(stride), runtime.frames());
        let _code = jit.register(&frames, &[], &[]);
        Machine {
            runtime,
            node,
            jit,
            frames,
            _code,
            finalized,
        }
    }

    /// Runs `sum(n)`, and returns how often the slow path was called.
    fn run(&self, n: u64) -> u64 {
        let stack = self.frames.stack();
        let mut mutator = self.runtime.attach().unwrap();
        let window = mutator.window(self.node).unwrap();
        assert_eq!(
            mutator.window(self.node).unwrap().address(),
            window.address()
        );
        let mut context = Context {
            stack_word: stack.address(),
            window_words: window.address(),
            flag: self.runtime.safepoint_flag().address(),
            mutator: null_mut(),
            window,
            slow: 0,
        };
        context.mutator = &raw mut mutator;
        // SAFETY: I31: a generated function of this signature.
        let code: extern "C" fn(*mut Context, u64) -> u64 =
            unsafe { std::mem::transmute(self.jit.address("sum")) };
        let sum = code(&raw mut context, n);
        assert_eq!(sum, n * (n + 1) + 1);
        context.slow
    }
}

fn poisoned() -> HeapOptions {
    HeapOptions::default().poison(true)
}

#[test]
fn generated_code_allocates_without_a_call() {
    let machine = Machine::new(poisoned(), false);
    // 64 KiB have 2047 cells of 32 bytes.
    let slow = machine.run(20_000);
    assert_eq!(slow, 20);
    machine.runtime.verify_heap().unwrap();
    assert_eq!(machine.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn many_collections_lose_nothing() {
    let machine = Machine::new(poisoned(), false);
    for _ in 0..10 {
        machine.run(100_000);
    }
    assert!(machine.runtime.stats().heap.collections > 5);
    machine.runtime.verify_heap().unwrap();
}

#[test]
fn under_stress_each_allocation_and_safepoint_collects() {
    let machine = Machine::new(poisoned().stress(true), false);
    let slow = machine.run(60);
    assert_eq!(slow, 120, "each object by a call");
    // Each call, each safepoint of the loops.
    assert_eq!(machine.runtime.stats().heap.collections, 240);
}

#[test]
fn each_object_of_a_finalizable_type_is_finalized_once() {
    for stress in [false, true] {
        let machine = Machine::new(poisoned().stress(stress), true);
        let n = if stress { 40 } else { 5000 };
        for _ in 0..3 {
            machine.run(n);
        }
        machine.runtime.gc().unwrap();
        let budget = fing::executor::Budget::unlimited();
        machine.runtime.drain(budget).unwrap();
        assert_eq!(machine.finalized.load(SeqCst), 6 * n);
        machine.runtime.gc().unwrap();
        assert_eq!(machine.runtime.gc().unwrap().live_objects, 0);
        assert_eq!(machine.runtime.stats().executed, 6 * n);
    }
}

#[test]
fn what_no_one_has_taken_is_neither_listed_nor_counted() {
    let machine = Machine::new(poisoned(), true);
    let mut mutator = machine.runtime.attach().unwrap();
    let window = mutator.window(machine.node).unwrap();
    for _ in 0..5 {
        mutator.alloc_in(&window).unwrap();
    }
    let stats = machine.runtime.stats();
    assert_eq!((stats.heap.objects, stats.finalizers), (5, 5));
    let listed = mutator.native(|| machine.runtime.list()).unwrap();
    assert_eq!(listed.len(), 5);
    mutator.alloc_in(&window).unwrap();
    assert_eq!(machine.runtime.stats().finalizers, 6);
}

#[test]
fn threads_have_windows_of_their_own() {
    struct Shared(Machine);
    // SAFETY: I31: nothing is compiled any more; what threads use of it is read only.
    unsafe impl Sync for Shared {}
    let shared = &Shared(Machine::new(poisoned(), true));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let shared: &Shared = shared;
                for n in [1, 2000, 3, 4000] {
                    shared.0.run(n);
                    shared.0.runtime.gc().unwrap();
                }
            });
        }
    });
    shared.0.runtime.verify_heap().unwrap();
}

#[test]
fn a_nested_mutator_uses_the_windows_of_its_thread() {
    let machine = Machine::new(poisoned(), false);
    let mut mutator = machine.runtime.attach().unwrap();
    let window = mutator.window(machine.node).unwrap();
    let first = mutator.alloc_in(&window).unwrap().addr();
    let second = mutator.native(|| {
        let nested = |nested: &mut Mutator| nested.alloc_in(&window).unwrap().addr();
        machine.runtime.enter(nested).unwrap()
    });
    assert_eq!(second, first + window.stride());
    // One that a nested mutator has made ends with it.
    let of_nested = mutator.native(|| {
        let window = machine.runtime.enter(|nested| nested.window(machine.node));
        window.unwrap().unwrap()
    });
    assert_ne!(of_nested.address(), window.address());
    let error = mutator.alloc_in(&of_nested).unwrap_err();
    assert!(matches!(error, AllocError::ClosedWindow { .. }), "{error}");
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let runtime = Runtime::builder().heap(HeapOptions::default().tiny(true));
    let runtime = runtime.build().unwrap();
    let mutator = runtime.attach().unwrap();
    let refused = |text: &str| {
        let ty = runtime.types().id(text).unwrap();
        mutator.window(ty).map(drop).unwrap_err().to_string()
    };
    let wanted = ", wanted objects of 16 bytes to 8 KiB in cells of their own";
    for (ty, reason) in [
        ("struct{}", "all values without size have one address"),
        ("uint64", "such small values share blocks in this heap"),
        ("[8185]uint8", "such large objects have blocks of their own"),
    ] {
        let ty = runtime.types().id(ty).unwrap();
        let name = runtime.types().desc(ty).unwrap().ty().to_string();
        let text = format!("window for {name}: {reason}{wanted}");
        assert_eq!(refused(&name), text);
    }
    let largest = runtime.types().id("[8184]uint8").unwrap();
    let window = mutator.window(largest).unwrap();
    mutator.alloc_in(&window).unwrap();
    let other = Runtime::new().unwrap();
    let theirs = other.attach().unwrap();
    let error = theirs.alloc_in(&window).map(drop).unwrap_err();
    assert_eq!(error, AllocError::ForeignWindow);
    assert!(matches!(theirs.window(largest), Err(AllocError::Type(_))));
}

#[test]
fn a_finalizer_can_be_set_for_all_until_an_object_is_made() {
    let runtime = Runtime::builder()
        .executor(Executor::Manual)
        .build()
        .unwrap();
    let ty = runtime
        .types()
        .define("main.T", "struct { N uint64 }")
        .unwrap();
    let signature = runtime.types().parse_signature("func(*main.T)").unwrap();
    let finalizer = FinalizerFn::from_rust(signature, |_, _| ());
    let prepared = runtime.prepare_finalizer(ty, &finalizer).unwrap();
    let mutator = runtime.attach().unwrap();
    let window = mutator.window(ty).unwrap();
    prepared.set_for_all().unwrap();
    mutator.alloc_in(&window).unwrap();
    assert_eq!(runtime.stats().finalizers, 1);
}

/// Whoever has the address of an object that no one has taken has none, on whatever thread.
#[test]
fn what_no_one_has_taken_is_no_object() {
    let runtime = Runtime::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let ty = runtime
        .types()
        .define("main.T", "struct { A, B, C uint64 }")
        .unwrap();
    let finalizer = FinalizerFn::from_rust_of_any_object(|_, _| ());
    let m = runtime.attach().unwrap();
    let window = m.window(ty).unwrap();
    let first = m.alloc_in(&window).unwrap().addr();
    let stride = window.stride();
    let next = first + stride;
    let refused = |m: &Mutator| {
        for addr in [next, next + 8, next + stride] {
            assert!(m.adopt(addr).is_err(), "{addr:#x}");
            assert!(m.downgrade(addr).is_err(), "{addr:#x}");
            assert!(m.weak_cell(addr).is_err(), "{addr:#x}");
            let pointer = Pointer::typed(m.types().pointer_to(ty).unwrap(), addr);
            let set = m.set_finalizer(pointer, &finalizer);
            assert!(
                matches!(set, Err(SetFinalizerError::NotInHeap { .. })),
                "{set:?}"
            );
        }
        assert!(m.adopt(first).is_ok());
    };
    refused(&m);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| runtime.enter(|m| refused(m)).unwrap());
        other.join().unwrap();
    });
    // What it holds is zero, whatever was tried with it before.
    let taken = m.alloc_in(&window).unwrap();
    assert_eq!((taken.addr(), m.load_word(taken, 0)), (next, Ok(0)));
    assert!(m.adopt(next).is_ok() && m.adopt(next + stride).is_err());
    drop(m);
    // Its mutator has gone, and what was left with it.
    runtime
        .enter(|m| assert!(m.adopt(next).is_ok() && m.adopt(next + 24).is_err()))
        .unwrap();
    assert_eq!(runtime.verify_heap().unwrap().objects, 2);
}

/// A thread asks for the objects that another one takes: it gets those that were taken, and each of
/// them stays what it is.
#[test]
fn objects_are_looked_up_while_they_are_taken() {
    let runtime = Runtime::new().unwrap();
    let ty = runtime
        .types()
        .define("main.T", "struct { A uint64 }")
        .unwrap();
    let (latest, end) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut found = 0u64;
            // Nothing collects, so what was made last stays.
            while end.load(SeqCst) == 0 || found == 0 {
                runtime
                    .enter(|m| {
                        let at = latest.load(SeqCst) as usize;
                        if at == 0 {
                            return;
                        }
                        let object = m.adopt(at).unwrap();
                        assert_eq!(m.load_word(object, 0), Ok(at as u64));
                        found += 1;
                        let _ = m.adopt(at + 16 * 1000);
                    })
                    .unwrap();
            }
        });
        // A few mutators with a window each, of which much is left at their ends.
        for _ in 0..200 {
            let m = runtime.attach().unwrap();
            let window = m.window(ty).unwrap();
            for _ in 0..500 {
                let object = m.alloc_in(&window).unwrap();
                m.store_word(object, 0, object.addr() as u64).unwrap();
                latest.store(object.addr() as u64, SeqCst);
            }
        }
        end.store(1, SeqCst);
        looking.join().unwrap();
    });
    assert_eq!(runtime.stats().heap.objects, 100_000);
}

/// A window that outlives its mutator and its runtime is none of a runtime that comes to lie at the
/// same place.
#[test]
fn a_window_is_of_its_own_runtime() {
    thread_local! {
        static KEPT: RefCell<Option<(Mutator, Window)>> = const { RefCell::new(None) };
    }
    let build = || {
        Runtime::builder()
            .executor(Executor::Inline)
            .build()
            .unwrap()
    };
    let kept = {
        let runtime = build();
        let types = runtime.types();
        let ty = types.define("main.T", "struct { A, B uint64 }").unwrap();
        let weak = runtime.downgrade();
        let keep = FinalizerFn::from_rust_of_any_object(move |m, _| {
            let runtime = weak.upgrade().unwrap();
            m.native(|| {
                let other = runtime.attach_beside().unwrap();
                let window = other.window(ty).unwrap();
                other.alloc_in(&window).unwrap();
                KEPT.set(Some((other, window)));
            });
        });
        runtime
            .enter(|m| m.set_finalizer(m.alloc(ty).unwrap(), &keep).map(drop))
            .unwrap()
            .unwrap();
        runtime.gc().unwrap();
        assert_eq!(runtime.run_finalizers(), Ok(1));
        // The mutator was revoked, as the call has kept it.
        let (other, window) = KEPT.take().unwrap();
        drop(other);
        let closed = runtime.enter(|m| m.alloc_in(&window).map(|object| object.addr()));
        let closed = closed.unwrap();
        assert!(
            matches!(closed, Err(AllocError::ClosedWindow { .. })),
            "{closed:?}"
        );
        window
    };
    for _ in 0..50 {
        let runtime = build();
        let taken = runtime.enter(|m| m.alloc_in(&kept).map(|object| object.addr()));
        assert_eq!(taken.unwrap(), Err(AllocError::ForeignWindow));
    }
}

/// A mutator that has gone still names, in its window, the block that it had before the last
/// collection. By now that block is another window's.
#[test]
fn a_window_that_ends_leaves_the_block_of_another_one() {
    let runtime = Runtime::builder()
        .heap(HeapOptions::default().poison(true))
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let types = runtime.types();
    let ty = types
        .define("main.T", "struct { P *main.T; N int }")
        .unwrap();
    let mut first = runtime.attach().unwrap();
    let window = first.window(ty).unwrap();
    let kept = first.root(first.alloc_in(&window).unwrap()).unwrap();
    first.gc().unwrap();
    let first = first.park();

    let second = runtime.attach_beside().unwrap();
    let its_window = second.window(ty).unwrap();
    let made = second.alloc_in(&its_window).unwrap().addr();
    assert_eq!(made & !0xffff, kept.addr() & !0xffff, "the same block");
    let untaken = made + its_window.stride();
    assert!(second.adopt(untaken).is_err());
    drop((first, window));
    let found = second.adopt(untaken);
    assert!(found.is_err(), "nobody has taken it: {found:?}");
}
