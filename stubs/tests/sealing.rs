//! When code memory can be written, as the kernel says.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fing_stubs::{
    Abi, CacheOptions, CodePolicy, GBlock, Record, Stub, StubCache, StubError, WriteAccess,
};

/// What the kernel allows at both addresses of a stub: at the executable one, and before it, where
/// the writable alias has as many bytes.
fn access(stub: &Stub) -> [String; 2] {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let entry = stub.entry().unwrap();
    let regions: Vec<(usize, usize, &str)> = maps
        .lines()
        .map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            (number(start), number(end), &rest[..3])
        })
        .collect();
    let holds = |address: usize| {
        let mut found = regions.iter().filter(|r| (r.0..r.1).contains(&address));
        found.next().unwrap()
    };
    let executable = holds(entry);
    let alias = holds(entry - CAPACITY);
    [executable.2.to_owned(), alias.2.to_owned()]
}

const CAPACITY: usize = 1 << 20;

fn cache(options: CacheOptions) -> StubCache {
    StubCache::new(options.arena_capacity(CAPACITY)).unwrap()
}

fn stub(cache: &StubCache, results: usize) -> Result<Arc<Stub>, StubError> {
    let signature = format!("func(*int) [{}]int", results + 3);
    let signature = signature.parse().unwrap();
    cache.for_signature(&signature, Abi::host_native().unwrap())
}

extern "C" fn counts(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Runs a stub once, with a function whose result nobody looks at.
fn runs(cache: &StubCache) {
    let signature = "func(*int)".parse().unwrap();
    let stub = cache.for_signature(&signature, Abi::host_native().unwrap());
    let counter = AtomicUsize::new(0);
    let record = Record {
        code: counts as *const () as usize,
        context: 0,
        words: [&raw const counter as u64, 0],
    };
    // SAFETY: I8: a C function of one pointer, to a counter that lives.
    unsafe { stub.unwrap().run_all(&[record], &GBlock::zeroed()) };
    assert_eq!(counter.into_inner(), 1);
}

#[test]
fn the_alias_is_there_when_it_was_asked_for() {
    let always = cache(CacheOptions::default());
    assert_eq!(access(&stub(&always, 1).unwrap()), ["r-x", "rw-"]);
    let options = CacheOptions::default().write_access(WriteAccess::WhilePublishing);
    let publishing = cache(options);
    let held: Vec<_> = (0..20).map(|n| stub(&publishing, n).unwrap()).collect();
    assert_eq!(access(&held[0]), ["r-x", "---"]);
    let bytes = publishing.stats().code_bytes;
    let first = held[0].clone();
    drop(held);
    publishing.trim();
    // Memory is freed in this mode too, and used again.
    assert!(publishing.stats().code_bytes < bytes / 2);
    for n in 0..20 {
        stub(&publishing, n).unwrap();
    }
    assert_eq!(publishing.stats().code_bytes, bytes);
    assert_eq!(access(&first), ["r-x", "---"]);
    runs(&publishing);
}

#[test]
fn a_sealed_cache_has_no_alias_and_runs_what_it_has() {
    for write_access in [WriteAccess::Always, WriteAccess::WhilePublishing] {
        let cache = cache(CacheOptions::default().write_access(write_access));
        let held = stub(&cache, 1).unwrap();
        runs(&cache);
        assert!(cache.seal().unwrap());
        assert!(cache.seal().unwrap(), "again");
        assert_eq!(access(&held), ["r-x", "---"]);
        runs(&cache);
        let error = stub(&cache, 9).unwrap_err();
        assert!(matches!(error, StubError::Sealed) && error.is_environment());
        // What is dropped now keeps its memory, with the code in it.
        let bytes = cache.stats().code_bytes;
        assert_eq!(cache.trim(), 1);
        assert_eq!(cache.stats().code_bytes, bytes);
        drop(cache);
    }
}

#[test]
fn what_is_sealed_falls_back_if_that_is_allowed() {
    let options = CacheOptions::default().policy(CodePolicy::GenerateOrInterpret);
    for is_made in [false, true] {
        let cache = cache(options.clone());
        if is_made {
            assert!(stub(&cache, 1).unwrap().is_generated());
        }
        assert!(cache.seal().unwrap());
        assert!(!stub(&cache, 2).unwrap().is_generated());
        assert_eq!(cache.stats().fallbacks, 1);
    }
    let interpreting = cache(CacheOptions::default().policy(CodePolicy::Interpret));
    assert!(interpreting.seal().unwrap());
    assert!(stub(&interpreting, 2).is_ok());
}

/// Threads make and drop stubs while another seals: each stub is whole or refused, and in the end
/// there is no alias.
#[test]
fn sealing_under_threads_that_publish() {
    for write_access in [WriteAccess::Always, WriteAccess::WhilePublishing] {
        let cache = cache(CacheOptions::default().write_access(write_access));
        let (first, made) = (stub(&cache, 100).unwrap(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..4 {
                let (cache, made) = (&cache, &made);
                scope.spawn(move || {
                    for round in 0.. {
                        match stub(cache, thread * 8 + round % 8) {
                            Ok(stub) => assert!(stub.is_generated()),
                            Err(error) => {
                                assert!(matches!(error, StubError::Sealed), "{error}");
                                break;
                            }
                        }
                        made.fetch_add(1, Ordering::Relaxed);
                        cache.trim();
                    }
                });
            }
            while made.load(Ordering::Relaxed) < 200 {
                thread::yield_now();
            }
            cache.seal().unwrap();
        });
        assert!(cache.seal().unwrap());
        assert_eq!(access(&first), ["r-x", "---"]);
        runs_sealed(&cache, &first);
    }
}

/// A sealed cache still finds what it has, and nothing else.
fn runs_sealed(cache: &StubCache, held: &Arc<Stub>) {
    assert!(Arc::ptr_eq(held, &stub(cache, 100).unwrap()));
    assert!(matches!(stub(cache, 5000), Err(StubError::Sealed)));
}
