//! Mailboxes: who empties them, how that one is told, what becomes of those that nobody empties.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::ends::ExitPolicy;
use fing::error::{Closed, ExecutorError};
use fing::executor::{Lane, MailboxOptions};
use fing::{CallStage, Executor, FinalizerOptions, Runtime};

use super::vm::{LONG, Vm};
use super::{ALL, Door, doom, drained, logging, manual, rust, sorted};

/// A mailbox is drained on its owner's thread, in order and by budgets, while a call of the
/// executor blocks.
#[test]
fn a_mailbox_is_drained_beside_a_stuck_executor() {
    let vm = Vm::new();
    let door = Door::default();
    let at = door.clone();
    let stuck = vm.function("func(*main.T)", move |_| at.pass());
    let (finalizer, log) = logging(&vm);
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    doom(&vm, 0..1, &stuck, Lane::Executor);
    doom(&vm, 10..1510, &finalizer, mailbox.lane());
    let ticket = vm.runtime.gc().unwrap().ticket().clone();
    door.wait_for(1);
    assert_eq!(mailbox.due(), 1500);
    let mut left = 1500;
    for calls in [0, 1, 2, 510, 700] {
        left -= calls;
        assert_eq!(drained(&mailbox, ALL.calls(calls)), (calls, left));
        vm.runtime.gc().unwrap();
    }
    let by_lane = ticket.outstanding_by_lane();
    let counts = |of: Lane| {
        let found = by_lane.iter().find(|(lane, _)| *lane == of).unwrap().1;
        (found.queued, found.running)
    };
    assert_eq!(by_lane.len(), 2);
    assert_eq!(counts(Lane::Executor), (0, 1));
    assert_eq!(counts(mailbox.lane()), (left, 0));
    assert_eq!(drained(&mailbox, ALL), (left, 0));
    let numbers = log.lock().unwrap().clone();
    assert_eq!(sorted(&log), (10..1510).collect::<Vec<_>>());
    assert!(
        numbers.is_sorted() || numbers.is_sorted_by(|a, b| a > b),
        "one order"
    );
    door.open();
    ticket.wait(LONG).unwrap();
    assert_eq!(ticket.outstanding_by_lane(), []);
    assert_eq!(vm.runtime.stats().executed, 1501);
}

/// The thread that has drained a mailbox last drains it when it waits, in each way of waiting.
#[test]
fn an_owner_that_waits_drains_its_mailbox() {
    for executor in [Executor::Thread, Executor::Inline, Executor::Manual] {
        let build = || Vm::with(Runtime::builder().executor(executor));
        let vm = build();
        let (finalizer, log) = logging(&vm);
        let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
        let other = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
        assert_eq!(drained(&mailbox, ALL), (0, 0));
        doom(&vm, 0..100, &finalizer, mailbox.lane());
        doom(&vm, 100..200, &finalizer, Lane::Executor);
        vm.runtime.gc().unwrap().wait(LONG).unwrap();
        assert_eq!(log.lock().unwrap().len(), 200);
        doom(&vm, 200..300, &finalizer, mailbox.lane());
        vm.collect();
        assert_eq!(log.lock().unwrap().len(), 300);
        // One that this thread has not drained is waited for, and is not drained.
        doom(&vm, 300..301, &finalizer, other.lane());
        let waited = vm.runtime.gc().unwrap().wait(Duration::ZERO);
        assert!(
            matches!(waited, Err(ExecutorError::Timeout { due: 1, .. })),
            "{waited:?}"
        );
        assert_eq!(drained(&other, ALL), (1, 0));
        doom(&vm, 301..302, &finalizer, other.lane());
        doom(&vm, 302..303, &finalizer, mailbox.lane());
        vm.runtime.gc().unwrap();
        assert_eq!(vm.runtime.shutdown(true, LONG), Ok(0));
        assert_eq!(sorted(&log), (0..303).collect::<Vec<_>>());
        let refused = vm.runtime.mailbox(MailboxOptions::new());
        assert_eq!(refused.unwrap_err(), Closed::ShutDown);

        let vm = build();
        let (finalizer, log) = logging(&vm);
        let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
        assert_eq!(drained(&mailbox, ALL), (0, 0));
        doom(&vm, 0..50, &finalizer, mailbox.lane());
        let kept = vm.rooted();
        vm.enter(|m| {
            let options = FinalizerOptions::new().lane(mailbox.lane());
            m.set_finalizer_with(m.get(&kept).unwrap(), &finalizer, options)
                .unwrap();
        });
        vm.runtime.gc().unwrap();
        let report = vm.runtime.exit(ExitPolicy::Topological, LONG).unwrap();
        assert_eq!((report.executed, report.not_run), (51, vec![]));
        assert_eq!(log.lock().unwrap().len(), 51);
    }
}

/// An exit that nobody drains for lists what was in the mailbox.
#[test]
fn an_exit_lists_what_no_owner_came_for() {
    for policy in [ExitPolicy::Queued, ExitPolicy::Nothing] {
        let vm = Vm::new();
        let (finalizer, log) = logging(&vm);
        let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
        doom(&vm, 0..3, &finalizer, mailbox.lane());
        vm.runtime.gc().unwrap();
        let report = vm.runtime.exit(policy, Duration::ZERO).unwrap();
        assert_eq!(report.not_run.len(), 3);
        assert!(
            report
                .not_run
                .iter()
                .all(|left| left.stage == CallStage::Queued)
        );
        assert_eq!(drained(&mailbox, ALL), (0, 0));
        assert!(log.lock().unwrap().is_empty());
    }
}

/// What waits in a mailbox that is dropped, and what becomes due for it later, is counted and
/// freed; those who wait are woken and told. Nothing else is touched.
#[test]
fn a_dropped_mailbox_discards() {
    let vm = Vm::with(manual());
    let (finalizer, log) = logging(&vm);
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    let lane = mailbox.lane();
    doom(&vm, 0..700, &finalizer, lane);
    doom(&vm, 700..710, &finalizer, Lane::Executor);
    let collected = vm.runtime.gc().unwrap();
    assert_eq!(drained(&mailbox, ALL.calls(100)), (100, 600));
    let later = vm.rooted();
    vm.enter(|m| {
        let options = FinalizerOptions::new().lane(lane);
        m.set_finalizer_with(m.get(&later).unwrap(), &finalizer, options)
            .unwrap();
    });
    vm.runtime.run_finalizers().unwrap();
    std::thread::scope(|scope| {
        let ticket = collected.ticket().clone();
        let waiting = scope.spawn(move || ticket.wait(LONG));
        drop(mailbox);
        let told = waiting.join().unwrap();
        assert_eq!(told, Err(ExecutorError::Discarded { calls: 600 }));
    });
    assert_eq!(log.lock().unwrap().len(), 110);
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.discarded), (110, 600));
    // They are no longer roots.
    let freed = vm.runtime.gc().unwrap();
    assert_eq!(freed.freed_objects, 710);
    drop(later);
    let collected = vm.runtime.gc().unwrap();
    assert_eq!(
        collected.wait(LONG),
        Err(ExecutorError::Discarded { calls: 1 })
    );
    assert_eq!(vm.runtime.stats().discarded, 601);
    vm.runtime.gc().unwrap();
    vm.runtime.verify_heap().unwrap();
    // A new mailbox is another one.
    let new = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    assert_ne!(new.lane(), lane);
    doom(&vm, 0..1, &finalizer, new.lane());
    vm.runtime.gc().unwrap();
    assert_eq!(drained(&new, ALL), (1, 0));
    let stats = vm.runtime.stats().finalizer_calls;
    assert_eq!(stats.queued, stats.executed + stats.discarded);
}

/// Calls of a mailbox can be cancelled, before and after it was dropped.
#[test]
fn calls_of_a_mailbox_are_cancelled() {
    let vm = Vm::with(manual());
    let (finalizer, log) = logging(&vm);
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    let addresses: Vec<usize> = (0..100)
        .map(|number| {
            vm.doomed(number, |m, object| {
                let options = FinalizerOptions::new().lane(mailbox.lane());
                m.set_finalizer_with(object, &finalizer, options).unwrap();
                object.addr()
            })
        })
        .collect();
    let ticket = vm.runtime.gc().unwrap();
    let cancel = |addresses: &[usize]| {
        vm.enter(|m| {
            let stages = addresses
                .iter()
                .map(|&addr| m.clear_finalizer(m.adopt(addr).unwrap()));
            stages.map(Result::unwrap).collect::<Vec<_>>()
        })
    };
    let queued = fing::FinalizerState::Cleared(CallStage::Queued);
    assert!(
        cancel(&addresses[..30])
            .into_iter()
            .all(|state| state == queued)
    );
    assert_eq!(drained(&mailbox, ALL.calls(20)), (20, 50));
    assert_eq!(log.lock().unwrap().len(), 20);
    drop(mailbox);
    assert_eq!(
        ticket.wait(LONG),
        Err(ExecutorError::Discarded { calls: 50 })
    );
    let done = fing::FinalizerState::Cleared(CallStage::Done);
    assert!(cancel(&addresses).into_iter().all(|state| state == done));
    let stats = vm.runtime.stats();
    assert_eq!(
        (stats.executed, stats.cancelled, stats.discarded),
        (20, 30, 50)
    );
}

/// Hook and descriptor are those of the mailbox: calls of other lanes do not raise them.
#[test]
fn an_owner_is_told_of_its_own_calls() {
    let told = Arc::new(AtomicU64::new(0));
    let executor = Arc::new(AtomicU64::new(0));
    let (count, runtime_count) = (told.clone(), executor.clone());
    let vm = Vm::with(manual().on_due(move || _ = runtime_count.fetch_add(1, SeqCst)));
    let (finalizer, _) = logging(&vm);
    let options = MailboxOptions::new().on_due(move || {
        count.fetch_add(1, SeqCst);
        panic!("a hook");
    });
    let mailbox = vm.runtime.mailbox(options).unwrap();
    let due = mailbox.due_descriptor().unwrap();
    let readable = || {
        let mut poll = libc::pollfd {
            fd: due.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: I30: one whole pollfd.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    };
    doom(&vm, 0..10, &finalizer, Lane::Executor);
    vm.runtime.gc().unwrap();
    assert_eq!(
        (told.load(SeqCst), executor.load(SeqCst), readable()),
        (0, 1, false)
    );
    vm.runtime.run_finalizers().unwrap();
    doom(&vm, 0..10, &finalizer, mailbox.lane());
    vm.runtime.gc().unwrap();
    assert_eq!(
        (told.load(SeqCst), executor.load(SeqCst), readable()),
        (1, 1, true)
    );
    assert_eq!(drained(&mailbox, ALL.calls(4)), (4, 6));
    assert!(readable());
    assert_eq!(drained(&mailbox, ALL), (6, 0));
    assert!(!readable());
}

/// A call of a mailbox that drains it or waits is refused; one that drains another mailbox is not.
/// One thread at a time drains a mailbox.
#[test]
fn calls_that_drain() {
    let vm = Vm::with(manual());
    let mailbox = Arc::new(vm.runtime.mailbox(MailboxOptions::new()).unwrap());
    let other = Arc::new(vm.runtime.mailbox(MailboxOptions::new()).unwrap());
    let door = Door::default();
    let (nested, log) = logging(&vm);
    let (runtime, at) = (vm.runtime.downgrade(), door.clone());
    let (own, elsewhere) = (mailbox.clone(), other.clone());
    let finalizer = rust(&vm, move |m, _| {
        m.native(|| {
            let runtime = runtime.upgrade().unwrap();
            assert_eq!(own.drain(ALL), Err(ExecutorError::Reentered));
            let waited = runtime.block_until_finalizer_queue_empty(LONG);
            assert_eq!(waited, Err(ExecutorError::OnGoroutine));
            assert_eq!(
                runtime.shutdown(false, LONG),
                Err(ExecutorError::OnGoroutine)
            );
            assert_eq!(drained(&elsewhere, ALL), (1, 0));
            at.pass();
        });
    });
    doom(&vm, 0..1, &finalizer, mailbox.lane());
    doom(&vm, 7..8, &nested, other.lane());
    vm.runtime.gc().unwrap();
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| drained(&mailbox, ALL));
        door.wait_for(1);
        assert_eq!(mailbox.drain(ALL), Err(ExecutorError::Busy));
        assert_eq!(drained(&other, ALL), (0, 0));
        door.open();
        assert_eq!(draining.join().unwrap(), (1, 0));
    });
    assert_eq!(*log.lock().unwrap(), [7]);
    let mutator = vm.runtime.attach().unwrap();
    let held = mailbox.drain(ALL);
    assert!(
        matches!(held, Err(ExecutorError::HoldsMutator { .. })),
        "{held:?}"
    );
    drop(mutator);
}

/// A mailbox does not keep its runtime alive, and may outlive it.
#[test]
fn a_mailbox_outlives_its_runtime() {
    let vm = Vm::new();
    let (finalizer, log) = logging(&vm);
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    doom(&vm, 0..5, &finalizer, mailbox.lane());
    let collected = vm.runtime.gc().unwrap();
    let ticket = collected.ticket().clone();
    drop((vm, finalizer));
    assert_eq!(mailbox.drain(ALL), Err(ExecutorError::Gone));
    assert_eq!(mailbox.due(), 0);
    assert_eq!(
        ticket.wait(LONG),
        Err(ExecutorError::Discarded { calls: 5 })
    );
    assert!(log.lock().unwrap().is_empty());
    drop(mailbox);
}

/// The owner waits for calls, and another thread drops the mailbox while one of them is made: that
/// one ends as any call, its object being there, and those behind it are not made.
#[test]
fn a_mailbox_may_be_dropped_while_it_is_drained() {
    let vm = Vm::new();
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    let lane = mailbox.lane();
    // This thread is the owner.
    assert_eq!(drained(&mailbox, ALL), (0, 0));
    let (mailbox, runtime) = (Mutex::new(Some(mailbox)), vm.runtime.downgrade());
    let (calls, freed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (made, counted) = (calls.clone(), freed.clone());
    let finalizer = rust(&vm, move |m, _| {
        made.fetch_add(1, SeqCst);
        let Some(mailbox) = mailbox.lock().unwrap().take() else {
            return;
        };
        let drop_and_collect = || {
            drop(mailbox);
            let collected = runtime.upgrade().unwrap().gc().unwrap();
            counted.store(collected.freed_objects as u64, SeqCst);
        };
        m.native(|| std::thread::scope(|scope| drop(scope.spawn(drop_and_collect))));
    });
    doom(&vm, 0..3, &finalizer, lane);
    let waited = vm.runtime.gc().unwrap().wait(LONG);
    assert_eq!(waited, Err(ExecutorError::Discarded { calls: 2 }));
    let stats = vm.runtime.stats();
    let all = (calls.load(SeqCst), stats.executed, stats.discarded);
    assert_eq!(all, (1, 1, 2));
    assert_eq!(freed.load(SeqCst), 2, "all but the object of the call");
}

/// The hook of a mailbox drops it, and what the hook has captured panics when it goes: that is
/// caught, as is what any destructor of the embedder's does.
#[test]
fn a_hook_may_drop_its_mailbox() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a destructor"));
        }
    }
    let vm = Vm::with(manual());
    let own = Arc::new(Mutex::new(None));
    let (place, panics) = (own.clone(), Panics);
    let options = MailboxOptions::new().on_due(move || {
        let _panics = &panics;
        drop(place.lock().unwrap().take());
    });
    let mailbox = vm.runtime.mailbox(options).unwrap();
    let (finalizer, log) = logging(&vm);
    doom(&vm, 0..1, &finalizer, mailbox.lane());
    *own.lock().unwrap() = Some(mailbox);
    let collected = vm.runtime.gc().unwrap();
    assert!(own.lock().unwrap().is_none(), "the hook was called");
    let waited = collected.wait(LONG);
    assert_eq!(waited, Err(ExecutorError::Discarded { calls: 1 }));
    assert!(log.lock().unwrap().is_empty());
}
