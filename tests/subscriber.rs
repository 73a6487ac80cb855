//! Code of the user's that is neither finalizer nor cleanup (subscribers of `tracing`,
//! destructors of owners, hooks, observers) ends nothing, and may call back.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, mpsc};
use std::time::Duration;

use fing::executor::DrainOrder;
use fing::observe::{Call, Observer, ParkReason};
use fing::stubs::{CacheOptions, CodePolicy};
use fing::{Abi, Arch, Executor, FinalizerFn, Order, Runtime, RuntimeBuilder, TypeId};

const LONG: Duration = Duration::from_secs(30);

type Reaction = Arc<dyn Fn() + Send + Sync>;

/// What the process's subscriber does with each event from INFO on.
static REACTION: Mutex<Option<Reaction>> = Mutex::new(None);
static EVENTS: AtomicUsize = AtomicUsize::new(0);
/// Tests of one subscriber take turns.
static TURN: Mutex<()> = Mutex::new(());

struct Subscriber;

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::DEBUG
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        EVENTS.fetch_add(1, SeqCst);
        react_now();
    }
    fn enter(&self, _: &tracing::span::Id) {
        react_now();
    }
    fn exit(&self, _: &tracing::span::Id) {
        react_now();
    }
}

fn react_now() {
    let reaction = REACTION
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some(reaction) = reaction {
        reaction();
    }
}

/// The subscriber reacts so until the guard is dropped.
struct Reacting(#[expect(dead_code, reason = "held for its turn")] MutexGuard<'static, ()>);

impl Drop for Reacting {
    fn drop(&mut self) {
        *REACTION.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn react(reaction: impl Fn() + Send + Sync + 'static) -> Reacting {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Subscriber).unwrap();
        // Panics are the point here; their messages are not.
        std::panic::set_hook(Box::new(|_| {}));
    });
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    EVENTS.store(0, SeqCst);
    *REACTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(reaction));
    Reacting(turn)
}

extern "C" fn counts(_: usize, calls: &AtomicUsize) {
    calls.fetch_add(1, SeqCst);
}

extern "C-unwind" fn panics(_: usize, calls: &AtomicUsize) {
    calls.fetch_add(1, SeqCst);
    panic!("a finalizer");
}

/// A function of one pointer whose context is a counter that lives as long as the process.
fn function(runtime: &Runtime, code: *const ()) -> (FinalizerFn, &'static AtomicUsize) {
    let calls: &'static AtomicUsize = Box::leak(Box::default());
    let signature = runtime.types().parse_signature("func(*uint64)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(std::ptr::from_ref(calls).expose_provenance());
    // SAFETY: I8: `counts` or `panics`, with a counter that lives as long as the process.
    (unsafe { builder.at(code) }, calls)
}

fn number(runtime: &Runtime) -> TypeId {
    runtime.types().id("uint64").unwrap()
}

/// Sets a finalizer for so many objects that nothing refers to.
fn doom(runtime: &Runtime, function: &FinalizerFn, objects: usize) {
    let ty = number(runtime);
    let set = runtime.enter(|m| {
        for _ in 0..objects {
            m.set_finalizer(m.alloc(ty).unwrap(), function).unwrap();
        }
    });
    set.unwrap();
}

fn settle(runtime: &Runtime) {
    runtime.gc().unwrap();
    runtime.block_until_finalizer_queue_empty(LONG).unwrap();
}

#[test]
fn a_subscriber_that_panics_ends_nothing() {
    let _reacting = react(|| panic!("a broken pipe"));
    let runtime = Runtime::new().unwrap();
    let (good, calls) = function(&runtime, counts as *const ());
    let (bad, failures) = function(&runtime, panics as *const ());
    for round in 1..=3 {
        doom(&runtime, &good, 50);
        doom(&runtime, &bad, 3);
        doom(&runtime, &good, 50);
        settle(&runtime);
        assert_eq!(calls.load(SeqCst), 100 * round);
        assert_eq!(failures.load(SeqCst), 3 * round);
    }
    assert!(EVENTS.load(SeqCst) >= 9, "each panic is an event");
    let stats = runtime.stats();
    assert_eq!((stats.failed, stats.restarts), (9, 0));
    runtime.shutdown(true, LONG).unwrap();
}

#[test]
fn a_subscriber_may_call_back() {
    // What the subscriber calls must not need a lock that is held where an event is sent.
    let inner = Runtime::builder().executor(Executor::Inline);
    let runtime = Arc::new(inner.build().unwrap());
    let called = runtime.clone();
    let (ours, calls) = function(&runtime, counts as *const ());
    let again = ours.clone();
    let busy = std::sync::atomic::AtomicBool::new(false);
    let _reacting = react(move || {
        if !busy.swap(true, SeqCst) {
            called
                .types()
                .define("main.Called", "struct { N int }")
                .unwrap();
            let stats = called.stats();
            assert!(stats.heap.collections < 1000);
            let _ = called.prepare_finalizer(number(&called), &again);
            // The thread may be in a collection's end, without a mutator: it may collect.
            let _ = called.gc();
            busy.store(false, SeqCst);
        }
    });
    doom(&runtime, &ours, 10);
    runtime.gc().unwrap();
    assert_eq!(runtime.run_finalizers().unwrap(), 10);
    assert_eq!(calls.load(SeqCst), 10);
    assert!(EVENTS.load(SeqCst) > 0, "a collection is an event");
}

#[test]
fn making_a_stub_tells_without_a_lock() {
    // Without memory for code, each stub falls back to the interpreter, which is an event; the
    // subscriber makes another stub.
    let code = CacheOptions::default()
        .policy(CodePolicy::GenerateOrInterpret)
        .arena_capacity(usize::MAX);
    let runtime = Runtime::builder().code(code).build().unwrap();
    let go = |signature: &str| {
        let signature = runtime.types().parse_signature(signature).unwrap();
        let builder = FinalizerFn::builder(signature, Abi::go(Arch::host().unwrap()));
        // SAFETY: I8: never called.
        unsafe { builder.at(std::ptr::without_provenance(16)) }
    };
    let (first, second) = (go("func(*uint64)"), go("func(*uint64) [900]int64"));
    let (inside, ty) = (runtime.clone(), number(&runtime));
    let reentered = AtomicUsize::new(0);
    let _reacting = react(move || {
        if reentered.fetch_add(1, SeqCst) == 0 {
            inside.prepare_finalizer(ty, &second).unwrap();
        }
    });
    let (sender, receiver) = mpsc::channel();
    let outside = runtime.clone();
    std::thread::spawn(move || {
        let prepared = outside.prepare_finalizer(ty, &first).map(drop);
        sender
            .send(prepared.map_err(|error| error.to_string()))
            .unwrap();
    });
    let made = receiver
        .recv_timeout(LONG)
        .expect("no lock is held while an event is sent");
    assert_eq!(made, Ok(()));
    assert!(EVENTS.load(SeqCst) >= 1, "the fallback is an event");
}

/// An owner whose destructor panics.
struct Bad(Arc<AtomicUsize>);

impl Drop for Bad {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("a destructor");
    }
}

#[test]
fn an_owner_whose_destructor_panics_ends_nothing() {
    let _reacting = react(|| {});
    let runtime = Runtime::builder()
        .drain_order(DrainOrder::Grouped)
        .build()
        .unwrap();
    let (good, calls) = function(&runtime, counts as *const ());
    let dropped = Arc::new(AtomicUsize::new(0));
    let signature = runtime.types().parse_signature("func(*uint64)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(std::ptr::from_ref(calls).expose_provenance())
        .keep_alive(Arc::new(Bad(dropped.clone())));
    // SAFETY: I8: `counts` with its counter.
    let bad = unsafe { builder.at(counts as *const ()) };
    doom(&runtime, &bad, 2000);
    settle(&runtime);
    drop(bad);
    // The collection that finds nothing naming the function drops its owner.
    settle(&runtime);
    assert_eq!((calls.load(SeqCst), dropped.load(SeqCst)), (2000, 1));
    doom(&runtime, &good, 10);
    settle(&runtime);
    assert_eq!(calls.load(SeqCst), 2010);
    assert_eq!(runtime.stats().restarts, 0);
}

/// Panics whenever it is told anything.
struct Broken;

impl Observer for Broken {
    fn parked(&self, _: ParkReason) {
        panic!("parked");
    }
    fn woken(&self) {
        panic!("woken");
    }
    fn drain_began(&self, _: usize) {
        panic!("began");
    }
    fn drain_ended(&self, _: u64) {
        panic!("ended");
    }
    fn call_began(&self, _: &Call<'_>) {
        panic!("call began");
    }
    fn call_ended(&self, _: &Call<'_>, _: bool) {
        panic!("call ended");
    }
}

fn broken(builder: RuntimeBuilder) -> RuntimeBuilder {
    builder
        .observer(Broken)
        .on_failure(|_| panic!("the hook for panics"))
        .on_cycle(|_| panic!("the hook for cycles"))
}

#[test]
fn hooks_and_observers_that_panic_end_nothing() {
    let _reacting = react(|| panic!("and so does the subscriber"));
    for order in [Order::Go, Order::Topological] {
        let runtime = broken(Runtime::builder().order(order)).build().unwrap();
        let (good, calls) = function(&runtime, counts as *const ());
        let (bad, failures) = function(&runtime, panics as *const ());
        for round in 1..=2 {
            doom(&runtime, &good, 5);
            doom(&runtime, &bad, 5);
            settle(&runtime);
            let counted = (calls.load(SeqCst), failures.load(SeqCst));
            assert_eq!(counted, (5 * round, 5 * round));
        }
        assert_eq!(runtime.stats().restarts, 0);
    }
}
