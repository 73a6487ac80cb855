//! What an observer is told, in order; and that nothing of it is needed.

#[path = "support/door.rs"]
mod door;
#[path = "support/vm.rs"]
#[expect(dead_code, reason = "the cleanups here send nothing")]
mod vm;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use door::{Door, until};
use fing::observe::{Call, Observer, ParkReason};
use fing::{Abi, Arch, Executor, Runtime, RuntimeBuilder};
use vm::{LONG, Vm, sent};

/// Writes everything down. Panics at some things, as any code may.
#[derive(Clone, Default)]
struct Diary {
    entries: Arc<Mutex<Vec<String>>>,
}

impl Diary {
    fn note(&self, entry: String) {
        self.entries.lock().unwrap().push(entry);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.entries.lock().unwrap())
    }
}

impl Observer for Diary {
    fn parked(&self, reason: ParkReason) {
        self.note(format!("parked: {reason}"));
    }

    fn woken(&self) {
        self.note("woken".to_owned());
        std::panic::resume_unwind(Box::new("an observer may panic"));
    }

    fn drain_began(&self, int_arg_regs: usize) {
        self.note(format!("drain with {int_arg_regs}"));
    }

    fn drain_ended(&self, calls: u64) {
        self.note(format!("drained {calls}"));
    }

    fn call_began(&self, call: &Call<'_>) {
        self.note(format!("call {} {}", call.signature, call.words[0]));
        std::panic::resume_unwind(Box::new("here too"));
    }

    fn call_ended(&self, call: &Call<'_>, panicked: bool) {
        let end = if panicked { "panic" } else { "return" };
        self.note(format!("{end} {}", call.words[0]));
    }
}

fn observed(builder: RuntimeBuilder) -> (Vm, Diary) {
    let diary = Diary::default();
    let builder = builder.observer(diary.clone()).on_failure(|_| {});
    (Vm::with(builder), diary)
}

/// Three doomed objects whose cleanups get 1, 2, 3; that of 2 panics.
fn doom(vm: &Vm) {
    let cleanup = vm.cleanup("func(uint64)", |[number, _]| {
        if number == 2 {
            std::panic::resume_unwind(Box::new("number 2"));
        }
    });
    for number in 1..=3u64 {
        vm.doomed(0, |m, t| m.add_cleanup(t, &cleanup, number).unwrap());
    }
}

fn drain() -> [String; 8] {
    let registers = Abi::go(Arch::host().unwrap()).int_regs();
    [
        &format!("drain with {registers}"),
        "call func(uint64) 3",
        "return 3",
        "call func(uint64) 2",
        "panic 2",
        "call func(uint64) 1",
        "return 1",
        "drained 3",
    ]
    .map(str::to_owned)
}

#[test]
fn the_goroutine_is_watched() {
    let (vm, diary) = observed(Runtime::builder());
    for round in 0..3 {
        doom(&vm);
        // The goroutine parks before it has anything to do, and again after it.
        vm.runtime
            .block_until_finalizer_queue_empty(vm::LONG)
            .unwrap();
        vm.collect();
        while diary
            .entries
            .lock()
            .unwrap()
            .last()
            .is_none_or(|last| last != "parked: finalizer wait")
        {
            std::thread::yield_now();
        }
        let entries = diary.take();
        let from = entries
            .iter()
            .position(|entry| *entry == drain()[0])
            .unwrap();
        assert_eq!(entries[from..from + 8], drain(), "round {round}");
        assert_eq!(entries[from + 8..], ["parked: finalizer wait"]);
    }
    assert_eq!(vm.runtime.stats().failed, 3);
}

#[test]
fn calls_made_inline_are_watched() {
    let (vm, diary) = observed(Runtime::builder().executor(Executor::Inline));
    doom(&vm);
    let (finalizer, calls) = vm.sender("func(*main.T)");
    let kept = vm.rooted();
    vm.enter(|m| {
        let kept = m.get(&kept).unwrap();
        m.set_finalizer(kept, &finalizer).unwrap();
    });
    vm.runtime.gc().unwrap();
    assert_eq!(diary.take().len(), 0);
    assert_eq!(vm.runtime.run_finalizers(), Ok(3));
    assert_eq!(diary.take(), drain());
    assert_eq!(vm.runtime.run_finalizers(), Ok(0));
    assert_eq!((diary.take().len(), sent(&calls).len()), (0, 0));
}

/// The methods have defaults: an observer says what it wants to know.
#[test]
fn an_observer_of_nothing() {
    struct Nothing;
    impl Observer for Nothing {}
    let vm = Vm::with(Runtime::builder().observer(Nothing).on_failure(|_| {}));
    doom(&vm);
    vm.collect();
    doom(&Vm::new());
    assert_eq!(vm.runtime.stats().executed, 3);
}

/// Finalization is shut down while the observer is told that a call begins.
#[test]
fn an_observer_is_told_of_calls_that_are_made() {
    #[derive(Clone, Default)]
    struct Waits {
        counts: Arc<[AtomicU64; 2]>,
        door: Door,
    }
    impl Observer for Waits {
        fn call_began(&self, _: &Call<'_>) {
            self.counts[0].fetch_add(1, SeqCst);
            self.door.pass();
        }

        fn call_ended(&self, _: &Call<'_>, _: bool) {
            self.counts[1].fetch_add(1, SeqCst);
        }
    }
    let waits = Waits::default();
    let vm = Vm::with(Runtime::builder().observer(waits.clone()));
    let (function, calls) = vm.sender("func(*main.T)");
    vm.doomed(1, |m, t| m.set_finalizer(t, &function).unwrap());
    vm.runtime.gc().unwrap();
    waits.door.wait_for(1);
    std::thread::scope(|scope| {
        scope.spawn(|| vm.runtime.shutdown(false, LONG).unwrap());
        until("it is shut down", || {
            vm.doomed(2, |m, t| m.set_finalizer(t, &function).is_err())
        });
        waits.door.open();
    });
    let told = [0, 1].map(|n| waits.counts[n].load(SeqCst));
    assert_eq!(told, [1, 1]);
    assert_eq!(sent(&calls).len(), 1);
}
