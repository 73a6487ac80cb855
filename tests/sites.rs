//! Statistics by type, function and place of registration, held against a ledger and against the
//! sums that the runtime has.
#![cfg(target_os = "linux")]

use std::num::NonZeroU32;
use std::panic::Location;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use fing::executor::{Budget, DrainOrder, MailboxOptions};
use fing::failure::{FailurePolicy, Watchdog};
use fing::foreign::{Finalizers, Scope, Tracer};
use fing::observe::{CallStats, Listed, SiteStats, State};
use fing::{
    Abi, CleanupFn, CleanupOptions, Executor, FinalizerFn, FinalizerOptions, HeldValue, Runtime,
    TypeId,
};

#[path = "support/vm.rs"]
#[expect(
    dead_code,
    reason = "what finalizers and cleanups send is sent by closures here"
)]
mod vm;

use vm::{LONG, Vm};

fn manual() -> fing::RuntimeBuilder {
    Runtime::builder().executor(Executor::Manual)
}

/// The rows, after checking that they add up to the runtime's own statistics.
fn rows(vm: &Vm) -> Vec<SiteStats> {
    let (rows, stats) = (vm.runtime.stats_by_site().unwrap(), vm.runtime.stats());
    for (kind, wanted) in [
        (fing::failure::CallKind::Finalizer, stats.finalizer_calls),
        (fing::failure::CallKind::Cleanup, stats.cleanup_calls),
    ] {
        let mut sum = CallStats::default();
        for row in rows.iter().filter(|row| row.kind == kind) {
            sum += row.calls;
        }
        assert_eq!(sum, wanted, "{kind:?}");
    }
    let calls: u64 = rows.iter().map(|row| row.backlog.calls).sum();
    let external: usize = rows.iter().map(|row| row.backlog.external_bytes).sum();
    assert_eq!(calls, stats.backlog.calls);
    assert_eq!(external, stats.backlog.external_bytes);
    for row in &rows {
        assert_eq!(row.backlog.calls, row.calls.waiting);
        assert!(row.backlog.age <= stats.backlog.age || stats.backlog.calls == 0);
        assert_eq!(row.backlog.bytes > 0, row.backlog.calls > 0);
    }
    rows
}

fn at(rows: &[SiteStats], line: u32) -> SiteStats {
    let own = |row: &&SiteStats| row.site.is_some_and(|site| site.line() == line);
    let mut found = rows.iter().filter(own);
    let row = found.next().expect("a row of this site");
    assert!(found.next().is_none(), "one row of a site");
    assert_eq!(row.site.unwrap().file(), file!());
    row.clone()
}

/// Drops an object of this type.
fn doom(vm: &Vm, ty: TypeId, set: impl FnOnce(&fing::Mutator, fing::Obj<'_>)) {
    vm.enter(|m| set(m, m.alloc(ty).unwrap()));
}

#[test]
fn each_site_has_its_counts_in_every_state() {
    for order in [DrainOrder::Lifo, DrainOrder::Grouped] {
        let vm = Vm::with(manual().drain_order(order));
        let other = vm.runtime.types().define("main.Other", "struct { N int }");
        let other = other.unwrap();
        let any = vm.function("func(any)", |_| ());
        let fails = vm.function("func(*main.T)", |_| panic!("as wanted"));
        let cleanup = vm.cleanup("func(int)", |_| ());
        let mut lines = [0; 4];
        for n in 0..900 {
            // One function at two places, for two types.
            let options = FinalizerOptions::new().record_site();
            lines[0] = line!() - 1;
            doom(&vm, vm.t, |m, object| {
                m.set_finalizer_with(object, &any, options).unwrap();
                m.set_external_bytes(object, 3).unwrap();
            });
            if n % 3 == 0 {
                let options = FinalizerOptions::new().record_site();
                lines[1] = line!() - 1;
                doom(&vm, other, |m, object| {
                    m.set_finalizer_with(object, &any, options).unwrap();
                });
            }
            if n % 9 == 0 {
                let options = FinalizerOptions::new().failure(FailurePolicy::Requeue(2));
                let options = options.record_site();
                lines[2] = line!() - 1;
                doom(&vm, vm.t, |m, object| {
                    m.set_finalizer_with(object, &fails, options).unwrap();
                });
            }
            let options = CleanupOptions::new().record_site();
            lines[3] = line!() - 1;
            doom(&vm, vm.t, |m, object| {
                m.add_cleanup_with(object, &cleanup, 1, options).unwrap();
            });
        }
        let numbers = |row: &SiteStats| {
            let calls = row.calls;
            [
                calls.registered,
                calls.waiting,
                calls.executed,
                calls.failed,
            ]
        };
        let look = || lines.map(|line| numbers(&at(&rows(&vm), line)));
        let registered = |n| [n, 0, 0, 0];
        assert_eq!(look(), [900, 300, 100, 900].map(registered));
        vm.runtime.gc().unwrap();
        assert_eq!(look(), [900, 300, 100, 900].map(|n| [0, n, 0, 0]));
        let all = rows(&vm);
        let text = |row: SiteStats| {
            (
                row.pointer.map(|p| p.to_string()),
                row.signature.to_string(),
            )
        };
        let wanted = [
            (Some("*main.T"), "func(interface{})"),
            (Some("*main.Other"), "func(interface{})"),
            (Some("*main.T"), "func(*main.T)"),
            (None, "func(int)"),
        ];
        for (line, (pointer, signature)) in lines.into_iter().zip(wanted) {
            let found = text(at(&all, line));
            assert_eq!(found, (pointer.map(str::to_owned), signature.to_owned()));
        }
        let backlog = at(&all, lines[0]).backlog;
        assert_eq!((backlog.calls, backlog.external_bytes), (900, 2700));
        assert!(backlog.age > Duration::ZERO);
        assert!(all.is_sorted_by(|a, b| a.backlog.calls >= b.backlog.calls));
        // In the middle of a drain that cuts blocks.
        for _ in 0..3 {
            vm.runtime.drain(Budget::unlimited().calls(333)).unwrap();
            rows(&vm);
        }
        vm.runtime.run_finalizers().unwrap();
        // A call that fails is queued twice more, and counts at its own site.
        assert_eq!(
            look(),
            [
                [0, 0, 900, 0],
                [0, 0, 300, 0],
                [0, 0, 300, 300],
                [0, 0, 900, 0]
            ]
        );
    }
}

/// Calls of all lanes count at their site, also those that a mailbox drops when it is closed and
/// those that would be due in it later.
#[test]
fn calls_apart_from_the_executor_are_counted_at_their_site() {
    let vm = Vm::with(manual());
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let function = FinalizerFn::from_rust(signature, |_, _| ());
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    let (own, line) = (FinalizerOptions::new().record_site(), line!());
    let apart = FinalizerOptions::new().record_site().lane(mailbox.lane());
    let apart_line = line!() - 1;
    let make = |objects: u64| {
        for n in 0..objects {
            for options in [own, apart] {
                vm.doomed(n, |m, object| {
                    m.set_finalizer_with(object, &function, options).unwrap();
                });
            }
        }
    };
    let look = || {
        let all = rows(&vm);
        [line, apart_line].map(|line| {
            let calls = at(&all, line).calls;
            let past = (calls.executed, calls.discarded);
            (calls.registered, calls.waiting, past.0, past.1)
        })
    };
    make(700);
    assert_eq!(look(), [(700, 0, 0, 0); 2]);
    vm.runtime.gc().unwrap();
    assert_eq!(look(), [(0, 700, 0, 0); 2]);
    mailbox.drain(Budget::unlimited().calls(600)).unwrap();
    assert_eq!(look(), [(0, 700, 0, 0), (0, 100, 600, 0)]);
    make(10);
    drop(mailbox);
    assert_eq!(look(), [(10, 700, 0, 0), (10, 0, 600, 100)]);
    vm.runtime.gc().unwrap();
    assert_eq!(look(), [(0, 710, 0, 0), (0, 0, 600, 110)]);
    vm.runtime.run_finalizers().unwrap();
    assert_eq!(look(), [(0, 0, 710, 0), (0, 0, 600, 110)]);
}

#[test]
fn calls_that_are_not_made_are_counted_at_their_site() {
    let vm = Vm::with(manual());
    let nothing = vm.function("func(*main.T)", |_| ());
    let fails = vm.function("func(*main.T)", |_| panic!("as wanted"));
    let cleanup = vm.cleanup("func(int)", |_| ());
    let quarantine = FinalizerOptions::new().failure(FailurePolicy::Quarantine(2));
    let (quarantine, line) = (quarantine.record_site(), line!());
    let sited = FinalizerOptions::new().record_site();
    let sited_line = line!() - 1;
    for n in 0..40 {
        vm.doomed(n, |m, object| {
            let (function, options) = match n % 2 {
                0 => (&fails, quarantine),
                _ => (&nothing, sited),
            };
            m.set_finalizer_with(object, function, options).unwrap();
            m.add_cleanup(object, &cleanup, 1).unwrap();
        });
    }
    vm.runtime.gc().unwrap();
    // Cancelled: some by looking, and some by the index that is made later on.
    let list = vm.runtime.list().unwrap();
    let queued = |entry: &&Listed| entry.state == State::Queued;
    for entry in list.iter().filter(queued).take(20) {
        vm.enter(|m| m.clear_finalizer(m.adopt(entry.object).unwrap()).unwrap());
    }
    let cancelled = rows(&vm).iter().map(|row| row.calls.cancelled).sum::<u64>();
    let waiting = at(&rows(&vm), line).calls.waiting;
    assert_eq!((cancelled, vm.runtime.stats().backlog.calls), (20, 20));
    assert!(waiting > 2);
    vm.runtime.run_finalizers().unwrap();
    let all = rows(&vm);
    let calls = at(&all, line).calls;
    assert_eq!((calls.executed, calls.quarantined), (2, waiting - 2));
    assert_eq!((calls.failed, calls.waiting), (waiting, 0));
    assert_eq!(at(&all, sited_line).calls.failed, 0);
    vm.runtime.gc().unwrap();
    vm.runtime.drain(Budget::unlimited().calls(7)).unwrap();
    vm.runtime.shutdown(false, LONG).unwrap();
    let all = rows(&vm);
    let cleanups = all
        .iter()
        .find(|row| row.signature.to_string() == "func(int)");
    let cleanups = cleanups.unwrap();
    assert_eq!(
        (
            cleanups.site,
            cleanups.calls.executed,
            cleanups.calls.discarded
        ),
        (None, 7, 33)
    );
}

/// The call that runs, and one that another thread has taken over from, are counted where they were
/// registered.
#[test]
fn running_and_stuck_calls() {
    let ((began, begins), (go, goes)) = (channel(), channel::<()>());
    let goes = Mutex::new(goes);
    let watchdog = Watchdog::new(Duration::from_millis(20)).hand_over(1);
    let vm = Vm::with(Runtime::builder().watchdog(watchdog).on_failure(|_| ()));
    let stuck = vm.function("func(*main.T)", move |_| {
        began.send(()).unwrap();
        let _ = goes.lock().unwrap().recv();
    });
    let nothing = vm.function("func(*main.T)", |_| ());
    let (options, line) = (FinalizerOptions::new().record_site(), line!());
    for n in 0..9 {
        vm.doomed(n, |m, object| {
            match n {
                4 => m.set_finalizer_with(object, &stuck, options.external_bytes(7)),
                _ => m.set_finalizer(object, &nothing),
            }
            .unwrap();
        });
    }
    vm.runtime.gc().unwrap();
    begins.recv_timeout(LONG).unwrap();
    while vm.runtime.stats().executed < 8 {
        assert_eq!(
            at(&vm.runtime.stats_by_site().unwrap(), line).calls.running,
            1
        );
        std::thread::yield_now();
    }
    // Everything else has run, on another thread.
    let row = at(&rows(&vm), line);
    assert_eq!(
        (row.calls.running, row.calls.failed, row.calls.executed),
        (1, 1, 0)
    );
    assert_eq!(row.backlog.external_bytes, 7);
    drop(go);
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    let row = at(&rows(&vm), line);
    assert_eq!((row.calls.running, row.calls.executed), (0, 1));
}

/// The rows of functions that are gone are gone, and those that get their place begin at nothing.
#[test]
fn what_is_dropped_is_forgotten() {
    let vm = Vm::with(manual());
    for round in 1..=20 {
        let (dropped, drops) = channel::<()>();
        let function = vm.function("func(*main.T)", move |_| {
            let _ = &dropped;
        });
        for n in 0..round {
            vm.doomed(n, |m, object| {
                m.set_finalizer(object, &function).map(drop).unwrap()
            });
        }
        vm.runtime.gc().unwrap();
        vm.runtime.run_finalizers().unwrap();
        let all = vm.runtime.stats_by_site().unwrap();
        let executed: Vec<u64> = all.iter().map(|row| row.calls.executed).collect();
        assert_eq!(executed, [round]);
        drop(function);
        vm.runtime.gc().unwrap();
        assert_eq!(vm.runtime.stats_by_site().unwrap(), []);
        assert!(drops.try_recv().is_err(), "dropped by now");
    }
}

#[test]
fn the_longest_call_of_each_site() {
    let vm = Vm::with(manual().sample_calls(NonZeroU32::MIN));
    let sleeps = |time| {
        let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
        FinalizerFn::from_rust(signature, move |_, _| std::thread::sleep(time))
    };
    let [short, long] = [Duration::ZERO, Duration::from_millis(20)].map(sleeps);
    let sites: [&Location<'_>; 2] = [&short, &long].map(|function| {
        let options = FinalizerOptions::new().record_site();
        vm.doomed(0, |m, object| {
            m.set_finalizer_with(object, function, options)
                .map(drop)
                .unwrap()
        });
        let all = vm.runtime.stats_by_site().unwrap();
        let own = all.iter().find(|row| row.calls.registered == 1).unwrap();
        vm.collect();
        own.site.unwrap()
    });
    assert_eq!(sites[0], sites[1], "one place, two functions");
    let mut longest: Vec<_> = rows(&vm).iter().map(|row| row.longest.unwrap()).collect();
    longest.sort();
    assert!(longest[1] >= Duration::from_millis(20) && longest[0] < longest[1]);
    let times = vm.runtime.call_times().unwrap();
    assert_eq!(
        times.functions.len(),
        2,
        "closures have no address, and are told apart"
    );
    assert!(times.slowest.iter().all(|call| call.site == Some(sites[0])));
}

/// A collector that finds all objects dead but those that it has traced.
#[derive(Default)]
struct Traced(Vec<usize>);

// SAFETY: I16: there are no objects, only numbers, which finalizers do not follow.
unsafe impl Tracer for Traced {
    type Ref = usize;
    fn is_reached(&mut self, object: usize) -> bool {
        self.0.contains(&object)
    }
    fn trace(&mut self, object: usize) -> usize {
        self.0.push(object);
        object
    }
    fn children(&mut self, _: usize, _: &mut dyn FnMut(&mut Self, usize)) {}
}

#[test]
fn foreign_registrations_have_rows_too() {
    extern "C" fn nothing(_: usize) {}
    let finalizers = Finalizers::<usize>::builder().executor(Executor::Manual);
    let finalizers = finalizers.build().unwrap();
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: a C function of a number.
    let function = unsafe { builder.at(nothing as *const ()) };
    let builder = CleanupFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: as above.
    let cleanup = unsafe { builder.at(nothing as *const ()) };
    let (options, line) = (FinalizerOptions::new().record_site(), line!());
    for object in 1..=600 {
        // SAFETY: I16: the object is not followed.
        unsafe {
            finalizers
                .set_finalizer_with(16 * object, &function, options)
                .unwrap();
            let word = HeldValue::Word(object as u64);
            finalizers.add_cleanup(16 * object, &cleanup, word).unwrap();
        }
    }
    let numbers = || {
        let rows = finalizers.stats_by_site();
        assert_eq!(rows.len(), 2);
        let cleanups = rows.iter().find(|row| row.site.is_none()).unwrap().calls;
        let own = at(&rows, line);
        assert_eq!(
            (own.pointer, own.code),
            (None, nothing as *const () as usize)
        );
        [own.calls, cleanups].map(|calls| (calls.registered, calls.waiting, calls.executed))
    };
    assert_eq!(numbers(), [(600, 0, 0), (600, 0, 0)]);
    // SAFETY: I16: as above.
    unsafe { finalizers.collect(Scope::Full, &mut Traced::default(), |_| ()) }.unwrap();
    finalizers.finish();
    assert_eq!(numbers(), [(0, 600, 0), (600, 0, 0)]);
    finalizers.drain(Budget::unlimited().calls(100)).unwrap();
    assert_eq!(numbers(), [(0, 500, 100), (600, 0, 0)]);
    finalizers.run_finalizers().unwrap();
    assert_eq!(numbers(), [(0, 0, 600), (600, 0, 0)]);
}
