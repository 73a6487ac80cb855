//! Many mutators of one thread, windows, stacks, and calls that a VM makes itself: each costs the
//! same however many there are.

use fing::executor::Due;
use fing::vm::{Parked, Stack, Window};
use fing::{Executor, FinalizerFn, Runtime};

use super::linear::{is_linear, is_linear_after};

#[test]
fn windows_of_a_mutator() {
    is_linear("growth::windows_of_a_mutator", 250, |count| {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        let all: Vec<Window> = (0..count)
            .map(|n| {
                let name = format!("main.T{n}");
                let ty = runtime.types().define(&name, "struct { N int }").unwrap();
                mutator.window(ty).unwrap()
            })
            .collect();
        for window in &all {
            let again = mutator.window(window.ty()).unwrap();
            assert_eq!(again.address(), window.address());
        }
    });
}

#[test]
fn mutators_with_windows_that_end() {
    is_linear("growth::mutators_with_windows_that_end", 250, |count| {
        let runtime = Runtime::new().unwrap();
        let word = runtime.types().id("uint64").unwrap();
        let one = || {
            let mutator = runtime.attach_beside().unwrap();
            mutator.window(word).unwrap();
            mutator.park()
        };
        let all: Vec<Parked> = (0..count).map(|_| one()).collect();
        all.into_iter().rev().for_each(drop);
        assert_eq!(runtime.stats().mutators, 0);
    });
}

/// What a thread does with one does not depend on how many it has set aside, or had before.
#[test]
fn mutators_that_take_turns() {
    is_linear("growth::mutators_that_take_turns", 250, |count| {
        let runtime = Runtime::new().unwrap();
        let one = || runtime.attach_beside().unwrap().park();
        let mut all: Vec<Parked> = (0..count).map(|_| one()).collect();
        for parked in &mut all {
            let next = std::mem::replace(parked, one());
            drop(next.resume().map_err(|(_, refusal)| refusal).unwrap());
        }
        drop(all);
        for _ in 0..count {
            runtime.enter(|_| ()).unwrap();
        }
    });
}

#[test]
fn stacks_that_end() {
    is_linear("growth::stacks_that_end", 500, |count| {
        let runtime = Runtime::new().unwrap();
        let frames = runtime.frames();
        let all: Vec<Stack> = (0..count).map(|_| frames.stack()).collect();
        all.into_iter().rev().for_each(drop);
    });
}

/// A VM that runs each finalizer on a goroutine of its own may have many in the middle of one.
#[test]
fn calls_that_were_handed_out_end() {
    let take = |count| {
        let builder = Runtime::builder().executor(Executor::Manual);
        let runtime = builder.build().unwrap();
        let word = runtime.types().id("uint64").unwrap();
        let finalizer = FinalizerFn::from_rust_of_any_object(|_, _| ());
        let register = || {
            let mutator = runtime.attach().unwrap();
            for _ in 0..count {
                let object = mutator.alloc(word).unwrap();
                mutator.set_finalizer(object, &finalizer).unwrap();
            }
        };
        register();
        runtime.gc().unwrap();
        let all: Vec<Due> = std::iter::from_fn(|| runtime.next_due().unwrap()).collect();
        assert_eq!(all.len(), count);
        (runtime, all)
    };
    let name = "growth::calls_that_were_handed_out_end";
    is_linear_after(name, 250, take, |(runtime, all)| {
        all.into_iter().rev().for_each(drop);
        assert_eq!(runtime.stats().executed, runtime.stats().queued);
    });
}

/// Globals are told from addresses that are nowhere, and weak pointers to them are forgotten.
#[test]
fn many_globals_are_linear() {
    is_linear("growth::many_globals_are_linear", 500, |count| {
        let runtime = Runtime::new().unwrap();
        let m = runtime.attach().unwrap();
        for n in 0..count {
            let start = (1 << 50) + 64 * n;
            runtime.add_global(start..start + 32);
            let weak = m.downgrade(start + 8).unwrap();
            assert_eq!(m.upgrade_addr(&weak), Ok(Some(start + 8)));
            assert!(m.downgrade(start + 40).is_err());
        }
    });
}
