//! Calls that come while the world is stopped.

use super::*;

use std::sync::atomic::AtomicUsize;
use std::thread;

use crate::Runtime;

/// The context of a callback of a `main.T`, that captured another one with this number; and what
/// keeps the owner.
fn context(runtime: &Runtime, number: u64) -> (Context, Handle) {
    let ty = runtime.types().define("main.T", "struct { N uint64 }");
    let ty = ty.unwrap();
    let made = runtime.enter(|m| {
        let (owner, held) = (m.alloc(ty).unwrap(), m.alloc(ty).unwrap());
        m.store_word(held, 0, number).unwrap();
        let context = Context {
            runtime: runtime.downgrade(),
            registry: Arc::downgrade(runtime.registry()),
            bond: Arc::new(Bond {
                owner: owner.addr(),
                alive: AtomicBool::new(true),
                id: AtomicU64::new(0),
            }),
            captured: [held.addr()].into(),
        };
        let bond = Arc::new(Dies(context.bond.clone()));
        let id = runtime.registry().attach(m, owner, &[held], bond).unwrap();
        context.bond.id.store(id, Ordering::Release);
        (context, m.root(owner).unwrap())
    });
    made.unwrap()
}

struct Dies(Arc<Bond>);

impl Attachment for Dies {
    fn die(&self) {
        self.0.alive.store(false, Ordering::Release);
    }

    fn release(&self, _: &'static str) {}
}

/// A call that comes while the world is stopped waits; no steps of it are seen before the world
/// goes on.
#[test]
fn a_call_waits_for_the_end_of_a_collection() {
    let runtime = Runtime::new().unwrap();
    let (context, _owner) = context(&runtime, 5);
    let (begun, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let call = || {
            begun.fetch_add(1, Ordering::SeqCst);
            let found = context.enter(|m, captured| {
                calls.fetch_add(1, Ordering::SeqCst);
                m.load_word(captured.get(m, 0).unwrap(), 0).unwrap()
            });
            assert_eq!(found, Ok(5));
        };
        let stopped = runtime.space().inspect(|_| {
            (0..3).for_each(|_| drop(scope.spawn(call)));
            while begun.load(Ordering::SeqCst) < 3 {
                thread::yield_now();
            }
            // They have time to get further.
            (0..1000).for_each(|_| thread::yield_now());
            calls.load(Ordering::SeqCst)
        });
        assert_eq!(stopped, Ok(0));
    });
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

/// The owner dies in the collection for which a call waits: what it captured is not touched.
#[test]
fn a_call_that_waited_too_long() {
    let runtime = Runtime::new().unwrap();
    let (context, owner) = context(&runtime, 5);
    drop(owner);
    runtime.gc().unwrap();
    let entered = context.enter(|_, _| unreachable!("it is dead"));
    assert_eq!(entered, Err(Refusal::NoOwner));
    assert_eq!(runtime.stats().callbacks, 0);
    drop(runtime);
    let entered = context.enter(|_, _| unreachable!("there is no heap"));
    assert_eq!(entered, Err(Refusal::NoRuntime));
}
