//! Callbacks on this host: every convention that this crate calls by, late calls, threads, closing,
//! panics, and very many of them.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::cell::{Cell, RefCell};
use std::process::{Command, Output};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use fing_stubs::entry::{
    Callback, CallbackOptions, Close, CloseError, Entries, EntryOptions, Failure, Freed, Function,
    OnFailure, Report, SharedCallback,
};
use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::{Abi, Arch, Convention, GBlock, Signature, StubCache, StubError};

fn signature(text: &str) -> Signature {
    text.parse().unwrap()
}

fn entries() -> Entries {
    Entries::new(EntryOptions::default()).unwrap()
}

/// Entries whose reports are kept.
fn reported(options: EntryOptions) -> (Entries, Arc<Mutex<Vec<Report>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let kept = reports.clone();
    let observer = move |report: &Report| kept.lock().unwrap().push(report.clone());
    (Entries::new(options.observer(observer)).unwrap(), reports)
}

type Word = extern "C" fn(u64) -> u64;

/// A function of one word at an address.
fn word(address: usize) -> Word {
    // SAFETY: the tests ask for entries of `func(uint64) uint64` by System V.
    unsafe { std::mem::transmute::<usize, Word>(address) }
}

#[test]
fn closures_are_called_by_rust_compilers_conventions() {
    let entries = entries();
    let text = signature(
        "func(int8, float32, uint16, float64, bool, int64, int32, uint8, uint64, float32, int64) \
         int16",
    );
    let check = |call: &mut fing_stubs::entry::Call<'_>| {
        let ints = [
            i64::from(call.argument::<i8>(0).unwrap()),
            i64::from(call.argument::<u16>(2).unwrap()),
            i64::from(call.argument::<bool>(4).unwrap()),
            call.argument::<i64>(5).unwrap(),
            i64::from(call.argument::<i32>(6).unwrap()),
            i64::from(call.argument::<u8>(7).unwrap()),
            call.argument::<u64>(8).unwrap() as i64,
            call.argument::<i64>(10).unwrap(),
        ];
        assert_eq!(ints, [-1, 65535, 1, -2, -3, 200, 7, -9]);
        let floats = (
            call.argument::<f32>(1),
            call.argument::<f64>(3),
            call.argument::<f32>(9),
        );
        assert_eq!(floats, (Ok(0.5), Ok(-2.5), Ok(8.25)));
        call.set_result(0, -300i16).unwrap();
    };
    type C = extern "C" fn(i8, f32, u16, f64, bool, i64, i32, u8, u64, f32, i64) -> i16;
    type Win = extern "win64" fn(i8, f32, u16, f64, bool, i64, i32, u8, u64, f32, i64) -> i16;
    let c = Callback::new(&entries, &text, Abi::system_v(), check).unwrap();
    let win = Callback::new(&entries, &text, Abi::native(Convention::Fastcall), check).unwrap();
    // SAFETY: entries of these signatures and conventions.
    let (f, g): (C, Win) = unsafe {
        (
            std::mem::transmute::<usize, C>(c.address()),
            std::mem::transmute::<usize, Win>(win.address()),
        )
    };
    assert_eq!(
        f(-1, 0.5, 65535, -2.5, true, -2, -3, 200, 7, 8.25, -9),
        -300
    );
    assert_eq!(
        g(-1, 0.5, 65535, -2.5, true, -2, -3, 200, 7, 8.25, -9),
        -300
    );
}

/// Random signatures under every ABI: what a call stub passes, the closure finds, and what the
/// closure leaves, the stub hands back; directly, and through functions of other ABIs on the way.
#[test]
fn entries_are_the_other_side_of_stubs() {
    let count = fing_oracles::cases(150);
    let (entries, cache) = (entries(), StubCache::new(Default::default()).unwrap());
    let mut rng = Rng::new(11);
    let mut abis: Vec<Abi> = (0..=9)
        .map(|n| Abi::go(Arch::Amd64).with_int_arg_regs(n).unwrap())
        .collect();
    let natives = [Abi::system_v(), Abi::native(Convention::Fastcall)];
    abis.extend(natives);
    for case in 0..count {
        let abi = *rng.pick(&abis);
        let between = *rng.pick(&abis);
        let native = abi.convention().or(between.convention()).is_some();
        let signature = match native {
            true => fuzzing::native_signature(&mut rng),
            false => fuzzing::random_signature(&mut rng),
        };
        let stub = cache.call_stub(&signature, abi).unwrap();
        let mut bytes = |n: u64| (0..n).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>();
        let given = bytes(stub.arguments().size());
        let wanted = bytes(stub.results().size());
        let calls = Rc::new(RefCell::new(Vec::new()));
        let (seen, left) = (calls.clone(), wanted.clone());
        let point = |abi| entries.point(&signature, abi).unwrap();
        let closure = move |call: &mut fing_stubs::entry::Call<'_>| {
            seen.borrow_mut().push(call.arguments().to_vec());
            call.results().copy_from_slice(&left);
        };
        let last = Callback::at(&point(between), CallbackOptions::default(), closure).unwrap();
        let function = Function {
            abi: between,
            code: last.address(),
            context: 0x1234,
        };
        let options = CallbackOptions::default();
        // SAFETY: an entry of this signature and ABI, which is alive.
        let first = unsafe { Callback::function(&point(abi), options, function) }.unwrap();
        let name = format!("case {case}: {signature} by {abi} and {between}");
        let words = |block: &[u8]| vec![0u64; block.len().div_ceil(8) + 1];
        let (mut arguments, mut results) = (words(&given), words(&wanted));
        // SAFETY: plain words as bytes.
        let (from, to) = unsafe {
            (
                arguments.align_to_mut::<u8>().1,
                results.align_to_mut::<u8>().1,
            )
        };
        from[..given.len()].copy_from_slice(&given);
        let (from, to) = (&from[..given.len()], &mut to[..wanted.len()]);
        // SAFETY: the entry is of this signature and ABI.
        unsafe { stub.call_bytes(first.address(), 0, from, to, &GBlock::zeroed()) }.unwrap();
        let calls = calls.borrow();
        let [found] = &calls[..] else {
            panic!("{name}: {} calls", calls.len())
        };
        let masks = [
            fuzzing_mask(&signature.arguments().collect::<Vec<_>>()),
            fuzzing_mask(&signature.results().iter().collect::<Vec<_>>()),
        ];
        same(&name, "arguments", found, &given, &masks[0]);
        same(&name, "results", to, &wanted, &masks[1]);
    }
}

/// Which bytes of a block belong to a value that travels: not padding.
fn fuzzing_mask(types: &[&fing_stubs::Type]) -> Vec<bool> {
    let layout = fing_stubs::BlockLayout::of(types.iter().copied());
    let mut mask = vec![false; layout.size() as usize];
    for (ty, &at) in types.iter().zip(layout.offsets()) {
        for piece in fing_stubs::assign::pieces(ty) {
            let first = (at + piece.off) as usize;
            mask[first..first + piece.size as usize].fill(true);
        }
    }
    mask
}

fn same(name: &str, what: &str, found: &[u8], wanted: &[u8], mask: &[bool]) {
    assert_eq!(found.len(), wanted.len(), "{name}: {what}");
    for (n, counts) in mask.iter().enumerate() {
        assert!(
            !counts || found[n] == wanted[n],
            "{name}: {what}: {found:?}, wanted {wanted:?}"
        );
    }
}

#[test]
fn an_entry_begins_with_a_landing_pad() {
    let entries = entries();
    for abi in [Abi::system_v(), Abi::go(Arch::Amd64)] {
        let callback = Callback::new(&entries, &signature("func()"), abi, |_| ()).unwrap();
        let address: *const [u8; 4] = std::ptr::with_exposed_provenance(callback.address());
        // SAFETY: code of the entry, which can be read.
        let found = unsafe { *address };
        assert_eq!(found, [0xf3, 0x0f, 0x1e, 0xfa], "endbr64 for {abi}");
    }
}

/// An unwinder comes from the closure through handler, body and veneer to the foreign caller.
#[test]
fn backtraces_go_through() {
    #[inline(never)]
    #[unsafe(no_mangle)]
    extern "C" fn fing_test_foreign_caller(function: Word) -> u64 {
        std::hint::black_box(function(1)) + 1
    }
    let entries = entries();
    let text = signature("func(uint64) uint64");
    let traces = Rc::new(RefCell::new(String::new()));
    let seen = traces.clone();
    let callback = Callback::new(&entries, &text, Abi::system_v(), move |_| {
        *seen.borrow_mut() = std::backtrace::Backtrace::force_capture().to_string();
    });
    fing_test_foreign_caller(word(callback.unwrap().address()));
    let trace = traces.borrow();
    let caller = trace.find("fing_test_foreign_caller");
    assert!(caller.is_some(), "the caller is not in\n{trace}");
}

#[test]
fn a_late_call_is_reported_and_returns_zeroes() {
    let (entries, reports) = reported(EntryOptions::default());
    let text = signature("func(uint64) uint64");
    let point = entries.point(&text, Abi::system_v()).unwrap();
    let options = CallbackOptions::default().owner("the test");
    let double = |call: &mut fing_stubs::entry::Call<'_>| {
        let n: u64 = call.argument(0).unwrap();
        call.set_result(0, 2 * n).unwrap();
    };
    let callback = Callback::at(&point, options.clone(), double).unwrap();
    let function = word(callback.address());
    assert_eq!(function(21), 42);
    let line = line!() + 1;
    callback.close(Close::IfIdle).unwrap();
    callback.close(Close::Wait).unwrap();
    assert_eq!((function(21), reports.lock().unwrap().len()), (0, 1));
    drop(callback);
    assert_eq!(function(21), 0);
    let dropped = Callback::at(&point, options, double).unwrap();
    let address = dropped.address();
    drop(dropped);
    assert_eq!(word(address)(1), 0);
    let reports = reports.lock().unwrap();
    let texts: Vec<String> = reports.iter().map(|report| report.to_string()).collect();
    assert_eq!(reports[0].failure, Failure::Late);
    let described = reports[0].callback.as_ref().unwrap();
    let Some(Freed::Closed(at)) = described.freed else {
        panic!("{texts:?}")
    };
    assert_eq!((at.file(), at.line()), (file!(), line));
    assert_eq!(described.owner.as_deref(), Some("the test"));
    for part in [
        "called after it was freed; func(uint64) (uint64) by sysv/amd64, of the test, made at ",
        &format!(", closed at {}:{line}:", file!()),
        "; the call returns zeroes",
    ] {
        assert!(texts[0].contains(part), "{} without {part}", texts[0]);
    }
    assert!(
        texts[2].contains(", freed when its handle was dropped;"),
        "{}",
        texts[2]
    );
    assert_eq!(texts.len(), 3);
}

/// An address is not given away before as many others have been freed as the quarantine says; then
/// the oldest is.
#[test]
fn freed_addresses_wait() {
    let (entries, reports) = reported(EntryOptions::default().quarantine(4));
    let text = signature("func(uint64) uint64");
    let make = |n: u64| {
        Callback::new(&entries, &text, Abi::system_v(), move |call| {
            call.set_result(0, n).unwrap();
        })
        .unwrap()
    };
    // All of a page, so that only freed ones are left.
    let first = make(1);
    let page = entries.stats().free;
    let others: Vec<Callback> = (0..page as u64).map(&make).collect();
    assert_eq!(entries.stats().free, 0);
    let stale = word(first.address());
    let stale_address = first.address();
    drop(first);
    let mut others = others.into_iter();
    for _ in 0..4 {
        drop(others.next());
        assert_eq!(stale(0), 0);
    }
    assert_eq!(reports.lock().unwrap().len(), 4);
    let second = make(77);
    assert_eq!((second.address(), stale(0)), (stale_address, 77));
    drop(others);
    assert_eq!(entries.stats().alive, 1);
}

#[test]
fn another_thread_may_not_call_an_owned_callback() {
    let (entries, reports) = reported(EntryOptions::default());
    let text = signature("func(uint64) uint64");
    let calls = Rc::new(Cell::new(0));
    let seen = calls.clone();
    let owned = Callback::new(&entries, &text, Abi::system_v(), move |call| {
        seen.set(seen.get() + 1);
        call.set_result(0, 5u64).unwrap();
    });
    let owned = owned.unwrap();
    let address = owned.address();
    let other = thread::spawn(move || word(address)(1));
    assert_eq!(other.join().unwrap(), 0);
    assert_eq!((word(address)(1), calls.get()), (5, 1));
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].failure, Failure::OtherThread);
}

#[test]
fn closing_while_another_thread_is_inside() {
    let entries = entries();
    let text = signature("func(uint64) uint64");
    let (entered, at_work) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let owned = Arc::new(());
    let held = owned.clone();
    let callback = SharedCallback::new(&entries, &text, Abi::system_v(), move |call| {
        let _held = &held;
        entered.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        call.set_result(0, 9u64).unwrap();
    });
    let callback = callback.unwrap();
    let address = callback.address();
    let inside = thread::spawn(move || word(address)(1));
    at_work.recv().unwrap();
    let refused = callback.close(Close::IfIdle).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "close callback func(uint64) (uint64): 1 calls are under way, wanted none (Close::Wait \
         waits for them)"
    );
    // It goes on as before, until it is told to end.
    let callback = Arc::new(callback);
    let waiting = [(); 2].map(|()| {
        let (closing, owned) = (callback.clone(), owned.clone());
        thread::spawn(move || {
            closing.close(Close::Wait).unwrap();
            // This one, that of the other thread, and the test's: not the closure's.
            assert!(Arc::strong_count(&owned) <= 3);
        })
    });
    while callback.close(Close::IfIdle).is_err() {
        thread::yield_now();
    }
    assert_eq!(word(address)(1), 0, "a late call");
    assert_eq!(
        Arc::strong_count(&owned),
        4,
        "the closure is alive as long as its call"
    );
    go_on.send(()).unwrap();
    assert_eq!(inside.join().unwrap(), 9);
    waiting
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!((Arc::strong_count(&owned), entries.stats().alive), (1, 0));
}

#[test]
fn a_callback_ends_itself() {
    let entries = entries();
    let text = signature("func(uint64) uint64");
    let slot: Rc<RefCell<Option<Callback>>> = Rc::default();
    let (own, owned) = (slot.clone(), Rc::new(()));
    let held = owned.clone();
    let callback = Callback::new(&entries, &text, Abi::system_v(), move |call| {
        let handle = own.borrow_mut().take().unwrap();
        for how in [Close::IfIdle, Close::Wait] {
            let refused = handle.close(how).unwrap_err();
            assert!(matches!(refused, CloseError::Inside { .. }), "{refused}");
        }
        drop(handle);
        call.set_result(0, Rc::strong_count(&held) as u64).unwrap();
    });
    let callback = callback.unwrap();
    let address = callback.address();
    *slot.borrow_mut() = Some(callback);
    // The last handle of the home too.
    drop(entries);
    assert_eq!(word(address)(1), 2);
    assert_eq!(Rc::strong_count(&owned), 1);
}

/// Calls of a callback nest, and one that is freed in an inner call ends with the outermost.
#[test]
fn calls_nest() {
    let entries = entries();
    let text = signature("func(uint64) uint64");
    let address = Arc::new(AtomicUsize::new(0));
    let own = address.clone();
    let callback = SharedCallback::new(&entries, &text, Abi::system_v(), move |call| {
        let n: u64 = call.argument(0).unwrap();
        let function = word(own.load(Ordering::Relaxed));
        let below = if n == 0 { 0 } else { function(n - 1) };
        call.set_result(0, n + below).unwrap();
    });
    let callback = callback.unwrap();
    address.store(callback.address(), Ordering::Relaxed);
    assert_eq!(word(callback.address())(100), 5050);
    let threads = (0..4).map(|n| {
        let address = address.clone();
        thread::spawn(move || word(address.load(Ordering::Relaxed))(100 + n))
    });
    let sums = threads
        .collect::<Vec<_>>()
        .into_iter()
        .map(|thread| thread.join().unwrap());
    assert_eq!(sums.collect::<Vec<_>>(), [5050, 5151, 5253, 5356]);
}

/// The address of a freed callback is called by other threads all the time, while it is given to
/// one callback after the other, of two signatures: no call finds what is not its own.
#[test]
fn late_calls_race_with_reuse() {
    let (entries, reports) = reported(EntryOptions::default().quarantine(0));
    let texts = ["func(uint64) uint64", "func(uint64, float64) uint64"];
    let points = texts.map(|text| entries.point(&signature(text), Abi::system_v()).unwrap());
    let make = |n: usize| {
        let closure = move |call: &mut fing_stubs::entry::Call<'_>| {
            assert_eq!(call.argument(0), Ok(1u64));
            assert_eq!(call.arguments().len(), [8, 16][n]);
            call.set_result(0, 7u64).unwrap();
        };
        SharedCallback::at(&points[n], CallbackOptions::default(), closure).unwrap()
    };
    // One slot is used again and again: the others of the page are taken.
    let first = make(0);
    let address = first.address();
    let taken: Vec<SharedCallback> = (0..entries.stats().free).map(|_| make(0)).collect();
    drop(first);
    let stop = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // The second signature finds some float in its register.
                while stop.load(Ordering::Relaxed) == 0 {
                    let found = word(address)(1);
                    assert!([0, 7].contains(&found), "{found}");
                }
            });
        }
        for n in 0..300 {
            let again = make(n % 2);
            assert_eq!(again.address(), address);
            again.close(Close::Wait).unwrap();
        }
        stop.store(1, Ordering::Relaxed);
    });
    assert!(
        reports
            .lock()
            .unwrap()
            .iter()
            .all(|report| report.failure == Failure::Late)
    );
    drop(taken);
}

/// A million come and go, and a hundred thousand live; with `FING_CASES` so many live.
#[test]
fn very_many_come_and_go_and_live() {
    let many = fing_oracles::cases(100_000);
    let entries = entries();
    let text = signature("func(uint64) uint64");
    let point = entries.point(&text, Abi::system_v()).unwrap();
    let make = |n: u64| {
        let closure = move |call: &mut fing_stubs::entry::Call<'_>| {
            call.set_result(0, n).unwrap();
        };
        Callback::at(&point, CallbackOptions::default(), closure).unwrap()
    };
    for n in 0..10 * many {
        let callback = make(n);
        if n.is_multiple_of(1000) {
            assert_eq!(word(callback.address())(0), n);
        }
    }
    let stats = entries.stats();
    assert!(stats.free < 1000 && stats.alive == 0, "{stats:?}");
    assert!(stats.code_bytes < 64 << 10, "{stats:?}");
    let alive: Vec<Callback> = (0..many).map(make).collect();
    assert_eq!(
        (entries.stats().alive, entries.stats().keys),
        (many as usize, 1)
    );
    for n in [0, many / 2, many - 1] {
        assert_eq!(word(alive[n as usize].address())(0), n);
    }
}

/// When the code's address space is used up, there is another.
#[test]
fn code_has_no_limit_but_memory() {
    let entries = Entries::new(EntryOptions::default().arena_capacity(1)).unwrap();
    let text = signature("func(uint64) uint64");
    let point = entries.point(&text, Abi::system_v()).unwrap();
    let make = || Callback::at(&point, CallbackOptions::default(), |_| ()).unwrap();
    let alive: Vec<Callback> = (0..30_000).map(|_| make()).collect();
    assert!(entries.stats().code_bytes > 512 << 10);
    assert_eq!(word(alive[29_999].address())(0), 0);
}

#[test]
fn what_cannot_be_is_refused() {
    let entries = entries();
    let refused = |text: &str, abi: Abi| entries.point(&signature(text), abi).unwrap_err();
    let tail = refused("func(int)", Abi::native(Convention::TailAmd64));
    assert!(matches!(tail, StubError::NoGenerator { .. }), "{tail}");
    let arm = refused("func(int)", Abi::go(Arch::Arm64));
    assert!(matches!(arm, StubError::WrongHost { .. }), "{arm}");
    let large = refused("func([1000000]int)", Abi::go(Arch::Amd64));
    assert!(matches!(large, StubError::FrameTooLarge { .. }), "{large}");
    let array = refused("func([2]int)", Abi::system_v());
    assert!(matches!(array, StubError::Assign(_)), "{array}");
    // C has no byte behind the last field, Go has.
    let ends = signature("func(struct { A int32; End [0]int32 })");
    let point = entries.point(&ends, Abi::system_v()).unwrap();
    let function = Function {
        abi: Abi::go(Arch::Amd64),
        code: 1,
        context: 0,
    };
    // SAFETY: nothing is called.
    let other = unsafe { Callback::function(&point, CallbackOptions::default(), function) };
    let other = other.unwrap_err();
    assert!(matches!(other, StubError::OtherLayout { .. }), "{other}");
}

/// A forked child has no code: callbacks can't be made there, and those that are dropped there are
/// still the parent's.
#[test]
fn a_forked_child_is_told() {
    let entries = entries();
    let text = signature("func(uint64) uint64");
    let callback = Callback::new(&entries, &text, Abi::system_v(), |call| {
        call.set_result(0, 8u64).unwrap();
    });
    let callback = callback.unwrap();
    let address = callback.address();
    // SAFETY: the child makes no use of what other threads may have held, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the child if it waits for a lock.
        unsafe { libc::alarm(30) };
        let made = Callback::at(callback.point(), CallbackOptions::default(), |_| ());
        let is_told = matches!(made, Err(StubError::Forked { .. }));
        drop(callback);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!is_told)) };
    }
    let mut status = 0;
    // SAFETY: the child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_eq!(word(address)(1), 8);
    drop(callback);
}

// Panics, each in a process of its own.

const CHILD: &str = "FING_TEST_CHILD";

/// Runs the test of this name again in a child.
fn child(test: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1");
    command.output().unwrap()
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn aborted(output: &Output) -> String {
    use std::os::unix::process::ExitStatusExt;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    text
}

fn panicking(on_panic: OnFailure) -> u64 {
    let text = signature("func(uint64) uint64");
    let entries = entries();
    let point = entries.point(&text, Abi::system_v()).unwrap();
    let options = CallbackOptions::default().on_panic(on_panic);
    let callback = Callback::at(&point, options, |call| {
        call.set_result(0, 5u64).unwrap();
        panic!("no way out");
    });
    word(callback.unwrap().address())(1)
}

#[test]
fn a_panic_aborts() {
    if is_child() {
        panicking(CallbackOptions::default().on_panic);
        return;
    }
    let text = aborted(&child("a_panic_aborts"));
    assert!(
        text.contains("panicked: no way out; func(uint64) (uint64) by sysv/amd64, made at"),
        "{text}"
    );
}

#[test]
fn a_panic_returns_zeroes_if_asked() {
    if is_child() {
        assert_eq!(panicking(OnFailure::ReturnZeroes), 0);
        return;
    }
    let output = child("a_panic_returns_zeroes_if_asked");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_late_call_aborts_if_asked() {
    if is_child() {
        let entries = entries();
        let point = entries
            .point(&signature("func(uint64) uint64"), Abi::system_v())
            .unwrap();
        let options = CallbackOptions::default().on_late(OnFailure::Abort);
        let callback = Callback::at(&point, options, |_| ()).unwrap();
        let function = word(callback.address());
        drop(callback);
        function(1);
        return;
    }
    let text = aborted(&child("a_late_call_aborts_if_asked"));
    assert!(text.contains("called after it was freed"), "{text}");
}

/// A closure whose destructor panics: in the handle's drop it goes to whoever drops; after a call
/// it is reported, and the slot is free all the same.
#[test]
fn a_destructor_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let (entries, reports) = reported(EntryOptions::default());
    let text = signature("func(uint64) uint64");
    let point = entries.point(&text, Abi::system_v()).unwrap();
    let options = CallbackOptions::default().on_panic(OnFailure::ReturnZeroes);
    let bomb = Bomb;
    let callback = Callback::at(&point, options.clone(), move |_| {
        let _ = &bomb;
    });
    let callback = std::panic::AssertUnwindSafe(callback.unwrap());
    assert!(std::panic::catch_unwind(move || drop(callback)).is_err());
    assert_eq!(entries.stats().alive, 0);

    let slot: Rc<RefCell<Option<Callback>>> = Rc::default();
    let (own, bomb) = (slot.clone(), Bomb);
    let callback = Callback::at(&point, options, move |call| {
        let _ = &bomb;
        drop(own.borrow_mut().take());
        call.set_result(0, 3u64).unwrap();
    });
    let callback = callback.unwrap();
    let function = word(callback.address());
    *slot.borrow_mut() = Some(callback);
    assert_eq!((function(1), entries.stats().alive), (3, 0));
    let reports = reports.lock().unwrap();
    assert_eq!(reports[0].failure, Failure::DropPanicked("bomb".to_owned()));
}
