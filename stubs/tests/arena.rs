//! Code memory: never writable and executable, dense, reused, left out of forks, one unwind entry
//! for many stubs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fing_stubs::{Abi, Arch, CacheOptions, GBlock, Record, Stub, StubCache, StubError};

/// Permissions and descriptions of this process's mappings.
fn mappings() -> Vec<(String, String)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = |line: &str| {
        let permissions = line.split_whitespace().nth(1).unwrap();
        (permissions.to_owned(), line.to_owned())
    };
    maps.lines().map(line).collect()
}

/// Stubs with as many different frames.
fn many(cache: &StubCache, count: u64) -> Vec<Arc<Stub>> {
    let stub = |n: u64| {
        let abi = if n.is_multiple_of(2) {
            Abi::go(Arch::host().unwrap())
        } else {
            Abi::host_native().unwrap()
        };
        let size = if n.is_multiple_of(2) {
            16 * (n + 1)
        } else {
            16 * (n + 2)
        };
        cache.for_signature(&format!("func(*int) [{size}]uint8").parse().unwrap(), abi)
    };
    let stubs = (0..count)
        .map(|n| stub(n % 400))
        .collect::<Result<Vec<_>, _>>();
    stubs.unwrap()
}

#[test]
fn no_mapping_is_writable_and_executable() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let made = AtomicBool::new(false);
    let check = || {
        let mut bad = mappings();
        bad.retain(|(p, _)| p.contains('w') && p.contains('x'));
        assert_eq!(bad, [], "writable and executable");
    };
    let stubs = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !made.load(Ordering::Relaxed) {
                check();
            }
        });
        let stubs = catch_unwind(AssertUnwindSafe(|| many(&cache, 100)));
        made.store(true, Ordering::Relaxed);
        stubs.unwrap()
    });
    check();
    assert!(stubs.iter().all(|stub| stub.is_generated()));
    let permissions: Vec<String> = mappings()
        .into_iter()
        .filter(|(_, name)| name.contains("fing-stubs"))
        .map(|(p, _)| p)
        .collect();
    assert!(
        permissions.iter().any(|p| p == "rw-s") && permissions.iter().any(|p| p == "r-xs"),
        "{permissions:?}"
    );
}

#[test]
fn bytes_are_used_again() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    drop(many(&cache, 100));
    let used = cache.stats().code_bytes;
    let entries = cache.stats().unwind_entries;
    for _ in 0..5 {
        assert!(cache.trim() > 0);
        assert_eq!(cache.stats().code_bytes, 0);
        drop(many(&cache, 100));
        assert_eq!(
            (cache.stats().code_bytes, cache.stats().unwind_entries),
            (used, entries)
        );
    }
}

/// One entry in the unwinder's registry for each way a stub can look to it, however many stubs
/// there are.
#[test]
fn few_unwind_entries_for_many_stubs() {
    extern "C-unwind" fn panics(_word: u64) {
        std::panic::resume_unwind(Box::new("from a callee"));
    }
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let stubs = many(&cache, 100);
    let plain = cache
        .for_signature(
            &"func(uint64)".parse().unwrap(),
            Abi::host_native().unwrap(),
        )
        .unwrap();
    let stats = cache.stats();
    assert!(
        stats.stubs > 30 && (1..=4).contains(&stats.unwind_entries),
        "{stats:?}"
    );
    let record = Record {
        code: panics as *const () as usize,
        context: 0,
        words: [0; 2],
    };
    // SAFETY: I5: the callee takes one word and may unwind.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
        plain.run_all(&[record], &GBlock::zeroed())
    }));
    assert_eq!(
        *outcome.unwrap_err().downcast::<&str>().unwrap(),
        "from a callee"
    );
    drop(stubs);
}

#[test]
fn a_full_arena_is_an_error() {
    let cache = StubCache::new(CacheOptions::default().arena_capacity(1)).unwrap();
    cache
        .for_signature(&"func(*int)".parse().unwrap(), Abi::host_native().unwrap())
        .unwrap();
    // The smallest arena is one region, and a region holds code that unwinders see alike.
    let error = cache
        .for_signature(
            &"func(*int)".parse().unwrap(),
            Abi::go(Arch::host().unwrap()),
        )
        .unwrap_err();
    assert!(matches!(error, StubError::ArenaFull { .. }), "{error}");
    assert!(
        error.to_string().contains("(the cache's arena capacity)"),
        "{error}"
    );
}

/// A forked child can neither use nor destroy its parent's code.
#[test]
fn a_fork_shares_no_code() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let signature = "func(*int)".parse().unwrap();
    drop(
        cache
            .for_signature(&signature, Abi::host_native().unwrap())
            .unwrap(),
    );
    let (other, abi) = (
        "func(int8)".parse().unwrap(),
        Abi::go(Arch::host().unwrap()),
    );
    // SAFETY: the child does what a child of threads may not rely on (it allocates), in a process
    // that has no lock held by another thread that matters: it exits at once, whatever happens.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: ends the child if it waits for a lock.
            unsafe { libc::alarm(30) };
            let made = cache.for_signature(&other, abi);
            let forked = matches!(made, Err(StubError::Forked { .. }));
            cache.trim();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(if forked { 0 } else { 1 }) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for the child just made.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the child's exit status");
        }
    }
    extern "C" fn add(counter: &std::cell::Cell<u64>) {
        counter.set(counter.get() + 1);
    }
    let counter = std::cell::Cell::new(0_u64);
    let record = Record {
        code: add as *const () as usize,
        context: 0,
        words: [&raw const counter as u64, 0],
    };
    let stub = cache
        .for_signature(&signature, Abi::host_native().unwrap())
        .unwrap();
    // SAFETY: I5: the callee takes a pointer to its counter.
    unsafe { stub.run_all(&[record], &GBlock::zeroed()) };
    assert_eq!(counter.get(), 1);
}

#[test]
fn threads_make_and_run_stubs_together() {
    extern "C" fn count(counter: &std::sync::atomic::AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let counter = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (cache, counter) = (&cache, &counter);
            scope.spawn(move || {
                for n in 0..40 {
                    let text = ["func(*int)", "func(*int) int"][usize::from(n % 3 == thread % 3)];
                    let stub = cache
                        .for_signature(&text.parse().unwrap(), Abi::host_native().unwrap())
                        .unwrap();
                    let record = Record {
                        code: count as *const () as usize,
                        context: 0,
                        words: [&raw const *counter as u64, 0],
                    };
                    // SAFETY: I5: the callee takes a pointer to its counter, and a result that it
                    // does not write is not looked at.
                    unsafe { stub.run_all(&[record], &GBlock::zeroed()) };
                    if n % 10 == 9 {
                        drop(stub);
                        cache.trim();
                    }
                }
            });
        }
    });
    assert_eq!(counter.load(Ordering::Relaxed), 4 * 40);
}
