//! Go's TestFinalizerRegisterABI, ported: finalizers with a pointer and with an interface argument,
//! by the register ABI of every size, called by the finalizer goroutine. In a subprocess each, so
//! that one run sees nothing of another.

#[path = "support/child.rs"]
mod child;

use std::sync::atomic::Ordering;
use std::time::Duration;

use fing::stubs::seed::{self, Observation};
use fing::{Abi, Arch, FinalizerFn, Handle, Runtime, TypeId};

/// The machine whose register ABI this is.
fn host() -> Arch {
    Arch::host().unwrap()
}

/// How a finalizer is registered.
#[derive(Clone, Copy, PartialEq)]
enum Registration {
    /// For the ABI of one register count.
    Fixed,
    /// To follow the runtime's count.
    Following,
}

fn run_in_a_subprocess(test: &str, count: u8) {
    let output = child::run(test, &count.to_string());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{count} registers: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains(&format!("confirmed -1 and -2 with {count} registers")),
        "{count} registers:\n{text}"
    );
}

/// `main.Tint` is a number, `main.TintPointer` a struct of a pointer to one, and `main.Tinter` the
/// interface that pointers to it implement.
struct Types {
    tint: TypeId,
    tint_pointer: TypeId,
}

fn types(runtime: &Runtime) -> Types {
    let types = runtime.types();
    let tint = types.define("main.Tint", "int").unwrap();
    let tint_pointer = types
        .define("main.TintPointer", "struct { P *main.Tint }")
        .unwrap();
    types.define("main.Tinter", "interface{ M() }").unwrap();
    types
        .add_method("*main.TintPointer", "M", "func()", 0)
        .unwrap();
    Types { tint, tint_pointer }
}

/// A tint pointer whose number is `value`.
fn allocate(runtime: &Runtime, types: &Types, value: i64) -> Handle {
    runtime
        .enter(|mutator| {
            let number = mutator.alloc(types.tint).unwrap();
            mutator.store_word(number, 0, value as u64).unwrap();
            let object = mutator.alloc(types.tint_pointer).unwrap();
            mutator.store_ref(object, 0, Some(number)).unwrap();
            mutator.root(object).unwrap()
        })
        .unwrap()
}

/// The seed callee of this case, made for the register count `count`, or one for each count.
fn function(
    runtime: &Runtime,
    registration: Registration,
    interface: bool,
    count: u8,
    seen: &Observation,
) -> FinalizerFn {
    let parameter = if interface {
        "main.Tinter"
    } else {
        "*main.TintPointer"
    };
    let text = format!("func({parameter}) (int, float32, [10]uint8)");
    let signature = runtime.types().parse_signature(&text).unwrap();
    let callee = if interface {
        seed::interface
    } else {
        seed::pointer
    };
    let code = |count| callee(count).unwrap() as *const ();
    match registration {
        Registration::Fixed => {
            let abi = Abi::go(host()).with_int_arg_regs(count.into()).unwrap();
            // SAFETY: I8: the callee for this count, with its observation as context, which
            // outlives the runtime.
            unsafe {
                FinalizerFn::builder(signature, abi)
                    .context(seen.context())
                    .at(code(count))
            }
        }
        Registration::Following => {
            let codes: Vec<_> = (0..=seed::MAX_INT_ARG_REGS).map(code).collect();
            let builder =
                FinalizerFn::following_int_arg_regs(signature, host()).context(seen.context());
            // SAFETY: I8: a callee for each count, with its observation as context, which outlives
            // the runtime.
            unsafe { builder.at_each(&codes).unwrap() }
        }
    }
}

fn register_abi(registration: Registration) {
    let Some(count) = counts().find(|count| child::is_child(&count.to_string())) else {
        return;
    };
    let observations: Vec<Observation> = [false, true]
        .map(|interface| {
            if interface {
                seed::interface(count)
            } else {
                seed::pointer(count)
            }
        })
        .map(|code| Observation::new(code.unwrap()))
        .into();
    let runtime = Runtime::new().unwrap();
    let types = types(&runtime);

    // Clear latent finalizers, and wait until the goroutine, if there is one, is parked.
    runtime.gc().unwrap();
    runtime.gc().unwrap();
    for _ in 0..100 {
        if runtime.finalizer_goroutine_asleep() || runtime.stats().queued == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = runtime.set_int_arg_regs(count.into()).unwrap();
    assert_eq!(before, usize::from(seed::MAX_INT_ARG_REGS));

    for (interface, seen) in [false, true].into_iter().zip(&observations) {
        let object = allocate(&runtime, &types, if interface { -2 } else { -1 });
        let function = function(&runtime, registration, interface, count, seen);
        runtime
            .enter(|mutator| {
                let object = mutator.get(&object).unwrap();
                mutator.set_finalizer(object, &function).unwrap();
            })
            .unwrap();
        drop(object);
        runtime.gc().unwrap();
        runtime.gc().unwrap();
        runtime
            .block_until_finalizer_queue_empty(Duration::from_secs(60))
            .unwrap();
    }
    assert_eq!(
        runtime.set_int_arg_regs(before).unwrap(),
        usize::from(count)
    );

    for seen in &observations {
        assert_eq!(seen.faults(), []);
        assert_eq!(
            (seen.calls(), seen.int_arg_regs.load(Ordering::Relaxed)),
            (1, count.into())
        );
    }
    let [pointer, interface] = [0, 1].map(|n: usize| observations[n].confirmed());
    println!("confirmed {pointer} and {interface} with {count} registers");
}

#[test]
fn child_fixed() {
    register_abi(Registration::Fixed);
}

#[test]
fn child_following() {
    register_abi(Registration::Following);
}

/// The seed's own case first: all of the machine's registers. Then none, and everything between.
fn counts() -> impl Iterator<Item = u8> {
    std::iter::once(seed::MAX_INT_ARG_REGS).chain(0..seed::MAX_INT_ARG_REGS)
}

#[test]
fn finalizer_register_abi() {
    for count in counts() {
        run_in_a_subprocess("child_fixed", count);
    }
}

#[test]
fn finalizer_that_follows_the_register_count() {
    for count in counts() {
        run_in_a_subprocess("child_following", count);
    }
}

/// Two runtimes of one process, each with its own count, at the same time.
#[test]
fn two_runtimes_with_different_register_counts() {
    let observe = |count: u8| Box::new(Observation::new(seed::pointer(count).unwrap()));
    let observations = [0u8, 5].map(observe);
    std::thread::scope(|scope| {
        for (count, seen) in [0u8, 5].into_iter().zip(&observations) {
            scope.spawn(move || {
                let runtime = Runtime::builder()
                    .int_arg_regs(count.into())
                    .build()
                    .unwrap();
                let types = types(&runtime);
                let function = function(&runtime, Registration::Following, false, count, seen);
                for round in 0..50 {
                    let object = allocate(&runtime, &types, -round - 1);
                    let set = runtime.enter(|mutator| {
                        let object = mutator.get(&object).unwrap();
                        mutator.set_finalizer(object, &function)
                    });
                    set.unwrap().unwrap();
                    drop(object);
                    runtime.gc().unwrap();
                    runtime
                        .block_until_finalizer_queue_empty(Duration::from_secs(60))
                        .unwrap();
                    assert_eq!(seen.confirmed(), -round - 1);
                }
                runtime.shutdown(true, Duration::from_secs(60)).unwrap();
            });
        }
    });
    for (count, seen) in [0u64, 5].into_iter().zip(&observations) {
        assert_eq!(
            (
                seen.faults(),
                seen.calls(),
                seen.int_arg_regs.load(Ordering::Relaxed)
            ),
            (vec![], 50, count)
        );
    }
}

/// A finalizer that changes the count does not change the drain it is part of.
#[test]
fn the_count_is_read_once_per_drain() {
    extern "C" fn raise(_object: usize, runtime: &Runtime) {
        runtime.set_int_arg_regs(7).unwrap();
    }
    let runtime = Runtime::builder()
        .executor(fing::Executor::Inline)
        .int_arg_regs(2)
        .build()
        .unwrap();
    let types = types(&runtime);
    let signature = runtime
        .types()
        .parse_signature("func(*main.TintPointer)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(&raw const runtime as usize);
    // SAFETY: I8: a C function of a pointer and its context, which outlives the finalizer.
    let raise = unsafe { builder.at(raise as *const ()) };
    for count in [2u8, 7] {
        let seen = Observation::new(seed::pointer(count).unwrap());
        let follow = function(&runtime, Registration::Following, false, count, &seen);
        // Last in, first out: the second object's finalizer runs first.
        for finalizer in [&follow, &raise] {
            let object = allocate(&runtime, &types, -3);
            let set = runtime.enter(|m| m.set_finalizer(m.get(&object).unwrap(), finalizer));
            set.unwrap().unwrap();
        }
        runtime.gc().unwrap();
        assert_eq!(runtime.run_finalizers().unwrap(), 2);
        assert_eq!(runtime.int_arg_regs(), 7);
        assert_eq!(
            (seen.faults(), seen.calls(), seen.confirmed()),
            (vec![], 1, -3)
        );
    }
}
