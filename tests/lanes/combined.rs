//! Features that meet: lent mutators with cancelling and with the watchdog, exits and shutdowns
//! beside drains and under load, declared orders with calls that fail, hooks that panic.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fing::ends::ExitPolicy;
use fing::error::ExecutorError;
use fing::executor::{Budget, Lane, MailboxOptions};
use fing::failure::{FailurePolicy, Watchdog};
use fing::{
    Abi, CallStage, Executor, FinalizerFn, FinalizerOptions, FinalizerState, Mutator, Order,
    Runtime,
};

use super::vm::{LONG, Vm};
use super::{
    ALL, Door, Log, doom, drained, logging, manual, number, rust, sorted, until, with_pool,
};

/// What VM code does with its object: a closure that it finds by its context would be in the place
/// of the mutator, so it is found here.
static VM_CODE: Mutex<Option<Arc<Body>>> = Mutex::new(None);

/// Held by a test as long as it uses `VM_CODE`.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

type Body = dyn Fn(&mut Mutator, usize) + Send + Sync;

extern "C-unwind" fn vm_code(object: usize, mutator: &mut Mutator) {
    let body = VM_CODE.lock().unwrap().clone().unwrap();
    body(mutator, object);
}

/// The same body as a Rust closure, and as VM code that is lent the mutator.
fn both(vm: &Vm, body: Arc<Body>) -> [FinalizerFn; 2] {
    *VM_CODE.lock().unwrap() = Some(body.clone());
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap()).takes_mutator();
    // SAFETY: I8: a C function of a pointer and the mutator.
    let code = unsafe { builder.free_threaded().at(vm_code as *const ()) };
    [rust(vm, move |m, object| body(m, object.addr())), code]
}

/// A call that is lent the mutator cancels all calls of its own run, and those in blocks that wait;
/// none of them is made, and a collection meanwhile frees their objects.
#[test]
fn calls_that_are_lent_a_mutator_are_cancelled() {
    let _alone = alone();
    for kind in 0..2 {
        let vm = Vm::with(manual());
        let (log, addresses) = (Log::default(), Arc::new(Mutex::new(Vec::new())));
        let door = Door::default();
        let (to, all, at) = (log.clone(), addresses.clone(), door.clone());
        let body = move |m: &mut Mutator, object: usize| {
            let number = m.load_word(m.adopt(object).unwrap(), 0).unwrap();
            to.lock().unwrap().push(number);
            let all: Vec<usize> = all.lock().unwrap().clone();
            if to.lock().unwrap().len() == 1 {
                // The first call that runs cancels itself in vain, and every other one.
                for (n, &addr) in (0_u64..).zip(&all) {
                    let stage = match n == number {
                        true => CallStage::Running,
                        false => CallStage::Queued,
                    };
                    let state = m.clear_finalizer(m.adopt(addr).unwrap()).unwrap();
                    assert_eq!(state, FinalizerState::Cleared(stage), "{n}");
                }
                m.native(|| at.pass());
            }
        };
        let finalizer = both(&vm, Arc::new(body))[kind].clone();
        for number in 0..600 {
            let addr = vm.doomed(number, |m, object| {
                m.set_finalizer(object, &finalizer).unwrap();
                object.addr()
            });
            addresses.lock().unwrap().push(addr);
        }
        let ticket = vm.runtime.gc().unwrap();
        std::thread::scope(|scope| {
            let draining = scope.spawn(|| vm.runtime.drain(ALL).unwrap());
            door.wait_for(1);
            // A collection in the middle: what was cancelled is dropped from the roots.
            vm.runtime.gc().unwrap();
            door.open();
            let drained = draining.join().unwrap();
            assert_eq!((drained.calls, drained.left), (1, 0));
        });
        ticket.wait(LONG).unwrap();
        assert_eq!(log.lock().unwrap().len(), 1);
        let stats = vm.runtime.stats();
        assert_eq!(
            (stats.executed, stats.cancelled, stats.discarded),
            (1, 599, 0)
        );
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
        vm.runtime.verify_heap().unwrap();
    }
}

/// A call that is stuck with a lent mutator is taken over from: the others are lent one on another
/// thread, collections happen meanwhile, and the mutator of the one that returns last is whole.
#[test]
fn a_call_that_is_lent_a_mutator_is_taken_over_from() {
    let _alone = alone();
    for kind in 0..2 {
        let watchdog = Watchdog::new(Duration::from_millis(5)).hand_over(4);
        let vm = Vm::with(Runtime::builder().watchdog(watchdog));
        let (log, door) = (Log::default(), Door::default());
        let (to, at, t) = (log.clone(), door.clone(), vm.t);
        let body = move |m: &mut Mutator, object: usize| {
            let number = m.load_word(m.adopt(object).unwrap(), 0).unwrap();
            if number % 300 == 150 {
                m.native(|| at.pass());
            }
            let object = m.adopt(object).unwrap();
            assert_eq!(m.load_word(object, 0), Ok(number));
            m.alloc(t).unwrap();
            to.lock().unwrap().push(number);
        };
        let finalizer = both(&vm, Arc::new(body))[kind].clone();
        for number in 0..900 {
            vm.doomed(number, |m, object| {
                m.set_finalizer(object, &finalizer).unwrap();
            });
        }
        let ticket = vm.runtime.gc().unwrap();
        until("the others have run", || log.lock().unwrap().len() == 897);
        for _ in 0..3 {
            vm.runtime.gc().unwrap();
        }
        assert_eq!(vm.runtime.stats().misuses, 0);
        door.open();
        ticket.wait(LONG).unwrap();
        assert_eq!(sorted(&log), (0..900).collect::<Vec<_>>());
        until("the threads that were stuck have left", || {
            let stats = vm.runtime.stats();
            (stats.mutators, stats.stuck) == (0, 0)
        });
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.stuck, stats.misuses), (900, 0, 0));
        vm.runtime.gc().unwrap();
        vm.runtime.verify_heap().unwrap();
    }
}

/// An exit beside a drain of another thread: in time it lists what is left, with the call that is
/// running; with time enough everything is run, by the thread that drains.
#[test]
fn an_exit_beside_a_drain() {
    for policy in [
        ExitPolicy::Nothing,
        ExitPolicy::Queued,
        ExitPolicy::Topological,
    ] {
        for enough in [false, true] {
            let vm = Vm::with(manual());
            let (log, door) = (Log::default(), Door::default());
            let (to, at) = (log.clone(), door.clone());
            let finalizer = rust(&vm, move |m, object| {
                let number = number(m, object);
                to.lock().unwrap().push(number);
                if to.lock().unwrap().len() == 1 {
                    m.native(|| at.pass());
                }
            });
            let root = vm.rooted();
            vm.enter(|m| m.set_finalizer(m.get(&root).unwrap(), &finalizer).unwrap());
            for number in 1..=600 {
                vm.doomed(number, |m, object| {
                    m.set_finalizer(object, &finalizer).unwrap()
                });
            }
            vm.runtime.gc().unwrap();
            let (report, drained) = std::thread::scope(|scope| {
                let draining = scope.spawn(|| vm.runtime.drain(ALL).unwrap());
                door.wait_for(1);
                if enough {
                    let door = door.clone();
                    let runtime = vm.runtime.clone();
                    scope.spawn(move || {
                        // Or else the calls behind it would begin before they are dropped.
                        until("the exit has begun", || match policy {
                            ExitPolicy::Nothing => runtime.stats().discarded > 0,
                            _ => runtime.mailbox(<_>::default()).is_err(),
                        });
                        door.open();
                    });
                }
                let time = if enough {
                    LONG
                } else {
                    Duration::from_millis(20)
                };
                let report = vm.runtime.exit(policy, time).unwrap();
                door.open();
                (report, draining.join().unwrap())
            });
            let made = log.lock().unwrap().len() as u64;
            let of = |stage| {
                report
                    .not_run
                    .iter()
                    .filter(|left| left.stage == stage)
                    .count()
            };
            let registered = usize::from(policy != ExitPolicy::Topological);
            assert_eq!(of(CallStage::Registered), registered);
            if enough && policy != ExitPolicy::Nothing {
                assert_eq!(made, 601 - registered as u64);
                assert_eq!((of(CallStage::Queued), of(CallStage::Running)), (0, 0));
            } else {
                assert_eq!(made, 1, "{policy:?}");
                assert_eq!(of(CallStage::Running), 1);
                assert_eq!(of(CallStage::Queued), 600 - registered);
            }
            assert!(drained.calls <= made);
            assert_eq!(vm.runtime.stats().executed, made);
        }
    }
}

/// A call that fails and is queued again, of an object that another one is to be finalized after:
/// in Go's order the other one waits for it; in topological order first attempts keep the order.
#[test]
fn a_declared_order_with_calls_that_fail() {
    for order in [Order::Go, Order::Topological] {
        let vm = Vm::with(
            manual()
                .order(order)
                .failure_policy(FailurePolicy::Requeue(2)),
        );
        let log = Log::default();
        let to = log.clone();
        let finalizer = rust(&vm, move |m, object| {
            let number = number(m, object);
            let mut log = to.lock().unwrap();
            let before = log.iter().filter(|&&other| other == number).count();
            log.push(number);
            drop(log);
            assert!(number % 2 == 1 || before == 2, "connections fail twice");
        });
        vm.enter(|m| {
            for pair in 0..50 {
                let connection = m.alloc(vm.t).unwrap();
                let statement = m.alloc(vm.t).unwrap();
                m.store_word(connection, 0, 2 * pair).unwrap();
                m.store_word(statement, 0, 2 * pair + 1).unwrap();
                m.set_finalizer(connection, &finalizer).unwrap();
                m.set_finalizer(statement, &finalizer).unwrap();
                m.finalize_after(statement, connection).unwrap();
            }
        });
        for _ in 0..4 {
            vm.runtime.gc().unwrap();
            vm.runtime.run_finalizers().unwrap();
        }
        let log = log.lock().unwrap().clone();
        let at = |wanted: u64| {
            let places = (0..log.len()).filter(|&n| log[n] == wanted);
            places.collect::<Vec<_>>()
        };
        for pair in 0..50 {
            let (connection, statement) = (at(2 * pair), at(2 * pair + 1));
            assert_eq!((connection.len(), statement.len()), (3, 1));
            let before = match order {
                Order::Topological => connection[0],
                _ => connection[2],
            };
            assert!(
                before < statement[0],
                "{order:?}: {connection:?} {statement:?}"
            );
        }
        let stats = vm.runtime.stats();
        assert_eq!(
            (stats.executed, stats.failed, stats.requeued),
            (200, 100, 100)
        );
    }
}

/// A hook that panics whenever it is told, also on the thread that queues a failed call again, and
/// while another lane is to be told.
#[test]
fn a_hook_for_due_calls_that_panics() {
    let told = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let (first, second) = (told.clone(), told.clone());
    let vm = Vm::with(
        manual()
            .failure_policy(FailurePolicy::Requeue(1))
            .on_due(move || {
                first[0].fetch_add(1, SeqCst);
                panic!("the executor's");
            }),
    );
    let mailbox = vm
        .runtime
        .mailbox(MailboxOptions::new().on_due(move || {
            second[1].fetch_add(1, SeqCst);
            panic!("the mailbox's");
        }))
        .unwrap();
    let failing = rust(&vm, |_, _| panic!("a call"));
    doom(&vm, 0..1, &failing, Lane::Executor);
    doom(&vm, 1..2, &failing, mailbox.lane());
    let ticket = vm.runtime.gc().unwrap();
    assert_eq!(told.each_ref().map(|told| told.load(SeqCst)), [1, 1]);
    assert_eq!(vm.runtime.run_finalizers(), Ok(2));
    // The call that was queued again was told to its own lane only.
    assert_eq!(told.each_ref().map(|told| told.load(SeqCst)), [2, 1]);
    assert_eq!(drained(&mailbox, ALL), (2, 0));
    assert_eq!(told.each_ref().map(|told| told.load(SeqCst)), [2, 2]);
    ticket.wait(LONG).unwrap();
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.failed, stats.restarts), (4, 4, 0));
}

/// Sets a flag when it is dropped.
struct Ending<'f>(&'f AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// A shutdown with any deadline, from none to longer than the work, while threads register, collect
/// and drain, in every executor with a pool and a mailbox: it returns in time or when the
/// calls that are running have returned, and in the end each call has one fate.
#[test]
fn a_shutdown_under_load_with_any_deadline() {
    for executor in [Executor::Thread, Executor::Inline, Executor::Manual] {
        for round in 0..8 {
            let deadline = Duration::from_micros([0, 1, 50, 400, 3_000, 20_000][round % 6]);
            let drain = round % 2 == 0;
            let vm = Vm::with(with_pool(Runtime::builder().executor(executor), 2));
            let (finalizer, log) = logging(&vm);
            let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
            let over = AtomicBool::new(false);
            let registered = AtomicU64::new(0);
            std::thread::scope(|scope| {
                // Ends the others also if an assertion fails.
                let _end = Ending(&over);
                for thread in 0..2_u64 {
                    let (vm, finalizer, mailbox) = (&vm, &finalizer, &mailbox);
                    let (over, registered) = (&over, &registered);
                    scope.spawn(move || {
                        for number in 0_u64.. {
                            if over.load(SeqCst) {
                                break;
                            }
                            let lane =
                                [Lane::Executor, Lane::Pool, mailbox.lane()][(number % 3) as usize];
                            let set = vm.doomed(number, |m, object| {
                                let options = FinalizerOptions::new().lane(lane);
                                m.set_finalizer_with(object, finalizer, options).is_ok()
                            });
                            registered.fetch_add(u64::from(set), SeqCst);
                            match number % 50 {
                                0 => drop(vm.runtime.gc().unwrap()),
                                1 => _ = mailbox.drain(Budget::unlimited().calls(thread)),
                                2 if executor == Executor::Manual => _ = vm.runtime.drain(ALL),
                                _ => {}
                            }
                        }
                    });
                }
                until("calls were made", || log.lock().unwrap().len() > 50);
                match vm.runtime.shutdown(drain, deadline) {
                    Ok(_) => {}
                    Err(ExecutorError::Timeout { .. }) => {
                        vm.runtime.shutdown(false, LONG).unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
                let made = log.lock().unwrap().len();
                assert!(vm.runtime.mailbox(MailboxOptions::new()).is_err());
                vm.runtime.gc().unwrap();
                until("nobody else drains", || {
                    mailbox.drain(ALL).is_ok_and(|drained| drained.calls == 0)
                });
                assert_eq!(log.lock().unwrap().len(), made, "a call after the end");
            });
            vm.runtime.gc().unwrap();
            let calls = vm.runtime.stats().finalizer_calls;
            assert_eq!((calls.waiting, calls.running, calls.registered), (0, 0, 0));
            assert_eq!(calls.executed, log.lock().unwrap().len() as u64);
            assert_eq!(calls.executed + calls.discarded, registered.load(SeqCst));
            vm.runtime.verify_heap().unwrap();
        }
    }
}
