//! What each host must get right, whatever its instruction set: code placed where other code was is
//! the code that runs, panics pass through stubs of every shape and leave the caller its registers,
//! and what the process may not have is an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicPtr;

use fing_stubs::{Abi, CacheOptions, CodePolicy, GBlock, Record, StubCache};

fn host_native() -> Abi {
    Abi::host_native().expect("a host with a C convention that is known")
}

extern "C" fn note_first(first: u64, seen: &Cell<u64>, _: f64) {
    seen.set(first);
}

/// Both signatures pass two words and a float in the same registers, in another order of the words
/// in memory, so their stubs differ in what they load. Stale instructions of the first would load
/// the first one's word.
#[test]
fn a_place_that_is_used_again_runs_the_new_code() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let signatures = [
        ("func(int64, float64, *int)", 5),
        ("func(float64, int64, *int)", 6),
    ];
    let (mut stale, mut places) = (0, std::collections::BTreeSet::new());
    for _ in 0..50 {
        for (text, wanted) in signatures {
            let seen = Cell::new(0_u64);
            let block: [u64; 3] = [5, 6, &raw const seen as u64];
            let stub = cache
                .call_stub(&text.parse().unwrap(), host_native())
                .unwrap();
            places.insert(stub.stub().entry());
            let (code, results) = (note_first as *const () as usize, std::ptr::null_mut());
            let block = block.as_ptr().cast();
            // SAFETY: I5: the function takes these three values in these registers.
            unsafe { stub.call(code, 0, block, results, &GBlock::zeroed()) }.unwrap();
            stale += u32::from(seen.get() != wanted);
            drop(stub);
            cache.trim();
        }
    }
    assert_eq!(stale, 0, "stale of 100 calls");
    assert!(
        places.len() <= 2,
        "{} places: none was used again",
        places.len()
    );
}

extern "C-unwind" fn panics(_: usize) {
    std::panic::resume_unwind(Box::new(7_u8));
}

#[test]
fn panics_pass_through_stubs_of_every_shape() {
    for policy in [CodePolicy::Generate, CodePolicy::Interpret] {
        let cache = StubCache::new(CacheOptions::default().policy(policy)).unwrap();
        for text in [
            "func(*int)",
            "func(*int) int",
            "func(**int, uint)",
            "func(**int, uint) int",
            "func(int, int, int, int, int, int, int, int, int)",
            "func(float64) float64",
            "func(*int) [4]int",
            "func(any)",
            "func(any) any",
        ] {
            panic_through(&cache, text);
        }
    }
}

/// Panics through the signature's stub a few times, with values of ours in as many registers as the
/// compiler likes to use.
fn panic_through(cache: &StubCache, text: &str) {
    let stub = cache
        .call_stub(&text.parse().unwrap(), host_native())
        .unwrap();
    let (arguments, mut results) = ([1_u64; 16], [0_u64; 16]);
    let mut live: [u64; 8] = std::array::from_fn(|n| std::hint::black_box(n as u64 + 1));
    let mut floats: [f64; 6] = std::array::from_fn(|n| std::hint::black_box(n as f64 + 0.5));
    for round in 1..4 {
        let record = Record {
            code: panics as *const () as usize,
            context: 0,
            words: [arguments.as_ptr() as u64, results.as_mut_ptr() as u64],
        };
        let progress = AtomicPtr::new(std::ptr::null_mut());
        let range = std::slice::from_ref(&record).as_ptr_range();
        let end = AtomicPtr::new(range.end.cast_mut());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: I5: the function reads none of its arguments, and panics.
            unsafe {
                stub.stub()
                    .run(range.start, &end, &progress, &GBlock::zeroed())
            }
        }));
        assert_eq!(*outcome.unwrap_err().downcast::<u8>().unwrap(), 7, "{text}");
        assert_eq!(progress.into_inner().cast_const(), range.start, "{text}");
        live = live.map(|n| n * 3 + round);
        floats = floats.map(|n| n * 2.0 + round as f64);
    }
    let wanted: [u64; 8] = std::array::from_fn(|n| 27 * (n as u64 + 1) + 9 + 6 + 3);
    assert_eq!(live, wanted, "{text}");
    let wanted: [f64; 6] = std::array::from_fn(|n| 8.0 * (n as f64 + 0.5) + 4.0 + 4.0 + 3.0);
    assert_eq!(floats, wanted, "{text}");
}

#[path = "../../tests/support/child.rs"]
mod child;

/// Under a limit on the size of files, making code memory is refused; the signal that the kernel
/// would send does not end the process.
#[test]
fn a_limit_on_files_is_an_error() {
    if child::is_child("limit") {
        let limit = libc::rlimit {
            rlim_cur: 512 << 10,
            rlim_max: 512 << 10,
        };
        // SAFETY: reads the structure.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
        assert_eq!(set, 0);
        let error = StubCache::new(CacheOptions::default()).unwrap_err();
        assert!(error.is_environment(), "{error:?}");
        assert!(
            error.to_string().contains("ftruncate (over RLIMIT_FSIZE)"),
            "{error}"
        );
        let options = CacheOptions::default().policy(CodePolicy::GenerateOrInterpret);
        let cache = StubCache::new(options).unwrap();
        let stub = cache
            .for_signature(&"func(*int)".parse().unwrap(), host_native())
            .unwrap();
        assert!(!stub.is_generated());
        assert_eq!(cache.stats().fallbacks, 1);
        return;
    }
    let output = child::run("a_limit_on_files_is_an_error", "limit");
    assert!(output.status.success(), "{output:?}");
}

/// A mistake planted in a process of its own is seen by the test of places that are used again, on
/// the machine where it matters: arm64, whose emulator keeps stale instructions as its processors
/// do. x86-64 needs no maintenance.
#[cfg(feature = "faults")]
#[test]
fn missing_cache_maintenance_is_seen() {
    use fing_stubs::Arch;
    use fing_stubs::faults::{HostFault, plant};

    if child::is_child("stale") {
        plant(HostFault::NoCacheMaintenance);
        return a_place_that_is_used_again_runs_the_new_code();
    }
    let output = child::run("missing_cache_maintenance_is_seen", "stale");
    let matters = Arch::host() != Some(Arch::Amd64);
    assert_eq!(output.status.success(), !matters, "{output:?}");
    if matters {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("stale of 100 calls"), "{said}");
    }
}
