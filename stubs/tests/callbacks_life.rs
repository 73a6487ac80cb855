//! The ends of callbacks: released, refused, shared by several owners, in a forked child.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use fing_stubs::entry::{
    Callback, CallbackOptions, Close, CloseError, Entries, EntryOptions, EntryPoint, Failure,
    Freed, Function, FunctionCallback, OnFailure, Report, SharedCallback,
};
use fing_stubs::{Abi, Arch, CacheOptions, Convention, StubCache, StubError};

/// Callers of a function of one word by the host's C convention, and what is reported.
fn point(options: EntryOptions) -> (Entries, EntryPoint, Arc<Mutex<Vec<Report>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let kept = reports.clone();
    let observer = move |report: &Report| kept.lock().unwrap().push(report.clone());
    let entries = Entries::new(options.observer(observer)).unwrap();
    let signature = "func(uint64) uint64".parse().unwrap();
    let point = entries.point(&signature, Abi::host_native().unwrap());
    (entries, point.unwrap(), reports)
}

type Word = extern "C" fn(u64) -> u64;

fn word(address: usize) -> Word {
    // SAFETY: the tests make callbacks of this signature and convention.
    unsafe { std::mem::transmute::<usize, Word>(address) }
}

#[test]
fn a_released_callback_says_when() {
    let (entries, point, reports) = point(EntryOptions::default());
    let slot = Arc::new(Mutex::new(None::<SharedCallback>));
    let (own, owned) = (slot.clone(), Arc::new(()));
    let held = owned.clone();
    let callback = SharedCallback::at(&point, CallbackOptions::default(), move |call| {
        // Inside a call it is freed by that, when it returns.
        own.lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .release("with its window");
        call.set_result(0, Arc::strong_count(&held) as u64).unwrap();
    });
    let address = callback.as_ref().unwrap().address();
    *slot.lock().unwrap() = Some(callback.unwrap());
    assert_eq!((word(address)(1), Arc::strong_count(&owned)), (2, 1));
    assert_eq!((word(address)(1), entries.stats().alive), (0, 0));
    // Once it is free, dropping the handle changes nothing.
    drop(slot.lock().unwrap().take());
    assert_eq!(word(address)(1), 0);
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 2);
    for report in &*reports {
        let freed = report.callback.as_ref().unwrap().freed;
        assert_eq!(freed, Some(Freed::Released("with its window")));
        assert!(
            report.to_string().contains(", freed with its window;"),
            "{report}"
        );
    }
}

#[test]
fn a_closure_refuses() {
    let (_entries, point, reports) = point(EntryOptions::default());
    let callback = SharedCallback::at(&point, CallbackOptions::default(), |call| {
        call.set_result(0, 7u64).unwrap();
        if call.argument(0) == Ok(1u64) {
            call.refuse("not now");
        }
    });
    let callback = callback.unwrap();
    let function = word(callback.address());
    assert_eq!((function(0), function(1), function(2)), (7, 0, 7));
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].failure, Failure::Refused("not now".to_owned()));
    assert_eq!(reports[0].outcome, OnFailure::ReturnZeroes);
    let text = reports[0].to_string();
    assert!(
        text.contains(": refused the call: not now; func(uint64) (uint64) by "),
        "{text}"
    );
}

extern "C" fn twice(n: u64) -> u64 {
    2 * n
}

extern "C" fn thrice(n: u64) -> u64 {
    3 * n
}

#[test]
fn owners_of_a_function_share_its_callback() {
    let (entries, point, reports) = point(EntryOptions::default());
    let host = Abi::host_native().unwrap();
    let ask = |point: &EntryPoint, options: &CallbackOptions, code: Word, context: usize| {
        let code = code as *const () as usize;
        let function = Function {
            abi: host,
            code,
            context,
        };
        // SAFETY: functions of this signature and convention.
        unsafe { FunctionCallback::get(point, options.clone(), function) }.unwrap()
    };
    let options = CallbackOptions::default();
    // Once: a Rust function may have more than one address.
    let twice: Word = std::hint::black_box(twice);
    let first = ask(&point, &options, twice, 0);
    let again: Vec<_> = (0..100).map(|_| ask(&point, &options, twice, 0)).collect();
    assert!(again.iter().all(|owner| owner.address() == first.address()));
    // A point that was asked for anew is the same callers.
    let same = entries.point(point.signature(), host).unwrap();
    assert_eq!(ask(&same, &options, twice, 0).address(), first.address());
    assert_eq!((entries.stats().alive, entries.stats().keys), (1, 1));
    // Whatever differs makes another one.
    let of_another = options.clone().owner("another");
    let signature = "func(int64) int64".parse().unwrap();
    let signed = entries.point(&signature, host).unwrap();
    let others = [
        ask(&point, &options, thrice, 0),
        ask(&point, &options, twice, 1),
        ask(&point, &of_another, twice, 0),
        ask(&signed, &options, twice, 0),
    ];
    assert_eq!(entries.stats().alive, 5);
    let calls = others.each_ref().map(|other| word(other.address())(5));
    assert_eq!((word(first.address())(5), calls), (10, [15, 10, 10, 10]));
    // The last owner frees it.
    let function = word(first.address());
    drop(first);
    assert_eq!(function(4), 8);
    drop(again);
    assert_eq!((function(4), entries.stats().alive), (0, 4));
    assert_eq!(reports.lock().unwrap()[0].failure, Failure::Late);
    let anew = ask(&point, &options, twice, 0);
    assert_eq!(word(anew.address())(4), 8);
    drop((anew, others));
    assert_eq!(entries.stats().alive, 0);
}

/// Threads ask for a few functions and drop what they got: nobody is given a freed callback, and
/// nothing is left.
#[test]
fn threads_share_functions() {
    let (entries, point, reports) = point(EntryOptions::default().quarantine(0));
    let host = Abi::host_native().unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let point = &point;
            scope.spawn(move || {
                for n in 0..2000 {
                    let (code, factor): (Word, _) = match (n + thread) % 2 {
                        0 => (twice, 2),
                        _ => (thrice, 3),
                    };
                    let code = code as *const () as usize;
                    let function = Function {
                        abi: host,
                        code,
                        context: 0,
                    };
                    // SAFETY: functions of this signature and convention.
                    let got = unsafe {
                        FunctionCallback::get(point, CallbackOptions::default(), function)
                    };
                    let got = got.unwrap();
                    assert_eq!(word(got.address())(7), 7 * factor);
                }
            });
        }
    });
    assert!(reports.lock().unwrap().is_empty());
    assert_eq!(entries.stats().alive, 0);
}

/// A function that can't be called that way is an error, and nothing is kept of it.
#[test]
fn a_function_that_cannot_be() {
    let (entries, point, _) = point(EntryOptions::default());
    let ask = |abi| {
        let function = Function {
            abi,
            code: 1,
            context: 0,
        };
        // SAFETY: nothing is called.
        unsafe { FunctionCallback::get(&point, CallbackOptions::default(), function) }
    };
    let foreign = match Abi::host_native().unwrap().convention() {
        Some(Convention::Aapcs64) => Abi::system_v(),
        _ => Abi::native(Convention::Aapcs64),
    };
    for _ in 0..2 {
        assert!(matches!(ask(foreign), Err(StubError::WrongHost { .. })));
    }
    assert_eq!(entries.stats().alive, 0);
}

/// A forked child can close nothing, takes no lock for what it drops, and is told.
#[test]
fn a_forked_child_closes_nothing() {
    let (entries, point, _) = point(EntryOptions::default());
    let owned = Arc::new(());
    let held = owned.clone();
    let shared = SharedCallback::at(&point, CallbackOptions::default(), move |_| {
        let _held = &held;
    });
    let mine = Callback::at(&point, CallbackOptions::default(), |_| ());
    let (shared, mine) = (shared.unwrap(), mine.unwrap());
    let function = Function {
        abi: Abi::host_native().unwrap(),
        code: twice as *const () as usize,
        context: 0,
    };
    // SAFETY: a function of this signature and convention.
    let get = || unsafe { FunctionCallback::get(&point, CallbackOptions::default(), function) };
    let known = get().unwrap();
    // SAFETY: the child makes no use of what other threads may have held, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the child if it waits for a lock.
        unsafe { libc::alarm(30) };
        let is_told = |closed| matches!(closed, Err(CloseError::Forked { .. }));
        let told = [
            is_told(shared.close(Close::Wait)),
            is_told(mine.close(Close::IfIdle)),
            matches!(get(), Err(StubError::Forked { .. })),
        ];
        drop((shared, mine, known));
        let all = told == [true; 3] && Arc::strong_count(&owned) == 2;
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!all)) };
    }
    let mut status = 0;
    // SAFETY: the child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!((status, entries.stats().alive), (0, 3));
    drop((shared, mine, known));
    assert_eq!((Arc::strong_count(&owned), entries.stats().alive), (1, 0));
}

/// What threads that are not in a forked child may have locked, it does not wait for.
#[test]
fn a_forked_child_takes_no_lock() {
    let (entries, point, _) = point(EntryOptions::default());
    let (signature, abi) = (point.signature().clone(), point.abi());
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    entries.point(&signature, abi).unwrap();
                    entries.stats();
                    cache.stats();
                }
            });
        }
        let mut statuses = Vec::new();
        for _ in 0..40 {
            // SAFETY: the child makes no use of what other threads may have held, and ends by
            // `_exit`, or by a signal if it waits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: ends the child if it waits for a lock.
                unsafe { libc::alarm(30) };
                let forked =
                    |made: Result<(), StubError>| matches!(made, Err(StubError::Forked { .. }));
                let told = [
                    forked(entries.point(&signature, abi).map(drop)),
                    forked(Callback::new(&entries, &signature, abi, |_| ()).map(drop)),
                    forked(cache.seal().map(drop)),
                    (entries.stats(), cache.stats()) == Default::default(),
                    cache.trim() == 0 && cache.find(0).is_none(),
                ];
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(told != [true; 5])) };
            }
            let mut status = 0;
            // SAFETY: the child of this process, and a place for its status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            statuses.push(status);
        }
        ends.store(true, Ordering::Relaxed);
        assert_eq!(statuses, [0; 40]);
    });
}

/// Of threads that ask for the same function at the same time, all get the first one's callback.
/// The others' are dropped behind the table's lock.
#[test]
#[cfg(target_arch = "x86_64")]
fn threads_share_a_callback_of_windows() {
    use fing_stubs::entry::windows::WindowsCallbacks;
    let entries = Entries::new(EntryOptions::default()).unwrap();
    let ty = "func(uintptr) uintptr".parse().unwrap();
    let function = Function {
        abi: Abi::go(Arch::Amd64),
        code: twice as *const () as usize,
        context: 0,
    };
    for _ in 0..200 {
        let windows = WindowsCallbacks::new(&entries, Abi::native(Convention::Fastcall)).unwrap();
        let (barrier, addresses) = (Barrier::new(4), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    // SAFETY: it is not called.
                    let address = unsafe { windows.compile(&ty, function, true) };
                    addresses.lock().unwrap().push(address.unwrap());
                });
            }
        });
        let addresses = addresses.into_inner().unwrap();
        assert_eq!(addresses, [addresses[0]; 4]);
        assert_eq!((windows.len(), entries.stats().alive), (1, 1));
    }
}

/// The destructor of what a closure has captured closes the callback that is being closed.
#[test]
fn a_closure_that_closes_its_callback_when_it_goes() {
    #[derive(Clone, Default)]
    struct Closes(Arc<std::sync::OnceLock<std::sync::Weak<SharedCallback>>>);
    impl Drop for Closes {
        fn drop(&mut self) {
            if let Some(callback) = self.0.get().and_then(std::sync::Weak::upgrade) {
                let closed = callback.close(Close::Wait);
                assert!(!matches!(closed, Err(CloseError::Forked { .. })));
            }
        }
    }
    let (done, ended) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let (_entries, point, _) = point(EntryOptions::default());
        let closes = Closes::default();
        let own = closes.0.clone();
        let callback = SharedCallback::at(&point, CallbackOptions::default(), move |_| {
            let _closes = &closes;
        });
        let callback = Arc::new(callback.unwrap());
        own.set(Arc::downgrade(&callback)).unwrap();
        done.send(callback.close(Close::Wait).is_ok()).unwrap();
    });
    let closed = ended.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(closed, Ok(true), "it waits for itself");
}
