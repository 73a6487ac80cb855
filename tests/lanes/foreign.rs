//! The lanes of a collector that is the embedder's: its finalizers and cleanups run in mailboxes
//! and in the pool as those of the embedded heap do.

use std::collections::HashMap;
use std::sync::{Barrier, Mutex};
use std::thread::{self, ThreadId};

use fing::executor::{Lane, MailboxOptions, Pool};
use fing::failure::Handling;
use fing::foreign::{Finalizers, Scope};
use fing::{Abi, CleanupFn, Executor, FinalizerFn, FinalizerOptions, HeldValue};

use super::{ALL, drained};
use crate::numbers::NoneReached;
use crate::vm::LONG;

/// Which thread has made the call of each number. Those of the pool meet, two at a time.
#[derive(Default)]
struct Calls {
    threads: Mutex<HashMap<usize, ThreadId>>,
    meeting: Option<Barrier>,
}

impl Calls {
    fn add(&self, number: usize) {
        let before = self
            .threads
            .lock()
            .unwrap()
            .insert(number, thread::current().id());
        assert_eq!(before, None, "{number}");
        if let Some(meeting) = &self.meeting {
            meeting.wait();
        }
    }
}

extern "C" fn called(number: usize, calls: &Calls) {
    calls.add(number);
}

/// The function that adds its calls there, as a finalizer and as a cleanup.
fn functions(calls: &'static Calls) -> (FinalizerFn, CleanupFn) {
    let signature = || "func(uintptr)".parse().unwrap();
    let native = Abi::host_native().unwrap();
    let context = std::ptr::from_ref(calls).expose_provenance();
    let finalizer = FinalizerFn::builder(signature(), native)
        .context(context)
        .free_threaded();
    let cleanup = CleanupFn::builder(signature(), native)
        .context(context)
        .free_threaded();
    let code = called as extern "C" fn(usize, &Calls) as *const ();
    // SAFETY: I8: a C function of a number and its context, which is never freed.
    unsafe { (finalizer.at(code), cleanup.at(code)) }
}

/// Six finalizers and cleanups of objects from `first` on, in one lane.
fn doom(finalizers: &Finalizers<usize>, first: usize, lane: Lane, calls: &'static Calls) {
    let (finalizer, cleanup) = functions(calls);
    for number in first..first + 3 {
        let options = FinalizerOptions::new().lane(lane);
        // SAFETY: I16: numbers are no objects.
        unsafe { finalizers.set_finalizer_with(number, &finalizer, options) }.unwrap();
        let held = HeldValue::Word(100 + number as u64);
        // SAFETY: I16: as above.
        unsafe { finalizers.add_cleanup_with(number, &cleanup, held, Handling::new().lane(lane)) }
            .unwrap();
    }
}

fn leaked(meeting: Option<Barrier>) -> &'static Calls {
    Box::leak(Box::new(Calls {
        meeting,
        ..Calls::default()
    }))
}

#[test]
fn each_lane_makes_its_calls() {
    let finalizers = Finalizers::<usize>::builder()
        .executor(Executor::Thread)
        .pool(Pool::new(2.try_into().unwrap()))
        .build()
        .unwrap();
    let mailbox = finalizers.mailbox(MailboxOptions::new()).unwrap();
    let [executor, owner] = [leaked(None), leaked(None)];
    let pool = leaked(Some(Barrier::new(2)));
    doom(&finalizers, 0, Lane::Executor, executor);
    doom(&finalizers, 10, mailbox.lane(), owner);
    doom(&finalizers, 20, Lane::Pool, pool);
    // SAFETY: I16: no finalizer follows a number.
    unsafe { finalizers.collect(Scope::Full, &mut NoneReached { external_bytes: 0 }, |_| ()) }
        .unwrap();
    let ticket = finalizers.finish().ticket;
    assert_eq!(mailbox.due(), 6);
    assert_eq!(drained(&mailbox, ALL.calls(2)), (2, 4));
    assert_eq!(drained(&mailbox, ALL), (4, 0));
    ticket.wait(LONG).unwrap();
    assert_eq!(ticket.outstanding_by_lane(), []);

    let here = thread::current().id();
    for (calls, first) in [(executor, 0), (owner, 10), (pool, 20)] {
        let mut numbers: Vec<_> = calls.threads.lock().unwrap().keys().copied().collect();
        numbers.sort_unstable();
        let all = [0, 1, 2, 100, 101, 102].map(|number| first + number);
        assert_eq!(numbers, all);
    }
    let threads = |calls: &Calls| {
        let mut threads = Vec::from_iter(calls.threads.lock().unwrap().values().copied());
        threads.sort_unstable_by_key(|id| format!("{id:?}"));
        threads.dedup();
        threads
    };
    let (executors, pools) = (threads(executor), threads(pool));
    assert_eq!(threads(owner), [here]);
    assert_eq!((executors.len(), pools.len()), (1, 2));
    assert!(!executors.contains(&here), "{executors:?}");
    assert!(!pools.contains(&here), "{pools:?}");
    assert!(!pools.contains(&executors[0]));
    let stats = finalizers.stats();
    assert_eq!((stats.executed, stats.discarded), (18, 0));
}

/// What no owner came for is discarded with the mailbox, at an end too.
#[test]
fn a_mailbox_that_is_dropped_or_left() {
    for drops in [true, false] {
        let finalizers = Finalizers::<usize>::new().unwrap();
        let mailbox = finalizers.mailbox(MailboxOptions::new()).unwrap();
        let calls = leaked(None);
        doom(&finalizers, 0, mailbox.lane(), calls);
        // SAFETY: I16: no finalizer follows a number.
        unsafe { finalizers.collect(Scope::Full, &mut NoneReached { external_bytes: 0 }, |_| ()) }
            .unwrap();
        let ticket = finalizers.finish().ticket;
        if drops {
            drop(mailbox);
        } else {
            finalizers.shutdown(false, LONG).unwrap();
            assert_eq!(drained(&mailbox, ALL), (0, 0));
        }
        let discarded = fing::error::ExecutorError::Discarded { calls: 6 };
        assert_eq!(ticket.wait(LONG), Err(discarded));
        assert_eq!(calls.threads.lock().unwrap().len(), 0);
        let stats = finalizers.stats();
        assert_eq!((stats.executed, stats.discarded), (0, 6));
    }
}
