//! Go's case of a callback with nine `uint32` and a collection inside of it, called by code of
//! gcc's by each convention of the host, which has values of its own across the call.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "../stubs/tests/support/gcc.rs"]
mod gcc;

use std::cell::Cell;
use std::rc::Rc;

use fing::stubs::entry::{Callback, CallbackOptions, Entries};
use fing::{Executor, FinalizerFn, Runtime};

/// Calls with nine numbers made of a seed, then puts what it had across the call behind the result.
const CALLER: &str = "
#include <stdint.h>
typedef ATTRIBUTE uint64_t F_NAME(uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t,
                                  uint32_t, uint32_t, uint32_t);
void call_NAME(F_NAME *f, uint32_t seed, uint64_t *to) {
    uint32_t a = seed * 3, b = seed * 5, c = seed * 7, d = seed * 11, e = seed * 13;
    double half = seed / 2.0;
    to[0] = f(a, b, c, d, e, a ^ b, b ^ c, c ^ d, d ^ e);
    to[1] = (uint64_t)a + b + c + d + e;
    to[2] = (uint64_t)(half * 2);
}
";

/// How many objects die in each call.
const DYING: u64 = 40;

#[test]
fn nine_numbers_with_a_collection_inside() {
    let source: String = gcc::conventions()
        .iter()
        .map(|(_, name)| {
            let attribute = format!("__attribute__(({name}))");
            CALLER
                .replace("ATTRIBUTE", &attribute)
                .replace("NAME", name)
        })
        .collect();
    let Some(symbol) = gcc::open("callbacks-collection", &source) else {
        return;
    };
    let runtime = Runtime::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let node = runtime
        .types()
        .define("main.Node", "struct { N uint64 }")
        .unwrap();
    let signature = runtime.types().parse_signature("func(*main.Node)").unwrap();
    let finalizer = FinalizerFn::from_rust(signature, |_, _| ());
    let kept = runtime.enter(|mutator| {
        let object = mutator.alloc(node).unwrap();
        mutator.store_word(object, 0, 1 << 40).unwrap();
        mutator.root(object).unwrap()
    });
    let kept = Rc::new(kept.unwrap());
    let entries = Entries::new(Default::default()).unwrap();
    let nine = ["uint32"; 9].join(", ");
    let signature = format!("func({nine}) uint64").parse().unwrap();
    for (abi, name) in gcc::conventions() {
        let calls = Rc::new(Cell::new(0u64));
        let (count, kept, vm, finalizer) = (
            calls.clone(),
            kept.clone(),
            runtime.clone(),
            finalizer.clone(),
        );
        let closure = move |call: &mut fing::stubs::entry::Call<'_>| {
            vm.enter(|mutator| {
                for _ in 0..DYING {
                    let object = mutator.alloc(node).unwrap();
                    mutator.set_finalizer(object, &finalizer).unwrap();
                }
            })
            .unwrap();
            let before = vm.stats().executed;
            vm.gc().unwrap();
            vm.run_finalizers().unwrap();
            assert_eq!(vm.stats().executed - before, DYING);
            let kept = vm.enter(|mutator| {
                let object = mutator.get(&kept).unwrap();
                mutator.load_word(object, 0).unwrap()
            });
            let sum = (0..9)
                .map(|n| u64::from(call.argument::<u32>(n).unwrap()))
                .sum::<u64>();
            call.set_result(0, kept.unwrap() + sum).unwrap();
            count.set(count.get() + 1);
        };
        let point = entries.point(&signature, abi).unwrap();
        let callback = Callback::at(&point, CallbackOptions::default(), closure).unwrap();
        type Caller = extern "C" fn(usize, u32, *mut u64);
        // SAFETY: the function above, with an entry of its signature and room for three words.
        let caller =
            unsafe { std::mem::transmute::<usize, Caller>(symbol(&format!("call_{name}"))) };
        for seed in [1, 0x1234_5678, u32::MAX, 0x8000_0001] {
            let mut found = [0; 3];
            caller(callback.address(), seed, found.as_mut_ptr());
            let [a, b, c, d, e] = [3, 5, 7, 11, 13].map(|by| seed.wrapping_mul(by));
            let sum = |all: &[u32]| all.iter().map(|&n| u64::from(n)).sum::<u64>();
            let result = (1 << 40) + sum(&[a, b, c, d, e, a ^ b, b ^ c, c ^ d, d ^ e]);
            assert_eq!(
                found,
                [result, sum(&[a, b, c, d, e]), seed.into()],
                "{name}, {seed:#x}"
            );
        }
        assert_eq!(calls.get(), 4, "{name}");
    }
}
