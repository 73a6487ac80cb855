//! Two runtimes whose threads would wait for each other.

use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread::scope;

use fing::Runtime;
use fing::error::WorldError;

use super::vm::LONG;

fn is_deadlock<T>(result: &Result<T, WorldError>) -> bool {
    matches!(result, Err(WorldError::Deadlock { .. }))
}

/// Each thread runs with a mutator of one runtime and collects in the other.
#[test]
fn threads_that_collect_crosswise_are_told() {
    for _ in 0..20 {
        let [a, b] = [(); 2].map(|()| Runtime::new().unwrap());
        let (both, runtimes) = (Barrier::new(2), [&a, &b]);
        let results = scope(|scope| {
            let threads = [0, 1].map(|n| {
                let (both, runtimes) = (&both, &runtimes);
                scope.spawn(move || {
                    let mut mutator = runtimes[n].attach().unwrap();
                    both.wait();
                    let refused = runtimes[1 - n].gc().map(drop);
                    // As the error says: in a native region it can wait.
                    let again = mutator.native(|| runtimes[1 - n].gc().map(drop));
                    (refused, again)
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(
            results.iter().any(|(refused, _)| is_deadlock(refused)),
            "{results:?}"
        );
        for (refused, again) in results {
            assert!(refused.is_ok() || is_deadlock(&refused), "{refused:?}");
            assert_eq!(again, Ok(()));
        }
        assert_eq!((a.stats().mutators, b.stats().mutators), (0, 0));
    }
}

#[test]
fn the_error_says_what_to_do() {
    let error = WorldError::Deadlock {
        operation: "collect",
    };
    assert_eq!(
        error.to_string(),
        "collect: would wait for threads that wait for a mutator of another runtime, with which \
         this thread runs, wanted that one in a native region, or dropped"
    );
}

/// Waiting is no error as such: the other thread comes to its safepoint.
#[test]
fn a_thread_that_goes_on_is_waited_for() {
    let [a, b] = [(); 2].map(|()| Runtime::new().unwrap());
    let (ready, is_ready) = channel();
    let (done, is_done) = channel();
    scope(|scope| {
        let b = &b;
        scope.spawn(move || {
            let mut mutator = b.attach().unwrap();
            ready.send(()).unwrap();
            // Parked now and then, and running for most of the time.
            while is_done.try_recv().is_err() {
                mutator.safepoint();
            }
        });
        is_ready.recv_timeout(LONG).unwrap();
        let _mutator = a.attach().unwrap();
        for _ in 0..10 {
            b.gc().unwrap();
        }
        done.send(()).unwrap();
    });
}

/// A thread that leaves a native region can't be refused. Then one of the collections is.
#[test]
fn a_thread_that_has_to_go_on_does() {
    for _ in 0..10 {
        let [a, b] = [(); 2].map(|()| Runtime::new().unwrap());
        let (start, third_runs) = (Barrier::new(3), Barrier::new(2));
        let refused = scope(|scope| {
            // Runs with A; leaves a native region of B.
            let first = scope.spawn(|| {
                let _a = a.attach().unwrap();
                let mut mutator = b.attach().unwrap();
                mutator.native(|| {
                    third_runs.wait();
                    start.wait();
                    // Most often the two others wait by now; the result is the same if not.
                    std::thread::sleep(std::time::Duration::from_millis(20));
                });
                mutator.safepoint();
            });
            // Stops B, in which the third one runs.
            let second = scope.spawn(|| {
                start.wait();
                b.gc().map(drop)
            });
            // Runs with B, stops A.
            let third = scope.spawn(|| {
                third_runs.wait();
                let _b = b.attach().unwrap();
                start.wait();
                a.gc().map(drop)
            });
            first.join().unwrap();
            [second.join().unwrap(), third.join().unwrap()]
        });
        for result in &refused {
            assert!(result.is_ok() || is_deadlock(result), "{result:?}");
        }
    }
}
