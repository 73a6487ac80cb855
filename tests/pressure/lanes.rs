//! Calls in mailboxes and of the pool are part of the backlog.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use fing::executor::{BacklogAction, BacklogBound, Lane, MailboxOptions, Pool};
use fing::{FinalizerFn, FinalizerOptions, Mutator, Runtime};

use super::{ALL, bounds, make, manual, take, telling};
use crate::vm::{LONG, Vm};

/// A finalizer that may be called on any thread.
fn anywhere(vm: &Vm, body: impl Fn(&mut Mutator) + Send + Sync + 'static) -> FinalizerFn {
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    FinalizerFn::from_rust(signature, move |m, _| body(m))
}

/// Drops so many objects with 10 external bytes each, whose calls are made in this lane.
fn doom(vm: &Vm, finalizer: &FinalizerFn, lane: Lane, calls: u64) {
    for number in 0..calls {
        let options = FinalizerOptions::new().external_bytes(10).lane(lane);
        vm.doomed(number, |m, object| {
            m.set_finalizer_with(object, finalizer, options).unwrap();
        });
    }
}

/// The calls and external bytes of the backlog.
fn backlog(vm: &Vm) -> (u64, usize) {
    let backlog = vm.runtime.stats().backlog;
    (backlog.calls, backlog.external_bytes)
}

/// Bounds are of all lanes together; what a mailbox drops when it is closed, and what would be due
/// in it later, is no part of the backlog.
#[test]
fn the_backlog_is_that_of_all_lanes() {
    let builder = bounds(5).into_iter().fold(manual(), |builder, bound| {
        builder.bound_backlog(bound, BacklogAction::Refuse)
    });
    let (vm, told) = telling(builder);
    let nothing = anywhere(&vm, |_| ());
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    doom(&vm, &nothing, Lane::Executor, 3);
    vm.runtime.gc().unwrap();
    doom(&vm, &nothing, mailbox.lane(), 3);
    assert_eq!((backlog(&vm), take(&told)), ((3, 30), vec![]));
    vm.runtime.gc().unwrap();
    let found: Vec<_> = take(&told).iter().map(|e| e.found).collect();
    let wanted = [BacklogBound::Calls(6), BacklogBound::ExternalBytes(60)];
    assert_eq!((backlog(&vm), &found[..]), ((6, 60), &wanted[..]));
    vm.doomed(0, |m, object| {
        assert!(m.set_finalizer(object, &nothing).is_err());
    });
    // One call in either lane is enough to be within the bounds.
    assert_eq!(mailbox.drain(ALL.calls(1)).unwrap().calls, 1);
    doom(&vm, &nothing, mailbox.lane(), 4);
    vm.runtime.gc().unwrap();
    assert_eq!(backlog(&vm), (9, 90));
    make(&vm, 1);
    assert_eq!(mailbox.drain(ALL.calls(4)).unwrap().calls, 4);
    doom(&vm, &nothing, mailbox.lane(), 7);
    drop(mailbox);
    assert_eq!(backlog(&vm), (2, 20));
    vm.runtime.gc().unwrap();
    assert_eq!(backlog(&vm), (2, 20));
    let stats = vm.runtime.stats();
    assert_eq!(
        (stats.refused, stats.executed, stats.discarded),
        (1, 6, 2 + 7)
    );
}

/// A mailbox that nobody empties grows old without any change of the queue: the next registration
/// sees it, in whatever lane, until the owner has come.
#[test]
fn a_mailbox_that_nobody_empties_grows_old() {
    let age = Duration::from_millis(5);
    let (vm, told) = telling(manual().bound_backlog(BacklogBound::Age(age), BacklogAction::Refuse));
    let nothing = anywhere(&vm, |_| ());
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    doom(&vm, &nothing, mailbox.lane(), 1);
    vm.runtime.gc().unwrap();
    std::thread::sleep(2 * age);
    vm.doomed(0, |m, object| {
        assert!(m.set_finalizer(object, &nothing).is_err());
    });
    let told = take(&told);
    assert!(
        matches!(&told[..], [exceeded] if exceeded.bound == BacklogBound::Age(age)),
        "{told:?}"
    );
    assert_eq!(mailbox.drain(ALL).unwrap().calls, 1);
    vm.doomed(0, |m, object| m.set_finalizer(object, &nothing).unwrap());
    assert_eq!(vm.runtime.stats().refused, 1);
}

/// A mailbox that nobody empties holds up no thread that assists.
#[test]
fn no_thread_waits_for_a_mailbox() {
    let bound = BacklogBound::Calls(0);
    let vm = Vm::with(Runtime::builder().bound_backlog(bound, BacklogAction::Assist(ALL)));
    let nothing = anywhere(&vm, |_| ());
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    doom(&vm, &nothing, mailbox.lane(), 3);
    vm.runtime.gc().unwrap();
    assert_eq!(vm.enter(Mutator::assist), 0);
    assert_eq!(backlog(&vm), (3, 30));
    assert_eq!(mailbox.drain(ALL).unwrap().calls, 3);
    assert_eq!(backlog(&vm), (0, 0));
}

/// A thread that assists waits for the pool's threads as it does for the executor's.
#[test]
fn threads_wait_for_the_pool() {
    let (began, begins) = channel();
    let (go, goes) = channel::<()>();
    let goes = Mutex::new(goes);
    let bound = BacklogBound::Calls(0);
    let vm = Vm::with(
        Runtime::builder()
            .pool(Pool::new(2.try_into().unwrap()))
            .bound_backlog(bound, BacklogAction::Assist(ALL.time(LONG))),
    );
    let waits = anywhere(&vm, move |m| {
        began.send(()).unwrap();
        m.native(|| _ = goes.lock().unwrap().recv());
    });
    doom(&vm, &waits, Lane::Pool, 6);
    vm.runtime.gc().unwrap();
    for _ in 0..2 {
        begins.recv_timeout(LONG).unwrap();
    }
    assert_eq!(backlog(&vm).0, 4);
    std::thread::scope(|scope| {
        let (enters, entered) = channel();
        let vm = &vm;
        let assisting = scope.spawn(move || {
            vm.enter(|m| {
                enters.send(()).unwrap();
                m.assist();
            });
            backlog(vm).0
        });
        entered.recv_timeout(LONG).unwrap();
        // Not before the thread waits in a native region.
        vm.runtime.gc().unwrap();
        drop(go);
        assert_eq!(assisting.join().unwrap(), 0, "all have begun");
    });
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(backlog(&vm), (0, 0));
}
