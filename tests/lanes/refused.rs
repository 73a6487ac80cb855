//! Which functions may be called in which lane, and what is said of others.

use fing::error::{AddCleanupError, SetFinalizerError};
use fing::executor::{Lane, LaneError, MailboxOptions};
use fing::failure::Handling;
use fing::foreign::{Finalizers, RegisterError};
use fing::{Abi, CleanupFn, CleanupOptions, FinalizerFn, FinalizerOptions, HeldValue, Runtime};

use super::vm::Vm;
use super::{ALL, doom, drained, logging, manual, with_pool};

extern "C" fn nothing(_: usize) {}

/// Makes a function, declared as `declare` says.
fn function(
    vm: &Vm,
    declare: impl FnOnce(
        fing::function::FunctionBuilder<FinalizerFn>,
    ) -> fing::function::FunctionBuilder<FinalizerFn>,
) -> FinalizerFn {
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let builder = declare(FinalizerFn::builder(signature, Abi::host_native().unwrap()));
    // SAFETY: I8: it takes a word and does nothing.
    unsafe { builder.at(nothing as *const ()) }
}

/// Each way of registering refuses a lane that the function does not bear, and says why; what is
/// accepted is called there.
#[test]
fn lanes_and_functions() {
    let vm = Vm::with(with_pool(manual(), 1));
    let poor = Vm::with(manual());
    let stranger = Vm::with(manual());
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    let other = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    let foreign = stranger.runtime.mailbox(MailboxOptions::new()).unwrap();
    let plain = function(&vm, |builder| builder);
    let free = function(&vm, |builder| builder.free_threaded());
    let bound = function(&vm, |builder| builder.mailbox(mailbox.id()));
    let bound_and_free = function(&vm, |builder| builder.free_threaded().mailbox(mailbox.id()));
    let set = |function: &FinalizerFn, lane: Option<Lane>| {
        let handling = lane.map_or(Handling::new(), |lane| Handling::new().lane(lane));
        let prepared = vm.runtime.prepare_finalizer_with(vm.t, function, handling);
        let result = vm.doomed(0, |m, object| {
            let mut options = FinalizerOptions::new();
            if let Some(lane) = lane {
                options = options.lane(lane);
            }
            m.set_finalizer_with(object, function, options).map(drop)
        });
        let lane_error = |error| match error {
            SetFinalizerError::Lane(error) => error,
            error => panic!("{error}"),
        };
        assert_eq!(prepared.map(drop).map_err(lane_error), {
            result.as_ref().copied().map_err(|error| match error {
                SetFinalizerError::Lane(error) => *error,
                error => panic!("{error}"),
            })
        });
        result.map_err(lane_error)
    };
    let (pool, executor) = (Lane::Pool, Lane::Executor);
    let in_mailbox = mailbox.lane();
    let not_free = |found| Err(LaneError::NotFreeThreaded { found });
    let made_for = |found| {
        Err(LaneError::MadeForMailbox {
            found,
            wanted: mailbox.id(),
        })
    };
    for (function, lane, wanted) in [
        (&plain, None, Ok(())),
        (&plain, Some(executor), Ok(())),
        (&plain, Some(pool), not_free(pool)),
        (&plain, Some(in_mailbox), not_free(in_mailbox)),
        (&free, None, Ok(())),
        (&free, Some(executor), Ok(())),
        (&free, Some(pool), Ok(())),
        (&free, Some(in_mailbox), Ok(())),
        (&free, Some(foreign.lane()), Err(LaneError::OtherRuntime)),
        (&bound, None, Ok(())),
        (&bound, Some(in_mailbox), Ok(())),
        (&bound, Some(executor), made_for(executor)),
        (&bound, Some(pool), made_for(pool)),
        (&bound, Some(other.lane()), made_for(other.lane())),
        (&bound_and_free, None, Ok(())),
        (&bound_and_free, Some(pool), made_for(pool)),
    ] {
        // The second time the function is known.
        for _ in 0..2 {
            assert_eq!(set(function, lane), wanted, "{lane:?}");
        }
    }
    // Of the calls accepted: by the executor, in the mailbox, and the rest in the pool.
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.run_finalizers(), Ok(6));
    assert_eq!(drained(&mailbox, ALL), (8, 0));
    assert_eq!(drained(&other, ALL), (0, 0));
    vm.collect();
    assert_eq!(vm.runtime.stats().executed, 18);

    let free = function(&poor, |builder| builder.free_threaded());
    let refused = poor.doomed(0, |m, object| {
        let options = FinalizerOptions::new().lane(pool);
        m.set_finalizer_with(object, &free, options).unwrap_err()
    });
    assert!(
        matches!(refused, SetFinalizerError::Lane(LaneError::NoPool)),
        "{refused}"
    );
    let elsewhere = function(&poor, |builder| builder.mailbox(mailbox.id()));
    let refused = poor.doomed(0, |m, object| {
        m.set_finalizer(object, &elsewhere).unwrap_err()
    });
    assert!(
        matches!(refused, SetFinalizerError::Lane(LaneError::OtherRuntime)),
        "{refused}"
    );
    assert_eq!(
        refused.to_string(),
        "lane: found a mailbox of another runtime, wanted one of this runtime"
    );
}

/// Cleanups likewise, and those of a collector of the embedder's.
#[test]
fn lanes_and_cleanups() {
    let vm = Vm::with(with_pool(manual(), 1));
    let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
    let builder =
        || CleanupFn::builder("func(uint64)".parse().unwrap(), Abi::host_native().unwrap());
    // SAFETY: I8: they take a word and do nothing.
    let [plain, free, bound] = [
        builder(),
        builder().free_threaded(),
        builder().mailbox(mailbox.id()),
    ]
    .map(|builder| unsafe { builder.at(nothing as *const ()) });
    let add = |cleanup: &CleanupFn, options: CleanupOptions<'_>| {
        vm.doomed(0, |m, object| {
            m.add_cleanup_with(object, cleanup, 1u64, options).map(drop)
        })
    };
    let refused = |result: Result<(), AddCleanupError>| match result {
        Err(AddCleanupError::Lane(error)) => error,
        result => panic!("{result:?}"),
    };
    let in_pool = CleanupOptions::new().lane(Lane::Pool);
    add(&plain, CleanupOptions::new()).unwrap();
    add(&free, in_pool).unwrap();
    add(&free, CleanupOptions::new().lane(mailbox.lane())).unwrap();
    add(&bound, CleanupOptions::new()).unwrap();
    assert_eq!(
        refused(add(&plain, in_pool)),
        LaneError::NotFreeThreaded { found: Lane::Pool }
    );
    assert_eq!(
        refused(add(&bound, in_pool)),
        LaneError::MadeForMailbox {
            found: Lane::Pool,
            wanted: mailbox.id()
        }
    );
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.run_finalizers(), Ok(1));
    assert_eq!(drained(&mailbox, ALL), (2, 0));
    vm.collect();
    assert_eq!(vm.runtime.stats().cleanup_calls.executed, 4);

    let finalizers = Finalizers::<usize>::new().unwrap();
    // SAFETY: I16: the object is not followed.
    let added = unsafe {
        let options = Handling::new().lane(mailbox.lane());
        finalizers.add_cleanup_with(16, &free, HeldValue::Word(1), options)
    };
    let error = added.unwrap_err();
    assert!(
        matches!(error, RegisterError::Lane(LaneError::OtherRuntime)),
        "{error}"
    );
    // SAFETY: I16: as above.
    let added = unsafe {
        finalizers.add_cleanup_with(
            16,
            &free,
            HeldValue::Word(1),
            Handling::new().lane(Lane::Pool),
        )
    };
    let error = added.unwrap_err();
    assert!(
        matches!(error, RegisterError::Lane(LaneError::NoPool)),
        "{error}"
    );
}

/// Mailboxes that come and go leave nothing behind.
#[test]
fn many_mailboxes() {
    let vm = Vm::with(Runtime::builder().executor(fing::Executor::Manual));
    let (finalizer, log) = logging(&vm);
    let kept: Vec<_> = (0..100)
        .map(|_| vm.runtime.mailbox(MailboxOptions::new()).unwrap())
        .collect();
    for _ in 0..10_000 {
        drop(vm.runtime.mailbox(MailboxOptions::new()).unwrap());
    }
    for (number, mailbox) in (0..).zip(&kept) {
        doom(&vm, [number], &finalizer, mailbox.lane());
    }
    vm.runtime.gc().unwrap();
    for mailbox in kept.iter().rev() {
        assert_eq!(drained(mailbox, ALL), (1, 0));
    }
    assert_eq!(*log.lock().unwrap(), (0..100).rev().collect::<Vec<_>>());
}
