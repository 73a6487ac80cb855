//! Native callees on this host, generated and interpreted: arguments, contexts, results of every
//! size, panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, Ordering};

use fing_stubs::seed::{self, Observation};
use fing_stubs::{
    Abi, CacheOptions, CodePolicy, GBlock, KeyOptions, Record, Signature, StubCache, StubError,
    StubKey,
};

/// What callees write to: the address is their argument or context.
#[derive(Default)]
struct Seen {
    calls: Cell<u64>,
    word: Cell<u64>,
    float: Cell<f64>,
}

extern "C" fn pointer(seen: &Seen) {
    seen.calls.set(seen.calls.get() + 1);
}
/// An interface by value, as C has it.
#[repr(C)]
struct Interface<'a>(u64, &'a Seen);

extern "C" fn interface(argument: Interface) {
    argument.1.word.set(argument.0);
}
extern "C" fn pointer_and_context(word: u64, seen: &Seen) {
    seen.word.set(word);
}
extern "C" fn small_signed(value: i8, seen: &Seen) {
    seen.word.set(i64::from(value) as u64);
}
extern "C" fn small_unsigned(value: u16, seen: &Seen) {
    seen.word.set(u64::from(value));
}
extern "C" fn float(value: f64, seen: &Seen) {
    seen.float.set(value);
}
extern "C" fn single(value: f32, seen: &Seen) {
    seen.float.set(f64::from(value));
}

#[repr(C)]
struct Large([u64; 7680]);

extern "C" fn large_result(seen: &Seen) -> Large {
    seen.calls.set(seen.calls.get() + 1);
    Large([0x5a; 7680])
}

/// The C convention of this machine.
fn host() -> Abi {
    Abi::host_native().unwrap()
}

/// A word that begins with these bytes in memory, with junk behind them.
fn word<const N: usize>(bytes: [u8; N]) -> u64 {
    let mut word = [0xa5; 8];
    word[..N].copy_from_slice(&bytes);
    u64::from_ne_bytes(word)
}

fn caches() -> [StubCache; 2] {
    [CodePolicy::Generate, CodePolicy::Interpret]
        .map(|policy| StubCache::new(CacheOptions::default().policy(policy)).unwrap())
}

fn signature(text: &str) -> Signature {
    text.parse().unwrap()
}

/// Runs one record through a stub made for `text`, with `seen` as context if `context`.
fn run(
    cache: &StubCache,
    text: &str,
    code: *const (),
    words: [u64; 2],
    seen: &Seen,
    context: bool,
) {
    let key = cache.key(&signature(text), host(), context).unwrap();
    let stub = cache.get(&key).unwrap();
    let record = Record {
        code: code.addr(),
        context: &raw const *seen as usize,
        words,
    };
    // SAFETY: I5: each callee in this file is of the signature it is called by.
    unsafe { stub.run_all(&[record], &GBlock::zeroed()) };
}

#[test]
fn arguments_arrive() {
    for cache in caches() {
        let seen = Seen::default();
        let address = &raw const seen as u64;
        run(
            &cache,
            "func(*int)",
            pointer as *const (),
            [address, 0],
            &seen,
            false,
        );
        assert_eq!(seen.calls.get(), 1);
        run(
            &cache,
            "func(interface{ M() })",
            interface as *const (),
            [77, address],
            &seen,
            false,
        );
        assert_eq!(seen.word.get(), 77);
        run(
            &cache,
            "func(unsafe.Pointer)",
            pointer_and_context as *const (),
            [78, 0],
            &seen,
            true,
        );
        assert_eq!(seen.word.get(), 78);
        run(
            &cache,
            "func(int8)",
            small_signed as *const (),
            [word((-128i8).to_ne_bytes()), 0],
            &seen,
            true,
        );
        assert_eq!(seen.word.get() as i64, -128);
        run(
            &cache,
            "func(uint16)",
            small_unsigned as *const (),
            [word(0xbeefu16.to_ne_bytes()), 0],
            &seen,
            true,
        );
        assert_eq!(seen.word.get(), 0xbeef);
        run(
            &cache,
            "func(float64)",
            float as *const (),
            [2.5f64.to_bits(), 0],
            &seen,
            true,
        );
        assert_eq!(seen.float.get(), 2.5);
        run(
            &cache,
            "func(float32)",
            single as *const (),
            [word(1.25f32.to_ne_bytes()), 0],
            &seen,
            true,
        );
        assert_eq!(seen.float.get(), 1.25);
    }
}

/// Callees that look at the machine's registers, and change all that the convention lets them.
#[test]
fn callees_in_assembly() {
    const ITAB: u64 = 0x17ab;
    let cases = [
        ("func(*int)", seed::native_pointer()),
        ("func(interface{ M() })", seed::native_interface()),
        (
            "func(*int) (int, float32, [10]uint8)",
            seed::native_pointer_results(),
        ),
        (
            "func(interface{ M() }) (int, float32, [10]uint8)",
            seed::native_interface_results(),
        ),
    ];
    for cache in caches() {
        for (text, code) in cases {
            let code = code.unwrap();
            let mut observation = Observation::new(code);
            let numbers = [-1i64, -2, -3];
            let objects = numbers
                .each_ref()
                .map(|number| [std::ptr::from_ref(number).addr(), observation.context()]);
            let is_interface = text.contains("interface");
            observation.expected[0] = if is_interface { ITAB as usize } else { 0 }.into();
            let records = objects.each_ref().map(|object| {
                let address = object.as_ptr().addr() as u64;
                let words = if is_interface {
                    [ITAB, address]
                } else {
                    [address, 0]
                };
                Record {
                    code,
                    context: 0,
                    words,
                }
            });
            let stub = cache.for_signature(&signature(text), host()).unwrap();
            // SAFETY: I5: a callee of this signature and objects of its kind.
            unsafe { stub.run_all(&records, &GBlock::zeroed()) };
            assert_eq!(observation.faults(), [], "{text}");
            assert_eq!((observation.calls(), observation.confirmed()), (3, -3));
        }
    }
}

#[test]
fn sixty_kilobytes_of_results() {
    for cache in caches() {
        let seen = Seen::default();
        let address = &raw const seen as u64;
        run(
            &cache,
            "func(*int) [7680]uint64",
            large_result as *const (),
            [address, 0],
            &seen,
            false,
        );
        assert_eq!(seen.calls.get(), 1);
    }
}

#[test]
fn a_batch_is_run_in_order_and_publishes_each_record_first() {
    struct Log {
        progress: AtomicPtr<Record>,
        order: std::cell::RefCell<Vec<(u64, usize)>>,
    }
    extern "C" fn note(word: u64, log: &Log) {
        log.order
            .borrow_mut()
            .push((word, log.progress.load(Ordering::Relaxed).addr()));
    }
    for cache in caches() {
        let log = Log {
            progress: AtomicPtr::new(std::ptr::null_mut()),
            order: Default::default(),
        };
        let key = cache.key(&signature("func(*int)"), host(), true).unwrap();
        let records: Vec<Record> = (0..1000)
            .map(|n| Record {
                code: note as *const () as usize,
                context: &raw const log as usize,
                words: [n, 0],
            })
            .collect();
        let range = records.as_ptr_range();
        let end = AtomicPtr::new(range.end.cast_mut());
        // SAFETY: I5, I6: `note` takes a word and the context, and the records outlive the run.
        unsafe {
            cache
                .get(&key)
                .unwrap()
                .run(range.start, &end, &log.progress, &GBlock::zeroed())
        };
        let wanted: Vec<_> = (0..1000)
            .map(|n| (n as u64, (&raw const records[n]).addr()))
            .collect();
        assert_eq!(*log.order.borrow(), wanted);
        assert_eq!(
            log.progress.load(Ordering::Relaxed).addr(),
            range.end.addr()
        );
    }
}

/// A callee lowers the end of the batch that it runs in, as another thread would.
#[test]
fn a_batch_ends_where_its_end_is_lowered_to() {
    extern "C" fn cut(word: u64, end: &AtomicPtr<Record>) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        let (at, to) = ((word >> 8) as usize, (word & 0xff) as usize);
        if CALLS.get() == at + 1 {
            let first = end.load(Ordering::Relaxed).wrapping_sub(RECORDS);
            end.store(first.wrapping_add(to), Ordering::Relaxed);
        }
    }
    thread_local! {
        static CALLS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    const RECORDS: usize = 9;
    for cache in caches() {
        let key = cache.key(
            &signature("func(uintptr)"),
            Abi::host_native().unwrap(),
            true,
        );
        let stub = cache.get(&key.unwrap()).unwrap();
        // Lowered during call `at` to record `to`: before the running one, to it, to the next one,
        // to a later one, to where it was.
        for (at, to, wanted) in [
            (4, 0, 5),
            (4, 4, 5),
            (4, 5, 5),
            (4, 7, 7),
            (4, 9, 9),
            (0, 0, 1),
        ] {
            CALLS.set(0);
            let end = AtomicPtr::new(std::ptr::null_mut());
            let record = Record {
                code: cut as *const () as usize,
                context: (&raw const end).expose_provenance(),
                words: [(at << 8 | to) as u64, 0],
            };
            let records = [record; RECORDS];
            let range = records.as_ptr_range();
            end.store(range.end.cast_mut(), Ordering::Relaxed);
            let progress = AtomicPtr::new(std::ptr::null_mut());
            // SAFETY: I5, I6: `cut` takes a word and the cell, which outlives the run.
            unsafe { stub.run(range.start, &end, &progress, &GBlock::zeroed()) };
            assert_eq!(CALLS.get(), wanted, "lowered in call {at} to {to}");
            let reached = range.start.wrapping_add(wanted).cast_mut();
            assert_eq!(progress.load(Ordering::Relaxed), reached);
        }
    }
}

/// The barrier is there where CI runs, and costs no registration by the caller.
#[test]
#[cfg(target_os = "linux")]
fn other_threads_can_be_ordered() {
    assert!(fing_stubs::barrier_on_all_threads());
    assert!(fing_stubs::barrier_on_all_threads());
}

#[test]
fn an_empty_batch_calls_nothing() {
    for cache in caches() {
        let stub = cache
            .for_signature(&signature("func(*int)"), host())
            .unwrap();
        // SAFETY: I6: there is no record.
        unsafe { stub.run_all(&[], &GBlock::zeroed()) };
    }
}

#[test]
fn a_panic_passes_through_and_names_its_record() {
    extern "C-unwind" fn third_panics(word: u64) {
        assert_ne!(word, 2, "the third");
    }
    for cache in caches() {
        for text in [
            "func(uintptr)",
            "func(uintptr) [7680]uint64",
            "func(uintptr) [3]int",
        ] {
            // The result is never written, which a callee may do as well as write it.
            let key = cache.key(&signature(text), host(), false).unwrap();
            let stub = cache.get(&key).unwrap();
            let hidden = u64::from(key.hidden() > 0);
            let records: Vec<Record> = (0..5)
                .map(|n| Record {
                    code: third_panics as *const () as usize,
                    context: 0,
                    words: [n, 0],
                })
                .collect();
            if hidden > 0 {
                continue;
            }
            let range = records.as_ptr_range();
            let end = AtomicPtr::new(range.end.cast_mut());
            let progress = AtomicPtr::new(std::ptr::null_mut());
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: I5, I6: the callee takes one word and may unwind.
                unsafe { stub.run(range.start, &end, &progress, &GBlock::zeroed()) }
            }));
            assert!(outcome.is_err());
            assert_eq!(
                progress.load(Ordering::Relaxed).addr(),
                (&raw const records[2]).addr()
            );
        }
    }
}

#[test]
fn figures() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    for _ in 0..3 {
        cache
            .for_signature(&signature("func(*int)"), host())
            .unwrap();
        cache
            .for_signature(&signature("func(*struct { A int }) int"), host())
            .unwrap();
        cache
            .for_signature(&signature("func(error)"), host())
            .unwrap();
    }
    let stats = cache.stats();
    assert_eq!(
        (stats.misses, stats.hits, stats.stubs, stats.interpreted),
        (2, 7, 2, 0)
    );
    assert!((64..=512).contains(&stats.code_bytes), "{stats:?}");
    assert!(stats.unwind_entries >= 1 && stats.compile_time.as_nanos() > 0);
    assert_eq!(cache.trim(), 2);
    assert_eq!(cache.stats().code_bytes, 0);
}

#[test]
fn refusals() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let message = |text: &str| match cache.for_signature(&signature(text), host()) {
        Ok(stub) => panic!("{text}: found a stub, {}", stub.key()),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        message("func()"),
        "stub for func(): found 0 parameters, wanted exactly 1"
    );
    assert_eq!(
        message("func(int, int)"),
        "stub for func(int, int): found 2 parameters, wanted exactly 1"
    );
    assert_eq!(
        message("func(int) [20000]int"),
        "stub for func(int) ([20000]int): the frame is 160000 bytes, wanted at most 131072 (the \
         frame limit)"
    );
    let error = StubCache::new(CacheOptions::default().arena_capacity(usize::MAX / 2)).unwrap_err();
    assert!(
        matches!(error, StubError::ExecutableMemory { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("CodePolicy::Interpret"),
        "{error}"
    );
}

#[test]
fn fallback_is_reported() {
    let options = CacheOptions::default()
        .policy(CodePolicy::GenerateOrInterpret)
        .arena_capacity(usize::MAX / 2);
    let cache = StubCache::new(options).unwrap();
    let stub = cache
        .for_signature(&signature("func(*int)"), host())
        .unwrap();
    assert!(!stub.is_generated());
    assert_eq!((cache.stats().fallbacks, cache.stats().interpreted), (1, 1));
}

#[test]
fn keys_round_trip() {
    for text in [
        "func(*int)",
        "func(interface{}) [100]int",
        "func(int8) string",
        "func(float32)",
    ] {
        for abi in [
            Abi::system_v(),
            "go/amd64:0".parse().unwrap(),
            "go/amd64:1".parse().unwrap(),
            "go/s390x".parse().unwrap(),
        ] {
            for context_argument in [false, true] {
                let key = StubKey::new(
                    &signature(text),
                    abi,
                    KeyOptions::default().context_argument(context_argument),
                )
                .unwrap();
                assert_eq!(key.to_string().parse::<StubKey>().unwrap(), key, "{key}");
            }
        }
    }
}
