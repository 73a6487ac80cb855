//! Code of the user's that the cache runs: a subscriber of `tracing` and a logger, which use the
//! cache themselves or panic.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fing_stubs::{Abi, CacheOptions, CodePolicy, Stub, StubCache};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A cache whose arena is full from the start, so that each stub is a fallback and reported.
fn without_room() -> Arc<StubCache> {
    let cache = StubCache::new(
        CacheOptions::default()
            .policy(CodePolicy::GenerateOrInterpret)
            .arena_capacity(usize::MAX),
    );
    Arc::new(cache.unwrap())
}

/// The stub of functions with so many results.
fn stub(cache: &StubCache, results: usize) -> Arc<Stub> {
    let signature = format!("func(*int) [{results}]int").parse().unwrap();
    cache
        .for_signature(&signature, Abi::host_native().unwrap())
        .unwrap()
}

/// Runs `body` in a thread of its own; fails if it has not returned in a minute.
fn without_deadlock(body: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        body();
        done.send(()).unwrap();
    });
    match wait.recv_timeout(Duration::from_secs(300)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock"),
        _ => thread.join().unwrap(),
    }
}

/// Calls a function at each event.
struct Told<F>(F);

impl<F: Fn() + 'static> Subscriber for Told<F>
where
    F: Send + Sync,
{
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("fing_stubs")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        (self.0)();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_uses_the_cache() {
    without_deadlock(|| {
        let cache = without_room();
        let (own, events) = (cache.clone(), Arc::new(AtomicU32::new(0)));
        let seen = events.clone();
        let subscriber = Told(move || {
            let n = seen.fetch_add(1, Ordering::Relaxed);
            // The same stub, another one, which is reported as well, and everything else there is.
            assert!(!stub(&own, 1).is_generated());
            if n < 3 {
                // Not heard of: `tracing` sends a thread no event while it handles one.
                stub(&own, 100 << n);
            }
            assert!(own.stats().fallbacks > u64::from(n));
        });
        let held: Vec<Arc<Stub>> = tracing::subscriber::with_default(subscriber, || {
            [1, 10, 12, 14].map(|results| stub(&cache, results)).into()
        });
        assert_eq!((held.len(), events.load(Ordering::Relaxed)), (4, 4));
        assert_eq!((cache.stats().misses, cache.stats().fallbacks), (7, 7));
    });
}

#[test]
fn a_subscriber_that_panics_leaves_the_cache_whole() {
    without_deadlock(|| {
        let cache = without_room();
        let subscriber = Told(|| panic!("a subscriber's"));
        let result = tracing::subscriber::with_default(subscriber, || {
            catch_unwind(AssertUnwindSafe(|| stub(&cache, 1)))
        });
        assert!(result.is_err());
        assert_eq!((cache.stats().misses, cache.stats().fallbacks), (1, 1));
        // It is there, and others can be made.
        assert!(!stub(&cache, 1).is_generated());
        assert!(!stub(&cache, 20).is_generated());
        assert_eq!((cache.stats().hits, cache.stats().misses), (1, 2));
        assert_eq!(cache.trim(), 2);
    });
}

thread_local! {
    /// What this thread's logger does.
    static LOGGER: Cell<Option<fn()>> = const { Cell::new(None) };
    static CACHE: Cell<Option<&'static StubCache>> = const { Cell::new(None) };
    static RECORDS: Cell<u32> = const { Cell::new(0) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        LOGGER.get().is_some()
    }

    fn log(&self, _: &log::Record<'_>) {
        RECORDS.set(RECORDS.get() + 1);
        // Not again for the records of what it does itself.
        if let Some(run) = LOGGER.take() {
            run();
            LOGGER.set(Some(run));
        }
    }

    fn flush(&self) {}
}

/// Cranelift writes log records while it compiles and while it places code.
#[test]
fn a_logger_uses_the_cache() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    without_deadlock(|| {
        let cache: &'static StubCache =
            Box::leak(Box::new(StubCache::new(CacheOptions::default()).unwrap()));
        CACHE.set(Some(cache));
        LOGGER.set(Some(|| {
            let cache = CACHE.get().unwrap();
            let go = Abi::go(fing_stubs::Arch::host().unwrap());
            // The stub that is being made, and one that shares its veneer and its entrance.
            for text in ["func(*int) [9]int", "func(*int) [90]int"] {
                let signature = text.parse().unwrap();
                assert!(cache.for_signature(&signature, go).unwrap().is_generated());
            }
        }));
        let signature = "func(*int) [9]int".parse().unwrap();
        let go = Abi::go(fing_stubs::Arch::host().unwrap());
        let stub = cache.for_signature(&signature, go).unwrap();
        LOGGER.set(None);
        assert!(RECORDS.get() > 0, "Cranelift writes no records");
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.stubs), (2, 2));
        // What was made a second time is gone.
        let again = cache.for_signature(&signature, go).unwrap();
        assert!(Arc::ptr_eq(&stub, &again));
        assert!(stats.code_bytes <= 2 * stub.code_bytes(), "{stats:?}");

        LOGGER.set(Some(|| panic!("a logger's")));
        let other = "func(*int) [900]int".parse().unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| cache.for_signature(&other, go)));
        assert!(result.is_err());
        LOGGER.set(None);
        assert!(cache.for_signature(&other, go).unwrap().is_generated());
    });
}

/// Threads that want one stub at the same time get the same one.
#[test]
fn one_stub_for_all_threads() {
    let cache = Arc::new(StubCache::new(CacheOptions::default()).unwrap());
    let start = std::sync::Barrier::new(8);
    let stubs: Vec<Arc<Stub>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    stub(&cache, 5)
                })
            })
            .collect();
        let stubs = threads.into_iter().map(|thread| thread.join().unwrap());
        stubs.collect()
    });
    assert!(stubs.iter().all(|stub| Arc::ptr_eq(stub, &stubs[0])));
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits, stats.stubs), (1, 7, 1));
    assert_eq!(stats.code_bytes, stubs[0].code_bytes());
}
